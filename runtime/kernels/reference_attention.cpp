#include <algorithm>
#include <cmath>

#include "runtime/kernels/reference_operators.h"

namespace pocket::host_reference {
namespace {

// Element e of `head`, rotated by the angles of `position`.
float rotated(const Call& call, std::span<const float> head, size_t e, int64_t position) {
  const Attributes& a = call.op.attributes;
  if (a.rotary_dim == 0 || e >= static_cast<size_t>(a.rotary_dim)) return head[e];
  const RopeTable& table = call.program.rope_tables.at(static_cast<size_t>(a.rope_table));
  const size_t half = static_cast<size_t>(a.rotary_dim) / 2;
  const size_t pair = a.interleaved ? e / 2 : e % half;
  const bool first = a.interleaved ? e % 2 == 0 : e < half;
  const size_t other = a.interleaved ? (first ? e + 1 : e - 1) : (first ? e + half : e - half);
  const double angle = static_cast<double>(position) * table.inv_freq.at(pair);
  const double c = std::cos(angle) * table.scale, s = std::sin(angle) * table.scale;
  return static_cast<float>(first ? head[e] * c - head[other] * s : head[e] * c + head[other] * s);
}

}  // namespace

void rotary_kv(const Call& call) {
  const Attributes& a = call.op.attributes;
  const TensorId k_state = call.input(3), v_state = call.input(4), out = call.output(0);
  const auto dim = static_cast<size_t>(a.head_dim);
  const auto kv_width = static_cast<size_t>(a.kv_heads) * dim;
  for (int64_t t = 0; t < call.rows(out); ++t) {
    const int64_t position = int64_t{call.state.record.past} + t;
    const auto head_of = [&](TensorId source, int32_t column, size_t head) {
      return call.row(source, t).subspan(static_cast<size_t>(column) + head * dim, dim);
    };
    for (size_t h = 0; h < static_cast<size_t>(a.heads); ++h) {
      const auto head = head_of(call.input(0), a.q_column, h);
      for (size_t e = 0; e < dim; ++e) {
        call.row(out, t)[h * dim + e] = call.stored(out, rotated(call, head, e, position));
      }
    }
    for (size_t h = 0; h < static_cast<size_t>(a.kv_heads); ++h) {
      const auto k = head_of(call.input(1), a.k_column, h);
      const auto v = head_of(call.input(2), a.v_column, h);
      for (size_t e = 0; e < dim; ++e) {
        const size_t at = static_cast<size_t>(position) * kv_width + h * dim + e;
        call.tensor(k_state).at(at) = call.stored(k_state, rotated(call, k, e, position));
        call.tensor(v_state).at(at) = call.stored(v_state, v[e]);
      }
    }
  }
}

void attention(const Call& call) {
  const Attributes& a = call.op.attributes;
  const TensorId q = call.input(0), out = call.output(0);
  const std::vector<float>& keys = call.tensor(call.input(1));
  const std::vector<float>& values = call.tensor(call.input(2));
  const auto dim = static_cast<size_t>(a.head_dim);
  const auto kv_width = static_cast<size_t>(a.kv_heads) * dim;
  const auto group = static_cast<size_t>(a.heads / a.kv_heads);
  for (int64_t t = 0; t < call.rows(out); ++t) {
    const auto count = static_cast<size_t>(call.state.record.past) + static_cast<size_t>(t) + 1;
    std::vector<double> p(count);
    for (size_t h = 0; h < static_cast<size_t>(a.heads); ++h) {
      const size_t offset = h / group * dim;
      double highest = -INFINITY, total = 0;
      for (size_t j = 0; j < count; ++j) {
        double score = 0;
        for (size_t e = 0; e < dim; ++e) {
          score += double{call.row(q, t)[h * dim + e]} * keys[j * kv_width + offset + e];
        }
        p[j] = score * a.scale;
        highest = std::max(highest, p[j]);
      }
      for (double& value : p) total += value = std::exp(value - highest);
      for (size_t e = 0; e < dim; ++e) {
        double sum = 0;
        for (size_t j = 0; j < count; ++j) sum += p[j] * values[j * kv_width + offset + e];
        call.row(out, t)[h * dim + e] = call.stored(out, static_cast<float>(sum / total));
      }
    }
  }
}

}  // namespace pocket::host_reference
