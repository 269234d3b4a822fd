// What the kernel lab can time: one operator of a kind and size, and its dispatches under a
// configuration row.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/kernels/config.h"
#include "runtime/kernels/plan.h"
#include "test/kernels/fixture.h"

namespace pocket::lab {

enum class Subject : uint8_t { matrix, attention, norm };
const char* subject_name(Subject);

struct Work {
  Subject subject = Subject::matrix;
  // Weight rows, their length (norm: length of a row), activation rows.
  int64_t rows = 2048, columns = 2048, tokens = 1;
  Encoding encoding = Encoding::m0e4;
  int64_t group = 32;    // 4-bit encodings
  bool convert = false;  // int4 by the baseline that converts codes to float; one token, one matrix
  DType activations = DType::f32;
  bool gated = false;  // two matrices in one dispatch
  Accumulate accumulate = Accumulate::fp32;
  // Attention over a full context of f16 states; the last position is the last token's.
  int32_t heads = 12, kv_heads = 12, head_dim = 64;
  int64_t context = 2048;
};

std::string name(const Work&);
std::string encoding_text(const Work&);  // "int4-convert" of the baseline

Kernel kernel_of(const Work&);

// A program of one operator with random weights.
class Program {
 public:
  Program(const Work&, const DeviceLimits&);

  // What the planner asks the table of rows for (of a matrix in several ranges, for the first).
  ConfigRequest request() const;
  // Under this row, or Error(usage) where it is not valid.
  std::vector<Dispatch> plan(const KernelConfig&) const;
  uint64_t flops(const std::vector<Dispatch>&) const;
  uint64_t bytes() const;  // of the weights; of the states; of what a norm reads and writes

  test::Fixture fixture;
  HostState start;
  int32_t op = 0;
  TensorId out = 0;  // the result that is compared

 private:
  void add_matrix();
  void add_attention();
  void add_norm();
  std::vector<Dispatch> plan_by_request(const KernelConfig&) const;

  Work work_;
  KernelContext context_;
};

}  // namespace pocket::lab
