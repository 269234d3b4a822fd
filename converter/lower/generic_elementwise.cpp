// Functions of single elements, with broadcasting; composed ones as chains of plain ones.
#include <array>
#include <cmath>
#include <string>

#include "converter/lower/generic_builder.h"

namespace pocket::generic {
namespace {

using F = GenericFunction;

template <size_t N>
std::optional<F> find(const std::array<std::pair<const char*, F>, N>& list,
                      const std::string& name) {
  for (const auto& [known, function] : list) {
    if (name == known) return function;
  }
  return std::nullopt;
}

constexpr std::array<std::pair<const char*, F>, 20> kUnary = {{
    {"Identity", F::copy},     {"Dropout", F::copy},
    {"Neg", F::neg},           {"Abs", F::abs},
    {"Exp", F::exp},           {"Log", F::log},
    {"Sqrt", F::sqrt},         {"Reciprocal", F::reciprocal},
    {"Tanh", F::tanh},         {"Sigmoid", F::sigmoid},
    {"Erf", F::erf},           {"Sin", F::sin},
    {"Cos", F::cos},           {"Floor", F::floor},
    {"Ceil", F::ceil},         {"Round", F::round},
    {"Sign", F::sign},         {"Relu", F::relu},
    {"Softplus", F::softplus}, {"Not", F::logical_not},
}};

constexpr std::array<std::pair<const char*, F>, 10> kBinary = {{
    {"Add", F::add},
    {"Sub", F::sub},
    {"Mul", F::mul},
    {"Div", F::div},
    {"Min", F::min},
    {"Max", F::max},
    {"Sum", F::add},
    {"And", F::logical_and},
    {"Or", F::logical_or},
    {"Xor", F::logical_xor},
}};

// Chains over one shape.
class Chain {
 public:
  Chain(Builder& b, Shape shape) : b_(b), shape_(std::move(shape)) {}
  View operator()(F function, const View& x) const { return b_.map(function, {x}, shape_, false); }
  View operator()(F function, const View& x, const View& y) const {
    return b_.map(function, {x, y}, shape_, false);
  }
  View operator()(F function, const View& x, double y) const {
    return (*this)(function, x, Builder::number(y));
  }
  View where(const View& condition, const View& x, const View& y) const {
    return b_.map(F::where, {condition, x, y}, shape_, false);
  }

