// Kernel configurations as data: rows of tile sizes and workgroup shapes, the device they are for,
// and where they come from. A row may be used only where valid() holds; the rows are tested against
// every phone in test/devices/.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "runtime/package/weight.h"
#include "runtime/vulkan/limits.h"

namespace pocket {

enum class Kernel : uint8_t {
  gemv,               // linear, one activation row
  gemm,               // linear, many activation rows
  gemv_w8a8,          // the same two with 8-bit weights and activations
  gemm_w8a8,
  norm,               // one workgroup a row
  attention_decode,   // one workgroup a tile of heads and a part of the context
  attention_prefill,  // one workgroup a tile of queries
  map,                // a lane per element pair: elementwise, embed, rotary_kv
  sampler,            // arg-max and top-k
};
const char* kernel_name(Kernel);

// The kernel of a linear with these weights over so many activation rows.
Kernel matrix_kernel(Encoding, int64_t tokens);

struct KernelConfig {
  Kernel kernel = Kernel::map;
  const char* device = "";  // part of the device's name, any case; empty: every device
  uint32_t lanes = 64;      // invocations of a workgroup (gemv: over weight rows)
  uint32_t rows = 1;        // gemv, gemm: weight rows of a lane, even
  uint32_t tokens = 1;      // gemm: activation rows of a lane; attention: queries (prefill: 4n)
  uint32_t splits = 1;      // gemv: parts of a workgroup over the columns; attention_decode:
                            // workgroups that fill the device, a long context is cut for so many
  bool subgroup = false;    // uses subgroup operations
  int64_t min_rows = 0;     // meant for matrices of at least so many rows
  int64_t min_tokens = 0;   // and for at least so many activation rows
  const char* origin = "";  // where the numbers come from, for reports
  bool texels = false;      // reads texels: gemv, gemm (w8a8 too), attention of one subgroup
  bool gated = false;       // meant for two matrices in one dispatch: twice the registers
  bool half = false;        // meant for products in fp16: half the registers
  bool group16 = false;     // meant for 4-bit groups of 16: two pairs a round

  std::string str() const;  // "gemv llvmpipe 16x4 split 1 sg (origin)"
};

// What a configuration is asked to do, as far as validity depends on it.
struct KernelShape {
  int64_t rows = 0;    // weight rows; attention: rows of the states
  int64_t tokens = 1;  // activation rows
  uint32_t head_dim = 0;
  bool gated = false;
  bool aligned = true;  // columns divide by 4: activations come in vectors; attention: states too
  bool texels = false;  // operands fit texel buffers, and products are not to be in fp16
  bool half = false;     // products are to be in fp16
  bool group16 = false;  // 4-bit groups hold 16
};

inline constexpr uint32_t kMostTileTokens = 64;  // activation rows of a lane

// Attention whose workgroup is one subgroup of 8 or 16 lanes: the _lanes kernels.
bool one_subgroup(const KernelConfig&);

// Queries of a workgroup of attention_decode, at most those of the row, for `group` heads that
// share a K/V head.
uint32_t decode_queries(const KernelConfig&, uint32_t group, uint32_t head_dim);

// Bytes of shared memory that the kernel declares under this configuration.
uint64_t shared_bytes(const KernelConfig&, const KernelShape&);

// Whether the kernel computes correctly under this row on such a device.
bool valid(const KernelConfig&, const DeviceLimits&, const KernelShape&);

std::span<const KernelConfig> kernel_configs();

// The first row for this device that is meant for the shape (min_rows to group16), rows that name
// the device before rows for every device. Throws Error(device) when none is valid.
const KernelConfig& choose_config(Kernel, const DeviceLimits&, const KernelShape&);

// Whether the two matrices of a gated_linear take a dispatch each, because the registers do not
// hold the loads of both.
bool gates_apart(const DeviceLimits&, bool four_bit);

// How a device multiplies packed 8-bit integers, four at a time: by a dot product of two signed
// words, of a signed and an unsigned one, or byte by byte.
enum class DotForm : uint8_t { none, both_signed, mixed };
DotForm dot_form(const DeviceLimits&);

// Whether one instruction multiplies two f16; Adreno's multiply one, at twice the rate.
bool pairs_halves(const DeviceLimits&);

// Lanes that load distinct activations in the subgroup forms of gemv and gemm: 4 or 8.
uint32_t broadcast_lanes(const DeviceLimits&);

}  // namespace pocket
