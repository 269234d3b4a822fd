#include "converter/shape/elements.h"

#include <algorithm>
#include <array>

#include "converter/reference/broadcast.h"
#include "converter/reference/registry.h"

namespace pocket::shape {

namespace {

using Elements = std::vector<Expr>;
using Maybe = std::optional<std::vector<Elements>>;

std::optional<std::vector<int64_t>> numbers(const std::vector<Expr>& list) {
  std::vector<int64_t> out;
  for (const Expr& x : list) {
    if (!x.is_constant()) return std::nullopt;
    out.push_back(x.constant());
  }
  return out;
}

Maybe one(Elements elements) {
  std::vector<Elements> out;
  out.push_back(std::move(elements));
  return out;
}

// Operators that only move elements do to expressions what they do to numbers: the reference
// function moves handles, which stand for the expressions. Bit k of `payload` says that input k
// is moved; the other inputs must be numbers.
Maybe moved(const Call& call, unsigned payload) {
  const auto function = reference::standard_registry().find(call.node.domain, call.node.op);
  if (function == nullptr) return std::nullopt;
  Elements pool;
  std::vector<reference::HostTensor> tensors(call.inputs.size());
  reference::Call inner{call.node, {}, 0};
  for (size_t k = 0; k < call.inputs.size(); ++k) {
    if (!call.has(k)) {
      inner.inputs.push_back(nullptr);
      continue;
    }
    const auto shape = numbers(call.shape(k));
    const auto known = known_elements(call.input(k));
    if (!shape || !known) return std::nullopt;
    std::vector<int64_t> contents;
    if (k < 32 ? (payload >> k & 1u) != 0 : payload == ~0u) {
      for (const Expr& x : *known) {
        contents.push_back(static_cast<int64_t>(pool.size()));
        pool.push_back(x);
      }
    } else if (auto values = numbers(*known)) {
      contents = *std::move(values);
    } else {
      return std::nullopt;
    }
    tensors[k] = reference::HostTensor::integers(*shape, std::move(contents));
    inner.inputs.push_back(&tensors[k]);
  }
  std::vector<Elements> out;
  for (const reference::HostTensor& result : function(inner)) {
    Elements elements;
    for (const int64_t handle : result.i) elements.push_back(pool.at(at(handle)));
    out.push_back(std::move(elements));
  }
  return out;
}

using Arithmetic = std::optional<Expr> (*)(const Call&, const Expr&, const Expr&);

Maybe combined(const Call& call, const Output& output, Arithmetic apply) {
  const auto shape = numbers(output.shape);
  if (!shape || call.inputs.empty()) return std::nullopt;
  // More than two inputs (Max, Min) are folded from the left.
  std::optional<Elements> sum;
  reference::Shape sum_shape;
  for (size_t k = 0; k < call.inputs.size(); ++k) {
    const auto next_shape = numbers(call.shape(k));
    const auto next = known_elements(call.input(k));
    if (!next_shape || !next) return std::nullopt;
    if (!sum) {
      sum = next;
      sum_shape = *next_shape;
      continue;
    }
    const std::array strides{reference::broadcast_strides(sum_shape, *shape),
                             reference::broadcast_strides(*next_shape, *shape)};
    Elements result(at(reference::element_count(*shape)));
    bool known = true;
    reference::for_each_element(*shape, strides, [&](int64_t i, const auto& in) {
      const auto value = apply(call, (*sum)[at(in[0])], (*next)[at(in[1])]);
      if (value)
        result[at(i)] = *value;
      else
        known = false;
    });
    if (!known) return std::nullopt;
    sum = std::move(result);
    sum_shape = *shape;
  }
  return one(*std::move(sum));
}

std::optional<Expr> from_proof(Proof proof) {
  if (proof == Proof::unknown) return std::nullopt;
  return Expr(proof == Proof::yes ? 1 : 0);
}

std::optional<Expr> less_equal(const Call& call, const Expr& a, const Expr& b) {
  return from_proof(prove_le(a, b, call.ranges));
}

std::optional<Expr> less(const Call& call, const Expr& a, const Expr& b) {
  // Numbers are compared as they are: next to the limits of int64 a sum would overflow.
  if (a.is_constant() && b.is_constant()) return Expr(a.constant() < b.constant() ? 1 : 0);
  return from_proof(prove_le(a + Expr(1), b, call.ranges));
}

std::optional<Expr> equal(const Call& call, const Expr& a, const Expr& b) {
  if (a == b) return Expr(1);
  const auto below = less(call, a, b), above = less(call, b, a);
  if ((below && *below == Expr(1)) || (above && *above == Expr(1))) return Expr(0);
  return std::nullopt;
}

// ONNX divides integers towards zero; floordiv agrees where nothing is negative.
std::optional<Expr> divide(const Call& call, const Expr& a, const Expr& b) {
  if (a.is_constant() && b.is_constant()) {
    if (b == Expr(0)) call.fail("divides an integer by zero");
    if (b == Expr(-1)) return Expr(0) - a;
    return Expr(a.constant() / b.constant());
  }
  if (!call.proven_le(0, a) || !call.proven_le(1, b)) return std::nullopt;
  return Expr::floordiv(a, b);
}

std::optional<Expr> modulo(const Call& call, const Expr& a, const Expr& b) {
  if (!call.proven_le(0, a) || !call.proven_le(1, b)) return std::nullopt;
  return a - b * Expr::floordiv(a, b);
}

std::optional<Expr> truth(const Call& call, const Expr& a) {
  if (a == Expr(0)) return Expr(0);
  const auto zero = equal(call, a, 0);
  if (!zero) return std::nullopt;
  return Expr(1) - *zero;
}

const std::map<std::string, Arithmetic>& arithmetic() {
  using Result = std::optional<Expr>;
  static const std::map<std::string, Arithmetic> kTable = {
      {"Add", [](const Call&, const Expr& a, const Expr& b) { return Result(a + b); }},
      {"Sub", [](const Call&, const Expr& a, const Expr& b) { return Result(a - b); }},
      {"Mul", [](const Call&, const Expr& a, const Expr& b) { return Result(a * b); }},
      {"Div", divide},
      {"Mod", modulo},
      {"Max",
       [](const Call& call, const Expr& a, const Expr& b) {
         if (call.proven_le(a, b)) return Result(b);
         return Result(call.proven_le(b, a) ? a : Expr::max(a, b));
       }},
      {"Min",
       [](const Call& call, const Expr& a, const Expr& b) {
         if (call.proven_le(a, b)) return Result(a);
         return Result(call.proven_le(b, a) ? b : Expr::min(a, b));
       }},
      {"Equal", equal},
      {"Less", less},
      {"LessOrEqual", less_equal},
      {"Greater", [](const Call& call, const Expr& a, const Expr& b) { return less(call, b, a); }},
      {"GreaterOrEqual",
       [](const Call& call, const Expr& a, const Expr& b) { return less_equal(call, b, a); }},
      {"And",
       [](const Call& call, const Expr& a, const Expr& b) {
         const Result x = truth(call, a), y = truth(call, b);
         if ((x && *x == Expr(0)) || (y && *y == Expr(0))) return Result(Expr(0));
         return x && y ? Result(Expr(1)) : Result();
       }},
      {"Or",
       [](const Call& call, const Expr& a, const Expr& b) {
         const Result x = truth(call, a), y = truth(call, b);
         if ((x && *x == Expr(1)) || (y && *y == Expr(1))) return Result(Expr(1));
         return x && y ? Result(Expr(0)) : Result();
       }},
      {"Xor",
       [](const Call& call, const Expr& a, const Expr& b) {
         const Result x = truth(call, a), y = truth(call, b);
         return x && y ? Result(Expr(*x == *y ? 0 : 1)) : Result();
       }},
  };
  return kTable;
}

Maybe mapped(const Call& call, std::optional<Expr> (*apply)(const Call&, const Expr&)) {
  auto known = known_elements(call.input(0));
  if (!known) return std::nullopt;
  for (Expr& x : *known) {
    const auto value = apply(call, x);
    if (!value) return std::nullopt;
    x = *value;
  }
  return one(*std::move(known));
}

// Casts between integers keep symbols: sizes are far inside every type's range.
Maybe cast(const Call& call, ir::ElementType to) {
  auto known = known_elements(call.input(0));
  if (!known || !ir::is_integer_type(to)) return std::nullopt;
  for (Expr& x : *known) {
    if (x.is_constant()) {
      x = reference::wrap_integer(to, x.constant());
    } else if (to == ir::ElementType::boolean) {
      const auto value = truth(call, x);
      if (!value) return std::nullopt;
      x = *value;
    } else if (ir::element_bits(to) < 32) {
      return std::nullopt;
    }
  }
  return one(*std::move(known));
}

Maybe reduced(const Call& call, const Output& output, bool product) {
  const auto known = known_elements(call.input(0));
  if (!known || call.rank(0) > 1 || !numbers(output.shape)) return std::nullopt;
  if (const auto axes = call.numbers(1, "axes");
      (!axes || axes->empty()) && call.node.integer("noop_with_empty_axes", 0) != 0) {
    return one(*known);
  }
  Expr total(product ? 1 : 0);
  for (const Expr& x : *known) total = product ? total * x : total + x;
  return one({total});
}

Maybe shape_of(const Call& call) {
  const SymbolicShape& shape = call.shape(0);
  const auto rank = static_cast<int64_t>(shape.size());
  const auto bound = [&](int64_t x) { return std::clamp<int64_t>(x < 0 ? x + rank : x, 0, rank); };
  const int64_t start = bound(call.node.integer("start", 0));
  const int64_t end = std::max(start, bound(call.node.integer("end", rank)));
  return one(Elements(shape.begin() + start, shape.begin() + end));
}

Maybe size_of(const Call& call) {
  Expr total(1);
  for (const Expr& dim : call.shape(0)) total = total * dim;
  return one({total});
}

Maybe range(const Call& call, const Output& output) {
  if (!ir::is_integer_type(output.type) || !output.shape[0].is_constant()) return std::nullopt;
  const Expr start = call.elements(0)[0], delta = call.elements(2)[0];
  Elements out;
  for (int64_t k = 0; k < output.shape[0].constant(); ++k) out.push_back(start + Expr(k) * delta);
  return one(std::move(out));
}

bool fits(const std::vector<Output>& outputs) {
  return std::all_of(outputs.begin(), outputs.end(), [](const Output& output) {
    const auto shape = numbers(output.shape);
    return shape && ir::is_integer_type(output.type) &&
           reference::element_count(*shape) <= kMostElements;
  });
}

}  // namespace

std::optional<std::vector<std::vector<Expr>>> output_elements(const Call& call,
                                                              const std::vector<Output>& outputs) {
  if (!call.node.domain.empty() || outputs.empty() || !fits(outputs)) return std::nullopt;
  const std::string& op = call.node.op;
  const Output& output = outputs[0];
  if (const auto it = arithmetic().find(op); it != arithmetic().end()) {
    return combined(call, output, it->second);
  }
  if (op == "Shape") return shape_of(call);
  if (op == "Size") return size_of(call);
  if (op == "Range") return range(call, output);
  if (op == "Cast" || op == "CastLike") return cast(call, output.type);
  if (op == "ReduceProd") return reduced(call, output, true);
  if (op == "ReduceSum") return reduced(call, output, false);
  if (op == "Concat") return moved(call, ~0u);
  if (op == "Where") return moved(call, 0b110);
  if (op == "ScatterND") {
    return call.node.text("reduction", "none") == "none" ? moved(call, 0b101) : std::nullopt;
  }
  for (const char* movement : {"Gather", "Slice", "Reshape", "Flatten", "Squeeze", "Unsqueeze",
                               "Transpose", "Expand", "Tile", "Split"}) {
    if (op == movement) return moved(call, 0b1);
  }
  if (op == "Identity" || op == "Floor" || op == "Ceil") {
    return mapped(call, [](const Call&, const Expr& x) { return std::optional<Expr>(x); });
  }
  if (op == "Neg") {
    return mapped(call, [](const Call&, const Expr& x) { return std::optional<Expr>(Expr() - x); });
  }
  if (op == "Abs") {
    return mapped(call, [](const Call& c, const Expr& x) {
      if (c.proven_le(0, x)) return std::optional<Expr>(x);
      return c.proven_le(x, 0) ? std::optional<Expr>(Expr() - x) : std::optional<Expr>();
    });
  }
  if (op == "Not") {
    return mapped(call, [](const Call& c, const Expr& x) {
      const auto value = truth(c, x);
      return value ? std::optional<Expr>(Expr(1) - *value) : std::optional<Expr>();
    });
  }
  return std::nullopt;
}

}  // namespace pocket::shape