 private:
  Builder& b_;
  const Shape shape_;
};

View gelu_erf(const Chain& c, const View& x) {
  const View half = c(F::mul, x, 0.5);
  return c(F::mul, half, c(F::add, c(F::erf, c(F::mul, x, std::sqrt(0.5))), 1.0));
}

View gelu_tanh(const Chain& c, const View& x) {
  const View cube = c(F::mul, c(F::pow, x, 3.0), 0.044715);
  const View inner = c(F::mul, c(F::add, x, cube), std::sqrt(2.0 / 3.14159265358979323846));
  return c(F::mul, c(F::mul, x, 0.5), c(F::add, c(F::tanh, inner), 1.0));
}

View swish(const Chain& c, const View& x, double alpha) {
  return c(F::mul, x, c(F::sigmoid, c(F::mul, x, alpha)));
}

std::optional<View> activation(const Chain& c, const View& x, const std::string& name) {
  if (name == "none") return x;
  if (name == "relu") return c(F::relu, x);
  if (name == "gelu_erf") return gelu_erf(c, x);
  if (name == "gelu_tanh") return gelu_tanh(c, x);
  if (name == "quick_gelu") return swish(c, x, 1.702);
  if (name == "silu") return swish(c, x, 1.0);
  if (name == "relu_square") return c(F::pow, c(F::relu, x), 2.0);
  if (name == "square") return c(F::pow, x, 2.0);
  const std::array<std::pair<const char*, F>, 10> plain = {{{"tanh", F::tanh},
                                                            {"sigmoid", F::sigmoid},
                                                            {"exp", F::exp},
                                                            {"log", F::log},
                                                            {"sqrt", F::sqrt},
                                                            {"neg", F::neg},
                                                            {"abs", F::abs},
                                                            {"softplus", F::softplus},
                                                            {"reciprocal", F::reciprocal},
                                                            {"erf", F::erf}}};
  if (const auto function = find(plain, name)) return c(*function, x);
  return std::nullopt;
}

// Operators with parameters that are chains of others.
std::optional<View> composed(Builder& b) {
  const ir::Node& n = b.node;
  const auto chain = [&] { return Chain(b, b.out_shape()); };
  if (n.domain == "pocket") {
    if (n.op != "Activation") return std::nullopt;
    return activation(chain(), b.in(0), n.text("function", "none"));
  }
  if (n.op == "Gelu") {
    const View x = b.in(0);
    return n.text("approximate", "none") == "tanh" ? gelu_tanh(chain(), x) : gelu_erf(chain(), x);
  }
  if (n.domain == "com.microsoft") {
    if (n.op == "QuickGelu") return swish(chain(), b.in(0), n.real("alpha", 1.702f));
    if (n.op != "FastGelu") return std::nullopt;
    const View x = b.has(1) ? chain()(F::add, b.in(0), b.in(1)) : b.in(0);
    return gelu_tanh(chain(), x);
  }
  if (n.op == "Swish") return swish(chain(), b.in(0), n.real("alpha", 1.0f));
  if (n.op == "Mish") {
    return chain()(F::mul, b.in(0), chain()(F::tanh, chain()(F::softplus, b.in(0))));
  }
  if (n.op == "Tan") return chain()(F::div, chain()(F::sin, b.in(0)), chain()(F::cos, b.in(0)));
  if (n.op == "HardSigmoid" || n.op == "HardSwish") {
    const bool swish_like = n.op == "HardSwish";
    const double alpha = swish_like ? 1.0 / 6.0 : n.real("alpha", 0.2f);
    const double beta = swish_like ? 0.5 : n.real("beta", 0.5f);
    const View line = chain()(F::add, chain()(F::mul, b.in(0), alpha), beta);
    const View gate = chain()(F::min, chain()(F::relu, line), 1.0);
    return swish_like ? chain()(F::mul, b.in(0), gate) : gate;
  }
  if (n.op == "LeakyRelu" || n.op == "Elu") {
    const View x = b.in(0);
    const double alpha = n.op == "Elu" ? n.real("alpha", 1.0f) : n.real("alpha", 0.01f);
    const View low = n.op == "Elu" ? chain()(F::sub, chain()(F::exp, chain()(F::min, x, 0.0)), 1.0)
                                   : chain()(F::min, x, 0.0);
    return chain()(F::add, chain()(F::relu, x), chain()(F::mul, low, alpha));
  }
  return std::nullopt;
}

View compare(Builder& b, F function, size_t left, size_t right) {
  return b.map(function, {b.in(left), b.in(right)}, b.out_shape(), true);
}

std::optional<View> comparison(Builder& b) {
  const std::string& op = b.node.op;
  if (op == "Equal") return compare(b, F::equal, 0, 1);
  if (op == "Less") return compare(b, F::less, 0, 1);
  if (op == "LessOrEqual") return compare(b, F::less_equal, 0, 1);
  if (op == "Greater") return compare(b, F::less, 1, 0);
  if (op == "GreaterOrEqual") return compare(b, F::less_equal, 1, 0);
  if (op == "IsNaN") return b.map(F::is_nan, {b.in(0)}, b.out_shape(), true);
  if (op == "IsInf") {
    if (b.node.integer("detect_positive", 1) == 0 || b.node.integer("detect_negative", 1) == 0) {
      throw Refused{};
    }
    return b.map(F::is_inf, {b.in(0)}, b.out_shape(), true);
  }
  return std::nullopt;
}

View cast(Builder& b) {
  const View x = b.in(0);
  const ir::ElementType to = b.graph.value(b.node.outputs[0]).type;
  const bool whole = ir::is_integer_type(to);
  if (to == ir::ElementType::boolean) return b.map(F::to_bool, {x}, b.out_shape(), true);
  return whole == x.integer ? x : b.map(F::copy, {x}, b.out_shape(), whole);
}

View clip(Builder& b) {
  View x = b.in(0);
  const auto bound = [&](size_t input, const char* attribute, F function) {
    if (b.has(input)) {
      x = b.map(function, {x, b.in(input)}, b.out_shape());
    } else if (b.node.attributes.contains(attribute)) {
      x = b.map(function, {x, Builder::number(b.node.real(attribute, 0.0f))}, b.out_shape());
    }
  };
  bound(1, "min", F::max);
  bound(2, "max", F::min);
  return x;
}

}  // namespace

bool lower_elementwise(Builder& b) {
  const ir::Node& n = b.node;
  if (std::optional<View> result = composed(b)) {
    b.set(0, *result);
    return true;
  }
  if (!n.domain.empty()) return false;
  if (std::optional<View> result = comparison(b)) {
    b.set(0, *result);
  } else if (n.op == "Cast" || n.op == "CastLike") {
    b.set(0, cast(b));
  } else if (n.op == "Clip") {
    b.set(0, clip(b));
  } else if (n.op == "Where") {
    const View condition = b.in(0), x = b.in(1), y = b.in(2);
    b.set(0, b.map(F::where, {condition, x, y}, b.out_shape(), b.out_integer()));
  } else if (n.op == "Pow") {
    b.set(0, b.map(F::pow, {b.in(0), b.in(1)}, b.out_shape(), b.out_integer()));
  } else if (n.op == "Mod") {
    const F function = n.integer("fmod", 0) != 0 ? F::fmod : F::mod;
    b.set(0, b.map(function, {b.in(0), b.in(1)}, b.out_shape()));
  } else if (const auto unary = find(kUnary, n.op)) {
    const View x = b.in(0);
    b.set(0, *unary == F::copy ? x : b.map(*unary, {x}, b.out_shape()));
  } else if (const auto binary = find(kBinary, n.op)) {
    View x = b.in(0);
    if (n.inputs.size() == 1) x = Builder::broadcast(x, b.out_shape());
    for (size_t i = 1; i < n.inputs.size(); ++i) x = b.map(*binary, {x, b.in(i)}, b.out_shape());
    b.set(0, x);
  } else {
    return false;
  }
  return true;
}

}  // namespace pocket::generic
