// Operators that work element by element, with broadcasting.
#include <cmath>
#include <limits>

#include "converter/reference/broadcast.h"
#include "converter/reference/operators.h"

namespace pocket::reference {

namespace {

using Outputs = std::vector<HostTensor>;

Outputs one(HostTensor tensor) {
  Outputs out;
  out.push_back(std::move(tensor));
  return out;
}

// Integer arithmetic wraps, as it does on every backend, and never overflows in C++'s sense.
int64_t wrapped(uint64_t x) { return static_cast<int64_t>(x); }
uint64_t bits(int64_t x) { return static_cast<uint64_t>(x); }

template <auto Fn>
Outputs unary_float(const Call& call) {
  const HostTensor& x = call.input(0);
  if (x.is_integer()) call.fail("needs a float input");
  HostTensor y = x;
  for (float& value : y.f) value = Fn(value);
  return one(std::move(y));
}

template <auto FloatFn, auto IntegerFn>
Outputs unary_any(const Call& call) {
  HostTensor y = call.input(0);
  for (float& value : y.f) value = FloatFn(value);
  for (int64_t& value : y.i) value = wrap_integer(y.type, IntegerFn(value));
  return one(std::move(y));
}

template <typename Test>
Outputs float_test(const Call& call, Test test) {
  const HostTensor& x = call.input(0);
  if (x.is_integer()) call.fail("needs a float input");
  HostTensor y = HostTensor::make(ElementType::boolean, x.shape);
  for (size_t k = 0; k < x.f.size(); ++k) y.i[k] = test(x.f[k]) ? 1 : 0;
  return one(std::move(y));
}

Outputs is_nan(const Call& call) {
  return float_test(call, [](float x) { return std::isnan(x); });
}

Outputs is_inf(const Call& call) {
  const bool negative = call.node.integer("detect_negative", 1) != 0;
  const bool positive = call.node.integer("detect_positive", 1) != 0;
  return float_test(call, [&](float x) { return std::isinf(x) && (x < 0 ? negative : positive); });
}

template <auto FloatFn, auto IntegerFn>
HostTensor combine(const Call& call, const HostTensor& a, const HostTensor& b, ElementType type) {
  if (a.is_integer() != b.is_integer()) {
    call.fail(std::string("mixes ") + ir::element_name(a.type) + " and " +
              ir::element_name(b.type));
  }
  HostTensor y = HostTensor::make(type, broadcast_shapes(call, {a.shape, b.shape}));
  const std::array strides{broadcast_strides(a.shape, y.shape),
                           broadcast_strides(b.shape, y.shape)};
  const auto at = [](int64_t k) { return static_cast<size_t>(k); };
  if (a.is_integer()) {
    for_each_element(y.shape, strides, [&](int64_t k, const auto& in) {
      y.i[at(k)] = wrap_integer(type, IntegerFn(a.i[at(in[0])], b.i[at(in[1])]));
    });
  } else if (y.is_integer()) {
    for_each_element(y.shape, strides, [&](int64_t k, const auto& in) {
      y.i[at(k)] = static_cast<int64_t>(FloatFn(a.f[at(in[0])], b.f[at(in[1])]));
    });
  } else {
    for_each_element(y.shape, strides, [&](int64_t k, const auto& in) {
      y.f[at(k)] = static_cast<float>(FloatFn(a.f[at(in[0])], b.f[at(in[1])]));
    });
  }
  return y;
}

template <auto FloatFn, auto IntegerFn>
Outputs binary(const Call& call) {
  const HostTensor& a = call.input(0);
  return one(combine<FloatFn, IntegerFn>(call, a, call.input(1), a.type));
}

template <auto Fn>
Outputs compare(const Call& call) {
  return one(combine<Fn, Fn>(call, call.input(0), call.input(1), ElementType::boolean));
}

template <auto Fn>
Outputs logical(const Call& call) {
  if (!call.input(0).is_integer()) call.fail("needs boolean inputs");
  return one(combine<Fn, Fn>(call, call.input(0), call.input(1), ElementType::boolean));
}

template <auto FloatFn, auto IntegerFn>
Outputs fold_inputs(const Call& call) {
  HostTensor y = call.input(0);
  for (size_t k = 1; k < call.inputs.size(); ++k) {
    y = combine<FloatFn, IntegerFn>(call, y, call.input(k), y.type);
  }
  return one(std::move(y));
}

constexpr auto kAdd = [](auto a, auto b) {
  if constexpr (std::is_integral_v<decltype(a)>)
    return wrapped(bits(a) + bits(b));
  else
    return a + b;
};
constexpr auto kSub = [](auto a, auto b) {
  if constexpr (std::is_integral_v<decltype(a)>)
    return wrapped(bits(a) - bits(b));
  else
    return a - b;
};
constexpr auto kMul = [](auto a, auto b) {
  if constexpr (std::is_integral_v<decltype(a)>)
    return wrapped(bits(a) * bits(b));
  else
    return a * b;
};
constexpr auto kMax = [](auto a, auto b) {
  if constexpr (std::is_floating_point_v<decltype(a)>) {
    if (std::isnan(a) || std::isnan(b)) return std::numeric_limits<decltype(a)>::quiet_NaN();
  }
  return a > b ? a : b;
};
constexpr auto kMin = [](auto a, auto b) {
  if constexpr (std::is_floating_point_v<decltype(a)>) {
    if (std::isnan(a) || std::isnan(b)) return std::numeric_limits<decltype(a)>::quiet_NaN();
  }
  return a < b ? a : b;
};

float sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }

float gelu_erf(float x) { return 0.5f * x * (1.0f + std::erf(x * 0.70710678118654752440f)); }

float gelu_tanh(float x) {
  return 0.5f * x * (1.0f + std::tanh(0.79788456080286535588f * (x + 0.044715f * x * x * x)));
}

Outputs divide(const Call& call) {
  const HostTensor& divisor = call.input(1);
  for (const int64_t d : divisor.i) {
    if (d == 0) call.fail("divides an integer by zero");
  }
  return binary<[](float a, float b) { return a / b; },
                [](int64_t a, int64_t b) { return b == -1 ? wrapped(0 - bits(a)) : a / b; }>(call);
}

Outputs modulo(const Call& call) {
  const HostTensor& divisor = call.input(1);
  for (const int64_t d : divisor.i) {
    if (d == 0) call.fail("divides an integer by zero");
  }
  if (call.node.integer("fmod", 0) != 0) {
    return binary<[](float a, float b) { return std::fmod(a, b); },
                  [](int64_t a, int64_t b) { return b == -1 ? int64_t{0} : a % b; }>(call);
  }
  return binary<([](float a, float b) {  // the sign of the divisor, as in Python
                  const float r = std::fmod(a, b);
                  return r != 0.0f && (r < 0.0f) != (b < 0.0f) ? r + b : r;
                }),
                [](int64_t a, int64_t b) {
                  if (b == -1) return int64_t{0};
                  const int64_t r = a % b;
                  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
                }>(call);
}

Outputs power(const Call& call) {
  const HostTensor& base = call.input(0);
  HostTensor exponent = call.input(1);
  HostTensor widened = base;
  const auto to_float = [](HostTensor& tensor) {
    if (!tensor.is_integer()) return;
    tensor.f.assign(tensor.i.begin(), tensor.i.end());
    tensor.i.clear();
    tensor.type = ElementType::f32;
  };
  to_float(exponent);
  to_float(widened);
  HostTensor y =
      combine<[](float a, float b) { return std::pow(a, b); },
              [](int64_t a, int64_t) { return a; }>(call, widened, exponent, widened.type);
  if (base.is_integer()) {
    for (const float value : y.f) y.i.push_back(wrap_integer(base.type, float_to_integer(value)));
    y.f.clear();
  }
  y.type = base.type;
  return one(std::move(y));
}

Outputs cast_to(const HostTensor& x, ElementType type) {
  HostTensor y = HostTensor::make(type, x.shape);
  if (x.is_integer() && y.is_integer()) {
    for (size_t k = 0; k < x.i.size(); ++k) y.i[k] = wrap_integer(type, x.i[k]);
  } else if (x.is_integer()) {
    for (size_t k = 0; k < x.i.size(); ++k) y.f[k] = static_cast<float>(x.i[k]);
  } else if (type == ElementType::boolean) {
    for (size_t k = 0; k < x.f.size(); ++k) y.i[k] = x.f[k] != 0.0f;
  } else if (y.is_integer()) {
    for (size_t k = 0; k < x.f.size(); ++k) y.i[k] = wrap_integer(type, float_to_integer(x.f[k]));
  } else {
    y.f = x.f;
  }
  return one(std::move(y));
}

Outputs cast(const Call& call) {
  const ElementType type = ir::element_from_onnx(call.node.integer("to", 0));
  if (type == ElementType::undefined) {
    call.fail("casts to the unsupported type " + std::to_string(call.node.integer("to", 0)));
  }
  return cast_to(call.input(0), type);
}

Outputs cast_like(const Call& call) { return cast_to(call.input(0), call.input(1).type); }

Outputs where(const Call& call) {
  const HostTensor &condition = call.input(0), &a = call.input(1), &b = call.input(2);
  if (!condition.is_integer() || a.is_integer() != b.is_integer()) {
    call.fail("needs a boolean condition and two operands of one type");
  }
  HostTensor y =
      HostTensor::make(a.type, broadcast_shapes(call, {condition.shape, a.shape, b.shape}));
  const std::array strides{broadcast_strides(condition.shape, y.shape),
                           broadcast_strides(a.shape, y.shape),
                           broadcast_strides(b.shape, y.shape)};
  const auto at = [](int64_t k) { return static_cast<size_t>(k); };
  for_each_element(y.shape, strides, [&](int64_t k, const auto& in) {
    const bool first = condition.i[at(in[0])] != 0;
    if (y.is_integer())
      y.i[at(k)] = first ? a.i[at(in[1])] : b.i[at(in[2])];
    else
      y.f[at(k)] = first ? a.f[at(in[1])] : b.f[at(in[2])];
  });
  return one(std::move(y));
}

Outputs clip(const Call& call) {
  HostTensor y = call.input(0);
  const auto bound = [&](size_t index, auto member, auto apply) {
    if (!call.has(index)) return;
    const HostTensor& limit = call.input(index);
    if (limit.elements() != 1 || limit.is_integer() != y.is_integer()) {
      call.fail("needs scalar bounds of the input's type");
    }
    for (auto& value : y.*member) value = apply(value, (limit.*member)[0]);
  };
  if (y.is_integer()) {
    bound(1, &HostTensor::i, kMax);
    bound(2, &HostTensor::i, kMin);
  } else {
    bound(1, &HostTensor::f, kMax);
    bound(2, &HostTensor::f, kMin);
  }
  return one(std::move(y));
}

Outputs gelu(const Call& call) {
  const std::string form = call.node.text("approximate", "none");
  if (form == "tanh") return unary_float<gelu_tanh>(call);
  if (form != "none") call.fail("has the unknown approximation \"" + form + "\"");
  return unary_float<gelu_erf>(call);
}

Outputs fast_gelu(const Call& call) {
  if (!call.has(1)) return unary_float<gelu_tanh>(call);
  HostTensor y = combine<kAdd, kAdd>(call, call.input(0), call.input(1), call.input(0).type);
  for (float& value : y.f) value = gelu_tanh(value);
  return one(std::move(y));
}

Outputs quick_gelu(const Call& call) {
  const float alpha = call.node.real("alpha", 1.702f);
  HostTensor y = call.input(0);
  for (float& value : y.f) value *= sigmoid(alpha * value);
  return one(std::move(y));
}

Outputs identity(const Call& call) { return one(call.input(0)); }

Outputs dropout(const Call& call) {  // inference: the mask keeps everything
  for (const int64_t training : call.integers(2, "training_mode")) {
    if (training != 0) call.fail("is in training mode");
  }
  Outputs out = one(call.input(0));
  HostTensor mask = HostTensor::make(ElementType::boolean, call.input(0).shape);
  mask.i.assign(mask.i.size(), 1);
  out.push_back(std::move(mask));
  return out;
}

}  // namespace

