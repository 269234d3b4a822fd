// Operators on integer codes: QDQ of ONNX, MatMulNBits and GatherBlockQuantized of ONNX Runtime,
// and the operators that its dynamic quantiser leaves behind.
#include <algorithm>
#include <cmath>

#include "converter/reference/broadcast.h"
#include "converter/reference/operators.h"

namespace pocket::reference {

namespace {

using Outputs = std::vector<HostTensor>;

std::pair<int64_t, int64_t> limits_of(const Call& call, ElementType type) {
  switch (type) {
    case ElementType::u8:
      return {0, 255};
    case ElementType::i8:
      return {-128, 127};
    case ElementType::u16:
      return {0, 65535};
    case ElementType::i16:
      return {-32768, 32767};
    case ElementType::u4:
      return {0, 15};
    case ElementType::i4:
      return {-8, 7};
    default:
      call.fail(std::string("quantises to the unsupported type ") + ir::element_name(type));
  }
}

// Where the scale of element `flat` of x lies: one for all, one per index along an axis, or one
// per block of an axis.
class ScaleIndex {
 public:
  ScaleIndex(const Call& call, const Shape& x, const HostTensor& scale, int64_t axis, int64_t block)
      : x_(x) {
    const int64_t count = scale.elements();
    if (scale.rank() == 0 || (scale.rank() == 1 && count == 1 && block == 0)) return;
    axis_ = normal_axis(call, axis, static_cast<int64_t>(x.size()));
    inner_ = element_count({x.begin() + axis_ + 1, x.end()});
    if (block == 0) {
      if (scale.rank() != 1 || count != x[at(axis_)]) call.fail("has scales of another number");
      blocks_ = x[at(axis_)];
      return;
    }
    blocks_ = (x[at(axis_)] + block - 1) / block;
    block_ = block;
    blocked_ = true;
    Shape expected = x;
    expected[at(axis_)] = blocks_;
    if (block < 1 || element_count(expected) != count) call.fail("has scales of another shape");
  }

  int64_t operator()(int64_t flat) const {
    if (axis_ < 0) return 0;
    const int64_t size = x_[at(axis_)];
    const int64_t along = flat / inner_ % size;
    if (!blocked_) return along;
    return (flat / (inner_ * size) * blocks_ + along / block_) * inner_ + flat % inner_;
  }

