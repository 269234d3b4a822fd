#include "runtime/text/jinja/builtins.h"

#include <algorithm>

namespace pocket::jinja {

namespace {

size_t parameter_count(const FunctionRow& row) {
  size_t count = 0;
  while (count < row.parameters.size() && !row.parameters[count].empty()) ++count;
  return count;
}

size_t parameter_index(const FunctionRow& row, std::string_view name) {
  return static_cast<size_t>(std::find(row.parameters.begin(), row.parameters.end(), name) -
                             row.parameters.begin());
}

}  // namespace

int64_t Arguments::integer(size_t i, int64_t otherwise) const {
  if (!has(i)) return otherwise;
  if (const auto value = values[i].integer()) return *value;
  fail(std::string("gives a ") + values[i].type_name() + " where an integer is expected");
}

std::string Arguments::text(size_t i) const {
  if (values[i].is_text()) return values[i].text();
  fail(std::string("gives a ") + values[i].type_name() + " where a text is expected");
}

std::string what_does_not_fit(const FunctionRow& row, size_t positional,
                              const std::vector<std::string_view>& named) {
  const size_t count = parameter_count(row);
  if (!row.any_number && positional > count) {
    return "takes at most " + std::to_string(count) + " arguments here, not " +
           std::to_string(positional);
  }
  for (size_t i = 0; i < named.size(); ++i) {
    const size_t at = parameter_index(row, named[i]);
    const bool twice = std::find(named.begin(), named.begin() + static_cast<std::ptrdiff_t>(i),
                                 named[i]) != named.begin() + static_cast<std::ptrdiff_t>(i);
    if ((at >= count && !row.any_number) || (at < count && at < positional) || twice) {
      return "does not take the argument '" + std::string(named[i].substr(0, 40)) + "' here";
    }
  }
  for (size_t i = positional; i < row.required; ++i) {
    if (std::find(named.begin(), named.end(), row.parameters[i]) == named.end()) {
      return "needs the argument '" + std::string(row.parameters[i]) + "'";
    }
  }
  return "";
}

Arguments bind_arguments(const FunctionRow& row, std::vector<Value> positional,
                         std::vector<std::pair<std::string, Value>> named) {
  std::vector<std::string_view> names;
  for (const auto& [name, value] : named) names.push_back(name);
  const std::string wrong = what_does_not_fit(row, positional.size(), names);
  if (!wrong.empty()) fail("calls '" + std::string(row.name) + "', which " + wrong);

  const size_t count = parameter_count(row);
  Arguments out;
  out.values.resize(count);
  out.given.resize(count);
  for (size_t i = 0; i < positional.size(); ++i) {
    if (i >= count) {
      out.rest.push_back(std::move(positional[i]));
      continue;
    }
    out.values[i] = std::move(positional[i]);
    out.given[i] = true;
  }
  for (auto& [name, value] : named) {
    const size_t at = parameter_index(row, name);
    if (at >= count) {
      out.rest_named.emplace_back(name, std::move(value));
      continue;
    }
    out.values[at] = std::move(value);
    out.given[at] = true;
  }
  return out;
}

bool is_python_method(const Value& object, std::string_view name) {
  static constexpr std::string_view kText[] = {
      "capitalize",   "casefold",    "center",    "count",      "encode",       "endswith",
      "expandtabs",   "find",        "format",    "format_map", "index",        "isalnum",
      "isalpha",      "isascii",     "isdecimal", "isdigit",    "isidentifier", "islower",
      "isnumeric",    "isprintable", "isspace",   "istitle",    "isupper",      "join",
      "ljust",        "lower",       "lstrip",    "maketrans",  "partition",    "removeprefix",
      "removesuffix", "replace",     "rfind",     "rindex",     "rjust",        "rpartition",
      "rsplit",       "rstrip",      "split",     "splitlines", "startswith",   "strip",
      "swapcase",     "title",       "translate", "upper",      "zfill"};
  static constexpr std::string_view kDict[] = {"clear",      "copy",   "fromkeys", "get",
                                               "items",      "keys",   "pop",      "popitem",
                                               "setdefault", "update", "values"};
  static constexpr std::string_view kList[] = {"append",     "clear",  "copy", "count",  "extend",
                                               "index",      "insert", "pop",  "remove", "reverse",
                                               "sort",       "start",  "stop", "step",   "mapping",
                                               "isdisjoint", "close",  "send", "throw"};
  static constexpr std::string_view kNumber[] = {
      "as_integer_ratio", "bit_count",  "bit_length", "conjugate", "denominator",
      "fromhex",          "from_bytes", "hex",        "imag",      "is_integer",
      "numerator",        "real",       "to_bytes"};
  const auto has = [&](const auto& names) {
    return std::find(std::begin(names), std::end(names), name) != std::end(names);
  };
  if (object.is_text()) return has(kText);
  if (object.dict() != nullptr) return has(kDict);
  if (object.list() != nullptr) return has(kList);
  return object.is_number() && has(kNumber);
}

}  // namespace pocket::jinja
