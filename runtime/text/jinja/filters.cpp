// What may stand after `|`.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "runtime/text/jinja/interpreter.h"
#include "runtime/text/jinja/text.h"

namespace pocket::jinja {

namespace {

using Kind = List::Kind;

std::optional<std::string> text_or_none(const Arguments& arguments, size_t i) {
  return arguments.has_value(i) ? std::optional(arguments.text(i)) : std::nullopt;
}

// --- texts ---------------------------------------------------------------------------------------

template <std::string (*change)(std::string_view)>
Value change_filter(Interpreter& in, const Value& self, const Arguments&) {
  return in.text(change(to_text(self)));
}

Value string_filter(Interpreter& in, const Value& self, const Arguments&) {
  return in.text(to_text(self));
}
Value safe_filter(Interpreter&, const Value& self, const Arguments&) { return self; }

Value trim_filter(Interpreter& in, const Value& self, const Arguments& arguments) {
  return in.text(std::string(strip(to_text(self), text_or_none(arguments, 0), true, true)));
}

Value replace_filter(Interpreter& in, const Value& self, const Arguments& arguments) {
  const int64_t most = arguments.has_value(2) ? arguments.integer(2, -1) : -1;
  return in.text(replace(to_text(self), to_text(arguments[0]), to_text(arguments[1]), most));
}

Value indent_filter(Interpreter& in, const Value& self, const Arguments& arguments) {
  if (!self.is_text()) fail(std::string("indents a ") + self.type_name());
  std::string indention;
  if (arguments.has(0) && arguments[0].is_text()) {
    indention = arguments.text(0);
  } else {
    const int64_t width = arguments.integer(0, 4);
    if (width > 1000) fail("indents by " + std::to_string(width) + "; at most 1000 are supported");
    indention.assign(static_cast<size_t>(std::max<int64_t>(width, 0)), ' ');
  }
  const bool blank = arguments.flag(2, false);
  std::string out = arguments.flag(1, false) ? indention : "";
  bool first = true;
  for (const std::string& line : split_lines(self.text() + "\n")) {
    in.charge(line.size() + indention.size());
    if (!first) out += "\n" + (line.empty() && !blank ? "" : indention);
    out += line;
    first = false;
    if (out.size() > kMaxValueSize) break;
  }
  return in.text(std::move(out));
}

Value tojson_filter(Interpreter& in, const Value& self, const Arguments& arguments) {
  JsonStyle style;
  style.ascii = arguments.flag(0, false);
  if (arguments.has_value(1)) {
    if (arguments[1].is_text()) {
      style.indent = arguments.text(1);
    } else {
      const int64_t width = arguments.integer(1, 0);
      if (width > 100) fail("indents JSON by " + std::to_string(width) + "; at most 100");
      style.indent = std::string(static_cast<size_t>(std::max<int64_t>(width, 0)), ' ');
    }
    style.item_separator = ",";
    in.charge(self.size() * (1 + style.indent->size()));
  }
  if (arguments.has_value(2)) {
    const std::vector<Value> pair = in.iterate(arguments[2]);
    if (pair.size() != 2 || !pair[0].is_text() || !pair[1].is_text()) {
      fail("gives tojson separators that are no pair of texts");
    }
    style.item_separator = pair[0].text();
    style.key_separator = pair[1].text();
    in.charge(self.size() * (1 + pair[0].size() + pair[1].size()));
  }
  style.sort_keys = arguments.flag(3, false);
  return in.text(to_json(self, style));
}

// --- numbers -------------------------------------------------------------------------------------

// A number that a text stands for, white space around it allowed.
std::optional<double> parse_real(const std::string& text) {
  const std::string_view body = strip(text, std::nullopt, true, true);
  const std::string_view digits = body.substr(body.starts_with('+') || body.starts_with('-'));
  if (digits.empty() || digits.find_first_not_of("0123456789.eE+-") != std::string_view::npos) {
    // "nan", "inf" and 1_000 are numbers to Python.
    if (digits.find_first_of("0123456789iInN") != std::string_view::npos && !digits.empty() &&
        digits.find_first_not_of("0123456789_.eE+-infatyINFATY") == std::string_view::npos) {
      fail("reads a number from '" + text.substr(0, 40) + "', which is not supported");
    }
    return std::nullopt;
  }
  double out = 0;
  const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), out);
  if (result.ptr != digits.data() + digits.size() || digits[0] == '+' || digits[0] == '-') {
    return std::nullopt;
  }
  if (result.ec != std::errc()) fail("reads a number that is out of range");
  return body.starts_with('-') ? -out : out;
}

