// Methods of texts, dicts and lists, and the global functions.
#include <algorithm>
#include <array>
#include <ctime>

#include "runtime/base/error.h"
#include "runtime/text/jinja/interpreter.h"
#include "runtime/text/jinja/text.h"

namespace pocket::jinja {

namespace {

std::optional<std::string> text_or_none(const Arguments& arguments, size_t i) {
  return arguments.has_value(i) ? std::optional(arguments.text(i)) : std::nullopt;
}

template <bool left, bool right>
Value strip_method(Interpreter& in, const Value& self, const Arguments& arguments) {
  return in.text(std::string(strip(self.text(), text_or_none(arguments, 0), left, right)));
}

Value list_of(Interpreter& in, std::vector<std::string> texts) {
  std::vector<Value> out;
  for (std::string& text : texts) {
    in.charge(40 + text.size());
    out.emplace_back(std::move(text));
  }
  return make_list(std::move(out));
}

Value split_method(Interpreter& in, const Value& self, const Arguments& arguments) {
  return list_of(in, split(self.text(), text_or_none(arguments, 0), arguments.integer(1, -1)));
}
Value rsplit_method(Interpreter& in, const Value& self, const Arguments& arguments) {
  return list_of(
      in, split_from_right(self.text(), text_or_none(arguments, 0), arguments.integer(1, -1)));
}
Value splitlines_method(Interpreter& in, const Value& self, const Arguments&) {
  return list_of(in, split_lines(self.text()));
}

// One text or a tuple of them.
template <class Matches>
Value match_method(const Arguments& arguments, Matches&& matches) {
  const List* list = arguments[0].list();
  if (list == nullptr) return matches(arguments.text(0));
  if (list->kind != List::Kind::tuple) fail("asks whether a text begins or ends with a list");
  return std::any_of(list->items.begin(), list->items.end(), [&](const Value& part) {
    if (!part.is_text()) fail("asks whether a text begins or ends with something else");
    return matches(part.text());
  });
}
Value startswith_method(Interpreter&, const Value& self, const Arguments& arguments) {
  return match_method(arguments,
                      [&](const std::string& part) { return self.text().starts_with(part); });
}
Value endswith_method(Interpreter&, const Value& self, const Arguments& arguments) {
  return match_method(arguments,
                      [&](const std::string& part) { return self.text().ends_with(part); });
}

template <std::string (*change)(std::string_view)>
Value change_method(Interpreter& in, const Value& self, const Arguments&) {
  return in.text(change(self.text()));
}

Value replace_method(Interpreter& in, const Value& self, const Arguments& arguments) {
  return in.text(
      replace(self.text(), arguments.text(0), arguments.text(1), arguments.integer(2, -1)));
}

template <bool last>
Value find_method(Interpreter&, const Value& self, const Arguments& arguments) {
  const std::string part = arguments.text(0);
  const size_t at = last ? self.text().rfind(part) : self.text().find(part);
  if (at == std::string::npos) return int64_t{-1};
  return static_cast<int64_t>(length(std::string_view(self.text()).substr(0, at)));
}
Value count_method(Interpreter&, const Value& self, const Arguments& arguments) {
  return count(self.text(), arguments.text(0));
}

Value join_method(Interpreter& in, const Value& self, const Arguments& arguments) {
  std::string out;
  bool first = true;
  for (const Value& item : in.iterate(arguments[0])) {
    if (!item.is_text()) fail(std::string("joins a ") + item.type_name() + " to a text");
    in.charge(item.size() + self.size());
    out += (first ? "" : self.text()) + item.text();
    first = false;
  }
  return in.text(std::move(out));
}

Value removeprefix_method(Interpreter& in, const Value& self, const Arguments& arguments) {
  const std::string part = arguments.text(0);
  return in.text(self.text().starts_with(part) ? self.text().substr(part.size()) : self.text());
}
Value removesuffix_method(Interpreter& in, const Value& self, const Arguments& arguments) {
  const std::string part = arguments.text(0);
  const bool ends = self.text().ends_with(part);
  return in.text(self.text().substr(0, self.text().size() - (ends ? part.size() : 0)));
}

Value get_method(Interpreter& in, const Value& self, const Arguments& arguments) {
  in.charge(self.dict()->items.size());
  if (arguments[0].list() != nullptr || arguments[0].dict() != nullptr) {
    fail(std::string("looks for a ") + arguments[0].type_name() + " among the keys of a dict");
  }
  if (const Value* found = self.dict()->find(arguments[0])) return *found;
  return arguments.has(1) ? arguments[1] : Value(None{});
}

template <bool keys, bool values>
Value view_method(Interpreter& in, const Value& self, const Arguments&) {
  std::vector<Value> out;
  for (const auto& [key, value] : self.dict()->items) {
    in.charge(64);
    out.push_back(!values ? key : !keys ? value : make_list({key, value}, List::Kind::tuple));
  }
  return make_list(std::move(out), List::Kind::view);
}

Value list_count_method(Interpreter&, const Value& self, const Arguments& arguments) {
  if (!self.list()->has_items()) fail(std::string("counts in a ") + self.type_name());
  return static_cast<int64_t>(
      std::count_if(self.list()->items.begin(), self.list()->items.end(),
                    [&](const Value& item) { return equal(item, arguments[0]); }));
}
Value list_index_method(Interpreter&, const Value& self, const Arguments& arguments) {
  if (!self.list()->has_items()) fail(std::string("searches in a ") + self.type_name());
  const auto& items = self.list()->items;
  const auto it = std::find_if(items.begin(), items.end(),
                               [&](const Value& item) { return equal(item, arguments[0]); });
  if (it == items.end()) fail("asks for the index of what a list does not hold");
  return static_cast<int64_t>(it - items.begin());
}

// --- functions -----------------------------------------------------------------------------------

Value range_function(Interpreter& in, const Value&, const Arguments& arguments) {
  const bool one = !arguments.has(1);
  const int64_t begin = one ? 0 : arguments.integer(0, 0);
  const int64_t end = arguments.integer(one ? 0 : 1, 0), step = arguments.integer(2, 1);
  if (step == 0) fail("asks for a range with a step of 0");
  constexpr int64_t kMost = 100000;  // as in jinja2's sandbox
  std::vector<Value> out;
  for (int64_t i = begin; step > 0 ? i < end : i > end;) {
    if (static_cast<int64_t>(out.size()) == kMost) {
      fail("asks for a range of more than 100000 numbers");
    }
    out.emplace_back(i);
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  in.charge(40 * out.size());
  return make_list(std::move(out), List::Kind::range);
}

// A dict or pairs, then names.
std::vector<std::pair<Value, Value>> items_of(Interpreter& in, const Arguments& arguments) {
  std::vector<std::pair<Value, Value>> out;
  if (arguments.has(0)) {
    if (const Dict* dict = arguments[0].dict()) {
      out = dict->items;
    } else {
      for (const Value& item : in.iterate(arguments[0])) {
        std::vector<Value> pair = in.iterate(item);
        if (pair.size() != 2) fail("makes a dict of items that are no pairs");
        out.emplace_back(std::move(pair[0]), std::move(pair[1]));
      }
    }
  }
  for (const auto& [name, value] : arguments.rest_named) out.emplace_back(name, value);
  in.charge(64 * out.size());
  return out;
}

Value dict_function(Interpreter& in, const Value&, const Arguments& arguments) {
  if (!arguments.rest.empty()) fail("calls dict with several values");
  return make_dict(items_of(in, arguments));
}

Value namespace_function(Interpreter& in, const Value&, const Arguments& arguments) {
  if (!arguments.rest.empty()) fail("calls namespace with several values");
  const Value items = make_dict(items_of(in, arguments));
  Namespace* out = in.make_namespace();
  for (const auto& [name, value] : items.dict()->items) {
    if (!name.is_text() || name.text().starts_with('_')) {
      fail("gives a namespace an attribute that is no plain name");
    }
    out->items.emplace_back(name.text(), value);
  }
  return out;
}

Value raise_exception_function(Interpreter&, const Value&, const Arguments& arguments) {
  throw Error(ExitCode::usage,
              "the chat template refuses this conversation: " + to_text(arguments[0]));
}

Value strftime_now_function(Interpreter& in, const Value&, const Arguments& arguments) {
  static constexpr std::array<std::string_view, 7> kDays = {
      "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};
  static constexpr std::array<std::string_view, 12> kMonths = {
      "January", "February", "March",     "April",   "May",      "June",
      "July",    "August",   "September", "October", "November", "December"};
  const std::time_t now = in.now();
  std::tm time{};
  if (localtime_r(&now, &time) == nullptr) fail("asks for the time, which is out of range");
  const auto digits = [](int value, size_t width) {
    std::string out = std::to_string(value);
    return out.size() < width ? std::string(width - out.size(), '0') + out : out;
  };
  const auto day = static_cast<size_t>(time.tm_wday), month = static_cast<size_t>(time.tm_mon);
  const std::string format = arguments.text(0);
  std::string out;
  for (size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%') {
      out += format[i];
      continue;
    }
    const char c = ++i < format.size() ? format[i] : 0;
    switch (c) {
      case 'a':
        out += kDays[day].substr(0, 3);
        break;
      case 'A':
        out += kDays[day];
        break;
      case 'b':
        out += kMonths[month].substr(0, 3);
        break;
      case 'B':
        out += kMonths[month];
        break;
      case 'd':
        out += digits(time.tm_mday, 2);
        break;
      case 'H':
        out += digits(time.tm_hour, 2);
        break;
      case 'I':
        out += digits((time.tm_hour + 11) % 12 + 1, 2);
        break;
      case 'j':
        out += digits(time.tm_yday + 1, 3);
        break;
      case 'm':
        out += digits(time.tm_mon + 1, 2);
        break;
      case 'M':
        out += digits(time.tm_min, 2);
        break;
      case 'p':
        out += time.tm_hour < 12 ? "AM" : "PM";
        break;
      case 'S':
        out += digits(time.tm_sec, 2);
        break;
      case 'y':
        out += digits(time.tm_year % 100, 2);
        break;
      case 'Y':
        out += digits(time.tm_year + 1900, 4);
        break;
      case '%':
        out += '%';
        break;
      default:
        fail(std::string("asks strftime_now for '%") + (c == 0 ? ' ' : c) +
             "', which is not supported");
    }
  }
  return in.text(std::move(out));
}

constexpr FunctionRow kTextMethods[] = {
    {"strip", {"chars"}, 0, strip_method<true, true>},
    {"lstrip", {"chars"}, 0, strip_method<true, false>},
    {"rstrip", {"chars"}, 0, strip_method<false, true>},
    {"split", {"sep", "maxsplit"}, 0, split_method},
    {"rsplit", {"sep", "maxsplit"}, 0, rsplit_method},
    {"splitlines", {}, 0, splitlines_method},
    {"startswith", {"prefix"}, 1, startswith_method},
    {"endswith", {"suffix"}, 1, endswith_method},
    {"upper", {}, 0, change_method<upper>},
    {"lower", {}, 0, change_method<lower>},
    {"capitalize", {}, 0, change_method<capitalize>},
    {"title", {}, 0, change_method<title_method>},
    {"replace", {"old", "new", "count"}, 2, replace_method},
    {"find", {"sub"}, 1, find_method<false>},
    {"rfind", {"sub"}, 1, find_method<true>},
    {"count", {"sub"}, 1, count_method},
    {"join", {"iterable"}, 1, join_method},
    {"removeprefix", {"prefix"}, 1, removeprefix_method},
    {"removesuffix", {"suffix"}, 1, removesuffix_method},
};
constexpr FunctionRow kDictMethods[] = {
    {"get", {"key", "default"}, 1, get_method},
    {"items", {}, 0, view_method<true, true>},
    {"keys", {}, 0, view_method<true, false>},
    {"values", {}, 0, view_method<false, true>},
};
constexpr FunctionRow kListMethods[] = {
    {"count", {"value"}, 1, list_count_method},
    {"index", {"value"}, 1, list_index_method},
};
constexpr FunctionRow kFunctions[] = {
    {"range", {"start", "stop", "step"}, 1, range_function},
    {"dict", {"items"}, 0, dict_function, true},
    {"namespace", {"items"}, 0, namespace_function, true},
    {"raise_exception", {"message"}, 1, raise_exception_function},
    {"strftime_now", {"format"}, 1, strftime_now_function},
};

template <class Rows>
const FunctionRow* find_row(const Rows& rows, std::string_view name) {
  const auto it = std::find_if(std::begin(rows), std::end(rows),
                               [&](const FunctionRow& row) { return row.name == name; });
  return it == std::end(rows) ? nullptr : &*it;
}

}  // namespace

const FunctionRow* find_text_method(std::string_view name) { return find_row(kTextMethods, name); }
const FunctionRow* find_dict_method(std::string_view name) { return find_row(kDictMethods, name); }
const FunctionRow* find_list_method(std::string_view name) { return find_row(kListMethods, name); }
const FunctionRow* find_function(std::string_view name) { return find_row(kFunctions, name); }

}  // namespace pocket::jinja
