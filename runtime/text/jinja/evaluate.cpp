#include <algorithm>
#include <cmath>

#include "runtime/text/jinja/interpreter.h"
#include "runtime/text/jinja/interpreter_level.h"
#include "runtime/text/jinja/lexer.h"
#include "runtime/text/jinja/text.h"
#include "runtime/text/unicode.h"

namespace pocket::jinja {

namespace {

using Kind = Expression::Kind;

void need_defined(const Value& value) {
  if (value.is_undefined()) fail("uses a value that is not there: " + value.undefined_reason());
}

}  // namespace

Value Interpreter::lookup(const std::string& name, Scope& scope) {
  for (const Scope* at = &scope; at != nullptr; at = at->parent) {
    const auto it = at->names.find(name);
    if (it != at->names.end()) return it->second;
  }
  if (const FunctionRow* row = find_function(name)) {
    return std::make_shared<Callable>(Callable{.function = row});
  }
  return Undefined{"'" + name + "' is undefined"};
}

Value Interpreter::evaluate(const Expression& expression, Scope& scope) {
  const Level level(*this);
  charge(0);
  const auto child = [&](size_t i) { return evaluate(*expression.children[i], scope); };
  const auto all = [&] {
    std::vector<Value> out;
    for (const ExpressionPtr& item : expression.children) out.push_back(evaluate(*item, scope));
    charge(8 * out.size());
    return out;
  };
  switch (expression.kind) {
    case Kind::constant:
      return expression.value;
    case Kind::name:
      return lookup(expression.text, scope);
    case Kind::list:
      return make_list(all());
    case Kind::tuple:
      return make_list(all(), List::Kind::tuple);
    case Kind::dict: {
      std::vector<Value> values = all();
      std::vector<std::pair<Value, Value>> items;
      for (size_t i = 0; i + 1 < values.size(); i += 2) {
        charge(items.size());
        items.emplace_back(std::move(values[i]), std::move(values[i + 1]));
      }
      return make_dict(std::move(items));
    }
    case Kind::attribute:
      return attribute(child(0), expression.text);
    case Kind::item: {
      const Value object = child(0);
      return item(object, child(1));
    }
    case Kind::slice:
      return evaluate_slice(expression, scope);
    case Kind::call:
      return evaluate_call(expression, scope, nullptr);
    case Kind::filter:
      return evaluate_filter(expression, scope, nullptr);
    case Kind::test: {
      const Value self = child(0);
      const Arguments bound = bind_arguments(*expression.test, arguments(expression, scope),
                                             named_arguments(expression, scope));
      charge(self.size());
      return expression.test->function(*this, self, bound);
    }
    case Kind::negate:
    case Kind::plus: {
      const Value value = child(0);
      if (!value.is_number()) {
        need_defined(value);
        fail(std::string("gives a ") + value.type_name() + " a sign");
      }
      if (expression.kind == Kind::plus) return value.is_real() ? value : Value(*value.integer());
      return value.is_real() ? Value(-value.real()) : arithmetic("-", int64_t{0}, value);
    }
    case Kind::logical_not:
      return !truth(child(0));
    case Kind::logical_and: {
      Value left = child(0);
      return truth(left) ? child(1) : left;
    }
    case Kind::logical_or: {
      Value left = child(0);
      return truth(left) ? left : child(1);
    }
    case Kind::arithmetic: {
      const Value left = child(0);
      const Value right = child(1);
      return arithmetic(expression.text, left, right);
    }
    case Kind::concat: {
      std::string out;
      for (const Value& value : all()) {
        charge(value.size());
        out += to_text(value);
        if (out.size() > kMaxValueSize) break;  // text() refuses it
      }
      return text(std::move(out));
    }
    case Kind::compare:
      return evaluate_compare(expression, scope);
    case Kind::conditional:
      if (truth(child(0))) return child(1);
      if (expression.children[2]) return child(2);
      return Undefined{"the inline if-expression has no else and evaluated to false"};
  }
  fail("holds an expression of an unknown kind");
}

Value Interpreter::evaluate_compare(const Expression& expression, Scope& scope) {
  Value left = evaluate(*expression.children[0], scope);
  for (size_t i = 0; i < expression.operators.size(); ++i) {
    Value right = evaluate(*expression.children[i + 1], scope);
    const std::string& op = expression.operators[i];
    charge(std::min(left.size(), right.size()));
    bool holds = false;
    if (op == "==" || op == "!=") {
      holds = equal(left, right) == (op == "==");
    } else if (op == "in" || op == "not in") {
      holds = contains(right, left) == (op == "in");
    } else {
      const int order = compare(left, right);
      holds = op == "<" ? order < 0 : op == "<=" ? order <= 0 : op == ">" ? order > 0 : order >= 0;
    }
    if (!holds) return false;
    left = std::move(right);
  }
  return true;
}

bool Interpreter::contains(const Value& container, const Value& value) {
  charge(container.size());
  if (container.is_text()) {
    if (!value.is_text()) {
      fail(std::string("looks for a ") + value.type_name() + " in a text");
    }
    return container.text().find(value.text()) != std::string::npos;
  }
  if (container.dict() != nullptr) {
    if (value.list() != nullptr || value.dict() != nullptr) {
      fail(std::string("looks for a ") + value.type_name() + " among the keys of a dict");
    }
    return container.dict()->find(value) != nullptr;
  }
  if (const List* list = container.list(); list != nullptr && !list->has_length()) {
    while (list->taken < list->items.size()) {
      if (equal(list->items[list->taken++], value)) return true;
    }
    return false;
  }
  const std::vector<Value> items = iterate(container);
  return std::any_of(items.begin(), items.end(), [&](const Value& x) { return equal(x, value); });
}

std::vector<Value> Interpreter::iterate(const Value& value) {
  std::vector<Value> out;
  if (value.is_undefined()) return out;
  if (const List* list = value.list()) {
    out.assign(list->items.begin() + static_cast<std::ptrdiff_t>(list->taken), list->items.end());
    if (!list->has_length()) list->taken = list->items.size();
  } else if (const Dict* dict = value.dict()) {
    for (const auto& [key, item] : dict->items) out.push_back(key);
  } else if (value.is_text()) {
    const std::string& text = value.text();
    charge(40 * text.size());
    for (size_t pos = 0; pos < text.size();) {
      const size_t bytes = utf8_step(text, pos).bytes;
      out.emplace_back(text.substr(pos, bytes));
      pos += bytes;
    }
  } else {
    fail(std::string("goes through a value of type ") + value.type_name() +
         ", which holds no items");
  }
  charge(8 * out.size());
  return out;
}

Value Interpreter::attribute(const Value& object, std::string_view name) {
  need_defined(object);
  charge(0);
  if (const Namespace* names = object.names()) {
    charge(names->items.size());
    for (const auto& [key, value] : names->items) {
      if (key == name) return value;
    }
    return Undefined{"the namespace has no attribute '" + std::string(name) + "'"};
  }
  if (const auto* loop = object.loop()) return loop_attribute(**loop, name);
  if (object.callable() != nullptr || is_python_method(object, name)) {
    fail("takes the attribute '" + std::string(name) + "' of a " + object.type_name() +
         " as a value, which is not supported");
  }
  if (const Dict* dict = object.dict()) {
    charge(dict->items.size());
    if (const Value* found = dict->find(name)) return *found;
  }
  return Undefined{std::string("the ") + object.type_name() + " has no attribute '" +
                   std::string(name) + "'"};
}

Value Interpreter::item(const Value& object, const Value& key) {
  need_defined(object);
  charge(0);
  if (const Dict* dict = object.dict()) {
    charge(dict->items.size());
    if (const Value* found = dict->find(key)) return *found;
  }
  if (const auto index = key.integer()) {
    const auto place = [&](size_t size) -> std::optional<size_t> {
      const auto length = static_cast<int64_t>(size);
      const int64_t at = *index < 0 ? *index + length : *index;
      return at >= 0 && at < length ? std::optional<size_t>(at) : std::nullopt;
    };
    if (const List* list = object.list(); list != nullptr && list->has_items()) {
      if (const auto at = place(list->items.size())) return list->items[*at];
    } else if (object.is_text()) {
      charge(object.text().size());
      const std::vector<size_t> at = starts(object.text());
      if (const auto i = place(at.size() - 1)) {
        return object.text().substr(at[*i], at[*i + 1] - at[*i]);
      }
    }
  }
  if (key.is_text() && object.dict() == nullptr) return attribute(object, key.text());
  if (key.is_text() && is_python_method(object, key.text())) return attribute(object, key.text());
  return Undefined{std::string("the ") + object.type_name() + " has no item of this key"};
}

Value Interpreter::path(const Value& object, const Value& path) {
  if (path.integer()) return item(object, path);
  if (!path.is_text()) fail("names an attribute by a value that is no text");
  Value at = object;
  for (const std::string& part : split(path.text(), ".", -1)) {
    const bool number = !part.empty() && part.size() < 10 &&
                        part.find_first_not_of("0123456789") == std::string::npos;
    at = item(at, number ? Value(int64_t{std::stol(part)}) : Value(part));
  }
  return at;
}

Value Interpreter::evaluate_slice(const Expression& expression, Scope& scope) {
  const Value object = evaluate(*expression.children[0], scope);
  std::optional<int64_t> part[3];
  for (size_t i = 0; i < 3; ++i) {
    if (!expression.children[i + 1]) continue;
    const Value value = evaluate(*expression.children[i + 1], scope);
    if (value.is_none()) continue;
    part[i] = value.integer();
    if (!part[i]) fail(std::string("slices with a ") + value.type_name());
  }
  need_defined(object);
  const List* list = object.list();
  const bool has_items = list != nullptr && list->has_items();
  if (!object.is_text() && !has_items) fail(std::string("slices a ") + object.type_name());
  charge(object.size());
  const std::vector<size_t> at = object.is_text() ? starts(object.text()) : std::vector<size_t>();
  const auto size = static_cast<int64_t>(has_items ? list->items.size() : at.size() - 1);
  const int64_t step = part[2].value_or(1);
  if (step == 0) fail("slices with a step of 0");
  // Python's slice.indices().
  const int64_t low = step < 0 ? -1 : 0, high = step < 0 ? size - 1 : size;
  const auto bound_of = [&](const std::optional<int64_t>& value, int64_t otherwise) {
    if (!value) return otherwise;
    if (*value < 0) return *value < -size ? low : std::max(*value + size, low);
    return std::min(*value, high);
  };
  const int64_t begin = bound_of(part[0], step < 0 ? high : low);
  const int64_t end = bound_of(part[1], step < 0 ? low : high);
  std::string text_out;
  std::vector<Value> list_out;
  for (int64_t i = begin; step > 0 ? i < end : i > end;) {
    const auto index = static_cast<size_t>(i);
    if (has_items) {
      list_out.push_back(list->items[index]);
    } else {
      text_out.append(object.text(), at[index], at[index + 1] - at[index]);
    }
    if (step > size || step < -size) break;  // the next one lies outside
    i += step;
  }
  if (!has_items) return text(std::move(text_out));
  charge(8 * list_out.size());
  return make_list(std::move(list_out), list->kind);
}

std::vector<Value> Interpreter::arguments(const Expression& call, Scope& scope) {
  std::vector<Value> out;
  for (size_t i = 1; i < call.children.size(); ++i) {
    out.push_back(evaluate(*call.children[i], scope));
  }
  return out;
}

std::vector<std::pair<std::string, Value>> Interpreter::named_arguments(const Expression& call,
                                                                        Scope& scope) {
  std::vector<std::pair<std::string, Value>> out;
  for (const auto& [name, value] : call.named) out.emplace_back(name, evaluate(*value, scope));
  return out;
}

Value Interpreter::evaluate_call(const Expression& expression, Scope& scope,
                                 std::shared_ptr<Callable> caller) {
  const Expression& function = *expression.children[0];
  if (function.kind == Kind::attribute) {
    const Value object = evaluate(*function.children[0], scope);
    need_defined(object);
    std::vector<Value> positional = arguments(expression, scope);
    auto named = named_arguments(expression, scope);
    charge(object.size());
    if (const auto* loop = object.loop()) {
      if (!named.empty()) fail("calls loop." + function.text + " with named arguments");
      return call_loop(**loop, function.text, positional);
    }
    const FunctionRow* row = nullptr;
    if (object.is_text()) row = find_text_method(function.text);
    if (object.dict() != nullptr) row = find_dict_method(function.text);
    if (object.list() != nullptr) row = find_list_method(function.text);
    if (row == nullptr) {
      fail_at(function.line, std::string("a ") + object.type_name() + " has no method '" +
                                 function.text + "' that is supported");
    }
    return row->function(*this, object,
                         bind_arguments(*row, std::move(positional), std::move(named)));
  }
  const Value callee = evaluate(function, scope);
  need_defined(callee);
  const auto* callable = callee.callable();
  if (callable == nullptr) fail(std::string("calls a ") + callee.type_name());
  std::vector<Value> positional = arguments(expression, scope);
  auto named = named_arguments(expression, scope);
  if ((*callable)->macro != nullptr) {
    return call_macro(**callable, std::move(positional), std::move(named), std::move(caller));
  }
  if (caller) fail("calls a function with a block");
  const FunctionRow& row = *(*callable)->function;
  return row.function(*this, None{}, bind_arguments(row, std::move(positional), std::move(named)));
}

// input: of a filter block; it goes into the innermost filter.
Value Interpreter::evaluate_filter(const Expression& expression, Scope& scope, const Value* input) {
  const Level level(*this);
  const Expression* inner = expression.children[0].get();
  Value self;
  if (inner == nullptr) {
    if (input == nullptr) fail("uses a filter without a value");
    self = *input;
  } else if (input != nullptr && inner->kind == Kind::filter) {
    self = evaluate_filter(*inner, scope, input);
  } else {
    self = evaluate(*inner, scope);
  }
  const Arguments bound = bind_arguments(*expression.filter, arguments(expression, scope),
                                         named_arguments(expression, scope));
  charge(self.size());
  return expression.filter->function(*this, self, bound);
}

Value Interpreter::apply_filter(std::string_view name, const Value& self,
                                std::vector<Value> positional,
                                std::vector<std::pair<std::string, Value>> named) {
  const FilterRow* row = find_filter(name);
  if (row == nullptr || name == "safe") {
    fail("asks for the filter '" + std::string(name.substr(0, 40)) + "', which is not supported");
  }
  const Level level(*this);
  charge(self.size());
  return row->function(*this, self, bind_arguments(*row, std::move(positional), std::move(named)));
}

bool Interpreter::apply_test(std::string_view name, const Value& self,
                             std::vector<Value> positional) {
  const TestRow* row = find_test(name);
  if (row == nullptr) {
    fail("asks for the test '" + std::string(name.substr(0, 40)) + "', which is not supported");
  }
  charge(self.size());
  return truth(row->function(*this, self, bind_arguments(*row, std::move(positional), {})));
}

}  // namespace pocket::jinja
