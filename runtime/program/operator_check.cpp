#include "runtime/program/operator_check.h"

#include <cmath>
#include <limits>

#include "runtime/base/error.h"

namespace pocket {
namespace {

constexpr int64_t kMaxExtent = std::numeric_limits<int32_t>::max();

[[noreturn]] void fail(const std::string& where, const std::string& what) {
  throw Error(ExitCode::bad_input,
              where + " " + what + ": the program is inconsistent, convert the model again.");
}

class OperatorCheck {
 public:
  OperatorCheck(const Program& program, const std::vector<std::vector<int64_t>>& weight_shapes,
                const Operator& op, Part part)
      : program_(program),
        weight_shapes_(weight_shapes),
        op_(op),
        attributes_(op.attributes),
        rows_(Expr::symbol(part == Part::body ? "tokens" : "rows")),
        part_(part) {}

  void run() {
    for (const float value : {attributes_.scale, attributes_.epsilon, attributes_.soft_cap}) {
      require(std::isfinite(value), "has a number that is not finite");
    }
    switch (op_.kind) {
      case OpKind::embed:
        return embed();
      case OpKind::norm:
        return norm();
      case OpKind::linear:
        return linear();
      case OpKind::gated_linear:
        return gated_linear();
      case OpKind::rotary_kv:
        return rotary_kv();
      case OpKind::attention:
        return attention();
      case OpKind::unary:
        return unary();
      case OpKind::binary:
        return binary();
      case OpKind::select_rows:
        return select_rows();
      case OpKind::generic:
        return;  // check_generic
    }
    require(false, "has an unknown kind");
  }

 private:
  void require(bool condition, const std::string& what) const {
    if (!condition) fail("Operator '" + op_.name + "' (" + op_kind_name(op_.kind) + ")", what);
  }

  // `optional_weights`: the list may also be empty.
  void counts(size_t inputs, size_t outputs, size_t weights, bool optional_weights = false) const {
    require(op_.inputs.size() == inputs && op_.outputs.size() == outputs &&
                (op_.weights.size() == weights || (optional_weights && op_.weights.empty())),
            "has " + std::to_string(op_.inputs.size()) + " inputs, " +
                std::to_string(op_.outputs.size()) + " outputs and " +
                std::to_string(op_.weights.size()) + " weights instead of " +
                std::to_string(inputs) + ", " + std::to_string(outputs) + " and " +
                std::to_string(weights));
  }

  // Width of a row tensor [rows, width].
  int64_t width(TensorId id, const Expr& rows) const {
    require(id != kNone, "misses a tensor");
    const Tensor& tensor = program_.tensors[static_cast<size_t>(id)];
    require(tensor.role == TensorRole::activation && tensor.dtype != DType::i32 &&
                tensor.shape.size() == 2 && tensor.shape[0] == rows &&
                tensor.shape[1].is_constant(),
            "needs '" + tensor.name + "' to be an activation [" + rows.str() + ", width]");
    return tensor.shape[1].constant();
  }
  int64_t width(TensorId id) const { return width(id, rows_); }

  const std::vector<int64_t>& matrix(size_t index) const {
    const WeightId id = op_.weights[index];
    require(id != kNone, "misses weight " + std::to_string(index));
    const auto& shape = weight_shapes_[static_cast<size_t>(id)];
    require(shape.size() == 2, "needs weight '" + program_.weights[static_cast<size_t>(id)] +
                                   "' to have two dimensions");
    return shape;
  }

  void matrix_is(size_t index, int64_t rows, int64_t columns) const {
    const auto& shape = matrix(index);
    require(shape[0] == rows && shape[1] == columns,
            "has the weight '" + program_.weights[static_cast<size_t>(op_.weights[index])] +
                "' of [" + std::to_string(shape[0]) + ", " + std::to_string(shape[1]) +
                "] instead of [" + std::to_string(rows) + ", " + std::to_string(columns) + "]");
  }

  void vector_is(size_t index, int64_t length) const {  // or absent
    const WeightId id = op_.weights[index];
    if (id == kNone) return;
    const auto& shape = weight_shapes_[static_cast<size_t>(id)];
    require(shape.size() == 1 && shape[0] == length,
            "needs weight '" + program_.weights[static_cast<size_t>(id)] + "' to have the shape [" +
                std::to_string(length) + "]");
  }

  void embed() const {
    counts(0, 1, 2);
    require(part_ == Part::body, "stands in the head");
    const int64_t out = width(op_.outputs[0]);
    if (op_.weights[0] != kNone || op_.weights[1] == kNone) {
      const auto& table = matrix(0);
      require(table[1] == out && table[0] >= program_.vocab,
              "has a table that does not fit its output or the vocabulary");
    }
    if (op_.weights[1] == kNone) return;
    require(attributes_.position_offset >= 0 && attributes_.position_offset <= kMaxExtent,
            "has a negative or huge position offset");
    const auto& positions = matrix(1);
    require(
        positions[1] == out && positions[0] >= program_.max_context + attributes_.position_offset,
        "has a table of " + std::to_string(positions[0]) + " positions for a context of " +
            std::to_string(program_.max_context));
  }

  void norm() const {
    counts(2, 2, 2);
    const int64_t columns = width(op_.inputs[0]);
    const bool residual = op_.inputs[1] != kNone, sum = op_.outputs[1] != kNone;
    require(width(op_.outputs[0]) == columns && (!residual || width(op_.inputs[1]) == columns) &&
                (!sum || width(op_.outputs[1]) == columns),
            "has tensors of different widths");
    require(!sum || residual, "writes a sum without a residual");
    require(attributes_.epsilon >= 0, "has a negative epsilon");
    vector_is(0, columns);
    vector_is(1, columns);
  }

