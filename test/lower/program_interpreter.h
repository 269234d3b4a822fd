// Executes a lowered Program in float on the host: the oracle that lowering keeps what a graph
// computes. Plain loops over the contract in runtime/program/program.h, nothing shared with passes.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "converter/lower/lower.h"

namespace pocket::test {

class ProgramInterpreter {
 public:
  ProgramInterpreter(const Lowered& lowered, int64_t context);

  // Runs one step and returns the logits of its last `rows` tokens, [rows, vocab].
  std::vector<float> step(const std::vector<int64_t>& ids, int64_t rows);

 private:
  struct Matrix {
    int64_t rows = 0, columns = 0;
    std::vector<float> values;
  };

  void run(const Operator& op);
  void embed(const Operator& op);
  void norm(const Operator& op);
  void linear(const Operator& op);
  void gated_linear(const Operator& op);
  void rotary_kv(const Operator& op);
  void attention(const Operator& op);
  // Normalises the heads of one row by a weight of the operator, if it has it.
  void normalise(const Operator& op, size_t weight, int64_t heads, std::vector<double>& row) const;
  // Cosine and sine of a pair in a sequence of `length` rows.
  std::pair<double, double> turn(const RopeTable& rope, int64_t position, int64_t length,
                                 int64_t pair) const;
  Matrix product(const Matrix& x, WeightId weight, WeightId bias) const;
  Matrix& out(const Operator& op, size_t index = 0);
  const Matrix& in(const Operator& op, size_t index = 0) const;

  const Program& program_;
  std::vector<Matrix> weights_;
  std::vector<Matrix> tensors_;
  std::vector<int64_t> ids_;
  int64_t past_ = 0;
  int64_t head_row_ = 0, head_rows_ = 0;
};

}  // namespace pocket::test
