// Decoders of the shapes that phones run, as the converter lowers them: tensors and weights without
// a byte behind them, enough for the planner to say which kernels it would dispatch.
#pragma once

#include <string>
#include <vector>

#include "runtime/package/package.h"

namespace pocket::test {

struct PhoneShape {
  std::string name;
  int64_t hidden = 0, inner = 0, vocab = 0;
  int32_t heads = 0, kv_heads = 0, head_dim = 0;
  bool biased = false;      // layer norms, biases, learned positions, GELU between two matrices
  bool head_norms = false;  // q and k are normalised head by head
};

// Shapes of TinyLlama-1.1B, LLaMA-2-7B, Gemma-2B, GPT-2 and Qwen3-1.7B.
std::vector<PhoneShape> phone_shapes();

// One layer with embedding and head, every matrix in `encoding`; `width` bits of codes of any precision, `group`
// weights a pair of 4-bit ones.
Manifest make_phone_model(const PhoneShape&, Encoding, int32_t width = 0, int64_t group = 32);

}  // namespace pocket::test
