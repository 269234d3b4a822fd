#include "converter/passes/attention_node.h"

#include <algorithm>
#include <map>
#include <optional>

#include "converter/passes/attention_proof.h"
#include "converter/passes/match.h"

namespace pocket {

using ir::Graph;
using ir::kAbsent;
using ir::Node;
using ir::NodeId;
using ir::ValueId;

namespace {

// Columns that lie one behind the other: their first one.
std::optional<int64_t> first_column(const Columns& columns) {
  for (size_t i = 1; i < columns.size(); ++i) {
    if (columns[i] != columns[i - 1] + 1) return std::nullopt;
  }
  return columns.empty() ? std::nullopt : std::optional(columns.front());
}

bool same_rotation(const Node* a, const Node* b) {
  if (a == nullptr || b == nullptr) return a == b;
  for (const char* key : {"scale", "far_scale"}) {
    if (a->real(key, 1.0f) != b->real(key, 1.0f)) return false;
  }
  for (const char* key : {"interleaved", "rotary_dim", "far_from"}) {
    if (a->integer(key, 0) != b->integer(key, 0)) return false;
  }
  return a->inputs[2] == b->inputs[2] && a->inputs[3] == b->inputs[3];
}

// The weight of a norm of heads as [head_dim] or [heads * head_dim]; ones where it has none.
ValueId norm_vector(Graph& graph, const HeadTrace& trace, int64_t heads, int64_t head_dim,
                    const std::string& name) {
  if (trace.norm == nullptr) return kAbsent;
  if (trace.norm_weight == kAbsent) {
    const std::vector<float> ones(static_cast<size_t>(head_dim), 1.0f);
    return graph.add_constant(name, ir::TensorData::from_floats({head_dim}, ones));
  }
  const ir::TensorData& data = *graph.value(trace.norm_weight).constant;
  const int64_t count = data.elements();
  if (data.shape.size() == 1 && count == head_dim) return trace.norm_weight;
  if (count != head_dim && count != heads * head_dim) return kAbsent;
  return graph.add_constant(name, ir::TensorData::from_floats({count}, data.as_floats()));
}

// A row-wise projection whose rows can be put into another order.
const Node* reorderable(const Graph& graph, ValueId rows) {
  const Node* linear = made_by(graph, rows, "Linear", "pocket");
  if (linear == nullptr || linear->inputs[2] != kAbsent ||
      linear->text("activation", "none") != "none") {
    return nullptr;
  }
  return linear;
}

// The projection again with the given columns of its result, in this order: runs of them become
// parts of the weight, nothing is copied.
ValueId reordered(Graph& graph, const Node& linear, const Columns& columns,
                  const std::string& name) {
  const std::vector<int64_t> transposed = linear.integers("transposed");
  const std::vector<int64_t> first_row = linear.integers("first_row");
  const std::vector<int64_t> rows = linear.integers("rows");
  Node made;
  made.name = name;
  made.op = "Linear";
  made.inputs = {linear.inputs[0], kAbsent, kAbsent};
  std::vector<int64_t> new_transposed, new_first, new_rows;
  std::vector<float> new_factors;
  for (size_t start = 0; start < columns.size();) {
    size_t part = 0;
    int64_t inside = columns[start];  // row within the part
    while (part < rows.size() && inside >= rows[part]) inside -= rows[part++];
    if (part == rows.size()) return kAbsent;
    size_t end = start + 1;
    while (end < columns.size() && columns[end] == columns[end - 1] + 1 &&
           inside + static_cast<int64_t>(end - start) < rows[part]) {
      ++end;
    }
    made.inputs.push_back(linear.inputs[3 + part]);
    new_factors.push_back(weight_factor(linear, part));
    new_transposed.push_back(transposed[part]);
    new_first.push_back(first_row[part] + inside);
    new_rows.push_back(static_cast<int64_t>(end - start));
    start = end;
  }
  const auto width = static_cast<int64_t>(columns.size());
  if (linear.inputs[1] != kAbsent) {
    const std::vector<float> old = graph.value(linear.inputs[1]).constant->as_floats();
    std::vector<float> bias;
    for (const int64_t column : columns) bias.push_back(old.at(static_cast<size_t>(column)));
    made.inputs[1] =
        graph.add_constant(name + "/bias", ir::TensorData::from_floats({width}, std::move(bias)));
  }
  made.attributes = {{"transposed", new_transposed},
                     {"first_row", new_first},
                     {"rows", new_rows},
                     {"factors", new_factors},
                     {"activation", std::string("none")}};
  std::vector<Expr> shape = *graph.value(linear.outputs[0]).shape;
  shape.back() = Expr(width);
  return emit(graph, std::move(made), shape);
}

// Where q, k and v lie in matrices of rows.
struct Sources {
  ValueId q = kAbsent, k = kAbsent, v = kAbsent;
  int64_t q_column = 0, k_column = 0, v_column = 0;
  bool complete() const { return q != kAbsent && k != kAbsent && v != kAbsent; }
};

// A base of several dimensions behind the tokens as rows of one.
ValueId as_rows(Graph& graph, ValueId base, const std::string& name) {
  const auto width = row_width(graph, base);
  if (!width) return kAbsent;
  if (last_dim(graph, base) == width) return base;
  const auto viewed = emit_reshape(graph, name, base, {Expr(1), Expr::symbol("tokens"), *width});
  return viewed ? *viewed : kAbsent;
}

// Columns of rows in another order, as a lookup.
ValueId picked(Graph& graph, ValueId rows, const Columns& columns, const std::string& name) {
  if (rows == kAbsent) return kAbsent;
  const auto count = static_cast<int64_t>(columns.size());
  std::vector<Expr> shape = *graph.value(rows).shape;
  shape.back() = Expr(count);
  Node node;
  node.name = name;
  node.op = "Gather";
  node.inputs = {
      rows, graph.add_constant(name + "/columns", ir::TensorData::from_integers({count}, columns))};
  node.attributes = {{"axis", static_cast<int64_t>(shape.size()) - 1}};
  const NodeId id = graph.add_node(std::move(node));
  const ValueId out = graph.add_output(id, name, ir::ElementType::f32);
  graph.value(out).shape = shape;
  return out;
}

Sources find_sources(Graph& graph, const AttentionHeads& heads, const std::string& name) {
  const HeadLayout& layout = heads.layout;
  Sources sources;
  if (heads.q.base == heads.k.base && heads.q.base == heads.v.base &&
      !(first_column(layout.q) && first_column(layout.k) && first_column(layout.v))) {
    Columns all = layout.q;
    all.insert(all.end(), layout.k.begin(), layout.k.end());
    all.insert(all.end(), layout.v.begin(), layout.v.end());
    sources.q = picked(graph, as_rows(graph, heads.q.base, name + "/rows"), all, name + "/qkv");
    sources.k = sources.v = sources.q;
    sources.k_column = static_cast<int64_t>(layout.q.size());
    sources.v_column = sources.k_column + static_cast<int64_t>(layout.k.size());
    return sources;
  }
  const auto one = [&](const HeadTrace& trace, const Columns& columns, const char* suffix,
                       int64_t& column) {
    const ValueId rows = as_rows(graph, trace.base, name + suffix + "_rows");
    const auto first = first_column(columns);
    column = first.value_or(0);
    return first ? rows : picked(graph, rows, columns, name + suffix);
  };
  sources.q = one(heads.q, layout.q, "/q", sources.q_column);
  sources.k = one(heads.k, layout.k, "/k", sources.k_column);
  sources.v = one(heads.v, layout.v, "/v", sources.v_column);
  return sources;
}

// A lookup of the columns of a projection is the projection with its weight's rows in that order.
void reorder_projections(Graph& graph, Node& attention) {
  std::map<ValueId, ValueId> done;
  for (size_t i = 0; i < 3; ++i) {
    const Node* lookup = made_by(graph, attention.inputs[i], "Gather");
    if (lookup == nullptr) continue;
    const auto [entry, is_new] = done.try_emplace(attention.inputs[i], attention.inputs[i]);
    const Node* linear = is_new ? reorderable(graph, lookup->inputs[0]) : nullptr;
    if (linear != nullptr) {
      const Columns columns = graph.value(lookup->inputs[1]).constant->as_integers();
      const ValueId made = reordered(graph, *linear, columns, lookup->name);
      if (made != kAbsent) entry->second = made;
    }
    attention.inputs[i] = entry->second;
  }
}

// A new state for an export that keeps none: graph input and output.
ValueId add_past(Graph& graph, const HeadLayout& layout, const std::string& name) {
  ir::Value past;
  past.name = name;
  past.type = ir::ElementType::f32;
  past.shape = std::vector<Expr>{Expr(1), Expr(layout.kv_heads), Expr::symbol("past"),
                                 Expr(layout.head_dim)};
  return graph.add_value(std::move(past));
}

class Replacement {
 public:
  Replacement(PassContext& context, const AttentionMatch& match, const std::string& name)
      : context_(context), graph_(context.graph), match_(match), name_(name) {}

