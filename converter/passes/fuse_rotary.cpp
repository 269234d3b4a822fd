// Before:  x -----------------------------------> Mul cos -+
//          x -> Slice b -> Neg -+                          +-> Add -> y
//          x -> Slice a --------+-> Concat -----> Mul sin -+
//     or   x -> Slice a, b;  Concat(a*cos - b*sin, b*cos + a*sin)
//     and for a part of the head:  z -> Slice -> x ... y -+-> Concat
//                                  z -> Slice ------------+
// After:   x -> pocket.RotaryEmbedding {cos, sin, inv_freq; rotary_dim, interleaved, scale} -> y
// a and b are the halves of the last axis. The tables are evaluated to prove their angles.
#include <map>

#include "converter/passes/match.h"
#include "converter/passes/prove.h"
#include "converter/passes/rewrites.h"

namespace pocket {

using ir::Graph;
using ir::kAbsent;
using ir::Node;
using ir::NodeId;
using ir::ValueId;

namespace {

struct RotaryMatch {
  ValueId x = kAbsent, cosines = kAbsent, sines = kAbsent, out = kAbsent;
  int64_t rotary_dim = 0;
  bool interleaved = false;
};

bool joins_last_axis(const Graph& graph, const Node& concat) {
  const auto dims = static_cast<int64_t>(rank(graph, concat.outputs[0]));
  const int64_t axis = concat.integer("axis", 0);
  return dims > 0 && (axis == -1 || axis == dims - 1);
}

bool is_half(const Graph& graph, const SliceView& view, bool second) {
  const auto width = last_dim(graph, view.base);
  return width && *width % 2 == 0 && view.axis + 1 == rank(graph, view.base) &&
         view.count == *width / 2 && view.first == (second ? *width / 2 : 0);
}

// Concat(-x[half:], x[:half]); returns x.
ValueId rotated_halves(const Graph& graph, ValueId value) {
  const Node* concat = made_by(graph, value, "Concat");
  if (concat == nullptr || concat->inputs.size() != 2 || !joins_last_axis(graph, *concat)) {
    return kAbsent;
  }
  const Node* negated = made_by(graph, concat->inputs[0], "Neg");
  if (negated == nullptr) return kAbsent;
  const auto second = slice_view(graph, negated->inputs[0]);
  const auto first = slice_view(graph, concat->inputs[1]);
  if (!first || !second || first->base != second->base || !is_half(graph, *first, false) ||
      !is_half(graph, *second, true)) {
    return kAbsent;
  }
  return first->base;
}

// x[..., start::2] of the last axis; returns x.
ValueId every_second(const Graph& graph, ValueId value, int64_t start) {
  const Node* slice = made_by(graph, value, "Slice");
  if (slice == nullptr || slice->inputs.size() < 5) return kAbsent;
  const auto starts = known_integers(graph, slice->inputs[1]);
  const auto ends = known_integers(graph, slice->inputs[2]);
  const auto axes = known_integers(graph, slice->inputs[3]);
  const auto steps = known_integers(graph, slice->inputs[4]);
  const auto width = last_dim(graph, slice->inputs[0]);
  const auto dims = static_cast<int64_t>(rank(graph, slice->inputs[0]));
  if (!starts || !ends || !axes || !steps || !width || *width % 2 != 0) return kAbsent;
  const bool last_axis = axes->size() == 1 && (axes->front() == -1 || axes->front() == dims - 1);
  const bool strided = starts->size() == 1 && starts->front() == start && steps->size() == 1 &&
                       steps->front() == 2 && ends->size() == 1 && ends->front() >= *width;
  return last_axis && strided ? slice->inputs[0] : kAbsent;
}

// Reshape(Concat(Unsqueeze(-x[1::2]), Unsqueeze(x[0::2]))) along a new last axis; returns x.
ValueId rotated_pairs(const Graph& graph, ValueId value) {
  const Node* view = graph.producer(value);
  if (view == nullptr || (!view->is("Reshape") && !view->is("Flatten"))) return kAbsent;
  const Node* concat = made_by(graph, view->inputs[0], "Concat");
  if (concat == nullptr || concat->inputs.size() != 2 || !joins_last_axis(graph, *concat) ||
      last_dim(graph, concat->outputs[0]) != 2) {
    return kAbsent;
  }
  ValueId halves[2] = {kAbsent, kAbsent};
  for (size_t i = 0; i < 2; ++i) {
    const Node* widened = graph.producer(concat->inputs[i]);
    if (widened == nullptr || (!widened->is("Unsqueeze") && !widened->is("Reshape")) ||
        last_dim(graph, widened->outputs[0]) != 1) {
      return kAbsent;
    }
    halves[i] = widened->inputs[0];
  }
  const Node* negated = made_by(graph, halves[0], "Neg");
  if (negated == nullptr) return kAbsent;
  const ValueId x = every_second(graph, negated->inputs[0], 1);
  return x != kAbsent && x == every_second(graph, halves[1], 0) && same_shape(graph, x, value)
             ? x
             : kAbsent;
}

// x * cos + rotated(x) * sin
std::optional<RotaryMatch> whole_form(const Graph& graph, const Node& node) {
  if (!node.is("Add")) return std::nullopt;
  for (const size_t side : {size_t{0}, size_t{1}}) {
    const Node* straight = made_by(graph, node.inputs[side], "Mul");
    const Node* turned = made_by(graph, node.inputs[1 - side], "Mul");
    if (straight == nullptr || turned == nullptr) continue;
    for (const size_t operand : {size_t{0}, size_t{1}}) {
      const ValueId halves = rotated_halves(graph, turned->inputs[operand]);
      const ValueId x = halves != kAbsent ? halves : rotated_pairs(graph, turned->inputs[operand]);
      if (x == kAbsent) continue;
      const auto width = last_dim(graph, x);
      for (const size_t first : {size_t{0}, size_t{1}}) {
        if (straight->inputs[first] != x || !width) continue;
        return RotaryMatch{x,
                           straight->inputs[1 - first],
                           turned->inputs[1 - operand],
                           node.outputs[0],
                           *width,
                           halves == kAbsent};
      }
    }
  }
  return std::nullopt;
}

struct Product {
  ValueId half = kAbsent, table = kAbsent;
  bool second = false;
  ValueId base = kAbsent;
};
// half * table, the half being a slice of the last axis.
std::optional<Product> half_product(const Graph& graph, ValueId value) {
  const Node* product = made_by(graph, value, "Mul");
  if (product == nullptr) return std::nullopt;
  for (const size_t side : {size_t{0}, size_t{1}}) {
    const auto view = slice_view(graph, product->inputs[side]);
    if (!view) continue;
    for (const bool second : {false, true}) {
      if (is_half(graph, *view, second)) {
        return Product{product->inputs[side], product->inputs[1 - side], second, view->base};
      }
    }
  }
  return std::nullopt;
}

// Concat(a * cos - b * sin, b * cos + a * sin)
std::optional<RotaryMatch> halves_form(const Graph& graph, const Node& node) {
  if (!node.is("Concat") || node.inputs.size() != 2 || !joins_last_axis(graph, node)) {
    return std::nullopt;
  }
  const Node* low = made_by(graph, node.inputs[0], "Sub");
  const Node* high = made_by(graph, node.inputs[1], "Add");
  if (low == nullptr || high == nullptr) return std::nullopt;
  const auto a_cos = half_product(graph, low->inputs[0]);
  const auto b_sin = half_product(graph, low->inputs[1]);
  auto b_cos = half_product(graph, high->inputs[0]);
  auto a_sin = half_product(graph, high->inputs[1]);
  if (!a_cos || !b_sin || !b_cos || !a_sin) return std::nullopt;
  if (a_sin->second) std::swap(a_sin, b_cos);
  const bool halves_fit = !a_cos->second && b_sin->second && b_cos->second && !a_sin->second;
  const bool tables_fit = a_cos->table == b_cos->table && b_sin->table == a_sin->table;
  const bool same_base =
      a_cos->base == b_sin->base && a_cos->base == b_cos->base && a_cos->base == a_sin->base;
  const auto width = last_dim(graph, a_cos->base);
  if (!halves_fit || !tables_fit || !same_base || !width) return std::nullopt;
  return RotaryMatch{a_cos->base, a_cos->table, b_sin->table, node.outputs[0], *width, false};
}

// The rotated part is the beginning of a longer head that is joined again.
void widen_to_head(const Graph& graph, RotaryMatch& match) {
  const auto part = slice_view(graph, match.x);
  const NodeId reader = only_reader(graph, match.out);
  if (!part || reader == kAbsent || part->first != 0 || part->axis + 1 != rank(graph, part->base)) {
    return;
  }
  const Node& concat = graph.node(reader);
  if (!concat.is("Concat") || concat.inputs.size() != 2 || concat.inputs[0] != match.out ||
      !joins_last_axis(graph, concat)) {
    return;
  }
  const auto rest = slice_view(graph, concat.inputs[1]);
  if (!rest || rest->base != part->base || rest->axis != part->axis || rest->first != part->count ||
      rest->first + rest->count != last_dim(graph, part->base).value_or(0)) {
    return;
  }
  match.x = part->base;
  match.out = concat.outputs[0];
}

// The axis of x along which the tables' rows run; the tables have one row per token.
std::optional<size_t> sequence_axis(const Graph& graph, const RotaryMatch& match) {
  const size_t dims = rank(graph, match.x);
  const size_t table_dims = rank(graph, match.cosines);
  if (dims < 2 || table_dims < 2 || table_dims > dims) return std::nullopt;
  if (!same_shape(graph, match.cosines, match.sines)) return std::nullopt;
  const std::vector<Expr>& table = *graph.value(match.cosines).shape;
  std::optional<size_t> found;
  for (size_t i = 0; i + 1 < table_dims; ++i) {
    if (table[i] == Expr(1)) continue;
    const size_t axis = dims - table_dims + i;
    if (found || !(table[i] == (*graph.value(match.x).shape)[axis])) return std::nullopt;
    found = axis;
  }
  return found;
}

using Proofs = std::map<std::pair<ValueId, ValueId>, std::optional<RotaryAngles>>;

}  // namespace

int fuse_rotary(PassContext& context) {
  Graph& graph = context.graph;
  Proofs proofs;
  std::map<std::pair<ValueId, ValueId>, ValueId> frequencies;
  int hits = 0;
  for (const NodeId id : graph.order()) {
    if (!graph.alive(id)) continue;
    const Node& node = graph.node(id);
    auto match = whole_form(graph, node);
    if (!match) match = halves_form(graph, node);
    if (!match) continue;
    widen_to_head(graph, *match);
    const auto axis = sequence_axis(graph, *match);
    if (!axis) continue;
    const std::pair tables{match->cosines, match->sines};
    if (!proofs.contains(tables)) {
      proofs[tables] =
          prove_rotary(graph, match->cosines, match->sines, context.options.max_context);
    }
    const auto& angles = proofs.at(tables);
    const auto pairs = static_cast<int64_t>(angles ? angles->inv_freq.size() : 0);
    const bool layout_fits =
        angles && 2 * pairs == match->rotary_dim &&
        (angles->layout == RotaryAngles::Layout::single ||
         (angles->layout == RotaryAngles::Layout::interleaved) == match->interleaved);
    if (!layout_fits) {
      context.notes.push_back("The rotation at " + node.name +
                              " is kept as it stands: its tables are not cos and sin of "
                              "position times frequency.");
      continue;
    }
    if (!frequencies.contains(tables)) {
      frequencies[tables] = graph.add_constant(
          "inv_freq",
          ir::TensorData::from_floats({pairs}, {angles->inv_freq.begin(), angles->inv_freq.end()}));
    }
    Node rotary;
    rotary.name = node.name;
    rotary.op = "RotaryEmbedding";
    rotary.inputs = {match->x, match->cosines, match->sines, frequencies.at(tables)};
    rotary.attributes = {{"rotary_dim", match->rotary_dim},
                         {"interleaved", int64_t{match->interleaved ? 1 : 0}},
                         {"sequence_axis", static_cast<int64_t>(*axis)},
                         {"scale", static_cast<float>(angles->scale)}};
    const std::vector<Expr> shape = *graph.value(match->x).shape;
    graph.replace_uses(match->out, emit(graph, std::move(rotary), shape));
    graph.remove_dead();
    ++hits;
  }
  return hits;
}

}  // namespace pocket
