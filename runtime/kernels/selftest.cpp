#include "runtime/kernels/selftest.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <set>
#include <sstream>

#include "runtime/base/error.h"
#include "runtime/kernels/dispatch_runner.h"
#include "runtime/kernels/reference.h"
#include "runtime/text/sampler.h"
#include "runtime/vulkan/compute_context.h"

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

// Dispatches are the same work when shader, constants and grid agree.
std::string identity(const std::vector<Dispatch>& plan) {
  std::ostringstream text;
  for (const Dispatch& d : plan) {
    text << d.shader;
    for (const uint32_t word : d.specialization) text << ',' << word;
    for (const uint32_t word : d.push_constants) text << ';' << word;
    for (const uint32_t word : d.parameters) text << ':' << word;
    for (const uint32_t count : d.groups) text << 'x' << count;
  }
  return text.str();
}

class Tester {
 public:
  Tester(Device& device, const Package& package, const SelftestOptions& options)
      : package_(package),
        program_(package.manifest().program),
        options_(options),
        compute_(device),
        runner_(compute_, package.manifest(),
                [&package](const Section& s) { return package.section(s); }),
        random_(options.seed) {
    context_.manifest = &package.manifest();
    context_.limits = device.limits();
    context_.accumulate = options.accumulate;
    capacity_ = options.context > 0 ? options.context : program_.default_context;
  }

  SelftestResult run() {
    const int64_t wanted = options_.chunk > 0 ? options_.chunk : program_.default_chunk;
    bind(1);
    const int64_t chunk = largest_chunk(context_, std::max<int64_t>(1, wanted));
    for (const int64_t tokens : {chunk, int64_t{1}}) {
      bind(tokens);
      for (int32_t op = 0; op < static_cast<int32_t>(program_.operators.size()); ++op) {
        test_operator(op);
      }
    }
    test_sampler(SamplerKind::greedy);
    test_sampler(SamplerKind::stochastic);
    return std::move(result_);
  }

 private:
  void bind(int64_t tokens) {
    context_.bindings = {
        {"tokens", tokens}, {"rows", 1}, {"context", capacity_}, {"past", capacity_}};
    context_.decode = tokens == 1;
  }

  float uniform() { return static_cast<float>(random_() >> 8) * 0x1p-23f - 1.0f; }
  int64_t below(int64_t n) { return static_cast<int64_t>(random_()) % n; }

