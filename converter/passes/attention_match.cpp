#include "converter/passes/attention_match.h"

#include <algorithm>
#include <cmath>

#include "converter/passes/match.h"

namespace pocket {

using ir::Graph;
using ir::kAbsent;
using ir::Node;
using ir::NodeId;
using ir::ValueId;

namespace {

constexpr double kForbidden = -1e4;
const std::vector<int64_t> kSwapSequenceAndHeads = {0, 2, 1, 3};
const std::vector<int64_t> kSwapLastTwo = {0, 1, 3, 2};

// Steps over multiplications and divisions by scalars, multiplying them into `scale`.
ValueId without_scale(const Graph& graph, ValueId value, double& scale) {
  for (;;) {
    const Node* node = graph.producer(value);
    if (node == nullptr || (!node->is("Mul") && !node->is("Div"))) return value;
    if (node->is("Mul")) {
      const auto split = with_scalar(graph, *node);
      if (!split || scalar(graph, split->other)) return value;
      scale *= split->value;
      value = split->other;
    } else {
      const auto divisor = scalar(graph, node->inputs[1]);
      if (!divisor || *divisor == 0.0) return value;
      scale /= *divisor;
      value = node->inputs[0];
    }
  }
}

// Reshape(Expand(x[:, :, None])) repeats each head; returns x, or `value` when nothing repeats.
ValueId without_repeat(const Graph& graph, ValueId value) {
  const Node* joined = graph.producer(value);
  if (joined == nullptr || !joined->is("Reshape")) return value;
  const Node* expand = made_by(graph, joined->inputs[0], "Expand");
  if (expand == nullptr) return value;
  const Node* widened = graph.producer(expand->inputs[0]);
  if (widened == nullptr || (!widened->is("Unsqueeze") && !widened->is("Reshape"))) return value;
  const ValueId base = widened->inputs[0];
  if (rank(graph, base) != 4 || rank(graph, expand->outputs[0]) != 5 ||
      rank(graph, widened->outputs[0]) != 5 || rank(graph, value) != 4) {
    return value;
  }
  const std::vector<Expr>& from = *graph.value(base).shape;
  const std::vector<Expr>& wide = *graph.value(widened->outputs[0]).shape;
  const std::vector<Expr>& repeated = *graph.value(expand->outputs[0]).shape;
  const std::vector<Expr>& to = *graph.value(value).shape;
  const bool widens = wide == std::vector<Expr>{from[0], from[1], Expr(1), from[2], from[3]};
  const bool repeats =
      repeated == std::vector<Expr>{from[0], from[1], repeated[2], from[2], from[3]};
  const bool joins = to == std::vector<Expr>{from[0], from[1] * repeated[2], from[2], from[3]};
  return widens && repeats && joins ? base : value;
}

// k as the right operand of q k^T: undoes scale, transposition and repetition in any order.
ValueId untransposed_keys(const Graph& graph, ValueId value, double& scale) {
  value = without_scale(graph, value, scale);
  const Node* flip = made_by(graph, value, "Transpose");
  if (flip == nullptr || flip->integers("perm") != kSwapLastTwo) return kAbsent;
  value = without_scale(graph, flip->inputs[0], scale);
  value = without_repeat(graph, value);
  return without_scale(graph, value, scale);
}

// A row of NaN (everything masked) is replaced by zeros: Where(IsNaN(p), 0, p); returns the result.
ValueId guarded(const Graph& graph, ValueId probabilities) {
  const std::vector<NodeId> readers = graph.consumers(probabilities);
  if (readers.size() != 2 || graph.is_output(probabilities)) return probabilities;
  for (const NodeId id : readers) {
    const Node& node = graph.node(id);
    if (!node.is("Where") || node.inputs[2] != probabilities ||
        !is_scalar_equal(graph, node.inputs[1], 0.0)) {
      continue;
    }
    const Node* test = made_by(graph, node.inputs[0], "IsNaN");
    if (test != nullptr && test->inputs[0] == probabilities) return node.outputs[0];
  }
  return probabilities;
}

// Steps from the softmax's input to q k^T over scale and masks, which it collects.
ValueId unmasked(const Graph& graph, ValueId value, AttentionCore& core) {
  for (;;) {
    value = without_scale(graph, value, core.scale);
    const Node* node = graph.producer(value);
    if (node == nullptr || node->is("MatMul") || !used_once(graph, value)) return value;
    if (node->is("Add")) {
      // The masks depend on no token; the other operand leads to q and k.
      const bool left_is_mask = depends_on_positions_only(graph, node->inputs[0]);
      core.masks.push_back({node->inputs[left_is_mask ? 0 : 1], MaskKind::additive});
      value = node->inputs[left_is_mask ? 1 : 0];
      // A scale found behind an additive mask does not scale the mask.
    } else if (node->is("Where")) {
      const auto when_false = scalar(graph, node->inputs[2]);
      const auto when_true = scalar(graph, node->inputs[1]);
      if (when_false && *when_false <= kForbidden) {
        core.masks.push_back({node->inputs[0], MaskKind::allowed});
        value = node->inputs[1];
      } else if (when_true && *when_true <= kForbidden) {
        core.masks.push_back({node->inputs[0], MaskKind::forbidden});
        value = node->inputs[2];
      } else {
        return kAbsent;
      }
    } else {
      return kAbsent;
    }
  }
}

}  // namespace

std::optional<AttentionCore> match_attention_core(const Graph& graph, const Node& softmax) {
  if (!softmax.is("Softmax")) return std::nullopt;
  const auto dims = static_cast<int64_t>(rank(graph, softmax.inputs[0]));
  const int64_t axis = softmax.integer("axis", -1);
  if (dims != 4 || (axis != -1 && axis != dims - 1)) return std::nullopt;

  AttentionCore core;
  const ValueId probabilities = guarded(graph, softmax.outputs[0]);
  const NodeId reader = only_reader(graph, probabilities);
  if (reader == kAbsent || !used_once(graph, probabilities)) return std::nullopt;
  const Node& mix = graph.node(reader);
  if (!mix.is("MatMul") || mix.inputs[0] != probabilities) return std::nullopt;
  core.values = without_repeat(graph, mix.inputs[1]);
  core.out = mix.outputs[0];

  const ValueId scores = unmasked(graph, softmax.inputs[0], core);
  const Node* product = scores == kAbsent ? nullptr : made_by(graph, scores, "MatMul");
  if (product == nullptr || !used_once(graph, scores)) return std::nullopt;
  core.q = without_scale(graph, product->inputs[0], core.scale);
  core.keys = untransposed_keys(graph, product->inputs[1], core.scale);
  if (core.keys == kAbsent || rank(graph, core.q) != 4 || rank(graph, core.keys) != 4 ||
      rank(graph, core.values) != 4) {
    return std::nullopt;
  }
  return core;
}

std::optional<HeadSource> match_heads(const Graph& graph, ValueId heads) {
  HeadSource source;
  const auto through_rotary = [&](ValueId value, int64_t axis) {
    const Node* rotary = made_by(graph, value, "RotaryEmbedding", "pocket");
    if (rotary == nullptr || source.rotary != nullptr ||
        rotary->integer("sequence_axis", -1) != axis) {
      return value;
    }
    source.rotary = rotary;
    return rotary->inputs[0];
  };
  const Node* flip = made_by(graph, through_rotary(heads, 2), "Transpose");
  if (flip == nullptr || flip->integers("perm") != kSwapSequenceAndHeads) return std::nullopt;
  const ValueId split = through_rotary(flip->inputs[0], 1);  // [1, tokens, heads, head_dim]
  const auto count = dim_from_end(graph, split, 2);
  const auto width = last_dim(graph, split);
  const Node* view = graph.producer(split);
  if (!count || !width || view == nullptr || !view->is("Reshape")) return std::nullopt;
  source.heads = *count;
  source.head_dim = *width;
  source.rows = view->inputs[0];
  if (last_dim(graph, source.rows) != *count * *width) return std::nullopt;
  if (const auto part = slice_view(graph, source.rows)) {
    if (part->axis + 1 == rank(graph, part->base)) {
      source.rows = part->base;
      source.column = part->first;
    }
  }
  return source;
}

std::optional<StateAppend> match_state(const Graph& graph, ValueId present) {
  const Node* concat = made_by(graph, present, "Concat");
  if (concat == nullptr || concat->inputs.size() != 2 || rank(graph, present) != 4) {
    return std::nullopt;
  }
  const int64_t axis = concat->integer("axis", 0);
  if (axis != 2 && axis != -2) return std::nullopt;
  for (const ir::StatePair& state : graph.states) {
    if (state.present == present && state.past == concat->inputs[0]) {
      return StateAppend{concat->inputs[0], concat->inputs[1]};
    }
  }
  return std::nullopt;
}

ValueId merged_heads(const Graph& graph, ValueId heads) {
  const NodeId flip_id = only_reader(graph, heads);
  if (flip_id == kAbsent) return kAbsent;
  const Node& flip = graph.node(flip_id);
  if (!flip.is("Transpose") || flip.integers("perm") != kSwapSequenceAndHeads) return kAbsent;
  const NodeId view_id = only_reader(graph, flip.outputs[0]);
  if (view_id == kAbsent) return kAbsent;
  const Node& view = graph.node(view_id);
  const auto count = dim_from_end(graph, heads, 3);
  const auto width = last_dim(graph, heads);
  if (!view.is("Reshape") || !count || !width ||
      last_dim(graph, view.outputs[0]) != *count * *width) {
    return kAbsent;
  }
  return view.outputs[0];
}

}  // namespace pocket
