#include "runtime/kernels/selftest.h"

#include <algorithm>
#include <set>
#include <sstream>

#include "runtime/base/error.h"
#include "runtime/kernels/operator_check.h"
#include "runtime/text/sampler.h"

namespace pocket {
namespace {

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
        check_(device, package, options.context, options.accumulate, options.seed) {
    check_.kernel_context().tuned = options.tuned;
  }

  SelftestResult run() {
    const int64_t wanted = options_.chunk > 0 ? options_.chunk : program_.default_chunk;
    check_.bind(1);
    const int64_t chunk = largest_chunk(check_.kernel_context(), std::max<int64_t>(1, wanted));
    for (const int64_t tokens : {chunk, int64_t{1}}) {
      check_.bind(tokens);
      for (int32_t op = 0; op < static_cast<int32_t>(program_.operators.size()); ++op) {
        test_operator(op);
      }
    }
    test_sampler(SamplerKind::greedy);
    test_sampler(SamplerKind::stochastic);
    return std::move(result_);
  }

 private:
  void test_operator(int32_t op) {
    std::vector<Dispatch> plan = plan_operator(check_.kernel_context(), op);
    if (options_.plant) std::for_each(plan.begin(), plan.end(), options_.plant);
    if (!seen_.insert(identity(plan)).second) return;
    SelftestEntry entry = describe(plan, program_.operators[static_cast<size_t>(op)].name);
    entry.tolerance = check_.tolerance(op);
    for (int run = 0; run < options_.repetitions; ++run) {
      entry.error = std::max(entry.error, check_.worst_error(op, plan, check_.make_case(op, run)));
      ++entry.runs;
    }
    result_.entries.push_back(std::move(entry));
  }

  void test_sampler(SamplerKind kind) {
    const std::vector<Dispatch> plan = plan_sampler(check_.kernel_context(), kind);
    SelftestEntry entry =
        describe(plan, kind == SamplerKind::greedy ? "sampler, greedy" : "sampler, stochastic");
    entry.shape = std::to_string(program_.vocab) + " logits";
    Operator logits_only;
    logits_only.inputs = {program_.logits};
    for (int run = 0; run < options_.repetitions; ++run) {
      HostState state = check_.random_state(logits_only);
      SamplerSettings settings;
      if (kind == SamplerKind::stochastic) {
        settings = {.temperature = 0.5f + 0.5f * static_cast<float>(run),
                    .top_k = run % 2 == 0 ? 256 : 40,
                    .top_p = run % 2 == 0 ? 0.9f : 1.0f,
                    .seed = check_.draw()};
      }
      state.record.past = static_cast<uint32_t>(check_.below(check_.capacity()));
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
      check_.runner().run(plan, state, ring);
      if (ring[0] != wanted) entry.error = 1;
      ++entry.runs;
    }
    result_.entries.push_back(std::move(entry));
  }

  SelftestEntry describe(const std::vector<Dispatch>& plan, const std::string& label) {
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
    entry.shape = std::to_string(check_.kernel_context().bindings.at("tokens")) + " tokens";
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
  OperatorCheck check_;
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