int64_t float_to_integer(float x) {
  constexpr float kLimit = 9223372036854775808.0f;
  if (std::isnan(x)) return std::numeric_limits<int64_t>::min();
  if (x >= kLimit) return std::numeric_limits<int64_t>::max();
  if (x < -kLimit) return std::numeric_limits<int64_t>::min();
  return static_cast<int64_t>(x);
}

void register_elementwise(Registry& r) {
  constexpr auto kSame = [](int64_t x) { return x; };
  r.add("", "Abs",
        unary_any<[](float x) { return std::fabs(x); },
                  [](int64_t x) { return x < 0 ? wrapped(0 - bits(x)) : x; }>);
  r.add("", "Neg",
        unary_any<[](float x) { return -x; }, [](int64_t x) { return wrapped(0 - bits(x)); }>);
  r.add("", "Sign",
        unary_any<([](float x) { return x > 0   ? 1.0f
                                        : x < 0 ? -1.0f
                                                : x; }),
                  ([](int64_t x) { return int64_t{x > 0} - int64_t{x < 0}; })>);
  r.add("", "Ceil", unary_any<[](float x) { return std::ceil(x); }, kSame>);
  r.add("", "Floor", unary_any<[](float x) { return std::floor(x); }, kSame>);
  r.add("", "Relu",
        unary_any<[](float x) { return x < 0 ? 0.0f : x; },
                  [](int64_t x) { return x < 0 ? int64_t{0} : x; }>);
  r.add("", "Not", unary_any<[](float x) { return x; }, [](int64_t x) { return int64_t{x == 0}; }>);
  r.add("", "Cos", unary_float<[](float x) { return std::cos(x); }>);
  r.add("", "Sin", unary_float<[](float x) { return std::sin(x); }>);
  r.add("", "Erf", unary_float<[](float x) { return std::erf(x); }>);
  r.add("", "Exp", unary_float<[](float x) { return std::exp(x); }>);
  r.add("", "Log", unary_float<[](float x) { return std::log(x); }>);
  r.add("", "Reciprocal", unary_float<[](float x) { return 1.0f / x; }>);
  r.add("", "Sigmoid", unary_float<sigmoid>);
  r.add("", "Softplus", unary_float<([](float x) {
          return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
        })>);
  r.add("", "Sqrt", unary_float<[](float x) { return std::sqrt(x); }>);
  r.add("", "Tanh", unary_float<[](float x) { return std::tanh(x); }>);
  r.add("", "IsNaN", is_nan);
  r.add("", "IsInf", is_inf);
  r.add("", "Gelu", gelu);
  r.add("com.microsoft", "Gelu", unary_float<gelu_erf>);
  r.add("com.microsoft", "FastGelu", fast_gelu);
  r.add("com.microsoft", "QuickGelu", quick_gelu);

  r.add("", "Add", binary<kAdd, kAdd>);
  r.add("", "Sub", binary<kSub, kSub>);
  r.add("", "Mul", binary<kMul, kMul>);
  r.add("", "Div", divide);
  r.add("", "Mod", modulo);
  r.add("", "Pow", power);
  r.add("", "Max", fold_inputs<kMax, kMax>);
  r.add("", "Min", fold_inputs<kMin, kMin>);
  r.add("", "Sum", fold_inputs<kAdd, kAdd>);

  r.add("", "Equal", compare<[](auto a, auto b) { return int64_t{a == b}; }>);
  r.add("", "Greater", compare<([](auto a, auto b) { return int64_t{a > b}; })>);
  r.add("", "GreaterOrEqual", compare<[](auto a, auto b) { return int64_t{a >= b}; }>);
  r.add("", "Less", compare<[](auto a, auto b) { return int64_t{a < b}; }>);
  r.add("", "LessOrEqual", compare<[](auto a, auto b) { return int64_t{a <= b}; }>);
  r.add("", "And", logical<[](auto a, auto b) { return int64_t{a != 0 && b != 0}; }>);
  r.add("", "Or", logical<[](auto a, auto b) { return int64_t{a != 0 || b != 0}; }>);
  r.add("", "Xor", logical<[](auto a, auto b) { return int64_t{(a != 0) != (b != 0)}; }>);

  r.add("", "Where", where);
  r.add("", "Clip", clip);
  r.add("", "Cast", cast);
  r.add("", "CastLike", cast_like);
  r.add("", "Identity", identity);
  r.add("", "Dropout", dropout);
}

}  // namespace pocket::reference
