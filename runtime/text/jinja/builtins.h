// Filters, tests, methods and functions that templates may use: one row each, with the names of
// its parameters, so that the parser refuses what is not there.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/text/jinja/value.h"

namespace pocket::jinja {

class Interpreter;

// Arguments in the order of the row's parameters; undefined where none was given.
class Arguments {
 public:
  std::vector<Value> values;
  std::vector<bool> given;
  std::vector<Value> rest;  // beyond the parameters, for rows that take any number
  std::vector<std::pair<std::string, Value>> rest_named;

  bool has(size_t i) const { return i < given.size() && given[i]; }
  const Value& operator[](size_t i) const { return values[i]; }
  bool flag(size_t i, bool otherwise) const { return has(i) ? truth(values[i]) : otherwise; }
  int64_t integer(size_t i, int64_t otherwise) const;  // fails for what is no integer
  std::string text(size_t i) const;                    // fails for what is no text
  bool has_value(size_t i) const { return has(i) && !values[i].is_none(); }
};

using Function = Value (*)(Interpreter&, const Value& self, const Arguments&);

struct FunctionRow {
  std::string_view name;
  std::array<std::string_view, 4> parameters;  // "" beyond the last
  size_t required;
  Function function;
  bool any_number = false;
};

struct FilterRow : FunctionRow {};
struct TestRow : FunctionRow {};

const FilterRow* find_filter(std::string_view name);  // nullptr: not known; so below
const TestRow* find_test(std::string_view name);
const FunctionRow* find_text_method(std::string_view name);
const FunctionRow* find_dict_method(std::string_view name);
const FunctionRow* find_list_method(std::string_view name);
const FunctionRow* find_function(std::string_view name);  // range, namespace, ...

// Whether Python's str, dict or list (after the type of the value) has a method of this name.
bool is_python_method(const Value& object, std::string_view name);

// Puts positional and named arguments in order. Fails, naming the function, when one is missing,
// unknown or given twice.
Arguments bind_arguments(const FunctionRow& row, std::vector<Value> positional,
                         std::vector<std::pair<std::string, Value>> named);

// The same question before there are values: what is wrong, or "".
std::string what_does_not_fit(const FunctionRow& row, size_t positional,
                              const std::vector<std::string_view>& named);

}  // namespace pocket::jinja
