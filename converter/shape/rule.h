// What a shape rule sees and says. One rule per operator of ir/operators.cpp.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "converter/ir/graph.h"

namespace pocket::shape {

using SymbolicShape = std::vector<Expr>;

inline size_t at(int64_t k) { return static_cast<size_t>(k); }  // an index

// Thrown by a rule that cannot tell the shape; becomes a line of InferReport::unresolved.
struct Unresolved {
  std::string reason;
};

struct Output {
  ir::ElementType type = ir::ElementType::undefined;
  SymbolicShape shape;
};

// The elements of an integer value, from its constant or its symbolic contents; empty when they
// are unknown or more than kMostElements.
inline constexpr int64_t kMostElements = 1024;
std::optional<std::vector<Expr>> known_elements(const ir::Value&);

struct Call {
  const ir::Node& node;
  std::vector<const ir::Value*> inputs;  // null for an omitted optional input
  const Ranges& ranges;

  bool has(size_t index) const { return index < inputs.size() && inputs[index] != nullptr; }
  const ir::Value& input(size_t index) const;      // Error(bad_input) when omitted
  const SymbolicShape& shape(size_t index) const;  // Unresolved when unknown
  int64_t rank(size_t index) const { return static_cast<int64_t>(shape(index).size()); }
  ir::ElementType type(size_t index = 0) const { return input(index).type; }
  std::vector<Expr> elements(size_t index) const;  // Unresolved when unknown
  // Input `index` as elements, else the attribute, else nothing.
  std::optional<std::vector<Expr>> list(size_t index, const std::string& attribute) const;
  // The same where only numbers make sense (axes); Unresolved when symbols remain.
  std::optional<std::vector<int64_t>> numbers(size_t index, const std::string& attribute) const;
  int64_t axis(int64_t value, int64_t of_rank) const;  // from the front; Error when outside
  // For every binding inside the ranges whose past + tokens stays within the largest past.
  bool proven_le(const Expr& a, const Expr& b) const;
  [[noreturn]] void fail(const std::string& what) const;  // Error(bad_input) naming the node
};

// The dimension that two broadcast operands have in common, by proof; Unresolved without one.
Expr broadcast_dimension(const Call&, const Expr& a, const Expr& b);
SymbolicShape broadcast(const Call&, const SymbolicShape& a, const SymbolicShape& b);
// Two dimensions that must be equal: the more definite one.
Expr same_dimension(const Call&, const Expr& a, const Expr& b);

using Rule = std::vector<Output> (*)(const Call&);
using Rules = std::map<std::pair<std::string, std::string>, Rule>;

const Rules& shape_rules();
void add_elementwise_rules(Rules&);
void add_movement_rules(Rules&);
void add_compute_rules(Rules&);
void add_fused_rules(Rules&);

}  // namespace pocket::shape
