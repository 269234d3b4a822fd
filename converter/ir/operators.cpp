#include "converter/ir/operators.h"

#include <iterator>
#include <map>
#include <utility>

#include "runtime/base/error.h"

namespace pocket::ir {

namespace {

constexpr auto S = OperatorClass::shape_computing;
constexpr auto T = OperatorClass::tensor_computing;
constexpr const char* kMicrosoft = "com.microsoft";
constexpr const char* kOwn = "pocket";  // of those that passes make only what import makes too

// clang-format off
constexpr OperatorInfo kOperators[] = {
    // domain, op, class, inputs, outputs
    {"", "Abs",                 S, 1, 1, 1, 1},
    {"", "Add",                 S, 2, 2, 1, 1},
    {"", "And",                 S, 2, 2, 1, 1},
    {"", "ArgMax",              T, 1, 1, 1, 1},
    {"", "ArgMin",              T, 1, 1, 1, 1},
    {"", "Attention",           T, 3, 7, 1, 4},
    {"", "BitwiseAnd",          T, 2, 2, 1, 1},
    {"", "BitwiseNot",          T, 1, 1, 1, 1},
    {"", "BitwiseOr",           T, 2, 2, 1, 1},
    {"", "BitwiseXor",          T, 2, 2, 1, 1},
    {"", "Cast",                S, 1, 1, 1, 1},
    {"", "CastLike",            S, 2, 2, 1, 1},
    {"", "Ceil",                S, 1, 1, 1, 1},
    {"", "Clip",                T, 1, 3, 1, 1},
    {"", "Concat",              S, 1, -1, 1, 1},
    {"", "Constant",            S, 0, 0, 1, 1},
    {"", "ConstantOfShape",     S, 1, 1, 1, 1},
    {"", "Cos",                 T, 1, 1, 1, 1},
    {"", "CumSum",              T, 2, 2, 1, 1},
    {"", "DequantizeLinear",    T, 2, 3, 1, 1},
    {"", "Div",                 S, 2, 2, 1, 1},
    {"", "Dropout",             T, 1, 3, 1, 2},
    {"", "DynamicQuantizeLinear", T, 1, 1, 3, 3},
    {"", "Einsum",              T, 1, 2, 1, 1},
    {"", "Elu",                 T, 1, 1, 1, 1},
    {"", "Equal",               S, 2, 2, 1, 1},
    {"", "Erf",                 T, 1, 1, 1, 1},
    {"", "Exp",                 T, 1, 1, 1, 1},
    {"", "Expand",              S, 2, 2, 1, 1},
    {"", "Flatten",             S, 1, 1, 1, 1},
    {"", "Floor",               S, 1, 1, 1, 1},
    {"", "Gather",              S, 2, 2, 1, 1},
    {"", "GatherElements",      T, 2, 2, 1, 1},
    {"", "GatherND",            T, 2, 2, 1, 1},
    {"", "Gelu",                T, 1, 1, 1, 1},
    {"", "Gemm",                T, 2, 3, 1, 1},
    {"", "Greater",             S, 2, 2, 1, 1},
    {"", "GreaterOrEqual",      S, 2, 2, 1, 1},
    {"", "HardSigmoid",         T, 1, 1, 1, 1},
    {"", "HardSwish",           T, 1, 1, 1, 1},
    {"", "Identity",            S, 1, 1, 1, 1},
    {"", "IsInf",               T, 1, 1, 1, 1},
    {"", "IsNaN",               T, 1, 1, 1, 1},
    {"", "LayerNormalization",  T, 2, 3, 1, 3},
    {"", "LeakyRelu",           T, 1, 1, 1, 1},
    {"", "Less",                S, 2, 2, 1, 1},
    {"", "LessOrEqual",         S, 2, 2, 1, 1},
    {"", "Log",                 T, 1, 1, 1, 1},
    {"", "LogSoftmax",          T, 1, 1, 1, 1},
    {"", "MatMul",              T, 2, 2, 1, 1},
    {"", "MatMulInteger",       T, 2, 4, 1, 1},
    {"", "Max",                 S, 1, -1, 1, 1},
    {"", "Min",                 S, 1, -1, 1, 1},
    {"", "Mish",                T, 1, 1, 1, 1},
    {"", "Mod",                 S, 2, 2, 1, 1},
    {"", "Mul",                 S, 2, 2, 1, 1},
    {"", "Neg",                 S, 1, 1, 1, 1},
    {"", "NonZero",             T, 1, 1, 1, 1},
    {"", "Not",                 S, 1, 1, 1, 1},
    {"", "OneHot",              T, 3, 3, 1, 1},
    {"", "Or",                  S, 2, 2, 1, 1},
    {"", "Pad",                 T, 1, 4, 1, 1},
    {"", "Pow",                 T, 2, 2, 1, 1},
    {"", "QuantizeLinear",      T, 2, 3, 1, 1},
    {"", "RMSNormalization",    T, 2, 2, 1, 1},
    {"", "Range",               S, 3, 3, 1, 1},
    {"", "Reciprocal",          T, 1, 1, 1, 1},
    {"", "ReduceL2",            T, 1, 2, 1, 1},
    {"", "ReduceMax",           T, 1, 2, 1, 1},
    {"", "ReduceMean",          T, 1, 2, 1, 1},
    {"", "ReduceMin",           T, 1, 2, 1, 1},
    {"", "ReduceProd",          S, 1, 2, 1, 1},
    {"", "ReduceSum",           S, 1, 2, 1, 1},
    {"", "ReduceSumSquare",     T, 1, 2, 1, 1},
    {"", "Relu",                T, 1, 1, 1, 1},
    {"", "Reshape",             S, 2, 2, 1, 1},
    {"", "RotaryEmbedding",     T, 3, 4, 1, 1},
    {"", "Round",               T, 1, 1, 1, 1},
    {"", "ScatterElements",     T, 3, 3, 1, 1},
    {"", "ScatterND",           S, 3, 3, 1, 1},
    {"", "Shape",               S, 1, 1, 1, 1},
    {"", "Sigmoid",             T, 1, 1, 1, 1},
    {"", "Sign",                T, 1, 1, 1, 1},
    {"", "SimplifiedLayerNormalization", T, 2, 2, 1, 2},
    {"", "Sin",                 T, 1, 1, 1, 1},
    {"", "Size",                S, 1, 1, 1, 1},
    {"", "Slice",               S, 1, 5, 1, 1},
    {"", "Softmax",             T, 1, 1, 1, 1},
    {"", "Softplus",            T, 1, 1, 1, 1},
    {"", "Split",               S, 1, 2, 1, -1},
    {"", "Sqrt",                T, 1, 1, 1, 1},
    {"", "Squeeze",             S, 1, 2, 1, 1},
    {"", "Sub",                 S, 2, 2, 1, 1},
    {"", "Sum",                 T, 1, -1, 1, 1},
    {"", "Swish",               T, 1, 1, 1, 1},
    {"", "Tan",                 T, 1, 1, 1, 1},
    {"", "Tanh",                T, 1, 1, 1, 1},
    {"", "Tile",                S, 2, 2, 1, 1},
    {"", "Transpose",           T, 1, 1, 1, 1},
    {"", "Trilu",               T, 1, 2, 1, 1},
    {"", "Unsqueeze",           S, 1, 2, 1, 1},
    {"", "Where",               S, 3, 3, 1, 1},
    {"", "Xor",                 S, 2, 2, 1, 1},
    {kMicrosoft, "Attention",   T, 2, 7, 1, 2},
    {kMicrosoft, "BiasGelu",    T, 2, 2, 1, 1},
    {kMicrosoft, "DequantizeLinear", T, 2, 3, 1, 1},
    {kMicrosoft, "DynamicQuantizeMatMul", T, 3, 5, 1, 1},
    {kMicrosoft, "EmbedLayerNormalization", T, 1, 9, 1, 3},
    {kMicrosoft, "FastGelu",    T, 1, 2, 1, 1},
    {kMicrosoft, "FusedMatMul", T, 2, 2, 1, 1},
    {kMicrosoft, "GatherBlockQuantized", T, 3, 4, 1, 1},
    {kMicrosoft, "Gelu",        T, 1, 1, 1, 1},
    {kMicrosoft, "GroupQueryAttention", T, 1, 16, 1, 4},
    {kMicrosoft, "MatMulIntegerToFloat", T, 4, 7, 1, 1},
    {kMicrosoft, "MatMulNBits", T, 3, 6, 1, 1},
    {kMicrosoft, "MultiHeadAttention", T, 1, 10, 1, 4},
    {kMicrosoft, "QuantizeLinear", T, 2, 3, 1, 1},
    {kMicrosoft, "QuickGelu",   T, 1, 1, 1, 1},
    {kMicrosoft, "RotaryEmbedding", T, 4, 4, 1, 1},
    {kMicrosoft, "SimplifiedLayerNormalization", T, 2, 2, 1, 2},
    {kMicrosoft, "SkipLayerNormalization", T, 3, 5, 1, 4},
    {kMicrosoft, "SkipSimplifiedLayerNormalization", T, 3, 4, 1, 4},
    {kOwn, "Choose",            T, 3, 3, 1, 1},
};
// clang-format on

using Key = std::pair<std::string_view, std::string_view>;

const std::map<Key, const OperatorInfo*>& index() {
  static const std::map<Key, const OperatorInfo*> kIndex = [] {
    std::map<Key, const OperatorInfo*> out;
    for (const OperatorInfo& row : kOperators) out.emplace(Key{row.domain, row.op}, &row);
    return out;
  }();
  return kIndex;
}

void check(const char* what, size_t count, int least, int most, const Node& node) {
  const auto n = static_cast<int64_t>(count);
  if (n >= least && (most < 0 || n <= most)) return;
  const std::string limit = most < 0        ? "at least " + std::to_string(least)
                            : least == most ? std::to_string(least)
                                            : std::to_string(least) + " to " + std::to_string(most);
  throw Error(ExitCode::bad_input, "operator " + node.op + " \"" + node.name + "\" has " +
                                       std::to_string(count) + " " + what + " where " + limit +
                                       " belong; export the model again.");
}

}  // namespace

std::span<const OperatorInfo> operators() { return kOperators; }

const OperatorInfo* find_operator(std::string_view domain, std::string_view op) {
  const auto it = index().find(Key{domain, op});
  return it == index().end() ? nullptr : it->second;
}

void check_arity(const OperatorInfo& info, const Node& node) {
  check("inputs", node.inputs.size(), info.min_inputs, info.max_inputs, node);
  check("outputs", node.outputs.size(), info.min_outputs, info.max_outputs, node);
  for (int i = 0; i < info.min_inputs; ++i) {
    if (node.inputs[static_cast<size_t>(i)] == kAbsent) {
      throw Error(ExitCode::bad_input, "operator " + node.op + " \"" + node.name +
                                           "\" lacks its input " + std::to_string(i) +
                                           "; export the model again.");
    }
  }
}

}  // namespace pocket::ir
