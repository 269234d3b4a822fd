#include "runtime/kernels/config.h"

#include <algorithm>
#include <cctype>

#include "runtime/base/error.h"

namespace pocket {
namespace {

constexpr const char* kSweep = "pocket_kernel_lab --all --rows 2048 --columns 768";
// The rows without texels, of matrices.
constexpr const char* kSweepBuffers =
    "pocket_kernel_lab --sweep --rows 2048 --columns 768, limits of no texels";
constexpr const char* kTilesBuffers =
    "pocket_kernel_lab, six tiles by CPU time, --rows 2048 --columns 768 --tokens 64, limits of no texels";
// Of 8 lanes, and with LP_NATIVE_VECTOR_WIDTH=512 of 16: three to ten times as fast as larger workgroups.
constexpr const char* kSweepLanes =
    "pocket_kernel_lab --kernel attention --sweep --heads 12 and 32, --context 512 to 4096";
constexpr const char* kSweepNarrow =
    "pocket_kernel_lab --kernel attention --sweep --head-dim 20 --context 1024";
constexpr const char* kSweepNorm =
    "pocket_kernel_lab --kernel norm --sweep --columns 768 and 2048 --tokens 1,64";
constexpr const char* kAdreno = "on paper: wave of 64 or 128 (devices.md 5)";
constexpr const char* kMali = "on paper: wave of 16, 32 registers (mobile-shaders.md)";
constexpr const char* kAdrenoSweep =
    "scripts/mobile_shaders/sweep.py adreno-660 gemm_m0e4_gated_sg";
constexpr const char* kMaliSweep =
    "scripts/mobile_shaders/sweep.py mali-g610 gemm_m0e4_sg --tokens 1,2,3,4";
constexpr const char* kMaliHalf =
    "scripts/mobile_shaders/sweep.py mali-g610 gemm_m0e4_half_sg --tokens 2,3,4";
constexpr const char* kMaliSweep16 =
    "scripts/mobile_shaders/sweep.py mali-g52 gemm_m0e4_g16_sg --tokens 1,2,3";
constexpr const char* kMaliAttention =
    "scripts/mobile_shaders/sweep.py mali-g610 attention_decode";
constexpr const char* kSweep8 = "pocket_kernel_lab --encoding w8a8 --all --rows 5632 --columns 2048";
constexpr const char* kAdrenoSweep8 =
    "scripts/mobile_shaders/sweep.py adreno-660 gemm_w8a8_gated_sudot_sg";
constexpr const char* kMaliSweep8 =
    "scripts/mobile_shaders/sweep.py mali-g610 gemm_w8a8_gated_sdot_sg";
constexpr const char* kNvidia = "on paper: wave of 32";
constexpr const char* kCommon = "fits 128 invocations and 16 KiB of shared memory";

// Columns: kernel, device, lanes, rows, tokens, splits, subgroup, min_rows, min_tokens, origin,
// texels, gated, half, group16.
constexpr KernelConfig kConfigs[] = {
    {Kernel::gemv, "llvmpipe", 8, 8, 1, 1, true, 512, 0, kSweep, true},
    {Kernel::gemv, "llvmpipe", 8, 4, 1, 1, true, 128, 0, kSweep, true},
    {Kernel::gemv, "llvmpipe", 8, 2, 1, 1, true, 0, 0, kSweep, true},
    {Kernel::gemv, "llvmpipe", 8, 8, 1, 1, true, 512, 0, kSweepBuffers},
    {Kernel::gemv, "llvmpipe", 8, 4, 1, 1, true, 128, 0, kSweepBuffers},
    {Kernel::gemv, "llvmpipe", 8, 2, 1, 1, true, 0, 0, kSweepBuffers},
    {Kernel::gemv, "adreno", 128, 2, 1, 2, true, 2048, 0, kAdreno},
    {Kernel::gemv, "adreno", 128, 2, 1, 4, true, 0, 0, kAdreno},
    {Kernel::gemv, "adreno", 64, 2, 1, 4, true, 0, 0, kAdreno},
    {Kernel::gemv, "turnip", 128, 2, 1, 2, true, 0, 0, kAdreno},
    {Kernel::gemv, "mali", 16, 2, 1, 4, true, 0, 0, kMali},
    {Kernel::gemv, "nvidia", 32, 2, 1, 8, true, 0, 0, kNvidia},
    {Kernel::gemv, "", 64, 2, 1, 2, true, 2048, 0, kCommon},
    {Kernel::gemv, "", 32, 2, 1, 4, true, 0, 0, kCommon},
    {Kernel::gemv, "", 64, 2, 1, 2, true, 0, 0, kCommon},
    {Kernel::gemv, "", 128, 2, 1, 1, true, 0, 0, kCommon},
    {Kernel::gemv, "", 32, 2, 1, 4, false, 0, 0, kCommon},
    {Kernel::gemv, "", 32, 2, 1, 1, false, 0, 0, kCommon},

    {Kernel::gemm, "llvmpipe", 8, 4, 8, 1, true, 0, 8, kSweep, true},
    {Kernel::gemm, "llvmpipe", 8, 4, 4, 1, true, 0, 0, kSweep, true},
    {Kernel::gemm, "llvmpipe", 16, 4, 4, 1, true, 0, 0, kTilesBuffers},
    // The next larger tile spills in the compilers of these phones.
    {Kernel::gemm, "adreno", 64, 2, 4, 1, true, 0, 0, kAdrenoSweep},
    {Kernel::gemm, "mali-g52", 64, 2, 2, 1, true, 0, 0, kMaliSweep16, false, false, false, true},
    {Kernel::gemm, "mali", 64, 2, 2, 1, true, 0, 0, kMaliHalf, false, true, true},
    {Kernel::gemm, "mali", 64, 2, 1, 1, true, 0, 0, kMaliSweep, false, true},
    {Kernel::gemm, "mali", 64, 2, 4, 1, true, 0, 0, kMaliHalf, false, false, true},
    {Kernel::gemm, "mali", 64, 2, 3, 1, true, 0, 0, kMaliSweep},
    {Kernel::gemm, "mali", 64, 2, 1, 1, false, 0, 0, kMaliSweep, false, true},
    {Kernel::gemm, "mali", 64, 2, 3, 1, false, 0, 0, kMaliSweep},
    {Kernel::gemm, "nvidia", 64, 2, 8, 1, true, 0, 0, kNvidia},
    {Kernel::gemm, "", 64, 2, 4, 1, true, 0, 0, kCommon},
    {Kernel::gemm, "", 64, 2, 2, 1, true, 0, 0, kCommon},
    {Kernel::gemm, "", 64, 2, 4, 1, false, 0, 0, kCommon},
    {Kernel::gemm, "", 64, 2, 2, 1, false, 0, 0, kCommon},

    {Kernel::gemv_w8a8, "llvmpipe", 8, 8, 1, 1, true, 512, 0, kSweep8, true},
    {Kernel::gemv_w8a8, "llvmpipe", 8, 4, 1, 1, true, 128, 0, kSweep8, true},
    {Kernel::gemv_w8a8, "llvmpipe", 8, 2, 1, 1, true, 0, 0, kSweep8, true},
    {Kernel::gemv_w8a8, "llvmpipe", 8, 8, 1, 1, true, 512, 0, kSweepBuffers},
    {Kernel::gemv_w8a8, "llvmpipe", 8, 4, 1, 1, true, 128, 0, kSweepBuffers},
    {Kernel::gemv_w8a8, "llvmpipe", 8, 2, 1, 1, true, 0, 0, kSweepBuffers},
    {Kernel::gemv_w8a8, "adreno", 128, 2, 1, 2, true, 2048, 0, kAdreno},
    {Kernel::gemv_w8a8, "adreno", 128, 2, 1, 4, true, 0, 0, kAdreno},
    {Kernel::gemv_w8a8, "adreno", 64, 2, 1, 4, true, 0, 0, kAdreno},
    {Kernel::gemv_w8a8, "turnip", 128, 2, 1, 2, true, 0, 0, kAdreno},
    {Kernel::gemv_w8a8, "mali", 16, 2, 1, 4, true, 0, 0, kMali},
    {Kernel::gemv_w8a8, "nvidia", 32, 2, 1, 8, true, 0, 0, kNvidia},
    {Kernel::gemv_w8a8, "", 64, 2, 1, 2, true, 2048, 0, kCommon},
    {Kernel::gemv_w8a8, "", 32, 2, 1, 4, true, 0, 0, kCommon},
    {Kernel::gemv_w8a8, "", 128, 2, 1, 1, true, 0, 0, kCommon},
    {Kernel::gemv_w8a8, "", 32, 2, 1, 4, false, 0, 0, kCommon},
    {Kernel::gemv_w8a8, "", 32, 2, 1, 1, false, 0, 0, kCommon},

    {Kernel::gemm_w8a8, "llvmpipe", 8, 4, 8, 1, true, 0, 8, kSweep8, true},
    {Kernel::gemm_w8a8, "llvmpipe", 8, 4, 4, 1, true, 0, 0, kSweep8, true},
    {Kernel::gemm_w8a8, "llvmpipe", 8, 4, 4, 1, true, 0, 0, kTilesBuffers},
    // The next larger tile takes the registers of half the threads (Mali), or of more (Adreno 660).
    {Kernel::gemm_w8a8, "adreno", 64, 2, 2, 1, true, 0, 0, kAdrenoSweep8, false, true},
    {Kernel::gemm_w8a8, "adreno", 64, 2, 4, 1, true, 0, 0, kAdrenoSweep8},
    {Kernel::gemm_w8a8, "mali", 64, 2, 1, 1, true, 0, 0, kMaliSweep8, false, true},
    {Kernel::gemm_w8a8, "mali", 64, 2, 2, 1, true, 0, 0, kMaliSweep8},
    {Kernel::gemm_w8a8, "mali", 64, 2, 1, 1, false, 0, 0, kMaliSweep8},
    {Kernel::gemm_w8a8, "nvidia", 64, 2, 8, 1, true, 0, 0, kNvidia},
    {Kernel::gemm_w8a8, "", 64, 2, 4, 1, true, 0, 0, kCommon},
    {Kernel::gemm_w8a8, "", 64, 2, 4, 1, false, 0, 0, kCommon},
    {Kernel::gemm_w8a8, "", 64, 2, 2, 1, false, 0, 0, kCommon},

    {Kernel::norm, "llvmpipe", 16, 1, 1, 1, true, 0, 0, kSweepNorm},
    {Kernel::norm, "", 128, 1, 1, 1, true, 0, 0, kCommon},
    {Kernel::norm, "", 128, 1, 1, 1, false, 0, 0, kCommon},

    {Kernel::attention_decode, "llvmpipe", 8, 1, 8, 4, true, 0, 0, kSweepLanes, true},
    {Kernel::attention_decode, "llvmpipe", 16, 1, 8, 4, true, 0, 0, kSweepLanes, true},
    {Kernel::attention_decode, "llvmpipe", 8, 1, 8, 4, true, 0, 0, kSweepLanes},
    {Kernel::attention_decode, "llvmpipe", 16, 1, 8, 4, true, 0, 0, kSweepLanes},
    {Kernel::attention_decode, "llvmpipe", 64, 1, 8, 4, true, 0, 0, kSweepNarrow},
    {Kernel::attention_decode, "adreno", 64, 1, 4, 48, true, 0, 0, kAdreno},
    // Without subgroups: Mesa makes a loop over lanes of each of their operations, which spills.
    {Kernel::attention_decode, "mali", 64, 1, 2, 64, false, 0, 0, kMaliAttention},
    {Kernel::attention_decode, "mali", 128, 1, 2, 64, false, 0, 0, kMaliAttention},
    {Kernel::attention_decode, "nvidia", 64, 1, 4, 256, true, 0, 0, kNvidia},
    {Kernel::attention_decode, "", 128, 1, 4, 16, true, 0, 0, kCommon},
    {Kernel::attention_decode, "", 128, 1, 4, 16, false, 0, 0, kCommon},

    {Kernel::attention_prefill, "llvmpipe", 8, 1, 16, 1, true, 0, 0, kSweepLanes, true},
    {Kernel::attention_prefill, "llvmpipe", 8, 1, 8, 1, true, 0, 0, kSweepLanes, true},
    {Kernel::attention_prefill, "llvmpipe", 16, 1, 32, 1, true, 0, 0, kSweepLanes, true},
    {Kernel::attention_prefill, "llvmpipe", 16, 1, 16, 1, true, 0, 0, kSweepLanes, true},
    {Kernel::attention_prefill, "llvmpipe", 8, 1, 16, 1, true, 0, 0, kSweepLanes},
    {Kernel::attention_prefill, "llvmpipe", 8, 1, 8, 1, true, 0, 0, kSweepLanes},
    {Kernel::attention_prefill, "llvmpipe", 16, 1, 32, 1, true, 0, 0, kSweepLanes},
    {Kernel::attention_prefill, "llvmpipe", 16, 1, 16, 1, true, 0, 0, kSweepLanes},
    {Kernel::attention_prefill, "llvmpipe", 64, 1, 16, 1, true, 0, 0, kSweepNarrow},
    {Kernel::attention_prefill, "mali", 128, 1, 4, 1, false, 0, 0, kMaliAttention},
    {Kernel::attention_prefill, "", 128, 1, 4, 1, true, 0, 0, kCommon},
    {Kernel::attention_prefill, "", 128, 1, 4, 1, false, 0, 0, kCommon},

    {Kernel::map, "", 64, 1, 1, 1, false, 0, 0, kCommon},

    {Kernel::sampler, "", 128, 1, 1, 1, false, 0, 0, kCommon},
};

bool contains(std::string_view text, std::string_view part) {
  const auto same = [](char a, char b) {
    return std::tolower(static_cast<unsigned char>(a)) ==
           std::tolower(static_cast<unsigned char>(b));
  };
  return std::search(text.begin(), text.end(), part.begin(), part.end(), same) != text.end();
}

bool is_gemv(Kernel kernel) { return kernel == Kernel::gemv || kernel == Kernel::gemv_w8a8; }
bool is_gemm(Kernel kernel) { return kernel == Kernel::gemm || kernel == Kernel::gemm_w8a8; }
bool is_w8a8(Kernel kernel) {
  return kernel == Kernel::gemv_w8a8 || kernel == Kernel::gemm_w8a8;
}

bool is_power_of_two(uint32_t n) { return n != 0 && (n & (n - 1)) == 0; }

}  // namespace

const char* kernel_name(Kernel kernel) {
  switch (kernel) {
    case Kernel::gemv:
      return "gemv";
    case Kernel::gemm:
      return "gemm";
    case Kernel::gemv_w8a8:
      return "gemv_w8a8";
    case Kernel::gemm_w8a8:
      return "gemm_w8a8";
    case Kernel::norm:
      return "norm";
    case Kernel::attention_decode:
      return "attention_decode";
    case Kernel::attention_prefill:
      return "attention_prefill";
    case Kernel::map:
      return "map";
    case Kernel::sampler:
      return "sampler";
  }
  return "unknown";
}

Kernel matrix_kernel(Encoding encoding, int64_t tokens) {
  if (encoding == Encoding::w8a8) return tokens == 1 ? Kernel::gemv_w8a8 : Kernel::gemm_w8a8;
  return tokens == 1 ? Kernel::gemv : Kernel::gemm;
}

std::string KernelConfig::str() const {
  std::string text = kernel_name(kernel);
  if (*device != 0) text += std::string(" ") + device;
  text += " " + std::to_string(lanes);
  const bool one_row = is_gemv(kernel);
  if (one_row || is_gemm(kernel)) text += "x" + std::to_string(rows);
  const bool decode = kernel == Kernel::attention_decode;
  if (is_gemm(kernel) || kernel == Kernel::attention_prefill || decode) {
    text += "x" + std::to_string(tokens);
  }
  if (one_row || decode) text += " split " + std::to_string(splits);
  if (texels) {
    text += " texels";
  } else if (subgroup) {
    text += " sg";
  }
  return text + " (" + origin + ")";
}

bool one_subgroup(const KernelConfig& config) {
  const bool attention =
      config.kernel == Kernel::attention_decode || config.kernel == Kernel::attention_prefill;
  return attention && config.subgroup && config.lanes <= 16;
}

uint32_t decode_queries(const KernelConfig& config, uint32_t group, uint32_t head_dim) {
  // In the lanes of one subgroup they live in registers: an element of each a lane and 8 columns.
  const uint32_t most =
      one_subgroup(config) ? std::clamp(1024 / head_dim, 1u, config.tokens) : config.tokens;
  const uint32_t tiles = (group + most - 1) / most;
  return (group + tiles - 1) / tiles;
}

uint64_t shared_bytes(const KernelConfig& config, const KernelShape& shape) {
  const uint64_t lanes = config.lanes;
  const uint64_t vectors = (shape.head_dim + 3) / 4;
  switch (config.kernel) {
    case Kernel::gemv:
    case Kernel::gemv_w8a8:
      return 4 * ((config.splits - 1) * lanes * config.rows * (shape.gated ? 2 : 1) + 1);
    case Kernel::gemm:
    case Kernel::gemm_w8a8:
    case Kernel::map:
      return 0;
    case Kernel::norm:
      return 4 * lanes;
    case Kernel::attention_decode:
      if (one_subgroup(config)) return 32 * lanes;
      return config.tokens * 16 * vectors +
             4 * (config.tokens + std::max(2u, config.tokens)) * lanes;
    case Kernel::attention_prefill:
      if (one_subgroup(config)) return 32 * config.tokens;
      return 16 * (config.tokens * vectors + (config.tokens / 4 + 2) * lanes + config.tokens / 2);
    case Kernel::sampler:
      return 4 * (4 * 256 + 5);  // top-k; arg-max needs 8 bytes a lane
  }
  return 0;
}

bool valid(const KernelConfig& config, const DeviceLimits& limits, const KernelShape& shape) {
  const bool attention =
      config.kernel == Kernel::attention_decode || config.kernel == Kernel::attention_prefill;
  const uint32_t invocations = config.lanes * (attention ? 1 : config.splits);
  if (invocations == 0 || invocations > limits.max_invocations) return false;
  if (invocations > limits.max_group_size[0]) return false;
  if (shared_bytes(config, shape) > limits.shared_memory) return false;
  if (config.subgroup && limits.subgroup_size < 4) return false;
  switch (config.kernel) {
    case Kernel::gemv:
    case Kernel::gemm:
    case Kernel::gemv_w8a8:
    case Kernel::gemm_w8a8:
      if (config.rows == 0 || config.rows % 2 != 0 || config.tokens == 0 ||
          config.tokens > kMostTileTokens) {
        return false;
      }
      if (is_gemv(config.kernel) && config.tokens != 1) return false;
      // Each activation costs four loads then: a large tile would compile for minutes.
      if (!shape.aligned && !is_w8a8(config.kernel) && config.rows * config.tokens > 4) {
        return false;
      }
      if (config.texels && (!config.subgroup || !shape.texels || limits.max_texels == 0)) {
        return false;
      }
      // Two matrices double the sums of a lane: 64 of them leave lavapipe's registers, 40 times slower
      // (pocket_kernel_lab --gated --all --rows 2048 --columns 768 --tokens 64).
      if (config.texels && shape.gated && config.rows * config.tokens > 16) return false;
      // The lanes whose activations are handed round must exist, in a subgroup of one split.
      if (config.subgroup && config.lanes < broadcast_lanes(limits)) return false;
      if (config.subgroup && config.splits > 1 && config.lanes % limits.subgroup_size != 0) {
        return false;
      }
      if (config.splits > 1 && limits.has_quirk("no_coop_gemv")) return false;
      return !(limits.has_quirk("no_large_tile") && config.rows * config.tokens > 16);
    case Kernel::norm:
      return is_power_of_two(config.lanes);
    case Kernel::attention_decode:
    case Kernel::attention_prefill: {
      const bool prefill = config.kernel == Kernel::attention_prefill;
      if (!is_power_of_two(config.lanes) || config.tokens == 0) return false;
      if (prefill && config.tokens % 4 != 0) return false;
      if (!prefill && config.splits == 0) return false;
      if (config.texels && (!one_subgroup(config) || !shape.texels || limits.max_texels == 0)) {
        return false;
      }
      if (!one_subgroup(config)) return 2 * config.lanes >= shape.head_dim;
      // Shuffles name lanes 0 to 7; lanes own (row, head) pairs in equal numbers.
      if (config.lanes < 8 || config.lanes != limits.subgroup_size || !shape.aligned) return false;
      if (!prefill) return true;
      // Queries lie in registers: two of 128 elements a lane take lavapipe 3 s to compile, one 0.9
      // s.
      return config.tokens % config.lanes == 0 &&
             (config.tokens == config.lanes ||
              config.tokens / config.lanes * shape.head_dim <= 128);
    }
    case Kernel::map:
      return true;
    case Kernel::sampler:
      return is_power_of_two(config.lanes) && config.lanes <= 512;
  }
  return false;
}

std::span<const KernelConfig> kernel_configs() { return kConfigs; }

const KernelConfig& choose_config(Kernel kernel, const DeviceLimits& limits,
                                  const KernelShape& shape) {
  for (const bool named : {true, false}) {
    for (const KernelConfig& config : kConfigs) {
      if (config.kernel != kernel || (*config.device != 0) != named) continue;
      if (named && !contains(limits.name, config.device)) continue;
      if (shape.rows < config.min_rows || shape.tokens < config.min_tokens) continue;
      if ((config.gated && !shape.gated) || (config.half && !shape.half)) continue;
      if (config.group16 && !shape.group16) continue;
      if (valid(config, limits, shape)) return config;
    }
  }
  throw Error(ExitCode::device,
              std::string("no configuration of kernel ") + kernel_name(kernel) + " fits " +
                  std::to_string(limits.max_invocations) + " invocations and " +
                  std::to_string(limits.shared_memory) + " bytes of shared memory" +
                  (shape.head_dim != 0 ? " for heads of " + std::to_string(shape.head_dim) : "") +
                  "; use a device with higher limits");
}

bool gates_apart(const DeviceLimits& limits, bool four_bit) {
  // Mali with warps of 8 (Bifrost): gemv_f16_gated_sg spills 28 of 64 registers on mali-g52, and
  // gemv_f32_gated_sg 93 (scripts/mobile_shaders/sweep.py); one matrix at a time takes 31. Of w8a8,
  // whose bytes are taken apart there, two take 47 registers and half the threads, one takes 27.
  return !four_bit && limits.subgroup_size <= 8 && contains(limits.name, "mali");
}

DotForm dot_form(const DeviceLimits& limits) {
  if (!limits.dot_product || limits.has_quirk("no_int_dot")) return DotForm::none;
  if (limits.dot_signed) return DotForm::both_signed;
  if (limits.dot_mixed) return DotForm::mixed;
  // The compilers of these have the instruction where the driver does not claim to
  // (mobile-shaders.md: Adreno 830 and 840).
  const bool adreno = contains(limits.name, "adreno") || contains(limits.name, "turnip");
  return adreno ? DotForm::mixed : DotForm::none;
}

bool pairs_halves(const DeviceLimits& limits) {
  // FMA.v2f16 in what the compilers of mali-g610 and mali-g720 make, mad.f16 in Adreno's.
  return !contains(limits.name, "adreno") && !contains(limits.name, "turnip");
}

uint32_t broadcast_lanes(const DeviceLimits& limits) { return limits.subgroup_size >= 8 ? 8 : 4; }

}  // namespace pocket
