#include "runtime/text/jinja/value.h"

#include <algorithm>
#include <cmath>

#include "runtime/base/error.h"
#include "runtime/text/unicode.h"

namespace pocket::jinja {

void fail(const std::string& what) {
  throw Error(ExitCode::bad_input, "the chat template " + what);
}

const List* Value::list() const {
  const auto* found = get_if<std::shared_ptr<const List>>();
  return found == nullptr ? nullptr : found->get();
}

const Dict* Value::dict() const {
  const auto* found = get_if<std::shared_ptr<const Dict>>();
  return found == nullptr ? nullptr : found->get();
}

Namespace* Value::names() const {
  Namespace* const* found = get_if<Namespace*>();
  return found == nullptr ? nullptr : *found;
}

std::optional<int64_t> Value::integer() const {
  if (const auto* value = get_if<int64_t>()) return *value;
  if (const auto* value = get_if<bool>()) return *value ? 1 : 0;
  return std::nullopt;
}

double Value::real() const {
  if (const auto* value = get_if<double>()) return *value;
  return static_cast<double>(integer().value_or(0));
}

int Value::depth() const {
  if (list() != nullptr) return list()->depth;
  return dict() != nullptr ? dict()->depth : 0;
}

size_t Value::size() const {
  if (is_text()) return text().size();
  if (list() != nullptr) return list()->size;
  return dict() != nullptr ? dict()->size : 0;
}

const char* Value::type_name() const {
  static constexpr const char* kListNames[] = {"list", "tuple", "range", "dict view", "generator"};
  if (list() != nullptr) return kListNames[static_cast<size_t>(list()->kind)];
  static constexpr const char* kNames[] = {"undefined", "None", "bool",    "int",
                                           "float",     "str",  "list",    "dict",
                                           "namespace", "loop", "function"};
  return kNames[data_.index()];
}

namespace {

// Adds one item to the depth and the size of what holds it.
void count_item(const Value& item, int& depth, size_t& size) {
  depth = std::max(depth, item.depth() + 1);
  size += 8 + item.size();
  if (depth > kMaxValueDepth) {
    fail("nests values deeper than " + std::to_string(kMaxValueDepth));
  }
  if (size > kMaxValueSize) {
    fail("builds a value of more than " + std::to_string(kMaxValueSize) + " bytes");
  }
}

}  // namespace

Value make_list(std::vector<Value> items, List::Kind kind) {
  auto out = std::make_shared<List>();
  for (const Value& item : items) count_item(item, out->depth, out->size);
  out->kind = kind;
  out->items = std::move(items);
  return std::shared_ptr<const List>(std::move(out));
}

Value make_dict(std::vector<std::pair<Value, Value>> items) {
  auto out = std::make_shared<Dict>();
  out->items.reserve(items.size());
  for (auto& [key, value] : items) {
    if (!key.is_text() && !key.is_int()) {
      fail(std::string("uses a key of type ") + key.type_name() +
           "; only texts and integers are supported");
    }
    count_item(key, out->depth, out->size);
    count_item(value, out->depth, out->size);
    const auto same =
        std::find_if(out->items.begin(), out->items.end(),
                     [&key = key](const auto& item) { return equal(item.first, key); });
    if (same == out->items.end()) {
      out->items.emplace_back(std::move(key), std::move(value));
    } else {
      same->second = std::move(value);
    }
  }
  return std::shared_ptr<const Dict>(std::move(out));
}

const Value* Dict::find(const Value& key) const {
  for (const auto& [name, value] : items) {
    if (equal(name, key)) return &value;
  }
  return nullptr;
}

const Value* Dict::find(std::string_view key) const {
  for (const auto& [name, value] : items) {
    if (name.is_text() && name.text() == key) return &value;
  }
  return nullptr;
}

Value from_json(const nlohmann::ordered_json& json) {
  switch (json.type()) {
    case nlohmann::ordered_json::value_t::null:
      return None{};
    case nlohmann::ordered_json::value_t::boolean:
      return json.get<bool>();
    case nlohmann::ordered_json::value_t::number_integer:
      return json.get<int64_t>();
    case nlohmann::ordered_json::value_t::number_unsigned:
      if (json.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) fail("is given a huge number");
      return json.get<int64_t>();
    case nlohmann::ordered_json::value_t::number_float:
      return json.get<double>();
    case nlohmann::ordered_json::value_t::string:
      return to_valid_utf8(json.get_ref<const std::string&>());
    case nlohmann::ordered_json::value_t::array: {
      std::vector<Value> items;
      for (const auto& item : json) items.push_back(from_json(item));
      return make_list(std::move(items));
    }
    case nlohmann::ordered_json::value_t::object: {
      std::vector<std::pair<Value, Value>> items;
      for (const auto& [key, value] : json.items()) items.emplace_back(key, from_json(value));
      return make_dict(std::move(items));
    }
    default:
      fail("is given a value that is no JSON");
  }
}

bool truth(const Value& value) {
  if (value.is_undefined() || value.is_none()) return false;
  if (value.is_real()) return value.real() != 0;
  if (const auto number = value.integer()) return *number != 0;
  if (value.is_text()) return !value.text().empty();
  if (value.list() != nullptr) return !value.list()->has_length() || !value.list()->items.empty();
  if (value.dict() != nullptr) return !value.dict()->items.empty();
  return true;
}

namespace {

// Exact: a double against an integer that it cannot hold.
int compare_numbers(const Value& a, const Value& b) {
  const auto x = a.integer(), y = b.integer();
  if (x && y) return *x < *y ? -1 : *x > *y;
  const long double u = x ? static_cast<long double>(*x) : a.real();
  const long double v = y ? static_cast<long double>(*y) : b.real();
  return u < v ? -1 : u > v;
}

bool is_sequence(const Value& value) {
  return value.list() != nullptr &&
         (value.list()->kind == List::Kind::list || value.list()->kind == List::Kind::tuple);
}

}  // namespace

bool equal(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    if ((a.is_real() && std::isnan(a.real())) || (b.is_real() && std::isnan(b.real())))
      return false;
    return compare_numbers(a, b) == 0;
  }
  if (a.is_text() && b.is_text()) return a.text() == b.text();
  if (a.is_none() || b.is_none()) return a.is_none() && b.is_none();
  if (a.is_undefined() || b.is_undefined()) return a.is_undefined() && b.is_undefined();
  if (a.list() != nullptr && b.list() != nullptr) {
    if (a.list() == b.list()) return true;
    if (a.list()->kind != b.list()->kind || !a.list()->has_items()) {
      if (is_sequence(a) && is_sequence(b)) return false;  // a list and a tuple
      fail(std::string("compares a ") + a.type_name() + " with a " + b.type_name() +
           ", which is not supported");
    }
    return std::equal(a.list()->items.begin(), a.list()->items.end(), b.list()->items.begin(),
                      b.list()->items.end(), equal);
  }
  if (a.dict() != nullptr && b.dict() != nullptr) {
    if (a.dict()->items.size() != b.dict()->items.size()) return false;
    return std::all_of(a.dict()->items.begin(), a.dict()->items.end(), [&](const auto& item) {
      const Value* other = b.dict()->find(item.first);
      return other != nullptr && equal(item.second, *other);
    });
  }
  if (a.names() != nullptr || b.names() != nullptr) return a.names() == b.names();
  if (a.callable() != nullptr && b.callable() != nullptr) return *a.callable() == *b.callable();
  if (a.loop() != nullptr && b.loop() != nullptr) return *a.loop() == *b.loop();
  return false;
}

int compare(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    if ((a.is_real() && std::isnan(a.real())) || (b.is_real() && std::isnan(b.real()))) {
      fail("orders a number that is not one (NaN)");
    }
    return compare_numbers(a, b);
  }
  if (a.is_text() && b.is_text()) {
    const int order = a.text().compare(b.text());  // UTF-8 keeps the order of code points
    return order < 0 ? -1 : order > 0;
  }
  if (is_sequence(a) && is_sequence(b) && a.list()->kind == b.list()->kind) {
    const auto &x = a.list()->items, &y = b.list()->items;
    for (size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
      if (!equal(x[i], y[i])) return compare(x[i], y[i]);
    }
    return x.size() < y.size() ? -1 : x.size() > y.size();
  }
  if (a.is_undefined()) fail("uses a value that is not there: " + a.undefined_reason());
  if (b.is_undefined()) fail("uses a value that is not there: " + b.undefined_reason());
  fail(std::string("orders a ") + a.type_name() + " and a " + b.type_name());
}

}  // namespace pocket::jinja
