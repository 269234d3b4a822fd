// A parsed template.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/text/jinja/value.h"

namespace pocket::jinja {

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;
struct Statement;
using Statements = std::vector<std::unique_ptr<Statement>>;

struct FunctionRow;  // builtins.h
struct FilterRow;
struct TestRow;

struct Expression {
  enum class Kind {
    constant,     // value
    name,         // text
    list,         // children: items
    tuple,        // children: items
    dict,         // children: key, value, key, value, ...
    attribute,    // children: object; text: the name
    item,         // children: object, key
    slice,        // children: object, start, stop, step (each may be null)
    call,         // children: what is called, positional arguments; named
    filter,       // children: the input (null in a filter block), positional; named; filter
    test,         // children: the input, positional; test
    negate,       // children: x
    plus,         // children: x
    logical_not,  // children: x
    logical_and,  // children: a, b
    logical_or,   // children: a, b
    arithmetic,   // children: a, b; text: + - * / // % **
    concat,       // children: texts
    compare,      // children: a, b, c, ...; operators between them
    conditional,  // children: condition, then, otherwise (may be null)
  };
  Kind kind;
  int line = 0;
  int depth = 1;
  std::string text = {};
  Value value = {};
  std::vector<ExpressionPtr> children = {};
  std::vector<std::pair<std::string, ExpressionPtr>> named = {};
  std::vector<std::string> operators = {};  // compare: == != < <= > >= in "not in"
  const FilterRow* filter = nullptr;
  const TestRow* test = nullptr;
};

// What an assignment or a loop names: x, or (x, y), or namespace.attribute.
struct Target {
  std::vector<std::string> names;
  bool tuple = false;
  std::string attribute = {};  // names[0] is the namespace
};

struct Statement {
  enum class Kind {
    text,         // text
    output,       // expression
    conditional,  // branches; the last may have no condition
    loop,         // target, expression, condition (may be null), body, otherwise
    assign,       // target, expression
    capture,      // target, filters (may be null), body: {% set x %}...{% endset %}
    macro,        // text: name; parameters, defaults, body
    call,         // expression, parameters, defaults, body
    filtered,     // filters, body: {% filter f %}...{% endfilter %}
    scope,        // assignments, body: {% with %}; {% generation %} has no assignments
    leave_loop,
    next_round,
  };
  struct Branch {
    ExpressionPtr condition;
    Statements body;
  };
  Kind kind;
  int line = 0;
  std::string text = {};
  Target target = {};
  ExpressionPtr expression = {}, condition = {}, filters = {};
  std::vector<Branch> branches = {};
  std::vector<std::string> parameters = {};
  std::vector<ExpressionPtr> defaults = {};  // of the last parameters
  std::vector<std::pair<Target, ExpressionPtr>> assignments = {};
  Statements body = {}, otherwise = {};
};

}  // namespace pocket::jinja
