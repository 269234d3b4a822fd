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

bool is_view(const Node& node) {
  return node.domain.empty() && (node.op == "Reshape" || node.op == "Squeeze" ||
                                 node.op == "Unsqueeze" || node.op == "Flatten");
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

// From the softmax's input to q k^T, over what acts on the scores.
class ScoreWalk {
 public:
  ScoreWalk(const Graph& graph, AttentionCore& core) : graph_(graph), core_(core) {}

  // The MatMul, null when something unknown stands before it.
  const Node* run(ValueId value) {
    for (;;) {
      const Node* node = graph_.producer(value);
      if (node == nullptr || !used_once(graph_, value)) return nullptr;
      if (node->is("MatMul")) {
        finish();
        return node;
      }
      value = step_over(*node);
      if (value == kAbsent) return nullptr;
    }
  }

 private:
  ValueId step_over(const Node& node) {
    if (is_view(node)) return node.inputs[0];
    if (node.is("Mul") || node.is("Div")) return over_product(node);
    if (node.is("Add")) return over_sum(node);
    if (node.is("Where")) return over_choice(node);
    const bool tanh = node.is("Tanh") ||
                      (node.is("Activation", "pocket") && node.text("function", "none") == "tanh");
    if (tanh && core_.soft_cap == 0.0) {
      core_.soft_cap = factor_;  // all that multiplies the tanh
      factor_ = 1.0;
      return core_.soft_cap > 0.0 ? node.inputs[0] : kAbsent;
    }
    return kAbsent;
  }

  ValueId over_product(const Node& node) {
    if (node.is("Mul")) {
      const auto split = with_scalar(graph_, node);
      if (!split) return kAbsent;
      factor_ *= split->value;
      return split->other;
    }
    const auto divisor = scalar(graph_, node.inputs[1]);
    if (!divisor || *divisor == 0.0) return kAbsent;
    factor_ /= *divisor;
    return node.inputs[0];
  }

  // The masks depend on no token; the other operand leads to q and k.
  ValueId over_sum(const Node& node) {
    const bool left_is_mask = depends_on_positions_only(graph_, node.inputs[0]);
    return masked(node.inputs[left_is_mask ? 0 : 1], MaskKind::additive,
                  node.inputs[left_is_mask ? 1 : 0]);
  }

  ValueId over_choice(const Node& node) {
    const auto when_false = scalar(graph_, node.inputs[2]);
    const auto when_true = scalar(graph_, node.inputs[1]);
    if (when_false && *when_false <= kForbidden && factor_ > 0.0) {
      return masked(node.inputs[0], MaskKind::allowed, node.inputs[1]);
    }
    if (when_true && *when_true <= kForbidden && factor_ > 0.0) {
      return masked(node.inputs[0], MaskKind::forbidden, node.inputs[2]);
    }
    return kAbsent;
  }

  ValueId masked(ValueId mask, MaskKind kind, ValueId scores) {
    if (core_.soft_cap != 0.0) return kAbsent;  // a capped mask forbids nothing
    core_.masks.push_back({mask, kind, factor_});
    return scores;
  }

  void finish() {
    core_.scale *= factor_;
    if (core_.soft_cap != 0.0) core_.scale *= core_.soft_cap;
  }

  const Graph& graph_;
  AttentionCore& core_;
  double factor_ = 1.0;  // of what was last stepped over, up to the softmax or the tanh
};

// Dimensions before the last two.
std::vector<int64_t> leading(const std::vector<int64_t>& shape) {
  return {shape.begin(), shape.end() - 2};
}
int64_t product(const std::vector<int64_t>& dims) {
  int64_t all = 1;
  for (const int64_t dim : dims) all *= dim;
  return all;
}

// Index into a tensor with the leading dimensions `dims` of the matrix that belongs to matrix
// `index` of a product with the leading dimensions `all`; -1 when they do not broadcast.
int64_t broadcast_index(const std::vector<int64_t>& dims, const std::vector<int64_t>& all,
                        int64_t index) {
  if (dims.size() > all.size()) return -1;
  int64_t result = 0, stride = 1;
  for (size_t back = 0; back < all.size(); ++back) {
    const int64_t extent = all[all.size() - 1 - back];
    const int64_t at = index % extent;
    index /= extent;
    if (back >= dims.size()) continue;
    const int64_t own = dims[dims.size() - 1 - back];
    if (own != 1 && own != extent) return -1;
    if (own != 1) result += at * stride;
    stride *= own;
  }
  return result;
}

// Reads the columns of all three out of element maps of one small step.
class LayoutReader {
 public:
  LayoutReader(const Graph& graph, const AttentionHeads& heads, Step step)
      : graph_(graph), heads_(heads), step_(step) {
    for (const ValueId value :
         {heads.q.base, heads.k.base, heads.v.base, heads.k.past, heads.v.past}) {
      if (value != kAbsent &&
          std::find(sources_.begin(), sources_.end(), value) == sources_.end()) {
        sources_.push_back(value);
      }
    }
  }

  std::optional<HeadLayout> read(const AttentionCore& core, int64_t head_dim) {
    const auto maps = element_maps(graph_, {core.q, core.keys, core.values}, sources_, step_);
    if (!maps) return std::nullopt;
    for (const ElementMap& map : *maps) {
      if (map.shape.size() < 2) return std::nullopt;
    }
    const ElementMap &q = maps->at(0), &k = maps->at(1), &v = maps->at(2);
    const std::vector<int64_t> all = leading(q.shape);
    layout_.heads = product(all);
    layout_.head_dim = head_dim;
    const int64_t total = step_.past + step_.tokens;
    const bool sizes = q.shape.back() == head_dim && q.shape[q.shape.size() - 2] == step_.tokens &&
                       k.shape.back() == total && k.shape[k.shape.size() - 2] == head_dim &&
                       v.shape.back() == head_dim && v.shape[v.shape.size() - 2] == total;
    if (!sizes || layout_.heads < 1 || !read_q(q)) return std::nullopt;
    if (!read_kv(k, all, heads_.k, true, layout_.k) ||
        !read_kv(v, all, heads_.v, false, layout_.v)) {
      return std::nullopt;
    }
    return layout_;
  }

 private:
  // The column of an element that lies in row `token` of the base; -1 when it lies elsewhere.
  int64_t column_of(int64_t number, ValueId base, int64_t token) const {
    const auto width = row_width(graph_, base);
    const int64_t start = first_number(base);
    if (!width || start < 0) return -1;
    const int64_t element = number - start - token * *width;
    return element >= 0 && element < *width ? element : -1;
  }
  int64_t first_number(ValueId source) const {
    int64_t start = 0;
    for (const ValueId other : sources_) {
      if (other == source) return start;
      const auto shape = shape_at(graph_, other, step_);
      if (!shape) return -1;
      start += product(*shape);
    }
    return -1;
  }

  bool read_q(const ElementMap& map) {
    const int64_t d = layout_.head_dim;
    for (int64_t h = 0; h < layout_.heads; ++h) {
      for (int64_t t = 0; t < step_.tokens; ++t) {
        for (int64_t i = 0; i < d; ++i) {
          const int64_t from = map.from[static_cast<size_t>((h * step_.tokens + t) * d + i)];
          const int64_t column = column_of(from, heads_.q.base, t);
          if (column < 0) return false;
          if (t == 0) layout_.q.push_back(column);
          if (layout_.q[static_cast<size_t>(h * d + i)] != column) return false;
        }
      }
    }
    return true;
  }

  // `flipped`: [.., head_dim, length] instead of [.., length, head_dim].
  bool read_kv(const ElementMap& map, const std::vector<int64_t>& all, const HeadTrace& trace,
               bool flipped, Columns& columns) {
    const int64_t d = layout_.head_dim, total = step_.past + step_.tokens;
    const std::vector<int64_t> dims = leading(map.shape);
    std::vector<Columns> by_head;
    for (int64_t h = 0; h < layout_.heads; ++h) {
      const int64_t matrix = broadcast_index(dims, all, h);
      if (matrix < 0) return false;
      Columns own;
      for (int64_t t = 0; t < step_.tokens; ++t) {
        for (int64_t i = 0; i < d; ++i) {
          const int64_t s = step_.past + t;
          const int64_t inside = flipped ? i * total + s : s * d + i;
          const int64_t from = map.from[static_cast<size_t>(matrix * d * total + inside)];
          const int64_t column = column_of(from, trace.base, t);
          if (column < 0) return false;
          if (t == 0) own.push_back(column);
          if (own[static_cast<size_t>(i)] != column) return false;
        }
      }
      by_head.push_back(std::move(own));
    }
    return group_heads(by_head, trace, columns);
  }

  // Heads of the state: query head h reads head h / (heads / kv_heads).
  bool group_heads(const std::vector<Columns>& by_head, const HeadTrace& trace, Columns& columns) {
    int64_t kv_heads = 0;
    if (trace.past != kAbsent) {
      const auto count = dim_from_end(graph_, trace.past, 3);
      if (rank(graph_, trace.past) != 4 || !count) return false;
      kv_heads = *count;
    } else {
      kv_heads = 1;
      for (size_t h = 1; h < by_head.size(); ++h) kv_heads += by_head[h] != by_head[h - 1] ? 1 : 0;
    }
    if (kv_heads < 1 || layout_.heads % kv_heads != 0) return false;
    if (layout_.kv_heads != 0 && layout_.kv_heads != kv_heads) return false;
    layout_.kv_heads = kv_heads;
    const int64_t group = layout_.heads / kv_heads;
    for (int64_t h = 0; h < layout_.heads; ++h) {
      const Columns& own = by_head[static_cast<size_t>(h)];
      if (h % group == 0) {
        columns.insert(columns.end(), own.begin(), own.end());
      } else if (own != by_head[static_cast<size_t>(h - h % group)]) {
        return false;
      }
    }
    return true;
  }

  const Graph& graph_;
  const AttentionHeads& heads_;
  const Step step_;
  std::vector<ValueId> sources_;
  HeadLayout layout_;
};

}  // namespace