  bool run() {
    const HeadLayout& layout = match_.heads.layout;
    rows_ = merged_rows(graph_, match_.core.out, layout.heads * layout.head_dim);
    if (rows_ == kAbsent || !same_rotation(match_.heads.q.rotary, match_.heads.k.rotary)) {
      return false;
    }
    const auto norms = head_norms();
    const Sources sources = find_sources(graph_, match_.heads, name_);
    if (!norms || !sources.complete()) return false;
    add_node(sources, *norms);
    if (!outputs_match()) {
      graph_.erase(id_);
      return false;
    }
    take_over();
    return true;
  }

 private:
  struct Norms {
    ValueId q = kAbsent, k = kAbsent;
    std::string kind = "none";
    float epsilon = 0;
  };
  std::optional<Norms> head_norms() {
    const HeadTrace &q = match_.heads.q, &k = match_.heads.k;
    const HeadLayout& layout = match_.heads.layout;
    Norms norms;
    const Node* one = q.norm != nullptr ? q.norm : k.norm;
    if (one == nullptr) return norms;
    norms.kind = one->text("kind", "rms");
    norms.epsilon = one->real("epsilon", 1e-5f);
    if (q.norm != nullptr && k.norm != nullptr &&
        (k.norm->text("kind", "rms") != norms.kind ||
         k.norm->real("epsilon", 1e-5f) != norms.epsilon)) {
      return std::nullopt;
    }
    norms.q = norm_vector(graph_, q, layout.heads, layout.head_dim, name_ + ".q_norm.weight");
    norms.k = norm_vector(graph_, k, layout.kv_heads, layout.head_dim, name_ + ".k_norm.weight");
    if ((q.norm == nullptr) != (norms.q == kAbsent) ||
        (k.norm == nullptr) != (norms.k == kAbsent)) {
      return std::nullopt;
    }
    return norms;
  }

