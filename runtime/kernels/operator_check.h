// One operator on the device beside the host reference: random inputs, a step record that reaches
// the corners, and the largest difference. The self-test and the tuner are loops around it.
#pragma once

#include <map>
#include <random>
#include <vector>

#include "runtime/kernels/dispatch_runner.h"
#include "runtime/kernels/plan.h"
#include "runtime/package/package.h"
#include "runtime/vulkan/compute_context.h"

namespace pocket {

class OperatorCheck {
 public:
  // `context` 0: the program's default.
  OperatorCheck(Device&, const Package&, int64_t context, Accumulate, uint32_t seed);

  KernelContext& kernel_context() { return context_; }
  int64_t capacity() const { return capacity_; }  // rows of the states
  void bind(int64_t tokens);

  // What goes in and what the reference makes of it.
  struct Case {
    HostState start, expected;
    std::vector<int64_t> columns;  // of a matrix that the reference computed; empty: all
  };
  // Run 0: every row is real. Run 1: the step that fills the last slot. Then anything.
  Case make_case(int32_t op, int run);
  // Runs the plan from the case's start; the largest difference over the root mean square of what
  // is right.
  double worst_error(int32_t op, const std::vector<Dispatch>& plan, const Case&);
  // Nanoseconds of the plan by the device's clock, mean of `repeats` in one submission; 0: the
  // device has no clock.
  double nanoseconds(const std::vector<Dispatch>& plan, const Case&, int repeats);
  double tolerance(int32_t op) const;

  // Random values for the operator's own tensors; the others stay empty.
  HostState random_state(const Operator&);
  int64_t below(int64_t n) { return static_cast<int64_t>(random_()) % n; }
  uint32_t draw() { return static_cast<uint32_t>(random_()); }
  DispatchRunner& runner() { return runner_; }

 private:
  float uniform() { return static_cast<float>(random_() >> 8) * 0x1p-23f - 1.0f; }
  int64_t work_of(const Operator&, int64_t past, int64_t tokens) const;
  void place(const Operator&, int run, StepRecord&);
  std::vector<int64_t> sampled_columns(const Operator&, int64_t tokens);
  const Operator& op_at(int32_t op) const { return program_.operators[static_cast<size_t>(op)]; }
  const std::map<WeightId, WeightRows>& weights_of(int32_t op);  // kept until another is asked for

  const Package& package_;
  const Program& program_;
  ComputeContext compute_;
  DispatchRunner runner_;
  std::mt19937 random_;
  KernelContext context_;
  int64_t capacity_ = 0;
  std::map<WeightId, WeightRows> weights_;
  int32_t weights_op_ = -1;
};

}  // namespace pocket
