// Small questions that patterns ask about a graph. All are const and cheap.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "converter/ir/graph.h"

namespace pocket {

// The live node that makes `value`, if it is that operator; null otherwise.
const ir::Node* made_by(const ir::Graph&, ir::ValueId, const char* op, const char* domain = "");

// How often a value is read: by nodes (each input slot counts), by graph outputs and by states.
int use_count(const ir::Graph&, ir::ValueId);
// Read exactly once and by a node, so that the value may disappear in a fusion.
bool used_once(const ir::Graph&, ir::ValueId);
// The one node that reads the value, kAbsent when there is none or there are several readers.
ir::NodeId only_reader(const ir::Graph&, ir::ValueId);

bool is_scalar_equal(const ir::Graph&, ir::ValueId, double expected);
// Integers of a constant, or of a value whose elements are all known numbers.
std::optional<std::vector<int64_t>> known_integers(const ir::Graph&, ir::ValueId);

// Splits the operands of a commutative node into (other, scalar); none when neither is a scalar.
struct ScalarOperand {
  ir::ValueId other = ir::kAbsent;
  double value = 0;
};
std::optional<ScalarOperand> with_scalar(const ir::Graph&, const ir::Node&);

bool has_shape(const ir::Graph&, ir::ValueId);
size_t rank(const ir::Graph&, ir::ValueId);  // 0 when unknown
// Dimension counted from the end (1 = last) when it is a number.
std::optional<int64_t> dim_from_end(const ir::Graph&, ir::ValueId, size_t from_end);
std::optional<int64_t> last_dim(const ir::Graph&, ir::ValueId);
bool same_shape(const ir::Graph&, ir::ValueId, ir::ValueId);
// A constant that multiplies or is added along the last axis: [n], [1, n], [1, 1, n].
bool is_vector_constant(const ir::Graph&, ir::ValueId, int64_t n);
// The axis of a node's integer attribute or its second input (axes), counted from 0; none when it
// is not exactly one axis.
std::optional<size_t> single_axis(const ir::Graph&, const ir::Node&, const char* attribute);

// A run of consecutive elements of `base` along one axis: a Slice of step 1 or an output of Split.
struct SliceView {
  ir::ValueId base = ir::kAbsent;
  size_t axis = 0;
  int64_t first = 0, count = 0;
};
std::optional<SliceView> slice_view(const ir::Graph&, ir::ValueId);

// Adds a node of the domain "pocket" with one f32 output of the given shape; returns the value.
ir::ValueId emit(ir::Graph&, ir::Node, const std::vector<Expr>& shape);
// A Reshape to `shape`, of which at most one dimension may hold symbols.
std::optional<ir::ValueId> emit_reshape(ir::Graph&, const std::string& name, ir::ValueId,
                                        const std::vector<Expr>& shape);

// What part i of the weight of a Linear or GatedLinear is multiplied by.
float weight_factor(const ir::Node&, size_t part);

// The name of the module that a node belongs to: "/a/b/Mul_1" -> "/a/b".
std::string scope_of(const std::string& node_name);

}  // namespace pocket
