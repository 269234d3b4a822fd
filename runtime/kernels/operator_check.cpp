#include "runtime/kernels/operator_check.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <set>

#include "runtime/base/error.h"
#include "runtime/kernels/reference.h"

namespace pocket {
namespace {

// Multiply-adds of one reference run: a fraction of a second.
constexpr int64_t kWork = 20'000'000;

// Sums in another order, and one rounding to f16 that falls to the other side.
double tolerance_of(const Program& program, const Operator& o, Accumulate accumulate) {
  bool half = false;
  for (const TensorId id : o.outputs) {
    half |= id != kNone && program.tensors[static_cast<size_t>(id)].dtype == DType::f16;
  }
  if (o.kind == OpKind::rotary_kv) half = true;  // its states
  const bool matrix = o.kind == OpKind::linear || o.kind == OpKind::gated_linear;
  if (accumulate == Accumulate::fp16 && matrix) return 0.15;
  return half ? 5e-3 : 1e-3;
}

// What f16 cannot tell apart: a right result may round to the neighbour of the reference's, and the
// tails of a gate's product lie far above the root mean square that errors are measured by.
constexpr double kHalfStep = 0x1p-10;  // of the value

double difference(const Program& program, const Operator& o, const HostState& expected,
                  const HostState& actual, const std::vector<int64_t>& columns) {
  double worst = 0;
  for (size_t id = 0; id < expected.tensors.size(); ++id) {
    const std::vector<float>& want = expected.tensors[id];
    const std::vector<float>& got = actual.tensors[id];
    if (want.empty()) continue;
    double squares = 0, largest = 0;
    size_t count = 0;
    const bool integer = program.tensors[id].dtype == DType::i32;
    const double step = program.tensors[id].dtype == DType::f16 ? kHalfStep : 0;
    const auto number = [&](float stored) {
      return integer ? double{0} + std::bit_cast<int32_t>(stored) : double{stored};
    };
    const auto visit = [&](size_t i) {
      const double w = number(want[i]), g = number(got[i]);
      // A logarithm or a root may have left the numbers on both sides.
      if ((std::isnan(w) && std::isnan(g)) || w == g) {
        if (std::isfinite(w)) squares += w * w;
        ++count;
        return;
      }
      squares += w * w;
      const double d = std::max(std::abs(w - g) - step * std::abs(w), 0.0);
      if (!(d <= largest)) largest = std::isnan(d) ? std::numeric_limits<double>::infinity() : d;
      ++count;
    };
    const bool is_output =
        std::find(o.outputs.begin(), o.outputs.end(), static_cast<TensorId>(id)) != o.outputs.end();
    if (is_output && !columns.empty()) {
      const auto width =
          static_cast<size_t>(program.tensors[id].shape.back().evaluate(expected.bindings));
      for (size_t row = 0; row < want.size() / width; ++row) {
        for (const int64_t column : columns) visit(row * width + static_cast<size_t>(column));
      }
    } else {
      for (size_t i = 0; i < want.size(); ++i) visit(i);
    }
    worst = std::max(worst, largest / (std::sqrt(squares / static_cast<double>(count)) + 1e-20));
  }
  return worst;
}

}  // namespace

OperatorCheck::OperatorCheck(Device& device, const Package& package, int64_t context,
                             Accumulate accumulate, uint32_t seed)
    : package_(package),
      program_(package.manifest().program),
      compute_(device),
      runner_(compute_, package.manifest(),
              [&package](const Section& s) { return package.section(s); }),
      random_(seed) {
  context_.manifest = &package.manifest();
  context_.limits = device.limits();
  context_.accumulate = accumulate;
  capacity_ = context > 0 ? context : program_.default_context;
}

void OperatorCheck::bind(int64_t tokens) {
  context_.bindings = {
      {"tokens", tokens}, {"rows", 1}, {"context", capacity_}, {"past", capacity_}};
  context_.decode = tokens == 1;
}

HostState OperatorCheck::random_state(const Operator& o) {
  HostState state;
  state.bindings = context_.bindings;
  state.tensors.resize(program_.tensors.size());
  // Inputs of 8-bit linears reach over their codes to both sides.
  const bool matrix = o.kind == OpKind::linear || o.kind == OpKind::gated_linear;
  const float act_scale =
      matrix ? package_.manifest().weights[static_cast<size_t>(o.weights[0])].act_scale : 0;
  const TensorId coarse = act_scale != 0 ? o.inputs[0] : kNone;
  const float size = 160 * act_scale;
  std::set<TensorId> used(o.inputs.begin(), o.inputs.end());
  used.insert(o.outputs.begin(), o.outputs.end());
  for (const TensorId id : used) {
    if (id == kNone) continue;
    const Tensor& tensor = program_.tensors[static_cast<size_t>(id)];
    int64_t elements = 1;
    for (const Expr& dimension : tensor.shape) elements *= dimension.evaluate(state.bindings);
    std::vector<float>& values = state.tensors[static_cast<size_t>(id)];
    values.resize(static_cast<size_t>(elements));
    // Integers count up: as indices they differ, so that a scatter has one order.
    int32_t next = 0;
    for (float& value : values) {
      value = id == coarse ? size * uniform() : uniform();
      if (tensor.dtype == DType::f16) value = half_to_float(float_to_half(value));
      if (tensor.dtype == DType::i32) value = std::bit_cast<float>(next++);
    }
  }
  state.token_ids.resize(static_cast<size_t>(capacity_) + 1);
  for (int32_t& id : state.token_ids) id = static_cast<int32_t>(below(program_.vocab));
  return state;
}

// Elements that the steps of a generic operator visit.
int64_t OperatorCheck::work_of(const Operator& o, int64_t past, int64_t tokens) const {
  double work = 0;
  for (const GenericStep& step : o.steps) {
    double elements = 1;
    for (const Expr& extent : step.domain) {
      elements *=
          static_cast<double>(step_polynomial(extent, context_.bindings).evaluate(past, tokens));
    }
    work += elements;
  }
  return static_cast<int64_t>(std::min(work, 1e18));
}

void OperatorCheck::place(const Operator& o, int run, StepRecord& record) {
  const int64_t tokens = std::min(context_.bindings.at("tokens"), capacity_);
  int64_t valid = run == 0 ? tokens : (run == 1 ? std::min<int64_t>(tokens, 2) : 1 + below(tokens));
  int64_t past = run == 1 ? capacity_ - valid : below(capacity_ - valid + 1);
  if (o.kind == OpKind::attention) {
    const int64_t row = int64_t{o.attributes.heads} * o.attributes.head_dim * 2;
    past = std::min(past, run == 1 ? past : kWork / (row * valid));
  }
  while (o.kind == OpKind::generic && work_of(o, past, valid) > kWork / 10) {
    if (past > 4) {
      past /= 2;
    } else if (valid > 2) {
      valid /= 2;
    } else {
      break;
    }
  }
  record.past = static_cast<uint32_t>(past);
  record.tokens = static_cast<uint32_t>(valid);
  record.head_row = static_cast<uint32_t>(valid - 1);
}

// Output columns of a matrix that the reference computes; empty: all.
std::vector<int64_t> OperatorCheck::sampled_columns(const Operator& o, int64_t tokens) {
  if (o.kind != OpKind::linear && o.kind != OpKind::gated_linear) return {};
  const WeightFormat& format =
      package_.manifest().weights[static_cast<size_t>(o.weights[0])].format;
  const int64_t most = std::max<int64_t>(48, kWork / (format.columns * tokens));
  if (format.rows <= most) return {};
  std::set<int64_t> columns = {0, format.rows - 1};
  while (static_cast<int64_t>(columns.size()) < most) columns.insert(below(format.rows));
  return {columns.begin(), columns.end()};
}

const std::map<WeightId, WeightRows>& OperatorCheck::weights_of(int32_t op) {
  if (op == weights_op_) return weights_;
  const Operator& o = op_at(op);
  weights_.clear();
  std::vector<WeightId> needed = o.weights;
  if (o.attributes.rope_table != kNone) {
    needed.push_back(program_.rope_tables[static_cast<size_t>(o.attributes.rope_table)].values);
  }
  for (const WeightId id : needed) {
    if (id == kNone || weights_.contains(id)) continue;
    const Weight& w = package_.manifest().weights[static_cast<size_t>(id)];
    weights_.emplace(id, WeightRows(w, package_.gather(w, SectionRole::codes),
                                    package_.gather(w, SectionRole::scale)));
  }
  weights_op_ = op;
  return weights_;
}

OperatorCheck::Case OperatorCheck::make_case(int32_t op, int run) {
  const Operator& o = op_at(op);
  const std::map<WeightId, WeightRows>& weights = weights_of(op);
  const WeightLookup source = [&](WeightId id) -> const WeightRows& { return weights.at(id); };
  Case made;
  made.start = random_state(o);
  place(o, run, made.start.record);
  made.expected = made.start;
  ReferenceOptions how;
  how.columns = made.columns = sampled_columns(o, made.start.record.tokens);
  run_reference(package_.manifest(), source, op, made.expected, how);
  return made;
}

double OperatorCheck::worst_error(int32_t op, const std::vector<Dispatch>& plan, const Case& made) {
  HostState actual = made.start;
  std::vector<int32_t> ring(1);
  runner_.run(plan, actual, ring);
  return difference(program_, op_at(op), made.expected, actual, made.columns);
}

double OperatorCheck::nanoseconds(const std::vector<Dispatch>& plan, const Case& made,
                                  int repeats) {
  std::vector<Dispatch> all;
  for (int i = 0; i < repeats; ++i) all.insert(all.end(), plan.begin(), plan.end());
  HostState scratch = made.start;
  std::vector<int32_t> ring(1);
  return static_cast<double>(runner_.run(all, scratch, ring)) / repeats;
}

double OperatorCheck::tolerance(int32_t op) const {
  return tolerance_of(program_, op_at(op), context_.accumulate);
}

}  // namespace pocket
