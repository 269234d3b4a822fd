#include "converter/onnx/tensors.h"

#include <charconv>
#include <cstring>
#include <optional>

#include "runtime/base/error.h"

namespace pocket::onnx_import {

namespace {

constexpr int kMostDimensions = 16;

[[noreturn]] void fail(const onnx::TensorProto& tensor, const std::string& what) {
  throw Error(ExitCode::bad_input,
              "tensor \"" + tensor.name() + "\" " + what + "; download or export the model again.");
}

// The typed fields of protobuf, narrowed to the element type. Floats of 16 bits come as bits.
template <typename T, typename Field>
std::vector<std::byte> narrowed(const Field& values) {
  std::vector<std::byte> out(static_cast<size_t>(values.size()) * sizeof(T));
  for (int k = 0; k < values.size(); ++k) {
    const T value = static_cast<T>(values.Get(k));
    std::memcpy(out.data() + static_cast<size_t>(k) * sizeof(T), &value, sizeof(T));
  }
  return out;
}

std::vector<std::byte> typed_bytes(const onnx::TensorProto& tensor, ir::ElementType type) {
  using ir::ElementType;
  switch (type) {
    case ElementType::f32:
      return narrowed<float>(tensor.float_data());
    case ElementType::f64:
      return narrowed<double>(tensor.double_data());
    case ElementType::i64:
      return narrowed<int64_t>(tensor.int64_data());
    case ElementType::u64:
      return narrowed<uint64_t>(tensor.uint64_data());
    case ElementType::u32:
      return narrowed<uint32_t>(tensor.uint64_data());
    case ElementType::i32:
      return narrowed<int32_t>(tensor.int32_data());
    case ElementType::f16:
    case ElementType::bf16:
    case ElementType::i16:
    case ElementType::u16:
      return narrowed<uint16_t>(tensor.int32_data());
    case ElementType::i8:
    case ElementType::u8:
    case ElementType::i4:
    case ElementType::u4:
    case ElementType::boolean:
    case ElementType::f8e4m3fn:
    case ElementType::f8e4m3fnuz:
    case ElementType::f8e5m2:
    case ElementType::f8e5m2fnuz:
      return narrowed<uint8_t>(tensor.int32_data());
    case ElementType::undefined:
      break;
  }
  return {};
}

uint64_t parse_number(const onnx::TensorProto& tensor, const std::string& key,
                      const std::string& text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    fail(tensor, "has the external " + key + " \"" + text.substr(0, 32) + "\"");
  }
  return value;
}

}  // namespace

void TensorReader::read_external(const onnx::TensorProto& tensor, ir::TensorData& data) const {
  std::string location;
  uint64_t offset = 0;
  std::optional<uint64_t> length;
  for (const auto& entry : tensor.external_data()) {
    if (entry.key() == "location")
      location = entry.value();
    else if (entry.key() == "offset")
      offset = parse_number(tensor, "offset", entry.value());
    else if (entry.key() == "length")
      length = parse_number(tensor, "length", entry.value());
  }
  if (length && *length != data.byte_size) {
    fail(tensor, "has " + std::to_string(*length) + " external bytes where its shape needs " +
                     std::to_string(data.byte_size));
  }
  report_.external_bytes += data.byte_size;
  if (external_may_be_absent_) return;
  const ExternalRange range = external_.map(location, offset, data.byte_size, tensor.name());
  data.owner = range.file;
  data.bytes = range.bytes;
}

ir::TensorData TensorReader::read(const onnx::TensorProto& tensor) const {
  ir::TensorData data;
  data.type = ir::element_from_onnx(tensor.data_type());
  if (data.type == ir::ElementType::undefined) {
    fail(tensor, "has the unsupported element type " + std::to_string(tensor.data_type()));
  }
  if (tensor.dims_size() > kMostDimensions) {
    fail(tensor, "has " + std::to_string(tensor.dims_size()) + " dimensions where " +
                     std::to_string(kMostDimensions) + " are the limit");
  }
  if (tensor.has_segment()) fail(tensor, "is stored in segments, which is unsupported");
  data.shape.assign(tensor.dims().begin(), tensor.dims().end());
  const auto bits = static_cast<uint64_t>(data.elements()) * ir::element_bits(data.type);
  data.byte_size = static_cast<size_t>((bits + 7) / 8);
  if (tensor.data_location() == onnx::TensorProto::EXTERNAL) {
    read_external(tensor, data);
    return data;
  }
  report_.inline_bytes += data.byte_size;
  size_t found = 0;
  if (tensor.has_raw_data()) {
    found = tensor.raw_data().size();
    data.bytes = reinterpret_cast<const std::byte*>(tensor.raw_data().data());
    data.owner = model_;
  } else {
    auto bytes = std::make_shared<const std::vector<std::byte>>(typed_bytes(tensor, data.type));
    found = bytes->size();
    data.bytes = bytes->data();
    data.owner = bytes;
  }
  if (found != data.byte_size) {
    fail(tensor, "has " + std::to_string(found) + " bytes where its shape needs " +
                     std::to_string(data.byte_size));
  }
  return data;
}

}  // namespace pocket::onnx_import
