#include "runtime/text/jinja/interpreter.h"

#include <algorithm>

#include "runtime/text/jinja/interpreter_level.h"
#include "runtime/text/jinja/lexer.h"

namespace pocket::jinja {

std::string Interpreter::run(const Statements& statements,
                             std::map<std::string, Value, std::less<>> names) {
  Scope scope{.names = std::move(names)};
  std::string out;
  execute(statements, scope, out);
  return out;
}

void Interpreter::charge(size_t work) {
  work_ += work + 1;
  if (work_ > kMaxWork) fail("does more than " + std::to_string(kMaxWork) + " steps");
}

Value Interpreter::text(std::string made) {
  charge(made.size());
  if (made.size() > kMaxValueSize) {
    fail("builds a text of more than " + std::to_string(kMaxValueSize) + " bytes");
  }
  return made;
}

Namespace* Interpreter::make_namespace() {
  charge(sizeof(Namespace));
  return &namespaces_.emplace_back();
}

void Interpreter::append(std::string& out, std::string_view text) {
  charge(text.size());
  if (out.size() + text.size() > kMaxOutputBytes) {
    fail("makes more than " + std::to_string(kMaxOutputBytes) + " bytes");
  }
  out += text;
}

Interpreter::Flow Interpreter::execute(const Statements& statements, Scope& scope,
                                       std::string& out) {
  const Level level(*this);
  for (const auto& statement : statements) {
    const Flow flow = execute_one(*statement, scope, out);
    if (flow != Flow::next) return flow;
  }
  return Flow::next;
}

Interpreter::Flow Interpreter::execute_one(const Statement& statement, Scope& scope,
                                           std::string& out) {
  using Kind = Statement::Kind;
  charge(0);
  switch (statement.kind) {
    case Kind::text:
      append(out, statement.text);
      break;
    case Kind::output: {
      const Value value = evaluate(*statement.expression, scope);
      charge(value.size());
      append(out, to_text(value));
      break;
    }
    case Kind::conditional:
      for (const Statement::Branch& branch : statement.branches) {
        if (branch.condition && !truth(evaluate(*branch.condition, scope))) continue;
        return execute(branch.body, scope, out);
      }
      break;
    case Kind::loop:
      return run_loop(statement, scope, out);
    case Kind::assign:
      assign(statement.target, evaluate(*statement.expression, scope), scope);
      break;
    case Kind::capture: {
      Value value = text(capture(statement, scope));
      if (statement.filters) value = evaluate_filter(*statement.filters, scope, &value);
      assign(statement.target, value, scope);
      break;
    }
    case Kind::filtered: {
      const Value value = text(capture(statement, scope));
      append(out, to_text(evaluate_filter(*statement.filters, scope, &value)));
      break;
    }
    case Kind::macro:
      scope.names[statement.text] =
          std::make_shared<Callable>(Callable{.macro = &statement, .scope = &scope});
      break;
    case Kind::call: {
      const auto caller =
          std::make_shared<Callable>(Callable{.macro = &statement, .scope = &scope});
      append(out, to_text(evaluate_call(*statement.expression, scope, caller)));
      caller->scope = nullptr;
      break;
    }
    case Kind::scope: {
      Scope inner{.parent = &scope};
      for (const auto& [target, value] : statement.assignments) {
        assign(target, evaluate(*value, scope), inner);
      }
      return execute(statement.body, inner, out);
    }
    case Kind::leave_loop:
      return Flow::leave_loop;
    case Kind::next_round:
      return Flow::next_round;
  }
  return Flow::next;
}

std::string Interpreter::capture(const Statement& statement, Scope& scope) {
  Scope inner{.parent = &scope};
  std::string out;
  execute(statement.body, inner, out);
  return out;
}

void Interpreter::assign(const Target& target, const Value& value, Scope& scope) {
  if (!target.attribute.empty()) {
    Namespace* names = lookup(target.names[0], scope).names();
    if (names == nullptr) {
      fail("assigns to '" + target.names[0] + "." + target.attribute +
           "', which is no attribute of a namespace");
    }
    if (target.attribute.starts_with('_')) {
      fail("assigns to the attribute '" + target.attribute + "', which is not supported");
    }
    charge(names->items.size());
    for (auto& [name, old] : names->items) {
      if (name != target.attribute) continue;
      old = value;
      return;
    }
    names->items.emplace_back(target.attribute, value);
    return;
  }
  if (!target.tuple) {
    scope.names[target.names[0]] = value;
    return;
  }
  const std::vector<Value> items = iterate(value);
  if (items.size() != target.names.size()) {
    fail("takes " + std::to_string(items.size()) + " values apart into " +
         std::to_string(target.names.size()) + " names");
  }
  for (size_t i = 0; i < items.size(); ++i) scope.names[target.names[i]] = items[i];
}

Value Interpreter::call_macro(const Callable& callable, std::vector<Value> positional,
                              std::vector<std::pair<std::string, Value>> named,
                              std::shared_ptr<Callable> caller) {
  const Level level(*this);
  const Statement& macro = *callable.macro;
  if (callable.scope == nullptr) fail("calls a block that has ended");
  const size_t count = macro.parameters.size();
  if (positional.size() > count) {
    fail("calls '" + macro.text + "' with " + std::to_string(positional.size()) +
         " arguments; it takes at most " + std::to_string(count));
  }
  Scope scope{.parent = callable.scope};
  for (size_t i = 0; i < positional.size(); ++i) {
    scope.names[macro.parameters[i]] = std::move(positional[i]);
  }
  for (auto& [name, value] : named) {
    const auto it = std::find(macro.parameters.begin(), macro.parameters.end(), name);
    if (it == macro.parameters.end() || scope.names.contains(name)) {
      fail("calls '" + macro.text + "' with an argument '" + name +
           "' that it does not take or has already");
    }
    scope.names[name] = std::move(value);
  }
  const size_t first_default = count - macro.defaults.size();
  for (size_t i = 0; i < count; ++i) {
    const std::string& name = macro.parameters[i];
    if (scope.names.contains(name)) continue;
    if (i >= first_default) {
      Value value = evaluate(*macro.defaults[i - first_default], scope);
      scope.names[name] = std::move(value);
    } else {
      scope.names[name] = Undefined{"parameter '" + name + "' was not provided"};
    }
  }
  if (caller) {
    scope.names["caller"] = std::move(caller);
  } else if (macro.kind == Statement::Kind::macro) {
    scope.names["caller"] = Undefined{"No caller defined"};
  }
  std::string out;
  execute(macro.body, scope, out);
  return text(std::move(out));
}

}  // namespace pocket::jinja
