#include "converter/reference/host_tensor.h"

#include <Eigen/Core>
#include <bit>
#include <cstring>

#include "converter/ir/float8.h"
#include "runtime/base/error.h"

namespace pocket::reference {

int64_t element_count(const Shape& shape) {
  constexpr int64_t kMost = int64_t{1} << 31;
  int64_t count = 1;
  bool empty = false;
  for (const int64_t dim : shape) {
    if (dim < 0) {
      throw Error(ExitCode::bad_input, "a tensor would get the dimension " + std::to_string(dim) +
                                           "; the graph contradicts its inputs.");
    }
    if (dim == 0)
      empty = true;
    else if (count > kMost / dim) {
      throw Error(ExitCode::out_of_memory,
                  "a tensor of more than 2147483648 elements would be needed on the host; use "
                  "fewer tokens.");
    } else
      count *= dim;
  }
  return empty ? 0 : count;
}

int64_t HostTensor::elements() const { return element_count(shape); }

HostTensor HostTensor::make(ElementType type, Shape shape) {
  HostTensor out;
  out.type = type;
  out.shape = std::move(shape);
  const auto count = static_cast<size_t>(out.elements());
  if (out.is_integer())
    out.i.resize(count);
  else
    out.f.resize(count);
  return out;
}

namespace {

void check_count(const HostTensor& tensor, size_t count) {
  if (static_cast<int64_t>(count) == tensor.elements()) return;
  throw Error(ExitCode::bad_input, "a tensor of " + std::to_string(tensor.elements()) +
                                       " elements was given " + std::to_string(count) + " values.");
}

template <typename T, typename Source>
std::vector<std::byte> narrowed(const std::vector<Source>& values) {
  std::vector<std::byte> out(values.size() * sizeof(T));
  for (size_t k = 0; k < values.size(); ++k) {
    const T value = static_cast<T>(values[k]);
    std::memcpy(out.data() + k * sizeof(T), &value, sizeof(T));
  }
  return out;
}

}  // namespace

HostTensor HostTensor::floats(Shape shape, std::vector<float> values) {
  HostTensor out;
  out.type = ElementType::f32;
  out.shape = std::move(shape);
  check_count(out, values.size());
  out.f = std::move(values);
  return out;
}

HostTensor HostTensor::integers(Shape shape, std::vector<int64_t> values) {
  HostTensor out;
  out.type = ElementType::i64;
  out.shape = std::move(shape);
  check_count(out, values.size());
  out.i = std::move(values);
  return out;
}

HostTensor HostTensor::from(const ir::TensorData& data) {
  HostTensor out;
  out.type = data.type;
  out.shape = data.shape;
  (void)out.elements();
  if (data.bytes == nullptr && data.byte_size > 0) {
    throw Error(ExitCode::bad_input,
                "the bytes of a constant are absent because its external data "
                "was not read; put the external file beside the model.");
  }
  if (out.is_integer())
    out.i = data.as_integers();
  else
    out.f = data.as_floats();
  return out;
}

ir::TensorData HostTensor::to_data() const {
  switch (type) {
    case ElementType::f32:
      return ir::TensorData::from_floats(shape, f);
    case ElementType::i64:
      return ir::TensorData::from_integers(shape, i);
    case ElementType::f64:
      return ir::TensorData::from_bytes(type, shape, narrowed<double>(f));
    case ElementType::f16:
      return ir::TensorData::from_bytes(type, shape, narrowed<Eigen::half>(f));
    case ElementType::bf16:
      return ir::TensorData::from_bytes(type, shape, narrowed<Eigen::bfloat16>(f));
    case ElementType::i8:
    case ElementType::u8:
    case ElementType::boolean:
      return ir::TensorData::from_bytes(type, shape, narrowed<uint8_t>(i));
    case ElementType::i16:
    case ElementType::u16:
      return ir::TensorData::from_bytes(type, shape, narrowed<uint16_t>(i));
    case ElementType::i32:
    case ElementType::u32:
      return ir::TensorData::from_bytes(type, shape, narrowed<uint32_t>(i));
    case ElementType::u64:
      return ir::TensorData::from_bytes(type, shape, narrowed<uint64_t>(i));
    case ElementType::i4:
    case ElementType::u4: {
      std::vector<std::byte> out((i.size() + 1) / 2);
      for (size_t k = 0; k < i.size(); ++k) {
        const auto nibble = static_cast<unsigned>(i[k]) & 15u;
        out[k / 2] |= static_cast<std::byte>(k % 2 == 0 ? nibble : nibble << 4);
      }
      return ir::TensorData::from_bytes(type, shape, std::move(out));
    }
    case ElementType::f8e4m3fn:
    case ElementType::f8e4m3fnuz:
    case ElementType::f8e5m2:
    case ElementType::f8e5m2fnuz: {
      std::vector<std::byte> out;
      for (const float value : f) out.push_back(std::byte{ir::float8_bits(type, value)});
      return ir::TensorData::from_bytes(type, shape, std::move(out));
    }
    case ElementType::undefined:
      break;
  }
  throw Error(ExitCode::bad_input,
              "a computed tensor has no element type; export the model again.");
}

int64_t wrap_integer(ElementType type, int64_t x) {
  switch (type) {
    case ElementType::boolean:
      return x != 0;
    case ElementType::i8:
      return static_cast<int8_t>(static_cast<uint64_t>(x));
    case ElementType::u8:
      return static_cast<uint8_t>(x);
    case ElementType::i16:
      return static_cast<int16_t>(static_cast<uint64_t>(x));
    case ElementType::u16:
      return static_cast<uint16_t>(x);
    case ElementType::i32:
      return static_cast<int32_t>(static_cast<uint64_t>(x));
    case ElementType::u32:
      return static_cast<uint32_t>(x);
    case ElementType::u4:
      return x & 15;
    case ElementType::i4:
      return ((x & 15) ^ 8) - 8;
    default:
      return x;
  }
}

}  // namespace pocket::reference
