// Operators -> dispatches, as data. Pure: no Vulkan handle, no allocation of device memory; the
// engine resolves operands to buffer ranges, records, and derives every barrier from `access`.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/kernels/config.h"
#include "runtime/kernels/step_record.h"
#include "runtime/kernels/tuned.h"
#include "runtime/package/package.h"
#include "runtime/vulkan/limits.h"

namespace pocket {

enum class Access : uint8_t { read = 1, write = 2, read_write = 3 };

// What one binding of a dispatch refers to; `offset` and `bytes` are within that thing.
struct Operand {
  enum class Kind : uint8_t {
    tensor,       // id: TensorId (activation: in the slot's arena; state: the KV buffer)
    weight,       // id: WeightId, section: index into Weight::sections
    rope_table,   // id: index into Program::rope_tables
    step_record,  // StepRecord
    token_ids,    // i32 [context + 1]
    ring,         // i32 [ring_size]
    scratch,      // per slot; the largest end over all dispatches is allocated
    parameters,   // Dispatch::parameters, uploaded at load; the engine places them
  };
  Kind kind = Kind::tensor;
  int32_t id = 0;
  int32_t section = 0;
  uint64_t offset = 0, bytes = 0;
  Access access = Access::read;
  uint32_t texel_words = 0;  // 0: bound as a storage buffer; 1, 4: as texels of so many words
};

struct Dispatch {
  std::string shader;                    // variant in the embedded registry (shaders/variants.txt)
  std::vector<uint32_t> specialization;  // constant_id 0, 1, ...; local size first
  std::vector<Operand> operands;         // binding i of set 0
  std::vector<uint32_t> push_constants;
  std::vector<uint32_t> parameters;  // what does not fit push constants; generic operators only
  std::array<uint32_t, 3> groups = {1, 1, 1};
  int32_t op = -1;     // operator index; -1: sampler, advance
  std::string label;   // operator name and kernel, for profile and errors
  std::string config;  // row of the configuration table and its origin
  uint64_t bytes_read = 0, bytes_written = 0, flops = 0;  // model of the work, padding included
};

enum class Accumulate : uint8_t { fp32, fp16 };

struct KernelContext {
  const Manifest* manifest = nullptr;
  DeviceLimits limits;
  Bindings bindings;  // tokens (padded), rows, context; `past` is on the device
  Accumulate accumulate = Accumulate::fp32;
  bool decode = false;                             // tokens == 1: GEMV kernels, else GEMM
  const TunedConfigs* tuned = nullptr;             // rows to prefer, or none
  std::vector<ConfigRequest>* requests = nullptr;  // every row that is asked for goes here too
  const KernelConfig* forced = nullptr;            // row of every matrix kernel, for the kernel lab
};

// Throws Error(device) when no configuration is valid within the limits: says kernel, limit, value.
std::vector<Dispatch> plan_operator(const KernelContext&, int32_t op);

// Sampler: reads logits row 0, writes token_ids, ring, and advances the record.
// Greedy: arg-max, lowest id on ties. Otherwise top-k, softmax, top-p, Philox draw.
enum class SamplerKind : uint8_t { greedy, stochastic };
std::vector<Dispatch> plan_sampler(const KernelContext&, SamplerKind);

// End of a prefill chunk that samples nothing: past += tokens, tokens = min(chunk, target - past).
Dispatch plan_advance(const KernelContext&);

// Largest chunk, at most `wanted`, for which every operand of every operator fits max_binding.
int64_t largest_chunk(const KernelContext&, int64_t wanted);

}  // namespace pocket