  void add_node(const Sources& sources, const Norms& norms) {
    const AttentionHeads& heads = match_.heads;
    const HeadLayout& layout = heads.layout;
    past_k_ = context_.stateless ? add_past(graph_, layout, name_ + "/past_key") : heads.k.past;
    past_v_ = context_.stateless ? add_past(graph_, layout, name_ + "/past_value") : heads.v.past;
    const Node* rotary = heads.q.rotary;
    const MaskRule& rule = match_.rule;
    ValueId slopes = kAbsent;
    if (!rule.slopes.empty()) {
      slopes = graph_.add_constant(
          name_ + ".slopes",
          ir::TensorData::from_floats({layout.heads}, {rule.slopes.begin(), rule.slopes.end()}));
    }
    Node node;
    node.name = name_;
    node.op = "Attention";
    node.domain = "pocket";
    node.inputs = {sources.q,
                   sources.k,
                   sources.v,
                   past_k_,
                   past_v_,
                   rotary != nullptr ? rotary->inputs[2] : kAbsent,
                   rotary != nullptr ? rotary->inputs[3] : kAbsent,
                   slopes,
                   norms.q,
                   norms.k};
    const double scale = match_.core.scale * heads.q.scale * heads.k.scale;
    node.attributes = {{"heads", layout.heads},
                       {"kv_heads", layout.kv_heads},
                       {"head_dim", layout.head_dim},
                       {"q_column", sources.q_column},
                       {"k_column", sources.k_column},
                       {"v_column", sources.v_column},
                       {"scale", static_cast<float>(scale)},
                       {"soft_cap", static_cast<float>(match_.core.soft_cap)},
                       {"window", rule.window},
                       {"norm", norms.kind},
                       {"epsilon", norms.epsilon}};
    if (rotary != nullptr) {
      for (const char* key : {"rotary_dim", "interleaved", "far_scale", "far_from"}) {
        node.attributes[key] = rotary->attributes.at(key);
      }
      node.attributes["rotary_scale"] = rotary->attributes.at("scale");
    }
    id_ = graph_.add_node(std::move(node));
    const Expr tokens = Expr::symbol("tokens");
    const auto add = [&](const std::vector<Expr>& shape, const std::string& suffix) {
      const ValueId made = graph_.add_output(id_, name_ + suffix, ir::ElementType::f32);
      graph_.value(made).shape = shape;
      return made;
    };
    const std::vector<Expr> present = {Expr(1), Expr(layout.kv_heads),
                                       Expr::symbol("past") + tokens, Expr(layout.head_dim)};
    out_ = add({Expr(1), tokens, Expr(layout.heads * layout.head_dim)}, "/heads");
    present_k_ = add(present, "/present_key");
    present_v_ = add(present, "/present_value");
  }