Value int_filter(Interpreter&, const Value& self, const Arguments& arguments) {
  if (arguments.integer(1, 10) != 10) fail("reads an integer in another base than 10");
  const Value otherwise = arguments.has(0) ? arguments[0] : Value(int64_t{0});
  if (const auto value = self.integer()) return *value;
  std::optional<double> real;
  if (self.is_real()) {
    real = self.real();
  } else if (self.is_text()) {
    const std::string_view body = strip(self.text(), std::nullopt, true, true);
    const std::string_view digits = body.substr(body.starts_with('+'));
    int64_t whole = 0;
    const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), whole);
    if (!digits.empty() && result.ptr == digits.data() + digits.size() &&
        !(body.starts_with('+') && digits.starts_with('-'))) {
      if (result.ec != std::errc()) fail("reads an integer of more than 64 bits");
      return whole;
    }
    real = parse_real(self.text());
  } else if (self.is_undefined()) {
    fail("uses a value that is not there: " + self.undefined_reason());
  }
  if (!real || !std::isfinite(*real)) return otherwise;
  if (std::fabs(*real) > 9e18) fail("computes an integer of more than 64 bits");
  return static_cast<int64_t>(*real);
}

Value float_filter(Interpreter&, const Value& self, const Arguments& arguments) {
  if (self.is_number()) return self.real();
  if (self.is_undefined()) fail("uses a value that is not there: " + self.undefined_reason());
  const auto real = self.is_text() ? parse_real(self.text()) : std::nullopt;
  if (real) return *real;
  return arguments.has(0) ? arguments[0] : Value(0.0);
}

Value abs_filter(Interpreter&, const Value& self, const Arguments&) {
  if (self.is_real()) return std::fabs(self.real());
  const auto value = self.integer();
  if (!value) fail(std::string("takes the absolute value of a ") + self.type_name());
  if (*value == INT64_MIN) fail("computes an integer of more than 64 bits");
  return *value < 0 ? -*value : *value;
}

// --- what holds items ----------------------------------------------------------------------------

Value length_filter(Interpreter&, const Value& self, const Arguments&) {
  if (self.is_undefined()) return int64_t{0};
  if (self.is_text()) return static_cast<int64_t>(length(self.text()));
  if (self.dict() != nullptr) return static_cast<int64_t>(self.dict()->items.size());
  if (self.list() != nullptr && self.list()->has_length()) {
    return static_cast<int64_t>(self.list()->items.size());
  }
  fail(std::string("asks for the length of a ") + self.type_name());
}

Value list_filter(Interpreter& in, const Value& self, const Arguments&) {
  return make_list(in.iterate(self));
}

Value items_filter(Interpreter& in, const Value& self, const Arguments& arguments) {
  if (self.is_undefined()) return make_list({}, Kind::generator);
  if (self.dict() == nullptr) fail(std::string("asks for the items of a ") + self.type_name());
  const Value view = find_dict_method("items")->function(in, self, arguments);
  return make_list(view.list()->items, Kind::generator);
}

Value first_filter(Interpreter& in, const Value& self, const Arguments&) {
  const List* list = self.list();
  if (list != nullptr && !list->has_length()) {
    if (list->taken < list->items.size()) return list->items[list->taken++];
    return Undefined{"No first item, sequence was empty."};
  }
  const std::vector<Value> items = in.iterate(self);
  return items.empty() ? Value(Undefined{"No first item, sequence was empty."}) : items[0];
}

// Not of a generator: Python cannot walk it backwards.
std::vector<Value> walkable_backwards(Interpreter& in, const Value& self) {
  if ((self.list() != nullptr && !self.list()->has_length()) || self.is_undefined()) {
    fail(std::string("asks for the last item of a ") + self.type_name());
  }
  return in.iterate(self);
}

Value last_filter(Interpreter& in, const Value& self, const Arguments&) {
  const std::vector<Value> items = walkable_backwards(in, self);
  return items.empty() ? Value(Undefined{"No last item, sequence was empty."}) : items.back();
}

Value reverse_filter(Interpreter& in, const Value& self, const Arguments&) {
  std::vector<Value> items = in.iterate(self);
  std::reverse(items.begin(), items.end());
  if (!self.is_text()) return make_list(std::move(items), Kind::generator);
  std::string out;
  for (const Value& item : items) out += item.text();
  return in.text(std::move(out));
}

Value join_filter(Interpreter& in, const Value& self, const Arguments& arguments) {
  const std::string separator = arguments.has(0) ? to_text(arguments[0]) : "";
  std::string out;
  bool first = true;
  for (const Value& item : in.iterate(self)) {
    const Value part = arguments.has_value(1) ? in.path(item, arguments[1]) : item;
    in.charge(part.size() + separator.size());
    if (!first) out += separator;
    out += to_text(part);
    first = false;
    if (out.size() > kMaxValueSize) break;
  }
  return in.text(std::move(out));
}

