// The executable program: what llmconvert writes and the engine runs. A list of operators over
// tensors whose shapes are expressions in symbols. Nothing here knows an architecture or a GPU.
//
// Symbols: tokens  rows of this step's activations (decode 1; prefill: the chunk, padded)
//          past    rows of the KV states filled before this step; known on the device only, so
//                  memory is planned for past = context
//          rows    rows that the head computes (1 for generation, a tile for all logits)
//          context capacity of the KV states
// The body runs over `tokens` rows, the head over `rows` rows (DESIGN, Head).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/program/dtype.h"
#include "runtime/program/generic.h"
#include "runtime/symbolic/expr.h"

namespace pocket {

using TensorId = int32_t;  // index into Program::tensors, -1: absent
using WeightId = int32_t;  // index into Program::weights, -1: absent
inline constexpr int32_t kNone = -1;

enum class TensorRole : uint8_t { activation, state };

// Rows are contiguous, last dimension fastest. An f16 tensor has an even last dimension, so that a
// kernel may move it in 32-bit words on devices without 16-bit storage.
struct Tensor {
  std::string name;
  DType dtype = DType::f32;
  TensorRole role = TensorRole::activation;
  std::vector<Expr> shape;  // state: [context, kv_heads, head_dim] or [context, ...]
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
  // Normalises every head of q and k where a norm weight is given (y = norm(x) * weight over the
  // head; weight [head_dim], or [heads * head_dim] for one per head), then rotates q and k by
  // position, and writes k and v to rows [past, past + tokens) of the states.
  // inputs {q source, k source, v source, k state, v state} (sources may be one merged tensor);
  // weights {q norm or none, k norm or none} or empty; outputs {q [tokens, heads * head_dim]}
  rotary_kv,
  // Causal attention of row t over state rows [0, past + t], or over the last `window` of them;
  // score(i, j) = cap(scale * q_i k_j) + slope_h * (j - i), cap(x) = soft_cap * tanh(x / soft_cap);
  // streamed softmax. A row beyond the window costs nothing.
  // inputs {q, k state, v state}; weights {ALiBi slopes [heads] or none} or empty;
  // outputs {[tokens, heads * head_dim]}
  attention,
  // y = act(x * scale); inputs {x}
  unary,
  // y = a op b, same shape; or b a weight [width] broadcast over rows.
  // inputs {a, b or none}; weights {b or none}
  binary,
  // out[r, :] = x[head_row + r, :]: rows of the body's result that the head computes.
  // inputs {x [tokens, width]}; outputs {[rows, width]}
  select_rows,
  // Any other tensor computation, as Operator::steps (generic.h); outputs are f32 or i32.
  generic,
};
const char* op_kind_name(OpKind);

enum class Activation : uint8_t {
  none,
  relu,
  gelu_erf,
  gelu_tanh,
  silu,
  tanh,
  sigmoid,
  quick_gelu,  // x * sigmoid(1.702 x)
  relu_square,
  exp,
  log,
  sqrt,
  neg,
  abs,
  softplus,
  reciprocal,
  square,
  erf,
};
inline constexpr Activation kLastActivation = Activation::erf;
enum class NormKind : uint8_t { rms, layer };
enum class BinaryKind : uint8_t { add, mul, sub, div };
const char* activation_name(Activation);
const char* norm_kind_name(NormKind);
const char* binary_kind_name(BinaryKind);

// Attributes of every kind in one plain record: an operator reads those its kind documents above.
struct Attributes {
  float scale = 1.0f;                             // embed, attention (of q k^T), unary
  int64_t position_offset = 0;                    // embed
  NormKind norm = NormKind::rms;                  // norm, rotary_kv
  float epsilon = 1e-5f;                          // norm, rotary_kv
  Activation activation = Activation::none;       // linear, gated_linear, unary
  BinaryKind binary = BinaryKind::add;            // binary
  int32_t heads = 0, kv_heads = 0, head_dim = 0;  // rotary_kv, attention
  int32_t rotary_dim = 0;                         // rotary_kv: leading elements of a head; 0 = none
  bool interleaved = false;    // rotary_kv: pairs (2i, 2i+1), else (i, i + dim/2)
  int32_t rope_table = kNone;  // rotary_kv: index into Program::rope_tables
  int32_t q_column = 0, k_column = 0, v_column = 0;  // rotary_kv: first column in the source
  int32_t window = 0;     // attention: row at position p sees p - window + 1 to p; 0: all before
  float soft_cap = 0.0f;  // attention; 0: none
};

// The lists have the lengths that OpKind documents; an absent optional entry is kNone.
struct Operator {
  OpKind kind = OpKind::unary;
  std::string name;  // unique, from the ONNX nodes it stands for
  std::vector<TensorId> inputs;
  std::vector<TensorId> outputs;
  std::vector<WeightId> weights;
  Attributes attributes;
  std::vector<GenericStep> steps = {};  // generic only
};

// Angles of the rotary embedding: angle(pos, i) = pos * inv_freq[i]; cos and sin are scaled.
// The engine makes a table [context, 2 * half()] f32 of it: cosines, then sines.
//
// A table that changes with the length of the sequence (long rope) has a second list. It holds for
// a step whose sequence has at least long_from rows: past + tokens in decode, the whole prompt in
// prefill, however it is cut into chunks. So a prompt is rotated as one call of the model rotates
// it, and rows written before the sequence grew keep the angles they were written with.
//
// A table that is no pos * inv_freq lies in a weight [positions, 2 * half()]: cosines, then sines.
struct RopeTable {
  std::vector<double> inv_freq = {};
  double scale = 1.0;
  std::vector<double> long_inv_freq = {};  // empty: none; else as many as inv_freq
  double long_scale = 1.0;
  int64_t long_from = 0;
  WeightId values = kNone;  // else inv_freq is empty
  int64_t values_half = 0;  // pairs of `values`
  int64_t half() const {
    return values == kNone ? static_cast<int64_t>(inv_freq.size()) : values_half;
  }
  int64_t variants() const { return long_inv_freq.empty() ? 1 : 2; }
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

// Where activations lie in the arena, for every binding at once: an order in which they are
// stacked. A tensor lies above the end of every earlier one of the order that is alive at the same
// time, so two that are alive together are disjoint whatever the symbols are worth, and two that
// are not may share bytes. Offsets are evaluated for a binding, never planned again.
struct MemoryPlan {
  static constexpr int64_t kAlignment = 256;  // bytes; at least minStorageBufferOffsetAlignment
  std::vector<TensorId> order;                // every activation once, no state
  std::vector<int32_t> first_use;             // by tensor: operator that writes it
  std::vector<int32_t> last_use;  // by tensor: last operator that reads it; the last operator
                                  // for hidden (the head runs again per row tile) and logits
};

// Byte offsets of a plan under one binding. Throws Error(bad_input) when a size is negative or
// leaves 64 bits.
struct EvaluatedPlan {
  std::vector<uint64_t> offset;  // by tensor; states hold 0
  std::vector<uint64_t> bytes;   // by tensor
  uint64_t arena_bytes = 0;
};
EvaluatedPlan evaluate_plan(const struct Program&, const Bindings&);

// Calls of evaluate_plan in this process so far: none may be made between two steps.
uint64_t plan_evaluations();

// Bytes of the largest set of activations that are alive at once under one binding, each rounded
// up to MemoryPlan::kAlignment: no plan can need less.
uint64_t largest_live_set(const struct Program&, const Bindings&);

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

// Features beyond the first version of the format that the program uses: an older reader refuses
// the file by their names.
std::vector<std::string> required_features(const Program&);
bool is_known_feature(const std::string& name);

// One line per operator with shapes in symbols (llmbench inspect, llmconvert --dump-after). A
// tensor is %index; names of weights leave out what a segment's have in common.
std::string to_text(const Program&);

}  // namespace pocket
