// One function per operator kind; reference.cpp picks.
#pragma once

#include <span>
#include <vector>

#include "runtime/kernels/reference.h"

namespace pocket::host_reference {

// One operator on one state.
class Call {
 public:
  Call(const Program& p, const Operator& o, const WeightLookup& w, HostState& s,
       const ReferenceOptions& how, bool body)
      : op(o), program(p), weights(w), state(s), options(how), body_(body) {}

  const Operator& op;
  const Program& program;
  const WeightLookup& weights;
  HostState& state;
  const ReferenceOptions& options;

  // Valid rows of an activation: padding excluded in the body.
  int64_t rows(TensorId) const;
  int64_t width(TensorId) const;
  TensorId input(size_t i) const { return i < op.inputs.size() ? op.inputs[i] : kNone; }
  TensorId output(size_t i) const { return i < op.outputs.size() ? op.outputs[i] : kNone; }
  WeightId weight(size_t i) const { return i < op.weights.size() ? op.weights[i] : kNone; }
  std::vector<float>& tensor(TensorId id) const {
    return state.tensors.at(static_cast<size_t>(id));
  }
  // Row of an activation.
  std::span<float> row(TensorId, int64_t) const;
  // The vector, or `count` times `fallback` when the weight is absent.
  std::vector<float> vector(WeightId, int64_t count, float fallback) const;
  // What storing `value` in the tensor leaves of it.
  float stored(TensorId, float value) const;

 private:
  bool body_;
};

void embed(const Call&);
void norm(const Call&);
void linear(const Call&);
void gated_linear(const Call&);
void rotary_kv(const Call&);
void attention(const Call&);
void unary(const Call&);
void binary(const Call&);
void select_rows(const Call&);
void generic(const Call&);

}  // namespace pocket::host_reference
