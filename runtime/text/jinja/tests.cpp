// What may stand after `is`.
#include <algorithm>
#include <cmath>

#include "runtime/text/jinja/interpreter.h"
#include "runtime/text/jinja/text.h"

namespace pocket::jinja {

namespace {

using Test = bool (*)(Interpreter&, const Value&, const Arguments&);

template <Test test>
Value as_value(Interpreter& in, const Value& self, const Arguments& arguments) {
  return test(in, self, arguments);
}

int64_t integer_of(const Value& value) {
  if (const auto found = value.integer()) return *found;
  fail(std::string("asks whether a ") + value.type_name() + " divides evenly");
}

bool is_defined(Interpreter&, const Value& x, const Arguments&) { return !x.is_undefined(); }
bool is_undefined(Interpreter&, const Value& x, const Arguments&) { return x.is_undefined(); }
bool is_none(Interpreter&, const Value& x, const Arguments&) { return x.is_none(); }
bool is_boolean(Interpreter&, const Value& x, const Arguments&) { return x.is_bool(); }
bool is_true(Interpreter&, const Value& x, const Arguments&) { return x.is_bool() && truth(x); }
bool is_false(Interpreter&, const Value& x, const Arguments&) { return x.is_bool() && !truth(x); }
bool is_integer(Interpreter&, const Value& x, const Arguments&) { return x.is_int(); }
bool is_float(Interpreter&, const Value& x, const Arguments&) { return x.is_real(); }
bool is_number(Interpreter&, const Value& x, const Arguments&) { return x.is_number(); }
bool is_string(Interpreter&, const Value& x, const Arguments&) { return x.is_text(); }
bool is_mapping(Interpreter&, const Value& x, const Arguments&) { return x.dict() != nullptr; }
bool is_sequence(Interpreter&, const Value& x, const Arguments&) {
  return x.is_text() || x.is_undefined() || x.dict() != nullptr ||
         (x.list() != nullptr && x.list()->has_items());
}
bool is_iterable(Interpreter&, const Value& x, const Arguments&) {
  return x.is_text() || x.is_undefined() || x.dict() != nullptr || x.list() != nullptr ||
         x.loop() != nullptr;
}
bool is_callable(Interpreter&, const Value& x, const Arguments&) {
  return x.callable() != nullptr || x.is_undefined();
}
bool is_lower_text(Interpreter&, const Value& x, const Arguments&) { return is_lower(to_text(x)); }
bool is_upper_text(Interpreter&, const Value& x, const Arguments&) { return is_upper(to_text(x)); }
bool is_odd(Interpreter&, const Value& x, const Arguments&) { return integer_of(x) % 2 != 0; }
bool is_even(Interpreter&, const Value& x, const Arguments&) { return integer_of(x) % 2 == 0; }
bool is_divisible(Interpreter&, const Value& x, const Arguments& arguments) {
  const int64_t by = integer_of(arguments[0]);
  if (by == 0) fail("divides by 0");
  return by == -1 || integer_of(x) % by == 0;
}

bool is_equal(Interpreter&, const Value& x, const Arguments& arguments) {
  return equal(x, arguments[0]);
}
bool is_not_equal(Interpreter&, const Value& x, const Arguments& arguments) {
  return !equal(x, arguments[0]);
}
bool is_less(Interpreter&, const Value& x, const Arguments& arguments) {
  return compare(x, arguments[0]) < 0;
}
bool is_at_most(Interpreter&, const Value& x, const Arguments& arguments) {
  return compare(x, arguments[0]) <= 0;
}
bool is_greater(Interpreter&, const Value& x, const Arguments& arguments) {
  return compare(x, arguments[0]) > 0;
}
bool is_at_least(Interpreter&, const Value& x, const Arguments& arguments) {
  return compare(x, arguments[0]) >= 0;
}
bool is_in(Interpreter& in, const Value& x, const Arguments& arguments) {
  return in.contains(arguments[0], x);
}
// The same object; of what Python keeps once: none, true, false.
bool is_same(Interpreter&, const Value& x, const Arguments& arguments) {
  const Value& other = arguments[0];
  if (x.is_none() || other.is_none()) return x.is_none() && other.is_none();
  if (x.is_bool() || other.is_bool()) {
    return x.is_bool() && other.is_bool() && truth(x) == truth(other);
  }
  fail(std::string("asks whether a ") + x.type_name() +
       " is the same object, which is not supported");
}

constexpr TestRow kTests[] = {
    {{"defined", {}, 0, as_value<is_defined>}},
    {{"undefined", {}, 0, as_value<is_undefined>}},
    {{"none", {}, 0, as_value<is_none>}},
    {{"boolean", {}, 0, as_value<is_boolean>}},
    {{"true", {}, 0, as_value<is_true>}},
    {{"false", {}, 0, as_value<is_false>}},
    {{"integer", {}, 0, as_value<is_integer>}},
    {{"float", {}, 0, as_value<is_float>}},
    {{"number", {}, 0, as_value<is_number>}},
    {{"string", {}, 0, as_value<is_string>}},
    {{"mapping", {}, 0, as_value<is_mapping>}},
    {{"sequence", {}, 0, as_value<is_sequence>}},
    {{"iterable", {}, 0, as_value<is_iterable>}},
    {{"callable", {}, 0, as_value<is_callable>}},
    {{"lower", {}, 0, as_value<is_lower_text>}},
    {{"upper", {}, 0, as_value<is_upper_text>}},
    {{"odd", {}, 0, as_value<is_odd>}},
    {{"even", {}, 0, as_value<is_even>}},
    {{"divisibleby", {"num"}, 1, as_value<is_divisible>}},
    {{"eq", {"other"}, 1, as_value<is_equal>}},
    {{"==", {"other"}, 1, as_value<is_equal>}},
    {{"equalto", {"other"}, 1, as_value<is_equal>}},
    {{"ne", {"other"}, 1, as_value<is_not_equal>}},
    {{"!=", {"other"}, 1, as_value<is_not_equal>}},
    {{"lt", {"other"}, 1, as_value<is_less>}},
    {{"<", {"other"}, 1, as_value<is_less>}},
    {{"lessthan", {"other"}, 1, as_value<is_less>}},
    {{"le", {"other"}, 1, as_value<is_at_most>}},
    {{"<=", {"other"}, 1, as_value<is_at_most>}},
    {{"gt", {"other"}, 1, as_value<is_greater>}},
    {{">", {"other"}, 1, as_value<is_greater>}},
    {{"greaterthan", {"other"}, 1, as_value<is_greater>}},
    {{"ge", {"other"}, 1, as_value<is_at_least>}},
    {{">=", {"other"}, 1, as_value<is_at_least>}},
    {{"in", {"seq"}, 1, as_value<is_in>}},
    {{"sameas", {"other"}, 1, as_value<is_same>}},
};

}  // namespace

const TestRow* find_test(std::string_view name) {
  const auto* it = std::find_if(std::begin(kTests), std::end(kTests),
                                [&](const TestRow& row) { return row.name == name; });
  return it == std::end(kTests) ? nullptr : it;
}

}  // namespace pocket::jinja
