// Before: x -> pocket.RotaryEmbedding {inv_freq} -> y      (of an attention that was not
// recognised) After:  Range past .. past + tokens -> Mul inv_freq -> Cos, Sin -+
//         x -> Slice a, Slice b ---------------------> Concat(a*cos - b*sin, b*cos + a*sin) -> y
// No runtime operator rotates heads alone; the plain operators of the exchange format do.
#include "converter/passes/match.h"
#include "converter/passes/rewrites.h"

namespace pocket {

using ir::Graph;
using ir::kAbsent;
using ir::Node;
using ir::NodeId;
using ir::ValueId;

namespace {

using Shape = std::vector<Expr>;

class Expansion {
 public:
  Expansion(Graph& graph, const Node& rotary)
      : graph_(graph),
        name_(rotary.name),
        x_(rotary.inputs[0]),
        past_(rotary.inputs[1]),
        angles_(rotary.inputs[2]),
        pairs_(rotary.integer("rotary_dim", 0) / 2),
        axis_(static_cast<size_t>(rotary.integer("sequence_axis", 0))),
        interleaved_(rotary.integer("interleaved", 0) != 0),
        scale_(rotary.real("scale", 1.0f)),
        shape_(*graph.value(x_).shape) {}

  // kAbsent when a view cannot be expressed.
  ValueId run() {
    if (!make_tables()) return kAbsent;
    const int64_t width = shape_.back().constant();
    const int64_t step = interleaved_ ? 2 : 1;
    const ValueId a = slice(0, interleaved_ ? 2 * pairs_ : pairs_, step, pairs_);
    const ValueId b = slice(interleaved_ ? 1 : pairs_, 2 * pairs_, step, pairs_);
    const Shape half = with_last(pairs_);
    const auto product = [&](ValueId left, ValueId right) {
      return add("Mul", {left, right}, half);
    };
    const ValueId low = add("Sub", {product(a, cosines_), product(b, sines_)}, half);
    const ValueId high = add("Add", {product(b, cosines_), product(a, sines_)}, half);
    std::vector<ValueId> parts{low, high};
    if (interleaved_) {
      const auto woven = weave(low, high);
      if (!woven) return kAbsent;
      parts = {*woven};
    }
    if (width > 2 * pairs_) parts.push_back(slice(2 * pairs_, width, 1, width - 2 * pairs_));
    return add("Concat", parts, shape_, {{"axis", int64_t{-1}}});
  }

 private:
  ValueId add(const char* op, std::vector<ValueId> inputs, const Shape& shape,
              std::map<std::string, ir::Attribute> attributes = {},
              ir::ElementType type = ir::ElementType::f32) {
    Node node;
    node.name = name_ + "/" + op;
    node.op = op;
    node.inputs = std::move(inputs);
    node.attributes = std::move(attributes);
    const NodeId id = graph_.add_node(std::move(node));
    const ValueId out = graph_.add_output(id, name_ + "/" + op, type);
    graph_.value(out).shape = shape;
    return out;
  }
  ValueId integers(std::vector<int64_t> values) {
    const auto size = static_cast<int64_t>(values.size());
    return graph_.add_constant(name_ + "/integers",
                               ir::TensorData::from_integers({size}, std::move(values)));
  }
  Shape with_last(int64_t width) const {
    Shape shape = shape_;
    shape.back() = Expr(width);
    return shape;
  }
  ValueId slice(int64_t first, int64_t end, int64_t step, int64_t count) {
    return add("Slice", {x_, integers({first}), integers({end}), integers({-1}), integers({step})},
               with_last(count));
  }

  std::optional<ValueId> weave(ValueId low, ValueId high) {
    Shape wide = with_last(pairs_), both = wide;
    wide.emplace_back(1);
    both.emplace_back(2);
    const ValueId last = integers({-1});
    const ValueId joined =
        add("Concat", {add("Unsqueeze", {low, last}, wide), add("Unsqueeze", {high, last}, wide)},
            both, {{"axis", int64_t{-1}}});
    return emit_reshape(graph_, name_ + "/woven", joined, with_last(2 * pairs_));
  }

  ValueId positions() {
    const Expr first = graph_.value(past_).elements->front();
    ir::Value limit;
    limit.name = name_ + "/limit";
    limit.type = ir::ElementType::i64;
    limit.shape = Shape{};
    limit.elements = Shape{first + Expr::symbol("tokens")};
    const ValueId one = graph_.add_constant(name_ + "/one", ir::TensorData::from_integers({}, {1}));
    return add("Range", {past_, graph_.add_value(std::move(limit)), one}, {Expr::symbol("tokens")},
               {}, ir::ElementType::i64);
  }

  bool make_tables() {
    const Expr tokens = Expr::symbol("tokens");
    const ValueId rows = positions();
    ValueId cosines = kAbsent, sines = kAbsent;
    if (graph_.value(angles_).constant->shape.size() == 2) {
      const ValueId both =
          add("Gather", {angles_, rows}, {tokens, Expr(2 * pairs_)}, {{"axis", int64_t{0}}});
      const auto half = [&](int64_t first) {
        return add("Slice", {both, integers({first}), integers({first + pairs_}), integers({-1})},
                   {tokens, Expr(pairs_)});
      };
      cosines = half(0);
      sines = half(pairs_);
    } else {
      const ValueId floats = add("Cast", {rows}, {tokens}, {{"to", int64_t{1}}});
      const ValueId column = add("Unsqueeze", {floats, integers({-1})}, {tokens, Expr(1)});
      const Shape table{tokens, Expr(pairs_)};
      const ValueId turns = add("Mul", {column, angles_}, table);
      cosines = add("Cos", {turns}, table);
      sines = add("Sin", {turns}, table);
      if (scale_ != 1.0f) {
        const ValueId factor =
            graph_.add_constant(name_ + "/scale", ir::TensorData::from_floats({}, {scale_}));
        cosines = add("Mul", {cosines, factor}, table);
        sines = add("Mul", {sines, factor}, table);
      }
    }
    Shape shape(shape_.size(), Expr(1));
    shape[axis_] = tokens;
    shape.back() = Expr(pairs_);
    const auto c = emit_reshape(graph_, name_ + "/cosines", cosines, shape);
    const auto s = emit_reshape(graph_, name_ + "/sines", sines, shape);
    if (!c || !s) return false;
    cosines_ = *c;
    sines_ = *s;
    return true;
  }

  Graph& graph_;
  const std::string name_;
  const ValueId x_, past_, angles_;
  const int64_t pairs_;
  const size_t axis_;
  const bool interleaved_;
  const float scale_;
  const Shape shape_;
  ValueId cosines_ = kAbsent, sines_ = kAbsent;
};

}  // namespace

int expand_rotary(PassContext& context) {
  Graph& graph = context.graph;
  int hits = 0;
  for (const NodeId id : graph.order()) {
    const Node rotary = graph.node(id);
    // Angles that change with the length of the text have no plain form here.
    if (!rotary.is("RotaryEmbedding", "pocket") || rotary.inputs[3] != kAbsent) continue;
    const ValueId out = Expansion(graph, rotary).run();
    if (out == kAbsent) continue;
    graph.replace_uses(rotary.outputs[0], out);
    ++hits;
  }
  graph.remove_dead();
  return hits;
}

}  // namespace pocket
