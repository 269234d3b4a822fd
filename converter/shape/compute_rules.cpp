// Shape rules of products, reductions and norms.
#include "converter/shape/rule.h"

namespace pocket::shape {

namespace {

using ir::ElementType;
using Outputs = std::vector<Output>;

Outputs constant(const Call& call) {
  for (const auto& [key, attribute] : call.node.attributes) {
    if (const auto* x = std::get_if<ir::TensorData>(&attribute)) {
      return {{x->type, {x->shape.begin(), x->shape.end()}}};
    }
    if (std::holds_alternative<int64_t>(attribute)) return {{ElementType::i64, {}}};
    if (std::holds_alternative<float>(attribute)) return {{ElementType::f32, {}}};
    if (const auto* x = std::get_if<std::vector<int64_t>>(&attribute)) {
      return {{ElementType::i64, {Expr(static_cast<int64_t>(x->size()))}}};
    }
    if (const auto* x = std::get_if<std::vector<float>>(&attribute)) {
      return {{ElementType::f32, {Expr(static_cast<int64_t>(x->size()))}}};
    }
  }
  call.fail("has no value of a supported kind");
}

void check_inner(const Call& call, const Expr& a, const Expr& b) {
  if (a.is_constant() && b.is_constant() && !(a == b)) {
    call.fail("multiplies " + a.str() + " columns by " + b.str() + " rows");
  }
}

Outputs matmul(const Call& call) {
  SymbolicShape a = call.shape(0), b = call.shape(1);
  if (a.empty() || b.empty()) call.fail("cannot multiply a scalar");
  const bool row = a.size() == 1, column = b.size() == 1;
  if (row) a.insert(a.begin(), 1);
  if (column) b.emplace_back(1);
  check_inner(call, a.back(), b[b.size() - 2]);
  SymbolicShape shape = broadcast(call, {a.begin(), a.end() - 2}, {b.begin(), b.end() - 2});
  if (!row) shape.push_back(a[a.size() - 2]);
  if (!column) shape.push_back(b.back());
  return {{call.type(), std::move(shape)}};
}

Outputs gemm(const Call& call) {
  const SymbolicShape &a = call.shape(0), &b = call.shape(1);
  if (a.size() != 2 || b.size() != 2) call.fail("needs two matrices");
  const size_t turn_a = call.node.integer("transA", 0) != 0 ? 1 : 0;
  const size_t turn_b = call.node.integer("transB", 0) != 0 ? 1 : 0;
  check_inner(call, a[1 - turn_a], b[turn_b]);
  return {{call.type(), {a[turn_a], b[1 - turn_b]}}};
}

Outputs einsum(const Call& call) {
  std::string equation;
  for (const char c : call.node.text("equation", "")) {
    if (c != ' ') equation += c;
  }
  if (equation.find('.') != std::string::npos) call.fail("uses an ellipsis, which is unsupported");
  std::map<char, Expr> sizes;
  std::map<char, int> uses;
  const size_t arrow = equation.find("->");
  size_t input = 0, dim = 0;
  for (const char c : equation.substr(0, arrow)) {
    if (c == ',') {
      ++input;
      dim = 0;
      continue;
    }
    if (dim >= call.shape(input).size()) call.fail("names more dimensions than its inputs have");
    const Expr& size = call.shape(input)[dim++];
    const auto [it, fresh] = sizes.emplace(c, size);
    if (!fresh) it->second = same_dimension(call, it->second, size);
    ++uses[c];
  }
  std::string result;
  if (arrow != std::string::npos) {
    result = equation.substr(arrow + 2);
  } else {
    for (const auto& [label, count] : uses) {
      if (count == 1) result += label;
    }
  }
  SymbolicShape shape;
  for (const char label : result) {
    if (!sizes.contains(label)) call.fail("results in a label that no input has");
    shape.push_back(sizes.at(label));
  }
  return {{call.type(), std::move(shape)}};
}

Outputs reduce(const Call& call) {
  const SymbolicShape& input = call.shape(0);
  const auto axes = call.numbers(1, "axes");
  std::vector<bool> reduced(input.size(), false);
  if (!axes || axes->empty()) {
    reduced.assign(input.size(), call.node.integer("noop_with_empty_axes", 0) == 0);
  } else {
    for (const int64_t axis : *axes) reduced[at(call.axis(axis, call.rank(0)))] = true;
  }
  const bool keep = call.node.integer("keepdims", 1) != 0;
  SymbolicShape shape;
  for (size_t d = 0; d < input.size(); ++d) {
    if (!reduced[d])
      shape.push_back(input[d]);
    else if (keep)
      shape.emplace_back(1);
  }
  return {{call.type(), std::move(shape)}};
}

Outputs normalisation(const Call& call, bool with_mean) {
  const SymbolicShape& input = call.shape(0);
  const int64_t axis = call.axis(call.node.integer("axis", -1), call.rank(0));
  SymbolicShape statistics = input;
  for (size_t d = at(axis); d < input.size(); ++d) statistics[d] = 1;
  Outputs out{{call.type(), input}};
  if (with_mean) out.push_back({ElementType::f32, statistics});
  out.push_back({ElementType::f32, statistics});
  return out;
}

}  // namespace

void add_compute_rules(Rules& rules) {
  rules[{"", "Constant"}] = constant;
  rules[{"", "MatMul"}] = matmul;
  rules[{"", "Gemm"}] = gemm;
  rules[{"", "Einsum"}] = einsum;
  for (const char* op : {"ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum",
                         "ReduceL2", "ReduceSumSquare"}) {
    rules[{"", op}] = reduce;
  }
  rules[{"", "LayerNormalization"}] = [](const Call& call) { return normalisation(call, true); };
  for (const char* op : {"RMSNormalization", "SimplifiedLayerNormalization"}) {
    rules[{"", op}] = [](const Call& call) { return normalisation(call, false); };
  }
  rules[{"com.microsoft", "SimplifiedLayerNormalization"}] =
      rules[{"", "SimplifiedLayerNormalization"}];
}

}  // namespace pocket::shape
