#include "runtime/program/generic_check.h"

#include <set>

#include "runtime/base/error.h"

namespace pocket {
namespace {

constexpr size_t kMaxSteps = 4096;

class GenericCheck {
 public:
  GenericCheck(const Program& program, const std::vector<std::vector<int64_t>>& weight_shapes,
               const Operator& op, Part part)
      : program_(program), weight_shapes_(weight_shapes), op_(op), part_(part) {}

  void run() {
    require(!op_.steps.empty() && op_.steps.size() <= kMaxSteps, "has no or too many steps");
    for (const TensorId id : op_.outputs) {
      require(id != kNone && tensor(id).role == TensorRole::activation &&
                  tensor(id).dtype != DType::f16,
              "has an output that is no f32 or i32 activation");
    }
    for (const TensorId id : op_.inputs) require(id != kNone, "misses an input");
    for (const WeightId id : op_.weights) {
      require(id != kNone && weight_shapes_[static_cast<size_t>(id)].size() == 1,
              "reads a weight that is no vector");
    }
    std::set<int32_t> written;
    for (const GenericStep& step : op_.steps) {
      check(step);
      if (step.out.source == GenericSource::output) written.insert(step.out.index);
    }
    require(written.size() == op_.outputs.size(), "leaves an output unwritten");
  }

 private:
  void require(bool condition, const std::string& what) const {
    if (condition) return;
    throw Error(ExitCode::bad_input, "Operator '" + op_.name + "' (generic) " + what +
                                         ": the program is inconsistent, convert the model again.");
  }

  const Tensor& tensor(TensorId id) const { return program_.tensors[static_cast<size_t>(id)]; }

  void polynomial(const Expr& expr) const {
    Bindings known = {{"context", program_.max_context}};
    if (part_ == Part::head) known["rows"] = 1;
    step_polynomial(expr, known);
  }

  void check(const GenericStep& step) const {
    const std::string name = generic_function_name(step.function);
    require(step.domain.size() <= kGenericRank, "has more than 8 dimensions");
    require(step.inner >= 0 && static_cast<size_t>(step.inner) <= step.domain.size(),
            "has more inner dimensions than dimensions");
    require(step.inner == 0 || step.function >= GenericFunction::reduce_sum,
            "loops over inner dimensions in " + name);
    require(step.function != GenericFunction::cumsum || step.inner == 1,
            "accumulates over more than one dimension");
    require(step.inner == 0 || (step.function != GenericFunction::gather &&
                                step.function != GenericFunction::scatter),
            "loops over inner dimensions in " + name);
    require(step.compute != DType::f16, "computes in f16");
    require(step.operands.size() == generic_operand_count(step.function),
            "gives " + std::to_string(step.operands.size()) + " operands to " + name);
    for (const Expr& extent : step.domain) polynomial(extent);
    for (const GenericOperand& operand : step.operands) {
      require(operand.source != GenericSource::output, "reads its own output");
      check(operand, step);
    }
    require(step.out.source == GenericSource::output || step.out.source == GenericSource::input,
            "writes to no tensor");
    check(step.out, step);
    if (step.out.source == GenericSource::input) {
      const Tensor& state = tensor(op_.inputs[static_cast<size_t>(step.out.index)]);
      require(state.role == TensorRole::state && state.dtype == DType::f32,
              "writes to an input that is no f32 state");
    }
    scalars(step);
  }

  void check(const GenericOperand& operand, const GenericStep& step) const {
    if (operand.source == GenericSource::number) return;
    require(operand.strides.size() == step.domain.size(), "has a view of another rank");
    polynomial(operand.offset);
    for (const Expr& stride : operand.strides) polynomial(stride);
    size_t count = 1;
    if (operand.source == GenericSource::input) count = op_.inputs.size();
    if (operand.source == GenericSource::output) count = op_.outputs.size();
    if (operand.source == GenericSource::weight) count = op_.weights.size();
    require(operand.index >= 0 && static_cast<size_t>(operand.index) < count,
            "names an operand that does not exist");
  }

  void scalars(const GenericStep& step) const {
    const size_t count = step.scalars.size();
    const bool indexed =
        step.function == GenericFunction::gather || step.function == GenericFunction::scatter;
    if (indexed) {
      require(count % 2 == 1 && count >= 3 && count <= kGenericScalars,
              "has an index of no or too many components");
    } else {
      require(count == 0 || (count == 1 && step.function == GenericFunction::cumsum),
              "has scalars that it does not use");
    }
    for (const Expr& scalar : step.scalars) polynomial(scalar);
  }

  const Program& program_;
  const std::vector<std::vector<int64_t>>& weight_shapes_;
  const Operator& op_;
  const Part part_;
};

}  // namespace

void check_generic(const Program& program, const std::vector<std::vector<int64_t>>& weight_shapes,
                   const Operator& op, Part part) {
  if (op.kind == OpKind::generic) {
    GenericCheck(program, weight_shapes, op, part).run();
  } else if (!op.steps.empty()) {
    throw Error(ExitCode::bad_input, "Operator '" + op.name + "' (" + op_kind_name(op.kind) +
                                         ") has steps of a generic operator: the program is "
                                         "inconsistent, convert the model again.");
  }
}

}  // namespace pocket