std::optional<AttentionCore> match_attention_core(const Graph& graph, const Node& softmax) {
  if (!softmax.is("Softmax")) return std::nullopt;
  const auto dims = static_cast<int64_t>(rank(graph, softmax.inputs[0]));
  const int64_t axis = softmax.integer("axis", -1);
  if (dims < 3 || (axis != -1 && axis != dims - 1)) return std::nullopt;

  AttentionCore core;
  ValueId probabilities = guarded(graph, softmax.outputs[0]);
  const Node* mix = nullptr;
  for (;;) {
    const NodeId reader = only_reader(graph, probabilities);
    if (reader == kAbsent || !used_once(graph, probabilities)) return std::nullopt;
    mix = &graph.node(reader);
    if (!is_view(*mix)) break;
    probabilities = mix->outputs[0];
  }
  if (!mix->is("MatMul") || mix->inputs[0] != probabilities) return std::nullopt;
  core.values = mix->inputs[1];
  core.out = mix->outputs[0];

  const Node* product = ScoreWalk(graph, core).run(softmax.inputs[0]);
  if (product == nullptr) return std::nullopt;
  core.q = product->inputs[0];
  core.keys = product->inputs[1];
  if (rank(graph, core.q) < 3 || rank(graph, core.keys) < 2 || rank(graph, core.values) < 2) {
    return std::nullopt;
  }
  return core;
}