 private:
  Shape x_;
  int64_t axis_ = -1, inner_ = 1, blocks_ = 1, block_ = 1;
  bool blocked_ = false;
};

double number(const HostTensor& tensor, int64_t index) {
  return tensor.is_integer() ? static_cast<double>(tensor.i.at(at(index)))
                             : static_cast<double>(tensor.f.at(at(index)));
}

const HostTensor* zero_of(const Call& call, size_t index, const HostTensor& scale) {
  if (!call.has(index)) return nullptr;
  if (call.input(index).elements() != scale.elements()) {
    call.fail("has zero points of another number than scales");
  }
  return &call.input(index);
}

// x, scale, zero?
Outputs dequantise(const Call& call) {
  const HostTensor &x = call.input(0), &scale = call.input(1);
  const HostTensor* zero = zero_of(call, 2, scale);
  const ScaleIndex index(call, x.shape, scale, call.node.integer("axis", 1),
                         call.node.integer("block_size", 0));
  HostTensor y = HostTensor::make(scale.type, x.shape);
  for (int64_t i = 0; i < y.elements(); ++i) {
    const int64_t s = index(i);
    y.f[at(i)] = static_cast<float>((number(x, i) - (zero == nullptr ? 0.0 : number(*zero, s))) *
                                    number(scale, s));
  }
  return {std::move(y)};
}

// x, scale, zero?
Outputs quantise(const Call& call) {
  const HostTensor &x = call.input(0), &scale = call.input(1);
  const HostTensor* zero = zero_of(call, 2, scale);
  ElementType type = zero != nullptr ? zero->type : ElementType::u8;
  if (const int64_t given = call.node.integer("output_dtype", 0); given != 0) {
    type = ir::element_from_onnx(given);
  }
  const auto [least, most] = limits_of(call, type);
  const ScaleIndex index(call, x.shape, scale, call.node.integer("axis", 1),
                         call.node.integer("block_size", 0));
  HostTensor y = HostTensor::make(type, x.shape);
  for (int64_t i = 0; i < y.elements(); ++i) {
    const int64_t s = index(i);
    const double code = std::nearbyint(number(x, i) / number(scale, s)) +
                        (zero == nullptr ? 0.0 : number(*zero, s));
    y.i[at(i)] = static_cast<int64_t>(
        std::clamp(code, static_cast<double>(least), static_cast<double>(most)));
  }
  return {std::move(y)};
}

// x -> codes u8, scale, zero
Outputs dynamic_quantise(const Call& call) {
  const HostTensor& x = call.input(0);
  if (x.is_integer()) call.fail("needs floats");
  float low = 0, high = 0;
  for (const float value : x.f) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  const float scale = (high - low) / 255.0f;
  const float zero = scale == 0.0f ? 0.0f : std::clamp(std::nearbyint(-low / scale), 0.0f, 255.0f);
  HostTensor codes = HostTensor::make(ElementType::u8, x.shape);
  for (size_t i = 0; i < x.f.size(); ++i) {
    const float code = scale == 0.0f ? zero : std::nearbyint(x.f[i] / scale) + zero;
    codes.i[i] = static_cast<int64_t>(std::clamp(code, 0.0f, 255.0f));
  }
  HostTensor zero_point = HostTensor::make(ElementType::u8, {});
  zero_point.i[0] = static_cast<int64_t>(zero);
  return {std::move(codes), HostTensor::floats({}, {scale}), std::move(zero_point)};
}

// (a - a zero) (b - b zero), a [.., m, k], b [k, n] or batched; a's zero one for all, b's one for
// all or one per column.
HostTensor integer_product(const Call& call, const HostTensor& a, const HostTensor& b,
                           const HostTensor* a_zero, const HostTensor* b_zero) {
  if (!a.is_integer() || !b.is_integer() || a.rank() < 2 || b.rank() < 2) {
    call.fail("needs matrices of integers");
  }
  const int64_t m = a.shape[at(a.rank() - 2)], k = a.shape.back(), n = b.shape.back();
  if (b.shape[at(b.rank() - 2)] != k) call.fail("multiplies matrices that do not fit");
  if ((a_zero != nullptr && a_zero->elements() != 1) ||
      (b_zero != nullptr && b_zero->elements() != 1 && b_zero->elements() != n)) {
    call.fail("has zero points of an unsupported shape");
  }
  const Shape left(a.shape.begin(), a.shape.end() - 2), right(b.shape.begin(), b.shape.end() - 2);
  Shape shape = broadcast_shapes(call, {left, right});
  const Shape batch = shape;
  shape.push_back(m);
  shape.push_back(n);
  HostTensor y = HostTensor::make(ElementType::i32, shape);
  const int64_t zero_a = a_zero == nullptr ? 0 : a_zero->i[0];
  for_each_element(
      batch, std::array{broadcast_strides(left, batch), broadcast_strides(right, batch)},
      [&](int64_t index, const auto& in) {
        for (int64_t row = 0; row < m; ++row) {
          int64_t* out = y.i.data() + (index * m + row) * n;
          for (int64_t inner = 0; inner < k; ++inner) {
            const int64_t value = a.i[at((in[0] * m + row) * k + inner)] - zero_a;
            const int64_t* other = b.i.data() + (in[1] * k + inner) * n;
            for (int64_t column = 0; column < n; ++column) {
              const int64_t zero =
                  b_zero == nullptr ? 0 : b_zero->i[b_zero->i.size() == 1 ? 0 : at(column)];
              out[column] += value * (other[column] - zero);
            }
          }
        }
      });
  for (int64_t& value : y.i) value = wrap_integer(ElementType::i32, value);
  return y;
}

const HostTensor* optional(const Call& call, size_t index) {
  return call.has(index) ? &call.input(index) : nullptr;
}

Outputs matmul_integer(const Call& call) {
  return {
      integer_product(call, call.input(0), call.input(1), optional(call, 2), optional(call, 3))};
}

HostTensor scaled(const Call& call, const HostTensor& product, double a_scale,
                  const HostTensor& b_scale, const HostTensor* bias) {
  const int64_t n = product.shape.back();
  if ((b_scale.elements() != 1 && b_scale.elements() != n) ||
      (bias != nullptr && bias->elements() != n)) {
    call.fail("has scales or a bias of another number than columns");
  }
  HostTensor y = HostTensor::make(ElementType::f32, product.shape);
  for (size_t i = 0; i < y.f.size(); ++i) {
    const size_t column = i % at(n);
    const double scale =
        a_scale * static_cast<double>(b_scale.f[b_scale.f.size() == 1 ? 0 : column]);
    y.f[i] = static_cast<float>(static_cast<double>(product.i[i]) * scale +
                                (bias == nullptr ? 0.0 : static_cast<double>(bias->f[column])));
  }
  return y;
}

// A, B, a_scale, b_scale, a_zero?, b_zero?, bias?
Outputs matmul_integer_to_float(const Call& call) {
  const HostTensor product =
      integer_product(call, call.input(0), call.input(1), optional(call, 4), optional(call, 5));
  if (call.input(2).elements() != 1) call.fail("has several scales for its left matrix");
  return {scaled(call, product, number(call.input(2), 0), call.input(3), optional(call, 6))};
}

// A (float), B, b_scale, b_zero?, bias?
Outputs dynamic_quantise_matmul(const Call& call) {
  const Outputs a = dynamic_quantise(call);
  const HostTensor product = integer_product(call, a[0], call.input(1), &a[2], optional(call, 3));
  return {scaled(call, product, number(a[1], 0), call.input(2), optional(call, 4))};
}

// Element `index` of codes that are packed into bytes, the low bits first.
int64_t packed_code(const HostTensor& bytes, int64_t index, int64_t bits) {
  const int64_t per_byte = 8 / bits;
  const int64_t byte = bytes.i.at(at(index / per_byte));
  return (byte >> (index % per_byte * bits)) & ((int64_t{1} << bits) - 1);
}

// A, B [N, blocks, bytes], scales, zero_points?, g_idx?, bias?
Outputs matmul_n_bits(const Call& call) {
  const int64_t k = call.node.integer("K", 0), n = call.node.integer("N", 0);
  const int64_t bits = call.node.integer("bits", 4), block = call.node.integer("block_size", 0);
  if (call.has(4)) call.fail("reorders its columns (g_idx), which is unsupported");
  constexpr int64_t kMost = int64_t{1} << 20;  // of a side; products stay far inside int64
  if (k < 1 || n < 1 || block < 1 || k > kMost || n > kMost || block > kMost ||
      (bits != 4 && bits != 8 && bits != 2)) {
    call.fail("has an impossible K, N, block_size or bits");
  }
  const HostTensor &a = call.input(0), &b = call.input(1), &scales = call.input(2);
  const int64_t blocks = (k + block - 1) / block;
  if (a.is_integer() || a.shape.empty() || a.shape.back() != k || !b.is_integer() ||
      b.elements() < n * blocks * (block * bits / 8) || scales.elements() < n * blocks) {
    call.fail("has too few codes or scales for its shape");
  }
  const HostTensor* zeros = optional(call, 3);
  // Zero points of a row are packed like codes and begin at a whole byte.
  const int64_t zero_row = (blocks * bits + 7) / 8 * (8 / bits);
  const bool packed_zeros = zeros != nullptr && zeros->is_integer();
  std::vector<double> row(at(k));
  Shape shape = a.shape;
  shape.back() = n;
  HostTensor y = HostTensor::make(a.type, shape);
  const int64_t count = a.elements() / k;
  for (int64_t out = 0; out < n; ++out) {
    for (int64_t i = 0; i < k; ++i) {
      const int64_t group = out * blocks + i / block;
      double zero = static_cast<double>(int64_t{1} << (bits - 1));
      if (packed_zeros)
        zero = static_cast<double>(packed_code(*zeros, out * zero_row + i / block, bits));
      else if (zeros != nullptr)
        zero = number(*zeros, group);
      row[at(i)] = (static_cast<double>(packed_code(b, out * blocks * block + i, bits)) - zero) *
                   number(scales, group);
    }
    for (int64_t line = 0; line < count; ++line) {
      double sum = call.has(5) ? number(call.input(5), out) : 0.0;
      for (int64_t i = 0; i < k; ++i)
        sum += static_cast<double>(a.f[at(line * k + i)]) * row[at(i)];
      y.f[at(line * n + out)] = static_cast<float>(sum);
    }
  }
  return {std::move(y)};
}

// data (4-bit, or bytes that pack 4- or 8-bit codes along the last axis), indices, scales, zeros?
Outputs gather_block_quantised(const Call& call) {
  const HostTensor &data = call.input(0), &indices = call.input(1), &scales = call.input(2);
  const bool bytes = data.type == ElementType::u8;
  const int64_t bits = bytes ? call.node.integer("bits", 4) : 4;
  if (!data.is_integer() || !indices.is_integer() || data.shape.empty() ||
      (bits != 4 && bits != 8)) {
    call.fail("has codes of an unsupported type");
  }
  const int64_t block = call.node.integer("block_size", 128);
  Shape shape = data.shape;
  if (bytes) shape.back() *= 8 / bits;
  const auto rank = static_cast<int64_t>(shape.size());
  const int64_t gathered = normal_axis(call, call.node.integer("gather_axis", 0), rank);
  const int64_t quantised = normal_axis(call, call.node.integer("quantize_axis", 1), rank);
  const ScaleIndex index(call, shape, scales, quantised, block);
  HostTensor floats = HostTensor::make(scales.type, shape);
  const HostTensor* zeros = optional(call, 3);
  const int64_t scale_columns =
      scales.shape.empty() ? 1 : std::max<int64_t>(scales.shape.back(), 1);
  const int64_t zero_row = bytes ? (scale_columns * bits + 7) / 8 * (8 / bits) : scale_columns;
  for (int64_t i = 0; i < floats.elements(); ++i) {
    const int64_t s = index(i);
    const int64_t code = bytes ? packed_code(data, i, bits) : data.i[at(i)];
    int64_t zero = bytes ? int64_t{1} << (bits - 1) : 0;
    if (zeros != nullptr) {
      zero = bytes ? packed_code(*zeros, s / scale_columns * zero_row + s % scale_columns, bits)
                   : zeros->i.at(at(s));
    }
    floats.f[at(i)] = static_cast<float>(static_cast<double>(code - zero) * number(scales, s));
  }
  ir::Node gather;
  gather.name = call.node.name;
  gather.op = "Gather";
  gather.attributes["axis"] = gathered;
  const Call inner{gather, {&floats, &indices}, call.opset};
  return standard_registry().find("", "Gather")(inner);
}

}  // namespace

void register_quantised(Registry& r) {
  r.add("", "DequantizeLinear", dequantise);
  r.add("", "QuantizeLinear", quantise);
  r.add("", "DynamicQuantizeLinear", dynamic_quantise);
  r.add("", "MatMulInteger", matmul_integer);
  r.add("com.microsoft", "DequantizeLinear", dequantise);
  r.add("com.microsoft", "QuantizeLinear", quantise);
  r.add("com.microsoft", "MatMulIntegerToFloat", matmul_integer_to_float);
  r.add("com.microsoft", "DynamicQuantizeMatMul", dynamic_quantise_matmul);
  r.add("com.microsoft", "MatMulNBits", matmul_n_bits);
  r.add("com.microsoft", "GatherBlockQuantized", gather_block_quantised);
}

}  // namespace pocket::reference