  ValueId old_present(ValueId past) const {
    for (const ir::StatePair& state : graph_.states) {
      if (state.past == past) return state.present;
    }
    return kAbsent;
  }

  bool outputs_match() {
    AttentionProof proof;
    proof.pairs = {{rows_, out_}};
    proof.cuts = {match_.heads.q.base, match_.heads.k.base, match_.heads.v.base, past_k_, past_v_};
    proof.window = match_.rule.window;
    if (!context_.stateless) {
      proof.pairs.emplace_back(old_present(past_k_), present_k_);
      proof.pairs.emplace_back(old_present(past_v_), present_v_);
    }
    return proves_equal(graph_, proof, context_.scope());
  }

  void take_over() {
    reorder_projections(graph_, graph_.node(id_));
    const auto viewed =
        same_shape(graph_, out_, rows_)
            ? out_
            : *emit_reshape(graph_, name_ + "/rows", out_, *graph_.value(rows_).shape);
    graph_.replace_uses(rows_, viewed);
    if (!context_.stateless) {
      graph_.replace_uses(old_present(past_k_), present_k_);
      graph_.replace_uses(old_present(past_v_), present_v_);
      return;
    }
    if (!graph_.symbols.contains("past")) {
      graph_.symbols["past"] = {0, std::max<int64_t>(context_.scope().positions() - 1, 0)};
    }
    for (const auto& [past, present] : {std::pair{past_k_, present_k_}, {past_v_, present_v_}}) {
      graph_.inputs.push_back(past);
      graph_.outputs.push_back(present);
      graph_.states.push_back({past, present});
    }
  }

  PassContext& context_;
  Graph& graph_;
  const AttentionMatch& match_;
  const std::string name_;
  NodeId id_ = kAbsent;
  ValueId rows_ = kAbsent, out_ = kAbsent;
  ValueId past_k_ = kAbsent, past_v_ = kAbsent, present_k_ = kAbsent, present_v_ = kAbsent;
};

}  // namespace

bool replace_attention(PassContext& context, const AttentionMatch& match, const std::string& name) {
  return Replacement(context, match, name).run();
}

}  // namespace pocket
