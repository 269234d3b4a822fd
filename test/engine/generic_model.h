// A tiny model whose sums are generic operators instead of fused ones: the same
// numbers by the other road.
#pragma once

#include <string>

#include "test/support/tiny_model.h"

namespace pocket::test {

// Every sum of two tensors of an unfused model becomes generic; the rest stays.
inline TinyModel generalised(TinyModel model) {
  Program& program = model.manifest.program;
  for (Operator& op : program.operators) {
    if (op.kind != OpKind::binary || op.inputs[1] == kNone) continue;
    const Tensor& out = program.tensors[static_cast<size_t>(op.outputs[0])];
    const auto view = [&](GenericSource source, int32_t index) {
      GenericOperand operand;
      operand.source = source;
      operand.index = index;
      operand.strides = {out.shape[1], Expr(1)};
      return operand;
    };
    GenericStep step;
    step.function = GenericFunction::add;
    step.domain = out.shape;
    step.out = view(GenericSource::output, 0);
    step.operands = {view(GenericSource::input, 0), view(GenericSource::input, 1)};
    op.kind = OpKind::generic;
    op.steps = {step};
    op.weights.clear();
    op.attributes = {};
  }
  return model;
}

}  // namespace pocket::test
