// The executable program: what llmconvert writes and the engine runs. A list of operators over
// tensors whose shapes are expressions in symbols. Nothing here knows an architecture or a GPU.
//
// Symbols: tokens  rows of this step's activations (decode 1; prefill: the chunk, padded)
//          past    rows of the KV states filled before this step
//          rows    rows that the head computes (1 for generation, a tile for all logits)
//          context capacity of the KV states
// The body runs over `tokens` rows, the head over `rows` rows (DESIGN, Head).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/symbolic/expr.h"

namespace pocket {

using TensorId = int32_t;  // index into Program::tensors, -1: absent
using WeightId = int32_t;  // index into Program::weights, -1: absent
inline constexpr int32_t kNone = -1;

enum class DType : uint8_t { f32, f16, i32 };
size_t dtype_bytes(DType);
const char* dtype_name(DType);

enum class TensorRole : uint8_t { activation, state };

// Rows are contiguous, last dimension fastest. An f16 tensor has an even last dimension, so that a
// kernel may move it in 32-bit words on devices without 16-bit storage.
struct Tensor {
  std::string name;
  DType dtype = DType::f32;
  TensorRole role = TensorRole::activation;
  std::vector<Expr> shape;  // state: [context, kv_heads, head_dim]
  Expr bytes() const;
};

enum class OpKind : uint8_t {
  // out[t, :] = scale * table[ids[t], :] (+ positions[past + t + position_offset, :])
  // weights {table [vocab, width], positions [n, width] or none}; outputs {out [tokens, width]}
  embed,
  // sum = x + residual; y = norm(sum) * weight + bias.
  // inputs {x, residual or none}; weights {weight [width] or none, bias [width] or none};
  // outputs {y, sum or none}
  norm,
  // y = act(x W^T + bias) (+ residual).
  // inputs {x [rows, K], residual [rows, N] or none}; weights {W [N, K], bias [N] or none}
  linear,
  // y = act(x G^T + gate_bias) * (x U^T + up_bias).
  // inputs {x}; weights {G [N, K], U [N, K], gate_bias or none, up_bias or none}
  gated_linear,
  // Rotates q and k by position, writes k and v to rows [past, past + tokens) of the states.
  // inputs {q source, k source, v source, k state, v state} (sources may be one merged tensor);
  // outputs {q [tokens, heads * head_dim]}
  rotary_kv,
  // Causal attention of row t over state rows [0, past + t]; streamed softmax.
  // inputs {q, k state, v state}; outputs {[tokens, heads * head_dim]}
  attention,
  // y = act(x * scale); inputs {x}
  unary,
  // y = a + b or a * b, same shape; or b a weight [width] broadcast over rows.
  // inputs {a, b or none}; weights {b or none}
  binary,
  // out[r, :] = x[head_row + r, :]: rows of the body's result that the head computes.
  // inputs {x [tokens, width]}; outputs {[rows, width]}
  select_rows,
};
const char* op_kind_name(OpKind);

enum class Activation : uint8_t { none, relu, gelu_erf, gelu_tanh, silu, tanh, sigmoid };
enum class NormKind : uint8_t { rms, layer };
enum class BinaryKind : uint8_t { add, mul };
const char* activation_name(Activation);
const char* norm_kind_name(NormKind);
const char* binary_kind_name(BinaryKind);

// Attributes of every kind in one plain record: an operator reads those its kind documents above.
struct Attributes {
  float scale = 1.0f;                             // embed, attention (of q k^T), unary
  int64_t position_offset = 0;                    // embed
  NormKind norm = NormKind::rms;                  // norm
  float epsilon = 1e-5f;                          // norm
  Activation activation = Activation::none;       // linear, gated_linear, unary
  BinaryKind binary = BinaryKind::add;            // binary
  int32_t heads = 0, kv_heads = 0, head_dim = 0;  // rotary_kv, attention
  int32_t rotary_dim = 0;                         // rotary_kv: leading elements of a head; 0 = none
  bool interleaved = false;    // rotary_kv: pairs (2i, 2i+1), else (i, i + dim/2)
  int32_t rope_table = kNone;  // rotary_kv: index into Program::rope_tables
  int32_t q_column = 0, k_column = 0, v_column = 0;  // rotary_kv: first column in the source
};

// The lists have the lengths that OpKind documents; an absent optional entry is kNone.
struct Operator {
  OpKind kind = OpKind::unary;
  std::string name;  // unique, from the ONNX nodes it stands for
  std::vector<TensorId> inputs;
  std::vector<TensorId> outputs;
  std::vector<WeightId> weights;
  Attributes attributes;
};

// Angles of the rotary embedding: angle(pos, i) = pos * inv_freq[i]; cos and sin are scaled.
// The engine makes a table [context, 2 * inv_freq.size()] f32 of it: cosines, then sines.
struct RopeTable {
  std::vector<double> inv_freq;
  double scale = 1.0;
};

enum class Part : uint8_t { body, head };
const char* part_name(Part);

// The unit of recording: a run of operators. One per layer, plus embedding and head.
struct Segment {
  std::string name;
  Part part = Part::body;
  int32_t first_op = 0;
  int32_t op_count = 0;
};

// Activations share blocks; a block's capacity is an expression, so one plan serves every binding.
// Block b starts at the sum of the aligned capacities before it.
struct MemoryPlan {
  static constexpr int64_t kAlignment = 256;  // bytes; at least minStorageBufferOffsetAlignment
  std::vector<Expr> block_bytes;              // capacity of each block, bytes
  std::vector<int32_t> block_of;              // by tensor; kNone for states
  std::vector<int32_t> first_use;             // by tensor: operator that writes it
  std::vector<int32_t> last_use;  // by tensor: last operator that reads it; the last operator
                                  // for hidden (the head runs again per row tile) and logits
};

// Byte offsets of a plan under one binding. Throws Error(bad_input) when a tensor exceeds its
// block.
struct EvaluatedPlan {
  std::vector<uint64_t> offset;  // by tensor; states hold 0
  std::vector<uint64_t> bytes;   // by tensor
  uint64_t arena_bytes = 0;
};
EvaluatedPlan evaluate_plan(const struct Program&, const Bindings&);

struct Program {
  Ranges symbols;
  std::vector<Tensor> tensors;
  std::vector<std::string> weights;  // names; the package holds shapes and bytes
  std::vector<RopeTable> rope_tables;
  std::vector<Operator> operators;
  std::vector<Segment> segments;  // in order, covering all operators; body before head
  TensorId hidden = kNone;        // body result [tokens, width]
  TensorId logits = kNone;        // head result [rows, vocab], f32
  int64_t vocab = 0;
  int64_t max_context = 0;  // positions the model was trained for
  int64_t default_context = 0, default_chunk = 0;
  MemoryPlan plan;
};

// Every index in range, every shape consistent with its operator's kind, live ranges disjoint
// within a block, every tensor proven to fit its block. `weight_shapes[i]` is the shape of
// weights[i]. Throws Error(bad_input) with the operator's name.
void verify(const Program&, const std::vector<std::vector<int64_t>>& weight_shapes);

// One line per operator with shapes in symbols (llmbench inspect, llmconvert --dump-after).
std::string to_text(const Program&);

}  // namespace pocket
