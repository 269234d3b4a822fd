// Shape rules of operators that work element by element.
#include "converter/shape/rule.h"

namespace pocket::shape {

namespace {

using ir::ElementType;
using Outputs = std::vector<Output>;

Outputs same(const Call& call) { return {{call.type(), call.shape(0)}}; }

Outputs same_boolean(const Call& call) { return {{ElementType::boolean, call.shape(0)}}; }

Outputs dropout(const Call& call) {
  return {{call.type(), call.shape(0)}, {ElementType::boolean, call.shape(0)}};
}

Outputs combined(const Call& call) {
  SymbolicShape shape = call.shape(0);
  for (size_t k = 1; k < call.inputs.size(); ++k) shape = broadcast(call, shape, call.shape(k));
  return {{call.type(), std::move(shape)}};
}

Outputs compared(const Call& call) {
  return {{ElementType::boolean, broadcast(call, call.shape(0), call.shape(1))}};
}

Outputs cast(const Call& call) {
  const ElementType type = ir::element_from_onnx(call.node.integer("to", 0));
  if (type == ElementType::undefined) {
    call.fail("casts to the unsupported type " + std::to_string(call.node.integer("to", 0)));
  }
  return {{type, call.shape(0)}};
}

Outputs cast_like(const Call& call) { return {{call.type(1), call.shape(0)}}; }

Outputs where(const Call& call) {
  return {{call.type(1),
           broadcast(call, broadcast(call, call.shape(0), call.shape(1)), call.shape(2))}};
}

}  // namespace

void add_elementwise_rules(Rules& rules) {
  for (const char* op :
       {"Abs",        "Ceil",       "Clip",  "Cos",         "CumSum",    "Erf",
        "Exp",        "Floor",      "Gelu",  "Identity",    "Log",       "Neg",
        "Not",        "Reciprocal", "Relu",  "Sigmoid",     "Sign",      "Sin",
        "Softmax",    "Softplus",   "Sqrt",  "Tanh",        "Trilu",     "ScatterElements",
        "ScatterND",  "BitwiseNot", "Elu",   "HardSigmoid", "HardSwish", "LeakyRelu",
        "LogSoftmax", "Mish",       "Round", "Swish",       "Tan"}) {
    rules[{"", op}] = same;
  }
  for (const char* op : {"FastGelu", "Gelu", "QuickGelu"}) rules[{"com.microsoft", op}] = same;
  for (const char* op : {"Add", "Div", "Max", "Min", "Mod", "Mul", "Pow", "Sub", "Sum",
                         "BitwiseAnd", "BitwiseOr", "BitwiseXor"}) {
    rules[{"", op}] = combined;
  }
  for (const char* op :
       {"And", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Or", "Xor"}) {
    rules[{"", op}] = compared;
  }
  for (const char* op : {"IsNaN", "IsInf"}) rules[{"", op}] = same_boolean;
  rules[{"", "Cast"}] = cast;
  rules[{"", "CastLike"}] = cast_like;
  rules[{"", "Dropout"}] = dropout;
  rules[{"", "Where"}] = where;
}

}  // namespace pocket::shape
