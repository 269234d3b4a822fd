// Host reference of every operator: plain loops over floats that read packed weights row by row.
// The oracle of kernel tests, of the self-test and of `llmconvert --verify`. No Vulkan.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "runtime/kernels/step_record.h"
#include "runtime/package/package.h"

namespace pocket {

// Joined sections of one weight, and its rows as floats.
class WeightRows {
 public:
  WeightRows(const Weight&, std::vector<uint8_t> codes, std::vector<uint8_t> pairs);
  int64_t rows() const { return format_.rows; }
  int64_t columns() const { return format_.columns; }
  Encoding encoding() const { return format_.encoding; }
  void read(int64_t row, float* out) const;  // `columns()` values
  std::vector<float> vector() const;         // row 0
  // Of w8a8: the codes of a row, its scale, the step of the input.
  void read_codes(int64_t row, int8_t* out) const;
  float row_scale(int64_t row) const;
  float act_scale() const { return act_scale_; }

 private:
  WeightFormat format_;
  float act_scale_;
  std::vector<uint8_t> codes_, pairs_;
};

using WeightLookup = std::function<const WeightRows&(WeightId)>;

// What a step computes on: every tensor as floats, rows x width as its shape says under `bindings`.
struct HostState {
  Bindings bindings;  // tokens, rows, context
  StepRecord record;
  std::vector<int32_t> token_ids;  // by position
  // By TensorId. f16 tensors hold rounded values, i32 tensors the bits of their integers.
  std::vector<std::vector<float>> tensors;
};

// Zeros of the right sizes for every tensor. Throws Error(bad_input) for unbound symbols.
HostState make_host_state(const Program&, const Bindings&);

struct ReferenceOptions {
  bool round_f16 = true;  // store f16 tensors as the device would; false: all float
  // Output columns of linear and gated_linear that are computed; empty: all. Others become 0.
  std::vector<int64_t> columns;
};

// Runs operator `op` for the valid rows of the step: [0, record.tokens) in the body, all `rows` in
// the head. Rows of padding stay as they are.
void run_reference(const Manifest&, const WeightLookup&, int32_t op, HostState&,
                   const ReferenceOptions& = {});

// Cosines, then sines, [variants, context, 2 * half]: what the engine uploads. Computed in double:
// angles of late positions are large, and float would lose the fraction that matters. `weights` is
// asked only for a table that lies in a weight.
std::vector<float> make_rope_table(const RopeTable&, int64_t context,
                                   const WeightLookup& weights = {});

float activate(Activation, float);

}  // namespace pocket
