#include <Eigen/Core>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "converter/ir/float8.h"
#include "converter/ir/graph.h"
#include "runtime/base/error.h"

namespace pocket::ir {

static_assert(std::endian::native == std::endian::little, "constants are little-endian");

namespace {

template <typename T>
T load(const std::byte* bytes, int64_t index) {
  T out;
  std::memcpy(&out, bytes + static_cast<size_t>(index) * sizeof(T), sizeof(T));
  return out;
}

int nibble(const std::byte* bytes, int64_t index) {  // two to a byte, the low one first
  const auto byte = static_cast<unsigned>(bytes[index / 2]);
  return static_cast<int>(index % 2 == 0 ? byte & 15u : byte >> 4);
}

// Calls store(index, value) for the elements [first, end), with the value in its natural C++ type.
template <typename Store>
void for_each(const TensorData& data, int64_t first, int64_t end, Store store) {
  auto run = [&](auto sample) {
    using T = decltype(sample);
    for (int64_t i = first; i < end; ++i) store(i, load<T>(data.bytes, i));
  };
  switch (data.type) {
    case ElementType::f32:
      return run(float{});
    case ElementType::f64:
      return run(double{});
    case ElementType::f16:
      for (int64_t i = first; i < end; ++i) {
        store(i, static_cast<float>(std::bit_cast<Eigen::half>(load<uint16_t>(data.bytes, i))));
      }
      return;
    case ElementType::bf16:
      for (int64_t i = first; i < end; ++i) {
        store(i, std::bit_cast<float>(static_cast<uint32_t>(load<uint16_t>(data.bytes, i)) << 16));
      }
      return;
    case ElementType::i8:
      return run(int8_t{});
    case ElementType::u8:
      return run(uint8_t{});
    case ElementType::i16:
      return run(int16_t{});
    case ElementType::u16:
      return run(uint16_t{});
    case ElementType::i32:
      return run(int32_t{});
    case ElementType::u32:
      return run(uint32_t{});
    case ElementType::i64:
      return run(int64_t{});
    case ElementType::u64:
      return run(uint64_t{});
    case ElementType::boolean:
      for (int64_t i = first; i < end; ++i) {
        store(i, static_cast<uint8_t>(data.bytes[i] != std::byte{0}));
      }
      return;
    case ElementType::u4:
      for (int64_t i = first; i < end; ++i) store(i, nibble(data.bytes, i));
      return;
    case ElementType::i4:
      for (int64_t i = first; i < end; ++i) store(i, (nibble(data.bytes, i) ^ 8) - 8);
      return;
    case ElementType::f8e4m3fn:
    case ElementType::f8e4m3fnuz:
    case ElementType::f8e5m2:
    case ElementType::f8e5m2fnuz:
      for (int64_t i = first; i < end; ++i) {
        store(i, float8_value(data.type, static_cast<uint8_t>(data.bytes[i])));
      }
      return;
    case ElementType::undefined:
      break;
  }
  throw Error(ExitCode::bad_input, "a constant has no element type; export the model again.");
}

void check_size(const TensorData& data) {
  if (data.quantised) return;  // checked when it was made
  const auto bits = static_cast<uint64_t>(data.elements()) * element_bits(data.type);
  if ((bits + 7) / 8 != data.byte_size || (data.byte_size > 0 && data.bytes == nullptr)) {
    throw Error(ExitCode::bad_input,
                "a constant of type " + std::string(element_name(data.type)) + " needs " +
                    std::to_string((bits + 7) / 8) + " bytes for its shape but has " +
                    std::to_string(data.byte_size) + "; export the model again.");
  }
}

template <typename T>
TensorData wrap(ElementType type, std::vector<int64_t> shape, std::vector<T> values) {
  auto owned = std::make_shared<const std::vector<T>>(std::move(values));
  TensorData data;
  data.type = type;
  data.shape = std::move(shape);
  data.bytes = reinterpret_cast<const std::byte*>(owned->data());
  data.byte_size = owned->size() * sizeof(T);
  data.owner = owned;
  check_size(data);
  return data;
}

}  // namespace

size_t element_bits(ElementType type) {
  switch (type) {
    case ElementType::undefined:
      return 0;
    case ElementType::i4:
    case ElementType::u4:
      return 4;
    case ElementType::i8:
    case ElementType::u8:
    case ElementType::boolean:
    case ElementType::f8e4m3fn:
    case ElementType::f8e4m3fnuz:
    case ElementType::f8e5m2:
    case ElementType::f8e5m2fnuz:
      return 8;
    case ElementType::f16:
    case ElementType::bf16:
    case ElementType::i16:
    case ElementType::u16:
      return 16;
    case ElementType::f32:
    case ElementType::i32:
    case ElementType::u32:
      return 32;
    case ElementType::f64:
    case ElementType::i64:
    case ElementType::u64:
      return 64;
  }
  return 0;
}

const char* element_name(ElementType type) {
  static constexpr const char* kNames[] = {
      "undefined", "f32", "f16",      "bf16",       "f64",    "i8",        "u8",
      "i16",       "u16", "i32",      "u32",        "i64",    "u64",       "bool",
      "i4",        "u4",  "f8e4m3fn", "f8e4m3fnuz", "f8e5m2", "f8e5m2fnuz"};
  const auto index = static_cast<size_t>(type);
  return index < std::size(kNames) ? kNames[index] : "undefined";
}

ElementType element_from_onnx(int64_t data_type) {
  switch (data_type) {
    case 1:
      return ElementType::f32;
    case 2:
      return ElementType::u8;
    case 3:
      return ElementType::i8;
    case 4:
      return ElementType::u16;
    case 5:
      return ElementType::i16;
    case 6:
      return ElementType::i32;
    case 7:
      return ElementType::i64;
    case 9:
      return ElementType::boolean;
    case 10:
      return ElementType::f16;
    case 11:
      return ElementType::f64;
    case 12:
      return ElementType::u32;
    case 13:
      return ElementType::u64;
    case 16:
      return ElementType::bf16;
    case 17:
      return ElementType::f8e4m3fn;
    case 18:
      return ElementType::f8e4m3fnuz;
    case 19:
      return ElementType::f8e5m2;
    case 20:
      return ElementType::f8e5m2fnuz;
    case 21:
      return ElementType::u4;
    case 22:
      return ElementType::i4;
    default:
      return ElementType::undefined;  // strings and complex numbers
  }
}

bool is_integer_type(ElementType type) {
  switch (type) {
    case ElementType::undefined:
    case ElementType::f32:
    case ElementType::f16:
    case ElementType::bf16:
    case ElementType::f64:
    case ElementType::f8e4m3fn:
    case ElementType::f8e4m3fnuz:
    case ElementType::f8e5m2:
    case ElementType::f8e5m2fnuz:
      return false;
    default:
      return true;
  }
}

bool is_float_type(ElementType type) {
  return type != ElementType::undefined && !is_integer_type(type);
}

int64_t TensorData::elements() const {
  constexpr int64_t kMost = int64_t{1} << 48;  // far above memory, far below overflow of bit counts
  int64_t count = 1;
  bool empty = false;
  for (const int64_t dim : shape) {
    if (dim < 0 || (dim > 0 && count > kMost / dim)) {
      throw Error(ExitCode::bad_input, "a constant has the impossible dimension " +
                                           std::to_string(dim) + "; export the model again.");
    }
    if (dim == 0)
      empty = true;
    else
      count *= dim;
  }
  return empty ? 0 : count;
}

std::vector<float> TensorData::as_floats() const {
  std::vector<float> out(static_cast<size_t>(elements()));
  read_floats(0, elements(), out.data());
  return out;
}

void TensorData::read_floats(int64_t first, int64_t count, float* out) const {
  check_size(*this);
  if (first < 0 || count < 0 || first > elements() - count) {
    throw Error(ExitCode::bad_input, "a constant of " + std::to_string(elements()) +
                                         " elements is read from " + std::to_string(first) +
                                         " for " + std::to_string(count) + " elements.");
  }
  if (quantised) {
    quantised->read_floats(first, count, out);
    return;
  }
  if (type == ElementType::f32) {
    if (count > 0) {
      std::memcpy(out, bytes + static_cast<size_t>(first) * sizeof(float),
                  static_cast<size_t>(count) * sizeof(float));
    }
    return;
  }
  for_each(*this, first, first + count,
           [&](int64_t i, auto x) { out[i - first] = static_cast<float>(x); });
}

std::vector<int64_t> TensorData::as_integers() const {
  check_size(*this);
  if (!is_integer_type(type)) {
    throw Error(ExitCode::bad_input, "a constant of type " + std::string(element_name(type)) +
                                         " stands where integers are needed; export the model "
                                         "again.");
  }
  std::vector<int64_t> out(static_cast<size_t>(elements()));
  for_each(*this, 0, elements(), [&](int64_t i, auto x) {
    if constexpr (!std::is_floating_point_v<decltype(x)>) {
      out[static_cast<size_t>(i)] = static_cast<int64_t>(x);
    }
  });
  return out;
}

TensorData TensorData::from_floats(std::vector<int64_t> shape, std::vector<float> values) {
  return wrap(ElementType::f32, std::move(shape), std::move(values));
}

TensorData TensorData::from_integers(std::vector<int64_t> shape, std::vector<int64_t> values) {
  return wrap(ElementType::i64, std::move(shape), std::move(values));
}

TensorData TensorData::from_bytes(ElementType type, std::vector<int64_t> shape,
                                  std::vector<std::byte> data) {
  return wrap(type, std::move(shape), std::move(data));
}

}  // namespace pocket::ir