  void linear() const {
    counts(2, 1, 2);
    const int64_t out = width(op_.outputs[0]);
    matrix_is(0, out, width(op_.inputs[0]));
    vector_is(1, out);
    require(op_.inputs[1] == kNone || width(op_.inputs[1]) == out,
            "has a residual of another width");
  }

  void gated_linear() const {
    counts(1, 1, 4);
    const int64_t out = width(op_.outputs[0]);
    for (const size_t index : {0u, 1u}) {
      matrix_is(index, out, width(op_.inputs[0]));
      vector_is(index + 2, out);
    }
  }

  void heads() const {
    require(attributes_.heads > 0 && attributes_.kv_heads > 0 && attributes_.head_dim > 0 &&
                attributes_.heads % attributes_.kv_heads == 0,
            "has " + std::to_string(attributes_.heads) + " heads, " +
                std::to_string(attributes_.kv_heads) + " key heads of " +
                std::to_string(attributes_.head_dim));
  }

  void state(TensorId id) const {
    require(id != kNone, "misses a state");
    const Tensor& tensor = program_.tensors[static_cast<size_t>(id)];
    require(tensor.role == TensorRole::state && tensor.dtype != DType::i32 &&
                tensor.shape.size() == 3 && tensor.shape[0] == Expr::symbol("context") &&
                tensor.shape[1] == Expr(attributes_.kv_heads) &&
                tensor.shape[2] == Expr(attributes_.head_dim),
            "needs '" + tensor.name + "' to be a state [context, kv_heads, head_dim]");
  }

  void rotary_kv() const {
    counts(5, 1, 2, true);
    heads();
    head_norm(0, attributes_.heads);
    head_norm(1, attributes_.kv_heads);
    require(attributes_.epsilon >= 0, "has a negative epsilon");
    const int64_t q = int64_t{attributes_.heads} * attributes_.head_dim;
    const int64_t kv = int64_t{attributes_.kv_heads} * attributes_.head_dim;
    const int64_t columns[] = {attributes_.q_column, attributes_.k_column, attributes_.v_column};
    for (size_t i = 0; i < 3; ++i) {
      require(columns[i] >= 0 && columns[i] + (i == 0 ? q : kv) <= width(op_.inputs[i]),
              "reads columns beyond its source " + std::to_string(i));
    }
    state(op_.inputs[3]);
    state(op_.inputs[4]);
    require(op_.inputs[3] != op_.inputs[4], "writes keys and values to one state");
    require(width(op_.outputs[0]) == q, "has an output of another width than heads * head_dim");
    const int64_t rotary = attributes_.rotary_dim;
    require(rotary >= 0 && rotary % 2 == 0 && rotary <= attributes_.head_dim,
            "rotates " + std::to_string(rotary) + " elements of a head of " +
                std::to_string(attributes_.head_dim));
    if (rotary == 0) {
      require(attributes_.rope_table == kNone, "has a rope table that it does not use");
      return;
    }
    require(attributes_.rope_table >= 0 &&
                static_cast<size_t>(attributes_.rope_table) < program_.rope_tables.size(),
            "names the rope table " + std::to_string(attributes_.rope_table) + " of " +
                std::to_string(program_.rope_tables.size()));
    const RopeTable& table = program_.rope_tables[static_cast<size_t>(attributes_.rope_table)];
    require(table.half() * 2 == rotary, "has a rope table of another size");
  }

  // The norm weight of q or k: one for all heads or one for each.
  void head_norm(size_t index, int64_t count) const {
    if (index >= op_.weights.size() || op_.weights[index] == kNone) return;
    const auto& shape = weight_shapes_[static_cast<size_t>(op_.weights[index])];
    require(shape.size() == 1 &&
                (shape[0] == attributes_.head_dim || shape[0] == count * attributes_.head_dim),
            "has a norm weight that fits neither a head nor all heads");
  }

  void attention() const {
    counts(3, 1, 1, true);
    heads();
    require(attributes_.window >= 0, "has a negative window");
    require(attributes_.soft_cap >= 0.0f, "has a negative soft cap");
    if (!op_.weights.empty()) vector_is(0, attributes_.heads);
    const int64_t q = int64_t{attributes_.heads} * attributes_.head_dim;
    require(width(op_.inputs[0]) == q && width(op_.outputs[0]) == q,
            "has tensors of another width than heads * head_dim");
    state(op_.inputs[1]);
    state(op_.inputs[2]);
  }

  void unary() const {
    counts(1, 1, 0);
    require(width(op_.inputs[0]) == width(op_.outputs[0]), "changes the width");
  }

  void binary() const {
    counts(2, 1, 1);
    const int64_t columns = width(op_.inputs[0]);
    require(width(op_.outputs[0]) == columns, "changes the width");
    require((op_.inputs[1] == kNone) != (op_.weights[0] == kNone),
            "needs one second operand, a tensor or a weight");
    require(op_.inputs[1] == kNone || width(op_.inputs[1]) == columns,
            "has operands of different widths");
    vector_is(0, columns);
  }

  void select_rows() const {
    counts(1, 1, 0);
    require(part_ == Part::head, "stands in the body");
    require(op_.inputs[0] == program_.hidden, "reads another tensor than the body's result");
    require(width(op_.inputs[0], Expr::symbol("tokens")) == width(op_.outputs[0]),
            "changes the width");
  }

  const Program& program_;
  const std::vector<std::vector<int64_t>>& weight_shapes_;
  const Operator& op_;
  const Attributes& attributes_;
  const Expr rows_;
  const Part part_;
};

}  // namespace

void check_operator(const Program& program, const std::vector<std::vector<int64_t>>& weight_shapes,
                    const Operator& op, Part part) {
  OperatorCheck(program, weight_shapes, op, part).run();
}

}  // namespace pocket
