// Small programs with random weights, made without the converter's front end: for tests of the
// file format, the kernels and the engine.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/package/package.h"

namespace pocket::test {

enum class TinyStyle {
  // rms norm, grouped heads, rope, gated silu, no biases; norm takes a residual
  llama,
  // layer norm, biases, learned positions, merged QKV, gelu, no rope
  gpt2,
};

struct TinyOptions {
  TinyStyle style = TinyStyle::llama;
  // Of every matrix; vectors are f32. With `any` of 2, 3 and 4 bits and with w8a8, tables and the
  // head are f16.
  Encoding encoding = Encoding::f16;
  int64_t group = 32;                 // of the 4-bit encodings
  int64_t vocab = 105, hidden = 40, intermediate = 72, layers = 2;
  int32_t heads = 5, kv_heads = 1, head_dim = 8;  // gpt2 takes kv_heads = heads
  int32_t rotary_dim = -1;                        // -1: head_dim
  bool interleaved = false;
  bool merged_qkv = true;          // one matrix for q, k and v, else three
  bool tied = true;                // the head reads the embedding
  bool unfused = false;            // activations and residuals as operators of their own
  DType activations = DType::f32;  // logits are always f32
  DType states = DType::f16;
  int64_t max_context = 256, chunk = 16;
  std::vector<int32_t> eos_ids;
  uint32_t seed = 1;
  bool values = true;  // false: shapes only, for programs whose weights nobody needs
};

struct TinyModel {
  Manifest manifest;                         // program planned; weights and shards filled by write
  std::vector<std::vector<int64_t>> shapes;  // by weight: [N, K] or [K]
  std::vector<std::vector<float>> values;    // by weight, before encoding; empty without values
  TinyOptions options;
};

// Step of the inputs of every w8a8 linear: codes reach to 4, as normed activations do.
inline constexpr float kTinyActScale = 1.0f / 32;

TinyModel make_tiny_model(const TinyOptions&);
void write_tiny_model(const TinyModel&, const std::string& path,
                      uint64_t shard_bytes = kShardBytes);
void write_tiny_model(const TinyOptions&, const std::string& path);

}  // namespace pocket::test
