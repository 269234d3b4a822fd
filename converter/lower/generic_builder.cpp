#include "converter/lower/generic_builder.h"

#include <algorithm>

namespace pocket::generic {
namespace {

bool is_one(const Expr& expr) { return expr == Expr(1); }
bool is_zero(const Expr& expr) { return expr == Expr(0); }

Memory& memory_of(ProgramBuilder& program) {
  if (!program.generic) program.generic = std::make_shared<Memory>();
  return *static_cast<Memory*>(program.generic.get());
}

bool is_contiguous(const View& view) {
  const std::vector<Expr> wanted = contiguous_strides(view.shape);
  for (size_t d = 0; d < view.rank(); ++d) {
    if (!is_one(view.shape[d]) && !(view.strides[d] == wanted[d])) return false;
  }
  return true;
}

}  // namespace

Expr product(const Shape& shape, size_t first, size_t last) {
  Expr result(1);
  for (size_t d = first; d < last; ++d) result = result * shape[d];
  return result;
}

std::vector<Expr> contiguous_strides(const Shape& shape) {
  std::vector<Expr> strides(shape.size());
  Expr stride(1);
  for (size_t d = shape.size(); d-- > 0;) {
    strides[d] = is_one(shape[d]) ? Expr(0) : stride;
    stride = stride * shape[d];
  }
  return strides;
}

Builder::Builder(const NodeContext& context, ir::NodeId id, ProgramBuilder& program)
    : graph(context.graph),
      node(context.graph.node(id)),
      context_(context),
      program_(program),
      memory_(memory_of(program)),
      in_head_(context.head.contains(id)) {}

bool Builder::has(size_t input) const {
  return input < node.inputs.size() && node.inputs[input] != ir::kAbsent;
}

View Builder::in(size_t input) {
  if (!has(input)) throw Refused{};
  return locate(node.inputs[input]);
}

View Builder::number(double value) {
  View view;
  view.source = GenericSource::number;
  view.number = value;
  return view;
}

View Builder::integer(Expr value) {
  View view;
  view.source = GenericSource::index;
  view.integer = true;
  view.offset = std::move(value);
  return view;
}

bool Builder::proven_le(const Expr& a, const Expr& b) const {
  return prove_le(a, b, graph.symbols) == Proof::yes;
}

int64_t Builder::axis(int64_t wanted, size_t rank) const {
  const auto n = static_cast<int64_t>(rank);
  if (wanted < -n || wanted >= n) throw Refused{};
  return wanted < 0 ? wanted + n : wanted;
}

std::vector<Expr> Builder::elements(size_t input) const {
  if (!has(input)) throw Refused{};
  const ir::Value& value = graph.value(node.inputs[input]);
  if (value.elements) return *value.elements;
  if (!value.constant || !ir::is_integer_type(value.constant->type)) throw Refused{};
  const std::vector<int64_t> numbers = value.constant->as_integers();
  return {numbers.begin(), numbers.end()};
}

int64_t Builder::constant_integer(size_t input) const {
  const std::vector<Expr> list = elements(input);
  if (list.size() != 1 || !list[0].is_constant()) throw Refused{};
  return list[0].constant();
}

// Behind SelectRows the graph still speaks of tokens; the program has rows there.
bool Builder::behind_head(ir::ValueId value) const {
  const ir::NodeId producer = graph.value(value).producer;
  return producer != ir::kAbsent && context_.head.contains(producer);
}

Shape Builder::shape_of(ir::ValueId id) const {
  const ir::Value& value = graph.value(id);
  if (!value.shape) throw Refused{};
  Shape shape = *value.shape;
  if (behind_head(id)) {
    for (Expr& extent : shape) extent = extent.substitute("tokens", Expr::symbol("rows"));
  }
  return shape;
}

Shape Builder::out_shape(size_t output) const { return shape_of(node.outputs.at(output)); }

bool Builder::out_integer(size_t output) const {
  return ir::is_integer_type(graph.value(node.outputs.at(output)).type);
}

std::vector<Expr> Builder::aligned(const View& view, const Shape& shape) {
  if (view.rank() > shape.size()) throw Refused{};
  std::vector<Expr> strides(shape.size(), Expr(0));
  const size_t shift = shape.size() - view.rank();
  for (size_t d = 0; d < view.rank(); ++d) {
    if (is_one(view.shape[d])) continue;
    if (!(view.shape[d] == shape[shift + d])) throw Refused{};
    strides[shift + d] = view.strides[d];
  }
  return strides;
}

View Builder::broadcast(const View& view, const Shape& shape) {
  View result = view;
  result.strides = aligned(view, shape);
  result.shape = shape;
  return result;
}

void Builder::add(std::vector<Step> steps, TensorId output, TensorId state) {
  Operator& op = program_.add(OpKind::generic, node.name);
  if (output != kNone) op.outputs = {output};
  const auto place = [](auto& list, auto id) {
    const auto found = std::find(list.begin(), list.end(), id);
    if (found != list.end()) return static_cast<int32_t>(found - list.begin());
    list.push_back(id);
    return static_cast<int32_t>(list.size() - 1);
  };
  for (Step& step : steps) {
    GenericStep made;
    made.function = step.function;
    made.compute = step.integer ? DType::i32 : DType::f32;
    // Dimensions of one element vanish: a domain has room for eight.
    std::vector<size_t> kept;
    const size_t outer = step.domain.size() - static_cast<size_t>(step.inner);
    const bool line =
        step.function >= GenericFunction::softmax && step.function <= GenericFunction::cumsum;
    for (size_t d = 0; d < step.domain.size(); ++d) {
      if (is_one(step.domain[d]) && !(line && d >= outer)) continue;
      kept.push_back(d);
      made.domain.push_back(step.domain[d]);
      made.inner += d >= outer ? 1 : 0;
    }
    const auto strides_of = [&](const std::vector<Expr>& all) {
      std::vector<Expr> strides;
      for (const size_t d : kept) strides.push_back(all.at(d));
      return strides;
    };
    made.out.source = state != kNone ? GenericSource::input : GenericSource::output;
    if (state != kNone) made.out.index = place(op.inputs, state);
    made.out.offset = step.out_offset;
    made.out.strides = strides_of(step.out_strides);
    for (const Operand& from : step.operands) {
      GenericOperand operand;
      operand.source = from.view.source;
      operand.number = from.view.number;
      if (operand.source == GenericSource::input) operand.index = place(op.inputs, from.view.id);
      if (operand.source == GenericSource::weight) operand.index = place(op.weights, from.view.id);
      if (operand.source != GenericSource::number) {
        operand.offset = from.view.offset;
        operand.strides =
            from.strides.empty() ? std::vector<Expr>(kept.size()) : strides_of(from.strides);
      }
      made.operands.push_back(std::move(operand));
    }
    made.scalars = std::move(step.scalars);
    if (made.domain.size() > kGenericRank) throw Refused{};
    op.steps.push_back(std::move(made));
  }
}

View Builder::make(const Shape& shape, bool integer, std::vector<Step> steps) {
  // Leading dimensions that count rows are one, as fused operators see them.
  const Expr rows = Expr::symbol(in_head_ ? "rows" : "tokens");
  Tensor tensor;
  tensor.name = node.name;
  tensor.dtype = integer ? DType::i32 : DType::f32;
  for (size_t d = 1; d <= shape.size() && tensor.shape.empty(); ++d) {
    if (product(shape, 0, d) == rows) tensor.shape = {rows, product(shape, d, shape.size())};
  }
  if (tensor.shape.empty()) {
    for (const Expr& extent : shape) {
      if (!is_one(extent)) tensor.shape.push_back(extent);
    }
    if (tensor.shape.empty()) tensor.shape.push_back(Expr(1));
    if (tensor.shape.size() > 6) throw Refused{};
  }
  View view;
  view.id = program_.add_tensor(std::move(tensor));
  view.integer = integer;
  view.shape = shape;
  view.strides = contiguous_strides(shape);
  add(std::move(steps), view.id, kNone);
  return view;
}

void Builder::append(const View& state, std::vector<Step> steps) {
  add(std::move(steps), kNone, state.id);
}

View Builder::map(GenericFunction function, const std::vector<View>& operands, const Shape& shape,
                  bool out_integer) {
  Step step;
  step.function = function;
  step.domain = shape;
  step.out_strides = contiguous_strides(shape);
  step.integer = true;
  const bool chooses = function == GenericFunction::where;
  for (size_t i = 0; i < operands.size(); ++i) {
    step.operands.push_back({operands[i], aligned(operands[i], shape)});
    step.integer = step.integer && (operands[i].integer || (chooses && i == 0));
  }
  return make(shape, out_integer, {std::move(step)});
}

View Builder::map(GenericFunction function, const std::vector<View>& operands, const Shape& shape) {
  const bool whole =
      std::all_of(operands.begin(), operands.end(), [](const View& view) { return view.integer; });
  return map(function, operands, shape, whole);
}

View Builder::reduce(GenericFunction function, const View& view, const std::vector<bool>& axes,
                     bool keep, bool out_integer) {
  Shape result;
  Step step;
  step.function = function;
  step.integer = view.integer;
  Operand operand{view, {}};
  for (const bool inner : {false, true}) {
    for (size_t d = 0; d < view.rank(); ++d) {
      if (axes[d] != inner) continue;
      step.domain.push_back(view.shape[d]);
      operand.strides.push_back(view.strides[d]);
      step.inner += inner ? 1 : 0;
    }
  }
  for (size_t d = 0; d < view.rank(); ++d) {
    if (!axes[d]) result.push_back(view.shape[d]);
    if (axes[d] && keep) result.push_back(Expr(1));
  }
  Shape kept(step.domain.begin(), step.domain.end() - step.inner);
  step.out_strides = contiguous_strides(kept);
  step.out_strides.resize(step.domain.size());
  step.operands = {std::move(operand)};
  return make(result, out_integer, {std::move(step)});
}

View Builder::copied(const View& view) {
  Step step;
  step.integer = view.integer;
  step.domain = view.shape;
  step.out_strides = contiguous_strides(view.shape);
  step.operands = {{view, view.strides}};
  return make(view.shape, view.integer, {std::move(step)});
}

View Builder::reshape(const View& view, const Shape& shape) {
  if (!(product(view.shape, 0, view.rank()) == product(shape, 0, shape.size()))) throw Refused{};
  View result = view;
  const bool constant = std::all_of(view.strides.begin(), view.strides.end(), is_zero);
  if (constant) {
    result.strides.assign(shape.size(), Expr(0));
  } else {
    // Dimensions of one element come and go in any view.
    std::vector<size_t> old_kept;
    for (size_t d = 0; d < view.rank(); ++d) {
      if (!is_one(view.shape[d])) old_kept.push_back(d);
    }
    std::vector<Expr> strides(shape.size(), Expr(0));
    size_t next = 0;
    bool same = true;
    for (size_t d = 0; d < shape.size() && same; ++d) {
      if (is_one(shape[d])) continue;
      same = next < old_kept.size() && view.shape[old_kept[next]] == shape[d];
      if (same) strides[d] = view.strides[old_kept[next++]];
    }
    if (same && next == old_kept.size()) {
      result.strides = std::move(strides);
    } else {
      const bool plain = view.source == GenericSource::input && !view.is_state;
      if (!is_contiguous(view) || !(plain || view.source == GenericSource::weight)) {
        result = copied(view);
      }
      result.strides = contiguous_strides(shape);
    }
  }
  result.shape = shape;
  return result;
}

void Builder::set(size_t output, View view) {
  if (output >= node.outputs.size() || node.outputs[output] == ir::kAbsent) return;
  const ir::ValueId id = node.outputs[output];
  check_present(id, view);
  const Shape shape = out_shape(output);
  const Expr rows = Expr::symbol(in_head_ ? "rows" : "tokens");
  const bool is_rows = !shape.empty() && !view.integer &&
                       product(shape, 0, shape.size() - 1) == rows && shape.back().is_constant();
  if (is_rows) {
    // A fused operator may read it: it needs the tensor [rows, width] itself.
    const auto fits = [&] {
      if (view.source != GenericSource::input || view.is_state || !is_zero(view.offset))
        return false;
      const Tensor& tensor = program_.lowered.program.tensors[static_cast<size_t>(view.id)];
      return is_contiguous(view) && tensor.shape.size() == 2 && tensor.shape[0] == rows &&
             tensor.shape[1] == shape.back();
    };
    if (!fits()) view = copied(view);
    if (!fits()) throw Refused{};
    program_.bind(id, view.id);
  }
  memory_.views[id] = std::move(view);
}

}  // namespace pocket::generic
