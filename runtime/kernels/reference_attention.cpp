#include <algorithm>
#include <cmath>

#include "runtime/kernels/reference_operators.h"

namespace pocket::host_reference {
namespace {

// The angles that the step rotates by, one position at a time.
class Angles {
 public:
  explicit Angles(const Call& call) {
    if (call.op.attributes.rotary_dim == 0) return;
    table_ = &call.program.rope_tables.at(static_cast<size_t>(call.op.attributes.rope_table));
    const StepRecord& record = call.state.record;
    const int64_t length = std::max<int64_t>(record.target, int64_t{record.past} + record.tokens);
    is_long_ = table_->variants() == 2 && length >= table_->long_from;
    if (table_->values != kNone) given_ = &call.weights(table_->values);
  }

  // Cosines and sines of the rotated pairs, by pair.
  void move_to(int64_t position) {
    if (table_ == nullptr) return;
    const auto half = static_cast<size_t>(table_->half());
    row_.resize(2 * half);
    if (given_ != nullptr) return given_->read(position, row_.data());
    const double scale = is_long_ ? table_->long_scale : table_->scale;
    for (size_t i = 0; i < half; ++i) {
      const double frequency = (is_long_ ? table_->long_inv_freq : table_->inv_freq)[i];
      const double angle = static_cast<double>(position) * frequency;
      row_[i] = static_cast<float>(std::cos(angle) * scale);
      row_[half + i] = static_cast<float>(std::sin(angle) * scale);
    }
  }
  float cosine(size_t pair) const { return row_.at(pair); }
  float sine(size_t pair) const { return row_.at(row_.size() / 2 + pair); }

 private:
  const RopeTable* table_ = nullptr;
  const WeightRows* given_ = nullptr;
  bool is_long_ = false;
  std::vector<float> row_;
};

// A head normalised as its weight says; `weight` empty: as it is.
std::vector<float> normalised(const Attributes& a, std::span<const float> head,
                              std::span<const float> weight) {
  std::vector<float> result(head.begin(), head.end());
  if (weight.empty()) return result;
  const auto n = static_cast<double>(head.size());
  double mean = 0, squares = 0;
  if (a.norm == NormKind::layer) {
    for (const float x : head) mean += x / n;
  }
  for (const float x : head) squares += (x - mean) * (x - mean) / n;
  const double factor = 1.0 / std::sqrt(squares + a.epsilon);
  for (size_t e = 0; e < head.size(); ++e) {
    result[e] = static_cast<float>((head[e] - mean) * factor * weight[e]);
  }
  return result;
}

// Element e of `head`, rotated.
float rotated(const Attributes& a, const Angles& angles, std::span<const float> head, size_t e) {
  if (e >= static_cast<size_t>(a.rotary_dim)) return head[e];
  const size_t half = static_cast<size_t>(a.rotary_dim) / 2;
  const size_t pair = a.interleaved ? e / 2 : e % half;
  const bool first = a.interleaved ? e % 2 == 0 : e < half;
  const size_t other = a.interleaved ? (first ? e + 1 : e - 1) : (first ? e + half : e - half);
  const float c = angles.cosine(pair), s = angles.sine(pair);
  return first ? head[e] * c - head[other] * s : head[e] * c + head[other] * s;
}

}  // namespace

void rotary_kv(const Call& call) {
  const Attributes& a = call.op.attributes;
  const TensorId k_state = call.input(3), v_state = call.input(4), out = call.output(0);
  const auto dim = static_cast<size_t>(a.head_dim);
  const auto kv_width = static_cast<size_t>(a.kv_heads) * dim;
  Angles angles(call);
  const auto norm_weight = [&](size_t i) {
    return call.weight(i) == kNone ? std::vector<float>() : call.vector(call.weight(i), 0, 0.0f);
  };
  const std::vector<float> q_norm = norm_weight(0), k_norm = norm_weight(1);
  const auto weight_of = [&](const std::vector<float>& all, size_t head) {
    return std::span(all).subspan(all.size() > dim ? head * dim : 0, all.empty() ? 0 : dim);
  };
  for (int64_t t = 0; t < call.rows(out); ++t) {
    const int64_t position = int64_t{call.state.record.past} + t;
    angles.move_to(position);
    const auto head_of = [&](TensorId source, int32_t column, size_t head) {
      return call.row(source, t).subspan(static_cast<size_t>(column) + head * dim, dim);
    };
    for (size_t h = 0; h < static_cast<size_t>(a.heads); ++h) {
      const auto head = normalised(a, head_of(call.input(0), a.q_column, h), weight_of(q_norm, h));
      for (size_t e = 0; e < dim; ++e) {
        call.row(out, t)[h * dim + e] = call.stored(out, rotated(a, angles, head, e));
      }
    }
    for (size_t h = 0; h < static_cast<size_t>(a.kv_heads); ++h) {
      const auto k = normalised(a, head_of(call.input(1), a.k_column, h), weight_of(k_norm, h));
      const auto v = head_of(call.input(2), a.v_column, h);
      for (size_t e = 0; e < dim; ++e) {
        const size_t at = static_cast<size_t>(position) * kv_width + h * dim + e;
        call.tensor(k_state).at(at) = call.stored(k_state, rotated(a, angles, k, e));
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
  const std::vector<float> slopes = call.vector(call.weight(0), a.heads, 0.0f);
  for (int64_t t = 0; t < call.rows(out); ++t) {
    const auto end = static_cast<size_t>(call.state.record.past) + static_cast<size_t>(t) + 1;
    const auto window = static_cast<size_t>(a.window);
    const size_t begin = window != 0 && end > window ? end - window : 0;
    std::vector<double> p(end - begin);
    for (size_t h = 0; h < static_cast<size_t>(a.heads); ++h) {
      const size_t offset = h / group * dim;
      double highest = -INFINITY, total = 0;
      for (size_t j = begin; j < end; ++j) {
        double score = 0;
        for (size_t e = 0; e < dim; ++e) {
          score += double{call.row(q, t)[h * dim + e]} * keys[j * kv_width + offset + e];
        }
        score *= a.scale;
        if (a.soft_cap != 0.0f) score = a.soft_cap * std::tanh(score / a.soft_cap);
        score -= double{slopes[h]} * static_cast<double>(end - 1 - j);
        p[j - begin] = score;
        highest = std::max(highest, score);
      }
      for (double& value : p) total += value = std::exp(value - highest);
      for (size_t e = 0; e < dim; ++e) {
        double sum = 0;
        for (size_t j = begin; j < end; ++j) {
          sum += p[j - begin] * values[j * kv_width + offset + e];
        }
        call.row(out, t)[h * dim + e] = call.stored(out, static_cast<float>(sum / total));
      }
    }
  }
}

}  // namespace pocket::host_reference
