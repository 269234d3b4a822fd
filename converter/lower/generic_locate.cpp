// Where a graph value lies: constants, elements known in symbols, what the step record knows, and
// states, which are read in place.
#include <algorithm>
#include <cmath>

#include "converter/lower/generic_builder.h"
#include "runtime/base/error.h"

namespace pocket::generic {
namespace {

bool is_one(const Expr& expr) { return expr == Expr(1); }
bool is_zero(const Expr& expr) { return expr == Expr(0); }

}  // namespace

View Builder::constant(ir::ValueId id, const ir::TensorData& data) {
  const bool whole = ir::is_integer_type(data.type);
  const Shape shape(data.shape.begin(), data.shape.end());
  View view;
  if (data.elements() == 1) {
    view = whole ? integer(data.as_integers().front()) : number(data.as_floats().front());
    if (whole && std::abs(static_cast<double>(view.offset.constant())) > 2147483647.0) {
      throw Error(ExitCode::bad_input, "The constant " + view.offset.str() + " of '" + node.name +
                                           "' does not fit the 32 bits that integers have at run "
                                           "time: export the model in another way.");
    }
    view.shape = shape;
    view.strides.assign(shape.size(), Expr(0));
    return view;
  }
  view.source = GenericSource::weight;
  view.integer = whole;
  view.shape = shape;
  view.strides = contiguous_strides(shape);
  const auto [entry, is_new] = memory_.constants.try_emplace(id, kNone);
  if (is_new) {
    ir::TensorData flat = data;
    flat.shape = {data.elements()};
    if (whole || data.bytes == nullptr) {
      const std::vector<float> values = data.as_floats();
      const bool exact = !whole || std::all_of(values.begin(), values.end(), [](float value) {
        return std::abs(value) <= 16777216.0f;
      });
      if (!exact) {
        throw Error(ExitCode::bad_input, "The integers of '" + graph.value(id).name +
                                             "' exceed 2^24, the most that a table of a generic "
                                             "operator holds: export the model in another way.");
      }
      flat = ir::TensorData::from_floats({data.elements()}, values);
    }
    LoweredWeight weight;
    weight.name = graph.value(id).name;
    weight.role = WeightRole::vector;
    weight.shape = flat.shape;
    weight.source = WeightSource({WeightPart{.data = flat, .rows = 1}});
    entry->second = program_.add_weight(std::move(weight));
  }
  view.id = entry->second;
  return view;
}

// Integers in symbols: one number, a progression along the last dimension, or a small table.
View Builder::symbolic(const ir::Value& value) {
  const std::vector<Expr>& list = *value.elements;
  View view = integer(list.empty() ? Expr(0) : list.front());
  view.shape = value.shape ? *value.shape : Shape{Expr(static_cast<int64_t>(list.size()))};
  view.strides.assign(view.rank(), Expr(0));
  if (list.size() <= 1) return view;
  const Expr step = list[1] - list[0];
  bool regular = is_one(product(view.shape, 0, view.rank() - 1));
  for (size_t i = 1; i < list.size(); ++i) regular = regular && list[i] - list[i - 1] == step;
  if (regular) {
    view.strides.back() = step;
    return view;
  }
  if (list.size() > 64) throw Refused{};
  std::vector<Step> steps;
  for (size_t i = 0; i < list.size(); ++i) {
    Step one;
    one.integer = true;
    one.out_offset = static_cast<int64_t>(i);
    one.operands = {{integer(list[i]), {}}};
    steps.push_back(std::move(one));
  }
  return make(view.shape, true, std::move(steps));
}

// Ids, positions and the mask of a decoder, which the step record knows: import gives them the
// canonical shapes [1, tokens] and [1, past + tokens].
View Builder::model_input(ir::ValueId id) {
  const ir::Value& value = graph.value(id);
  if (!value.shape || value.shape->empty()) throw Refused{};
  View view;
  view.shape = *value.shape;
  view.strides.assign(view.rank(), Expr(0));
  const Expr& last = view.shape.back();
  const Expr tokens = Expr::symbol("tokens"), past = Expr::symbol("past");
  if (last == past + tokens) {
    view.integer = ir::is_integer_type(value.type);
    view.source = view.integer ? GenericSource::index : GenericSource::number;
    view.offset = 1;  // every key is real
    view.number = 1.0;
    return view;
  }
  if (!ir::is_integer_type(value.type) || !(last == tokens) ||
      !is_one(product(view.shape, 0, view.rank() - 1))) {
    throw Refused{};
  }
  const bool positions = value.name.find("position") != std::string::npos;
  view.source = positions ? GenericSource::index : GenericSource::token_ids;
  view.integer = true;
  view.offset = past;
  view.strides.back() = 1;
  return view;
}

// A state as the graph sees it before the step: one dimension counts the past, the tensor has it
// first.
std::optional<View> Builder::state_view(ir::ValueId id) const {
  for (const ir::StatePair& pair : graph.states) {
    if (pair.past != id) continue;
    const ir::Value& value = graph.value(id);
    if (!value.shape || !ir::is_float_type(value.type)) throw Refused{};
    // A fused operator would fill a state of its own.
    for (const ir::NodeId reader : graph.consumers(id)) {
      if (graph.node(reader).domain == "pocket") throw Refused{};
    }
    View view;
    view.is_state = true;
    view.shape = *value.shape;
    view.strides.assign(view.rank(), Expr(0));
    size_t along = view.rank();
    Shape rest;
    for (size_t d = 0; d < view.rank(); ++d) {
      if (view.shape[d] == Expr::symbol("past") && along == view.rank()) {
        along = d;
      } else if (!view.shape[d].is_constant()) {
        throw Refused{};
      } else if (!is_one(view.shape[d])) {
        rest.push_back(view.shape[d]);
      }
    }
    if (along == view.rank() || rest.empty()) throw Refused{};
    Expr stride(1);
    for (size_t d = view.rank(); d-- > 0;) {
      if (d == along || is_one(view.shape[d])) continue;
      view.strides[d] = stride;
      stride = stride * view.shape[d];
    }
    view.strides[along] = stride;
    return view;
  }
  return std::nullopt;
}

View Builder::locate(ir::ValueId id) {
  if (const auto known = memory_.views.find(id); known != memory_.views.end()) {
    return known->second;
  }
  const ir::Value& value = graph.value(id);
  if (value.constant) return constant(id, *value.constant);
  if (value.elements) return symbolic(value);
  if (std::optional<View> state = state_view(id)) {
    Tensor tensor;
    tensor.name = value.name;
    tensor.role = TensorRole::state;
    tensor.shape = {Expr::symbol("context")};
    for (const Expr& extent : state->shape) {
      if (extent.is_constant() && !is_one(extent)) tensor.shape.push_back(extent);
    }
    state->id = program_.add_tensor(std::move(tensor));
    return memory_.views.emplace(id, *state).first->second;
  }
  View view;
  view.id = program_.find(id);
  if (view.id == kNone && graph.is_input(id)) return model_input(id);
  if (view.id == kNone) throw Refused{};
  view.integer = ir::is_integer_type(value.type);
  view.shape = shape_of(id);
  view.strides = contiguous_strides(view.shape);
  return view;
}

// What the model hands on as its state must be the state with the step's rows behind it.
void Builder::check_present(ir::ValueId output, const View& view) const {
  for (const ir::StatePair& pair : graph.states) {
    if (pair.present != output) continue;
    const auto past = memory_.views.find(pair.past);
    if (past == memory_.views.end() || !view.is_state || view.id != past->second.id ||
        !is_zero(view.offset) || view.rank() != past->second.rank()) {
      throw Refused{};
    }
    for (size_t d = 0; d < view.rank(); ++d) {
      const Expr& before = past->second.shape[d];
      const bool along = before == Expr::symbol("past");
      const Expr wanted = along ? before + Expr::symbol("tokens") : before;
      if (!(view.shape[d] == wanted) ||
          (!is_one(wanted) && !(view.strides[d] == past->second.strides[d]))) {
        throw Refused{};
      }
    }
  }
}

}  // namespace pocket::generic
