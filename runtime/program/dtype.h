// Element types of a program's tensors.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pocket {

enum class DType : uint8_t { f32, f16, i32 };
size_t dtype_bytes(DType);
const char* dtype_name(DType);

}  // namespace pocket
