#include "runtime/kernels/tuner.h"

#include <algorithm>
#include <set>

#include "runtime/base/error.h"
#include "runtime/kernels/operator_check.h"

namespace pocket {
namespace {

constexpr int kRepeats = 4;  // of an operator in one timed submission

double median_of(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

class Tuner {
 public:
  Tuner(Device& device, const Package& package, const TuneOptions& options)
      : program_(package.manifest().program),
        options_(options),
        check_(device, package, options.base.context, options.base.accumulate, options.base.seed) {}

  TuneResult run() {
    const SelftestOptions& base = options_.base;
    check_.bind(1);
    const int64_t wanted = base.chunk > 0 ? base.chunk : program_.default_chunk;
    const int64_t chunk = largest_chunk(check_.kernel_context(), std::max<int64_t>(1, wanted));
    for (const int64_t tokens : {chunk, int64_t{1}}) {
      check_.bind(tokens);
      for (int32_t op = 0; op < static_cast<int32_t>(program_.operators.size()); ++op) {
        for (const ConfigRequest& request : requests(op)) {
          if (seen_.insert(request.key()).second) tune_shape(op, request);
        }
      }
    }
    if (result_.shapes.empty() && !options_.only.empty()) {
      throw Error(ExitCode::usage, "nothing that this model can tune has '" + options_.only +
                                       "' in its key; without --only the keys are printed");
    }
    return std::move(result_);
  }

 private:
  std::vector<ConfigRequest> requests(int32_t op) {
    std::vector<ConfigRequest> found;
    check_.kernel_context().requests = &found;
    plan_operator(check_.kernel_context(), op);
    check_.kernel_context().requests = nullptr;
    return found;
  }

  std::vector<Dispatch> plan_with(int32_t op, const std::string& key, const KernelConfig& row) {
    TunedConfigs trial;
    trial.set(key, row);
    check_.kernel_context().tuned = &trial;
    std::vector<Dispatch> plan = plan_operator(check_.kernel_context(), op);
    check_.kernel_context().tuned = nullptr;
    if (options_.plant) {
      for (Dispatch& dispatch : plan) options_.plant(row, dispatch);
    }
    return plan;
  }

  void tune_shape(int32_t op, const ConfigRequest& request) {
    TuneShape shape;
    shape.key = request.key();
    if (shape.key.find(options_.only) == std::string::npos) return;
    shape.label = program_.operators[static_cast<size_t>(op)].name;
    shape.tolerance = check_.tolerance(op);
    const DeviceLimits& limits = check_.kernel_context().limits;
    const KernelConfig& first = choose_config(request.kernel, limits, request.shape);
    shape.candidates.push_back({.config = first});
    for (const KernelConfig& row : candidates(request, limits)) {
      if (!same_numbers(row, first)) shape.candidates.push_back({.config = row});
    }
    if (shape.candidates.size() == 1) return;  // nothing to choose from
    if (options_.progress) {
      options_.progress(shape.key + ": " + std::to_string(shape.candidates.size()) + " rows");
    }
    check_rows(op, shape);
    time_rows(op, shape);
    result_.tuned.set(shape.key, shape.candidates[shape.best].config);
    result_.shapes.push_back(std::move(shape));
  }

  void check_rows(int32_t op, TuneShape& shape) {
    for (TuneCandidate& candidate : shape.candidates) candidate.correct = true;
    for (int run = 0; run < options_.base.repetitions; ++run) {
      const OperatorCheck::Case made = check_.make_case(op, run);
      for (TuneCandidate& candidate : shape.candidates) {
        if (!candidate.correct) continue;
        try {
          const std::vector<Dispatch> plan = plan_with(op, shape.key, candidate.config);
          candidate.error = std::max(candidate.error, check_.worst_error(op, plan, made));
          candidate.correct = candidate.error <= shape.tolerance;
        } catch (const Error& error) {
          // A row that the driver does not build, or that writes behind a buffer.
          if (error.code == ExitCode::out_of_memory) throw;
          candidate.correct = false;
          candidate.refused = error.what();
        }
      }
    }
    if (std::none_of(shape.candidates.begin(), shape.candidates.end(),
                     [](const TuneCandidate& c) { return c.correct; })) {
      throw Error(ExitCode::wrong_result,
                  "no configuration of " + shape.key + " (" + shape.label +
                      ") is right on this device; report the device and driver");
    }
  }

  // In turn, so that a slow spell of the device meets every row.
  void time_rows(int32_t op, TuneShape& shape) {
    // A whole chunk, or the step that fills the last slot of the context.
    const OperatorCheck::Case made = check_.make_case(op, check_.kernel_context().decode ? 1 : 0);
    std::vector<std::vector<double>> times(shape.candidates.size());
    for (int round = 0; round < options_.rounds; ++round) {
      for (size_t i = 0; i < shape.candidates.size(); ++i) {
        const TuneCandidate& candidate = shape.candidates[i];
        if (!candidate.correct) continue;
        const std::vector<Dispatch> plan = plan_with(op, shape.key, candidate.config);
        times[i].push_back(check_.nanoseconds(plan, made, kRepeats));
        if (times[i].back() <= 0) {
          throw Error(ExitCode::device,
                      "the device has no timestamps to measure kernels with, so nothing was tuned");
        }
      }
    }
    double fastest = 0;
    for (size_t i = 0; i < shape.candidates.size(); ++i) {
      if (times[i].empty()) continue;
      shape.candidates[i].nanoseconds = median_of(times[i]);
      if (fastest == 0 || shape.candidates[i].nanoseconds < fastest) {
        fastest = shape.candidates[i].nanoseconds;
        shape.best = i;
      }
    }
  }

  const Program& program_;
  const TuneOptions& options_;
  OperatorCheck check_;
  std::set<std::string> seen_;
  TuneResult result_;
};

}  // namespace

size_t TuneResult::wrong() const {
  size_t count = 0;
  for (const TuneShape& shape : shapes) {
    count += static_cast<size_t>(std::count_if(shape.candidates.begin(), shape.candidates.end(),
                                               [](const auto& c) { return !c.correct; }));
  }
  return count;
}

TuneResult tune(Device& device, const Package& package, const TuneOptions& options) {
  return Tuner(device, package, options).run();
}

}  // namespace pocket