std::optional<AttentionHeads> match_attention_heads(const Graph& graph, const AttentionCore& core,
                                                    bool stateless) {
  const auto head_dim = last_dim(graph, core.q);
  if (!head_dim || last_dim(graph, core.values) != head_dim) return std::nullopt;
  const auto q = trace_heads(graph, core.q, *head_dim);
  const auto k = trace_heads(graph, core.keys, *head_dim);
  const auto v = trace_heads(graph, core.values, *head_dim);
  if (!q || !k || !v) return std::nullopt;
  const bool plain_values = v->rotary == nullptr && v->norm == nullptr && v->scale == 1.0;
  const bool states = stateless ? k->past == kAbsent && v->past == kAbsent
                                : k->past != kAbsent && v->past != kAbsent && k->past != v->past;
  if (!plain_values || !states || q->past != kAbsent) return std::nullopt;
  AttentionHeads heads{*q, *k, *v, {}};
  const auto layout = LayoutReader(graph, heads, {3, stateless ? 0 : 2}).read(core, *head_dim);
  if (!layout) return std::nullopt;
  heads.layout = *layout;
  return heads;
}

ValueId merged_rows(const Graph& graph, ValueId out, int64_t width) {
  for (;;) {
    if (row_width(graph, out) == width && last_dim(graph, out) == width) return out;
    const NodeId reader = only_reader(graph, out);
    if (reader == kAbsent || !is_movement(graph, graph.node(reader))) return kAbsent;
    out = graph.node(reader).outputs[0];
  }
}

}  // namespace pocket