Value default_filter(Interpreter&, const Value& self, const Arguments& arguments) {
  if (!self.is_undefined() && !(arguments.flag(1, false) && !truth(self))) return self;
  return arguments.has(0) ? arguments[0] : Value("");
}

Value map_filter(Interpreter& in, const Value& self, const Arguments& arguments) {
  std::vector<Value> out;
  if (!truth(self)) return make_list({}, Kind::generator);
  const auto named = [&](std::string_view name) {
    const auto it = std::find_if(arguments.rest_named.begin(), arguments.rest_named.end(),
                                 [&](const auto& item) { return item.first == name; });
    return it == arguments.rest_named.end() ? nullptr : &it->second;
  };
  const bool by_attribute = arguments.rest.empty() && named("attribute") != nullptr;
  if (!by_attribute && arguments.rest.empty()) fail("calls 'map' without a filter's name");
  for (const Value& item : in.iterate(self)) {
    if (by_attribute) {
      if (arguments.rest_named.size() > (named("default") != nullptr ? 2u : 1u)) {
        fail("calls 'map' with an argument that it does not take");
      }
      Value found = in.path(item, *named("attribute"));
      const Value* otherwise = named("default");
      if (found.is_undefined() && otherwise != nullptr && !otherwise->is_none()) found = *otherwise;
      out.push_back(std::move(found));
    } else {
      out.push_back(in.apply_filter(to_text(arguments.rest[0]), item,
                                    {arguments.rest.begin() + 1, arguments.rest.end()},
                                    arguments.rest_named));
    }
  }
  return make_list(std::move(out), Kind::generator);
}

template <bool keep, bool by_attribute>
Value select_filter(Interpreter& in, const Value& self, const Arguments& arguments) {
  std::vector<Value> out;
  if (!truth(self)) return make_list({}, Kind::generator);
  if (!arguments.rest_named.empty()) fail("calls 'select' or 'reject' with named arguments");
  constexpr size_t kTest = by_attribute ? 1 : 0;
  if (arguments.rest.size() < kTest) fail("calls 'selectattr' without an attribute");
  for (const Value& item : in.iterate(self)) {
    const Value value = by_attribute ? in.path(item, arguments.rest[0]) : item;
    bool holds = false;
    if (arguments.rest.size() > kTest) {
      holds = in.apply_test(to_text(arguments.rest[kTest]), value,
                            {arguments.rest.begin() + kTest + 1, arguments.rest.end()});
    } else {
      holds = truth(value);
    }
    if (holds == keep) out.push_back(item);
  }
  return make_list(std::move(out), Kind::generator);
}

// What items are ordered by: texts without regard to case unless asked.
Value sort_key(Interpreter& in, const Value& item, bool case_sensitive, const Value* attribute) {
  const Value key = attribute != nullptr ? in.path(item, *attribute) : item;
  return key.is_text() && !case_sensitive ? in.text(lower(key.text())) : key;
}

template <bool most>
Value extreme_filter(Interpreter& in, const Value& self, const Arguments& arguments) {
  const Value* attribute = arguments.has_value(1) ? &arguments[1] : nullptr;
  const bool case_sensitive = arguments.flag(0, false);
  std::optional<Value> best, best_key;
  for (const Value& item : in.iterate(self)) {
    Value key = sort_key(in, item, case_sensitive, attribute);
    if (best && !(most ? compare(key, *best_key) > 0 : compare(key, *best_key) < 0)) continue;
    best = item;
    best_key = std::move(key);
  }
  return best ? *best : Value(Undefined{"No aggregated item, sequence was empty."});
}

// Stable, also when reversed.
std::vector<Value> sorted(Interpreter& in, std::vector<std::pair<Value, Value>> keyed,
                          bool reverse) {
  for (size_t i = 0; i < keyed.size(); ++i) in.charge(64 + 16 * keyed[i].first.size());
  // Every key is compared with one other at least: what has no order is refused.
  for (size_t i = 1; i < keyed.size(); ++i) compare(keyed[i - 1].first, keyed[i].first);
  std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& a, const auto& b) {
    return reverse ? compare(b.first, a.first) < 0 : compare(a.first, b.first) < 0;
  });
  std::vector<Value> out;
  for (auto& [key, item] : keyed) out.push_back(std::move(item));
  return out;
}

Value sort_filter(Interpreter& in, const Value& self, const Arguments& arguments) {
  const Value* attribute = arguments.has_value(2) ? &arguments[2] : nullptr;
  if (attribute != nullptr && attribute->is_text() &&
      attribute->text().find(',') != std::string::npos) {
    fail("sorts by several attributes, which is not supported");
  }
  std::vector<std::pair<Value, Value>> keyed;
  for (const Value& item : in.iterate(self)) {
    keyed.emplace_back(sort_key(in, item, arguments.flag(1, false), attribute), item);
  }
  return make_list(sorted(in, std::move(keyed), arguments.flag(0, false)));
}

