// Runs a parsed template. Bounded in everything that a template can ask for: recursion, steps,
// bytes made.
#pragma once

#include <ctime>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/text/jinja/ast.h"
#include "runtime/text/jinja/builtins.h"
#include "runtime/text/jinja/value.h"

namespace pocket::jinja {

inline constexpr size_t kMaxOutputBytes = size_t{1} << 24;
inline constexpr size_t kMaxWork = size_t{1} << 28;  // steps + bytes made
inline constexpr int kMaxRecursion = 500;            // nested expressions and statements

// Names that are visible in a block, and around it.
struct Scope {
  Scope* parent = nullptr;
  std::map<std::string, Value, std::less<>> names = {};
};

// A macro, the `caller` of a call block, or a function by its name.
struct Callable {
  const Statement* macro = nullptr;
  const FunctionRow* function = nullptr;
  Scope* scope = nullptr;  // where it was made; nullptr once that is gone
};

// A running loop: `loop` in the template.
struct Loop {
  const Statement* statement = nullptr;
  Scope* scope = nullptr;  // around the loop; nullptr once it has ended
  std::vector<Value> items;
  size_t next = 0;          // of items
  std::deque<Value> ahead;  // passed the loop's condition, not yet visited
  int64_t index0 = -1;
  int64_t depth0 = 0;
  Value previous, current;
  std::optional<Value> seen;  // by loop.changed
};

class Interpreter {
 public:
  explicit Interpreter(std::time_t now) : now_(now) {}

  // The text that the template makes of these names. Error usage with the template's own message
  // when it calls raise_exception, else bad_input.
  std::string run(const Statements& statements, std::map<std::string, Value, std::less<>> names);

  // --- for filters, tests and functions (builtins.h) ---------------------------------------------
  std::time_t now() const { return now_; }
  void charge(size_t work);      // fails when the template has done too much
  Value text(std::string made);  // charged
  Value attribute(const Value& object, std::string_view name);
  Value item(const Value& object, const Value& key);
  // x.a.b by "a.b"; an integer is an index.
  Value path(const Value& object, const Value& path);
  std::vector<Value> iterate(const Value& value);
  bool contains(const Value& container, const Value& value);
  Value add(const Value& a, const Value& b);
  Namespace* make_namespace();
  Value apply_filter(std::string_view name, const Value& self, std::vector<Value> positional,
                     std::vector<std::pair<std::string, Value>> named);
  bool apply_test(std::string_view name, const Value& self, std::vector<Value> positional);

 private:
  enum class Flow { next, leave_loop, next_round };
  class Level;

  // interpreter.cpp: statements
  Flow execute(const Statements& statements, Scope& scope, std::string& out);
  Flow execute_one(const Statement& statement, Scope& scope, std::string& out);
  Flow run_loop(const Statement& statement, Scope& scope, std::string& out);
  void assign(const Target& target, const Value& value, Scope& scope);
  std::string capture(const Statement& statement, Scope& scope);
  void append(std::string& out, std::string_view text);
  Value call_macro(const Callable& callable, std::vector<Value> positional,
                   std::vector<std::pair<std::string, Value>> named,
                   std::shared_ptr<Callable> caller);
  bool look_ahead(Loop& loop, size_t count);
  Value loop_attribute(Loop& loop, std::string_view name);
  Value call_loop(Loop& loop, std::string_view name, const std::vector<Value>& positional);

  // evaluate.cpp: expressions
  Value evaluate(const Expression& expression, Scope& scope);
  Value evaluate_call(const Expression& expression, Scope& scope, std::shared_ptr<Callable> caller);
  Value evaluate_filter(const Expression& expression, Scope& scope, const Value* input);
  Value evaluate_compare(const Expression& expression, Scope& scope);
  Value evaluate_slice(const Expression& expression, Scope& scope);
  Value arithmetic(const std::string& op, const Value& a, const Value& b);
  Value repeat(const Value& value, int64_t times);
  Value lookup(const std::string& name, Scope& scope);
  std::vector<Value> arguments(const Expression& call, Scope& scope);
  std::vector<std::pair<std::string, Value>> named_arguments(const Expression& call, Scope& scope);

  std::time_t now_;
  size_t work_ = 0;
  int level_ = 0;
  int64_t loops_ = 0;
  std::deque<Namespace> namespaces_;
};

}  // namespace pocket::jinja
