#include <algorithm>

#include "converter/shape/rule.h"
#include "runtime/base/error.h"

namespace pocket::shape {

void Call::fail(const std::string& what) const {
  throw Error(ExitCode::bad_input, "operator " + node.op + " \"" + node.name + "\" " + what +
                                       "; export the model again.");
}

std::optional<std::vector<Expr>> known_elements(const ir::Value& value) {
  if (value.elements) return value.elements;
  if (!value.constant || !ir::is_integer_type(value.constant->type)) return std::nullopt;
  const ir::TensorData& data = *value.constant;
  if (data.elements() > kMostElements || (data.bytes == nullptr && data.byte_size > 0)) {
    return std::nullopt;
  }
  const std::vector<int64_t> integers = data.as_integers();
  return std::vector<Expr>(integers.begin(), integers.end());
}

const ir::Value& Call::input(size_t index) const {
  if (!has(index)) fail("lacks its input " + std::to_string(index));
  return *inputs[index];
}

const SymbolicShape& Call::shape(size_t index) const {
  const ir::Value& value = input(index);
  if (!value.shape) throw Unresolved{"the shape of its input \"" + value.name + "\" is unknown"};
  return *value.shape;
}

std::vector<Expr> Call::elements(size_t index) const {
  auto known = known_elements(input(index));
  if (!known) {
    throw Unresolved{"the contents of its input \"" + input(index).name +
                     "\" depend on more than the symbols"};
  }
  return *std::move(known);
}

std::optional<std::vector<Expr>> Call::list(size_t index, const std::string& attribute) const {
  if (has(index)) return elements(index);
  if (!node.attributes.contains(attribute)) return std::nullopt;
  const std::vector<int64_t> values = node.integers(attribute);
  return std::vector<Expr>(values.begin(), values.end());
}

std::optional<std::vector<int64_t>> Call::numbers(size_t index,
                                                  const std::string& attribute) const {
  const auto known = list(index, attribute);
  if (!known) return std::nullopt;
  std::vector<int64_t> out;
  for (const Expr& value : *known) {
    if (!value.is_constant()) throw Unresolved{attribute + " holds " + value.str()};
    out.push_back(value.constant());
  }
  return out;
}

int64_t Call::axis(int64_t value, int64_t of_rank) const {
  if (value < -of_rank || value >= of_rank) {
    fail("has the axis " + std::to_string(value) + " of a tensor of rank " +
         std::to_string(of_rank));
  }
  return value < 0 ? value + of_rank : value;
}

bool Call::proven_le(const Expr& a, const Expr& b) const {
  if (prove_le(a, b, ranges) == Proof::yes) return true;
  // A step never reaches beyond the positions the model was made for: with the room that is left,
  // context - past - tokens >= 0, b - a >= room is enough.
  const auto tokens = ranges.find("tokens"), past = ranges.find("past");
  if (tokens == ranges.end() || past == ranges.end()) return false;
  const Expr room = Expr(past->second.max) - Expr::symbol("past") - Expr::symbol("tokens");
  return prove_le(a + room, b, ranges) == Proof::yes;
}

Expr broadcast_dimension(const Call& call, const Expr& a, const Expr& b) {
  if (a == b || b == Expr(1)) return a;
  if (a == Expr(1)) return b;
  if (a.is_constant() && b.is_constant()) {
    call.fail("cannot broadcast " + a.str() + " against " + b.str());
  }
  // The operands are valid, so one that is surely not 1 is the result.
  if (call.proven_le(2, a) || a == Expr(0)) return a;
  if (call.proven_le(2, b) || b == Expr(0)) return b;
  throw Unresolved{"nothing proves that " + a.str() + " and " + b.str() + " broadcast"};
}

SymbolicShape broadcast(const Call& call, const SymbolicShape& a, const SymbolicShape& b) {
  const size_t rank = std::max(a.size(), b.size());
  SymbolicShape out;
  for (size_t d = 0; d < rank; ++d) {
    const size_t from_a = rank - a.size(), from_b = rank - b.size();
    out.push_back(broadcast_dimension(call, d < from_a ? Expr(1) : a[d - from_a],
                                      d < from_b ? Expr(1) : b[d - from_b]));
  }
  return out;
}

Expr same_dimension(const Call& call, const Expr& a, const Expr& b) {
  if (a == b || a.is_constant()) {
    if (b.is_constant() && !(a == b)) {
      call.fail("needs equal dimensions but has " + a.str() + " and " + b.str());
    }
    return a;
  }
  if (b.is_constant()) return b;
  throw Unresolved{"nothing proves that " + a.str() + " equals " + b.str()};
}

const Rules& shape_rules() {
  static const Rules kRules = [] {
    Rules rules;
    add_elementwise_rules(rules);
    add_movement_rules(rules);
    add_compute_rules(rules);
    add_fused_rules(rules);
    return rules;
  }();
  return kRules;
}

}  // namespace pocket::shape