Value dictsort_filter(Interpreter& in, const Value& self, const Arguments& arguments) {
  if (self.dict() == nullptr) fail(std::string("sorts the items of a ") + self.type_name());
  const std::string by = arguments.has(1) ? arguments.text(1) : "key";
  if (by != "key" && by != "value") fail("sorts a dict by '" + by + "'");
  std::vector<std::pair<Value, Value>> keyed;
  for (const auto& [key, value] : self.dict()->items) {
    keyed.emplace_back(sort_key(in, by == "key" ? key : value, arguments.flag(0, false), nullptr),
                       make_list({key, value}, Kind::tuple));
  }
  return make_list(sorted(in, std::move(keyed), arguments.flag(2, false)));
}

Value unique_filter(Interpreter& in, const Value& self, const Arguments& arguments) {
  const Value* attribute = arguments.has_value(1) ? &arguments[1] : nullptr;
  std::vector<Value> out, seen;
  for (const Value& item : in.iterate(self)) {
    Value key = sort_key(in, item, arguments.flag(0, false), attribute);
    if (key.dict() != nullptr || (key.list() != nullptr && key.list()->kind == Kind::list)) {
      fail(std::string("asks whether a ") + key.type_name() + " came before in 'unique'");
    }
    in.charge(seen.size());
    if (std::any_of(seen.begin(), seen.end(), [&](const Value& x) { return equal(x, key); })) {
      continue;
    }
    seen.push_back(std::move(key));
    out.push_back(item);
  }
  return make_list(std::move(out), Kind::generator);
}

Value sum_filter(Interpreter& in, const Value& self, const Arguments& arguments) {
  Value out = arguments.has(1) ? arguments[1] : Value(int64_t{0});
  if (out.is_text()) fail("sums texts; join them");
  for (const Value& item : in.iterate(self)) {
    out = in.add(out, arguments.has_value(0) ? in.path(item, arguments[0]) : item);
  }
  return out;
}

constexpr FilterRow kFilters[] = {
    {{"abs", {}, 0, abs_filter}},
    {{"capitalize", {}, 0, change_filter<capitalize>}},
    {{"count", {}, 0, length_filter}},
    {{"d", {"default_value", "boolean"}, 0, default_filter}},
    {{"default", {"default_value", "boolean"}, 0, default_filter}},
    {{"dictsort", {"case_sensitive", "by", "reverse"}, 0, dictsort_filter}},
    {{"first", {}, 0, first_filter}},
    {{"float", {"default"}, 0, float_filter}},
    {{"indent", {"width", "first", "blank"}, 0, indent_filter}},
    {{"int", {"default", "base"}, 0, int_filter}},
    {{"items", {}, 0, items_filter}},
    {{"join", {"d", "attribute"}, 0, join_filter}},
    {{"last", {}, 0, last_filter}},
    {{"length", {}, 0, length_filter}},
    {{"list", {}, 0, list_filter}},
    {{"lower", {}, 0, change_filter<lower>}},
    {{"map", {}, 0, map_filter, true}},
    {{"max", {"case_sensitive", "attribute"}, 0, extreme_filter<true>}},
    {{"min", {"case_sensitive", "attribute"}, 0, extreme_filter<false>}},
    {{"reject", {}, 0, select_filter<false, false>, true}},
    {{"rejectattr", {}, 0, select_filter<false, true>, true}},
    {{"replace", {"old", "new", "count"}, 2, replace_filter}},
    {{"reverse", {}, 0, reverse_filter}},
    {{"safe", {}, 0, safe_filter}},
    {{"select", {}, 0, select_filter<true, false>, true}},
    {{"selectattr", {}, 0, select_filter<true, true>, true}},
    {{"sort", {"reverse", "case_sensitive", "attribute"}, 0, sort_filter}},
    {{"string", {}, 0, string_filter}},
    {{"sum", {"attribute", "start"}, 0, sum_filter}},
    {{"title", {}, 0, change_filter<title_filter>}},
    {{"tojson", {"ensure_ascii", "indent", "separators", "sort_keys"}, 0, tojson_filter}},
    {{"trim", {"chars"}, 0, trim_filter}},
    {{"unique", {"case_sensitive", "attribute"}, 0, unique_filter}},
    {{"upper", {}, 0, change_filter<upper>}},
};

}  // namespace

const FilterRow* find_filter(std::string_view name) {
  const auto* it = std::find_if(std::begin(kFilters), std::end(kFilters),
                                [&](const FilterRow& row) { return row.name == name; });
  return it == std::end(kFilters) ? nullptr : it;
}

}  // namespace pocket::jinja
