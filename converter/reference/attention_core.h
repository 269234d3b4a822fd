// softmax(scale * q k^T, masked) v for the attention operators of ONNX and of ONNX Runtime.
#pragma once

#include <functional>

#include "converter/reference/registry.h"

namespace pocket::reference {

// heads [batch, heads, rows, width]. Heads of k and v serve groups of consecutive heads of q.
struct AttentionCore {
  double scale = 1.0;
  double soft_cap = 0.0;  // > 0: cap * tanh(score / cap), before the mask
  // What is added to the score of (batch, head, row, column); -infinity forbids. May be empty.
  std::function<double(int64_t, int64_t, int64_t, int64_t)> mask;

  // [batch, heads, rows, width of v]; a row that may see nothing is zero. Throws Error(bad_input)
  // when the shapes do not fit. `scores`, when not null, receives the scores before softmax
  // (stage 0: scaled product, 1: capped, 2: masked) or the probabilities (3).
  HostTensor attend(const Call&, const HostTensor& q, const HostTensor& k, const HostTensor& v,
                    HostTensor* scores = nullptr, int stage = 0) const;
};

// [batch, rows, heads * width], from `column` on, to [batch, heads, rows, width], and back.
HostTensor split_heads(const Call&, const HostTensor& rows, int64_t column, int64_t heads,
                       int64_t width);
HostTensor merge_heads(const Call&, const HostTensor& heads);

// The first `past_rows` rows of the past, then `fresh`: [batch, heads, past_rows + rows, width].
HostTensor append_rows(const Call&, const HostTensor* past, int64_t past_rows,
                       const HostTensor& fresh);

// The element of a mask of rank up to 4 that broadcasts to [batch, heads, rows, columns].
double broadcast_element(const HostTensor& mask, int64_t b, int64_t h, int64_t i, int64_t j);

}  // namespace pocket::reference
