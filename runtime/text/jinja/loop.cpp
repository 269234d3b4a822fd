// {% for %} and the variable `loop`.
#include "runtime/text/jinja/interpreter.h"
#include "runtime/text/jinja/lexer.h"

namespace pocket::jinja {

// Whether `count` more rounds are to come. The loop's condition is asked only when needed: it may
// depend on what the rounds before have changed.
bool Interpreter::look_ahead(Loop& loop, size_t count) {
  while (loop.ahead.size() < count && loop.next < loop.items.size()) {
    charge(0);
    const Value& value = loop.items[loop.next++];
    if (loop.statement->condition) {
      if (loop.scope == nullptr) return false;
      Scope inner{.parent = loop.scope};
      assign(loop.statement->target, value, inner);
      if (!truth(evaluate(*loop.statement->condition, inner))) continue;
    }
    loop.ahead.push_back(value);
  }
  return loop.ahead.size() >= count;
}

Interpreter::Flow Interpreter::run_loop(const Statement& statement, Scope& scope,
                                        std::string& out) {
  const auto loop = std::make_shared<Loop>();
  loop->statement = &statement;
  loop->items = iterate(evaluate(*statement.expression, scope));
  loop->scope = &scope;
  loop->depth0 = 0;
  // The loop object must not outlive what it points to, whatever ends the loop.
  struct End {
    Loop& loop;
    ~End() {
      loop.scope = nullptr;
      loop.seen.reset();
      loop.previous = loop.current = Undefined{};
      loop.items.clear();
      loop.ahead.clear();
    }
  };
  const End end{*loop};
  bool any = false;
  while (look_ahead(*loop, 1)) {
    any = true;
    loop->previous = std::move(loop->current);
    loop->current = std::move(loop->ahead.front());
    loop->ahead.pop_front();
    ++loop->index0;
    Scope inner{.parent = &scope};
    assign(statement.target, loop->current, inner);
    inner.names["loop"] = loop;
    if (execute(statement.body, inner, out) == Flow::leave_loop) break;
  }
  if (any) return Flow::next;
  Scope inner{.parent = &scope};
  return execute(statement.otherwise, inner, out);
}

Value Interpreter::loop_attribute(Loop& loop, std::string_view name) {
  if (name == "index0") return loop.index0;
  if (name == "index") return loop.index0 + 1;
  if (name == "first") return loop.index0 == 0;
  if (name == "last") return !look_ahead(loop, 1);
  if (name == "depth0" || name == "depth") return loop.depth0 + (name == "depth" ? 1 : 0);
  if (name == "previtem") {
    return loop.index0 > 0 ? loop.previous : Value(Undefined{"there is no previous item"});
  }
  if (name == "nextitem") {
    return look_ahead(loop, 1) ? loop.ahead.front() : Value(Undefined{"there is no next item"});
  }
  if (name == "length" || name == "revindex" || name == "revindex0") {
    look_ahead(loop, loop.items.size());
    const auto length = loop.index0 + 1 + static_cast<int64_t>(loop.ahead.size());
    if (name == "length") return length;
    return length - loop.index0 - (name == "revindex0" ? 1 : 0);
  }
  return Undefined{"'loop' has no attribute '" + std::string(name) + "'"};
}

Value Interpreter::call_loop(Loop& loop, std::string_view name,
                             const std::vector<Value>& positional) {
  if (name == "cycle") {
    if (positional.empty()) fail("calls loop.cycle without values");
    return positional[static_cast<size_t>(loop.index0) % positional.size()];
  }
  if (name != "changed") fail("calls loop." + std::string(name) + ", which is not supported");
  const Value values = make_list(positional, List::Kind::tuple);
  charge(values.size());
  const bool changed = !loop.seen || !equal(*loop.seen, values);
  loop.seen = values;
  return changed;
}

}  // namespace pocket::jinja
