// Finds the fastest configuration row for each shape of a program on the device at hand. A row is
// timed only after it has computed what the host reference computes.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "runtime/kernels/selftest.h"
#include "runtime/kernels/tuned.h"

namespace pocket {

struct TuneOptions {
  SelftestOptions base;  // context, chunk, accumulate; repetitions: cases that a row must pass
  int rounds = 5;        // timings of a row, in turn with the others
  std::string only;      // tunes only what has this in its key, e.g. "gemv"; empty: everything
  std::function<void(const std::string&)> progress;
  // Tests only: changes each dispatch that is planned with this row.
  std::function<void(const KernelConfig&, Dispatch&)> plant;
};

struct TuneCandidate {
  KernelConfig config;
  double error = 0;        // largest difference, as in SelftestEntry
  bool correct = false;    // only correct rows are timed
  double nanoseconds = 0;  // of the operator; median of the rounds
  std::string refused;     // what the driver said to it, or empty
};

// One kind of work, with every row that is valid for it; the first is what the table chooses.
struct TuneShape {
  std::string key;    // ConfigRequest::key()
  std::string label;  // operator that stands for all with the same key
  double tolerance = 0;
  std::vector<TuneCandidate> candidates;
  size_t best = 0;  // index of the fastest correct one
};

struct TuneResult {
  std::vector<TuneShape> shapes;
  TunedConfigs tuned;    // the best rows
  size_t wrong() const;  // candidates that did not compute what is right
};

// Throws Error(wrong_result) when no row of a shape is right, Error(device) when the device has no
// clock to measure with.
TuneResult tune(Device&, const Package&, const TuneOptions&);

}  // namespace pocket