  // Random values for the operator's own tensors; the others stay empty.
  HostState random_state(const Operator& o) {
    HostState state;
    state.bindings = context_.bindings;
    state.tensors.resize(program_.tensors.size());
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
        value = uniform();
        if (tensor.dtype == DType::f16) value = half_to_float(float_to_half(value));
        if (tensor.dtype == DType::i32) value = std::bit_cast<float>(next++);
      }
    }
    state.token_ids.resize(static_cast<size_t>(capacity_) + 1);
    for (int32_t& id : state.token_ids) id = static_cast<int32_t>(below(program_.vocab));
    return state;
  }

  // Elements that the steps of a generic operator visit.
  int64_t work_of(const Operator& o, int64_t past, int64_t tokens) const {
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

  // Run 0: every row is real. Run 1: the step that fills the last slot. Then anything.
  void place(const Operator& o, int run, StepRecord& record) {
    const int64_t tokens = std::min(context_.bindings.at("tokens"), capacity_);
    int64_t valid =
        run == 0 ? tokens : (run == 1 ? std::min<int64_t>(tokens, 2) : 1 + below(tokens));
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
  std::vector<int64_t> sampled_columns(const Operator& o, int64_t tokens) {
    if (o.kind != OpKind::linear && o.kind != OpKind::gated_linear) return {};
    const WeightFormat& format =
        package_.manifest().weights[static_cast<size_t>(o.weights[0])].format;
    const int64_t most = std::max<int64_t>(48, kWork / (format.columns * tokens));
    if (format.rows <= most) return {};
    std::set<int64_t> columns = {0, format.rows - 1};
    while (static_cast<int64_t>(columns.size()) < most) columns.insert(below(format.rows));
    return {columns.begin(), columns.end()};
  }

  double difference(const Operator& o, const HostState& expected, const HostState& actual,
                    const std::vector<int64_t>& columns) {
    double worst = 0;
    for (size_t id = 0; id < expected.tensors.size(); ++id) {
      const std::vector<float>& want = expected.tensors[id];
      const std::vector<float>& got = actual.tensors[id];
      if (want.empty()) continue;
      double squares = 0, largest = 0;
      size_t count = 0;
      const bool integer = program_.tensors[id].dtype == DType::i32;
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
        const double d = std::abs(w - g);
        if (!(d <= largest)) largest = std::isnan(d) ? std::numeric_limits<double>::infinity() : d;
        ++count;
      };
      const bool is_output = std::find(o.outputs.begin(), o.outputs.end(),
                                       static_cast<TensorId>(id)) != o.outputs.end();
      if (is_output && !columns.empty()) {
        const auto width =
            static_cast<size_t>(program_.tensors[id].shape.back().evaluate(expected.bindings));
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

  void test_operator(int32_t op) {
    const Operator& o = program_.operators[static_cast<size_t>(op)];
    std::vector<Dispatch> plan = plan_operator(context_, op);
    if (options_.plant) std::for_each(plan.begin(), plan.end(), options_.plant);
    if (!seen_.insert(identity(plan)).second) return;
    SelftestEntry entry = describe(plan, o.name);
    entry.tolerance = tolerance_of(program_, o, options_.accumulate);
    std::map<WeightId, WeightRows> weights;
    std::vector<WeightId> needed = o.weights;
    if (o.attributes.rope_table != kNone) {
      needed.push_back(program_.rope_tables[static_cast<size_t>(o.attributes.rope_table)].values);
    }
    for (const WeightId id : needed) {
      if (id == kNone || weights.contains(id)) continue;
      const Weight& w = package_.manifest().weights[static_cast<size_t>(id)];
      weights.emplace(id, WeightRows(w, package_.gather(w, SectionRole::codes),
                                     package_.gather(w, SectionRole::scale)));
    }
    const WeightLookup source = [&](WeightId id) -> const WeightRows& { return weights.at(id); };
    for (int run = 0; run < options_.repetitions; ++run) {
      HostState expected = random_state(o);
      place(o, run, expected.record);
      HostState actual = expected;
      ReferenceOptions how;
      how.columns = sampled_columns(o, expected.record.tokens);
      run_reference(package_.manifest(), source, op, expected, how);
      std::vector<int32_t> ring(1);
      runner_.run(plan, actual, ring);
      entry.error = std::max(entry.error, difference(o, expected, actual, how.columns));
      ++entry.runs;
    }
    result_.entries.push_back(std::move(entry));
  }

  void test_sampler(SamplerKind kind) {
    const std::vector<Dispatch> plan = plan_sampler(context_, kind);
    SelftestEntry entry =
        describe(plan, kind == SamplerKind::greedy ? "sampler, greedy" : "sampler, stochastic");
    entry.shape = std::to_string(program_.vocab) + " logits";
    Operator logits_only;
    logits_only.inputs = {program_.logits};
    for (int run = 0; run < options_.repetitions; ++run) {
      HostState state = random_state(logits_only);
      SamplerSettings settings;
      if (kind == SamplerKind::stochastic) {
        settings = {.temperature = 0.5f + 0.5f * static_cast<float>(run),
                    .top_k = run % 2 == 0 ? 256 : 40,
                    .top_p = run % 2 == 0 ? 0.9f : 1.0f,
                    .seed = random_()};
      }
      state.record.past = static_cast<uint32_t>(below(capacity_));
      state.record.tokens = 1;
      state.record.ring_size = 1;
      state.record.top_k = static_cast<uint32_t>(settings.top_k);
      state.record.temperature = settings.temperature;
      state.record.top_p = settings.top_p;
      state.record.seed_low = static_cast<uint32_t>(settings.seed);
      const auto& all = state.tensors[static_cast<size_t>(program_.logits)];
      const auto width = static_cast<size_t>(program_.vocab);
      const int32_t wanted = sample(std::span(all).first(std::min(width, all.size())), settings,
                                    uint64_t{state.record.past} + 1);
      std::vector<int32_t> ring(1, -1);
      runner_.run(plan, state, ring);
      if (ring[0] != wanted) entry.error = 1;
      ++entry.runs;
    }
    result_.entries.push_back(std::move(entry));
  }

  SelftestEntry describe(const std::vector<Dispatch>& plan, const std::string& label) const {
    SelftestEntry entry;
    entry.label = label;
    std::set<std::string> shaders, configs;
    for (const Dispatch& d : plan) {
      if (shaders.insert(d.shader).second) {
        entry.kernel += (entry.kernel.empty() ? "" : " + ") + d.shader;
      }
      if (configs.insert(d.config).second) {
        entry.config += (entry.config.empty() ? "" : "; ") + d.config;
      }
    }
    entry.shape = std::to_string(context_.bindings.at("tokens")) + " tokens";
    if (!plan.empty() && plan[0].op >= 0) {
      const Operator& o = program_.operators[static_cast<size_t>(plan[0].op)];
      if (!o.weights.empty() && o.weights[0] != kNone) {
        const WeightFormat& f =
            package_.manifest().weights[static_cast<size_t>(o.weights[0])].format;
        entry.shape =
            std::to_string(f.rows) + " x " + std::to_string(f.columns) + ", " + entry.shape;
      }
    }
    return entry;
  }

  const Package& package_;
  const Program& program_;
  const SelftestOptions& options_;
  ComputeContext compute_;
  DispatchRunner runner_;
  std::mt19937 random_;
  KernelContext context_;
  int64_t capacity_ = 0;
  std::set<std::string> seen_;
  SelftestResult result_;
};

}  // namespace

bool SelftestResult::passed() const {
  return !entries.empty() &&
         std::all_of(entries.begin(), entries.end(), [](const auto& e) { return e.ok(); });
}

double SelftestResult::worst_error() const {
  double worst = 0;
  for (const SelftestEntry& entry : entries) worst = std::max(worst, entry.error);
  return worst;
}

std::string SelftestResult::failure() const {
  for (const SelftestEntry& entry : entries) {
    if (entry.ok()) continue;
    std::ostringstream text;
    text << "kernel " << entry.kernel << " is wrong on this device: '" << entry.label << "' ("
         << entry.shape << ", " << entry.config << ") differs by " << entry.error
         << " where at most " << entry.tolerance
         << " is allowed; report the device and driver, and try --limits to avoid the kernel";
    return text.str();
  }
  return entries.empty() ? "the self-test had nothing to test; convert the model again" : "";
}

SelftestResult selftest(Device& device, const Package& package, const SelftestOptions& options) {
  return Tester(device, package, options).run();
}

}  // namespace pocket
