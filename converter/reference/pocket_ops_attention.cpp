// RotaryEmbedding and Attention of the domain "pocket", see pocket_ops.h.
#include <Eigen/Core>
#include <algorithm>
#include <cmath>

#include "converter/reference/pocket_ops.h"

namespace pocket::reference {

std::vector<HostTensor> rotary_embedding(const Call&);
std::vector<HostTensor> attention(const Call&);

namespace {

// Turns the pairs of one head. cos and sin are given for pair i.
template <typename Angle>
void rotate(float* head, int64_t rotary_dim, bool interleaved, Angle angle) {
  const int64_t pairs = rotary_dim / 2;
  for (int64_t i = 0; i < pairs; ++i) {
    float& a = head[interleaved ? 2 * i : i];
    float& b = head[interleaved ? 2 * i + 1 : i + pairs];
    const auto [c, s] = angle(i);
    const float old_a = a;
    a = old_a * c - b * s;
    b = b * c + old_a * s;
  }
}

// Cosines and sines of one step, from frequencies or from a table (pocket_ops.h).
class Angles {
 public:
  // `first` is the index of the inputs {angles, far angles}.
  Angles(const Call& call, size_t first, const char* near_scale, int64_t past, int64_t tokens)
      : pairs_(call.node.integer("rotary_dim", 0) / 2) {
    if (pairs_ == 0) return;
    const int64_t far_from = call.node.integer("far_from", 0);
    const bool far = call.has(first + 1) && past + tokens >= far_from;
    const HostTensor* values = &call.input(first + (far ? 1 : 0));
    const float scale = call.node.real(far ? "far_scale" : near_scale, 1.0f);
    const bool is_table = values->rank() == 2;
    const bool fits = is_table
                          ? values->shape[1] == 2 * pairs_ && past + tokens <= values->shape[0]
                          : values->elements() == pairs_;
    if (!fits) call.fail("has angles of another number");
    for (int64_t t = past; t < past + tokens; ++t) {
      for (int64_t i = 0; i < pairs_; ++i) {
        if (is_table) {
          const float* row = values->f.data() + t * 2 * pairs_;
          turns_.emplace_back(row[i], row[i + pairs_]);
          continue;
        }
        const double angle =
            static_cast<double>(t) * static_cast<double>(values->f[static_cast<size_t>(i)]);
        turns_.emplace_back(scale * static_cast<float>(std::cos(angle)),
                            scale * static_cast<float>(std::sin(angle)));
      }
    }
  }

  // Of token `t` of the step.
  std::pair<float, float> at(int64_t t, int64_t pair) const {
    return turns_[static_cast<size_t>(t * pairs_ + pair)];
  }

 private:
  int64_t pairs_ = 0;
  std::vector<std::pair<float, float>> turns_;  // [tokens, pairs]
};

struct Geometry {
  int64_t heads, kv_heads, head_dim, rotary_dim;
  bool interleaved;
};

Geometry geometry_of(const Call& call) {
  const Geometry g{call.node.integer("heads", 0), call.node.integer("kv_heads", 0),
                   call.node.integer("head_dim", 0), call.node.integer("rotary_dim", 0),
                   call.node.integer("interleaved", 0) != 0};
  if (g.heads < 1 || g.kv_heads < 1 || g.heads % g.kv_heads != 0 || g.head_dim < 1 ||
      g.rotary_dim < 0 || g.rotary_dim > g.head_dim || g.rotary_dim % 2 != 0) {
    call.fail("has impossible heads");
  }
  return g;
}

// norm(head) * weight
void normalise(const Call& call, float* head, int64_t head_dim, const float* weight) {
  const bool centred = call.node.text("norm", "none") == "layer";
  double mean = 0, square = 0;
  for (int64_t i = 0; i < head_dim && centred; ++i) mean += static_cast<double>(head[i]);
  mean /= static_cast<double>(head_dim);
  for (int64_t i = 0; i < head_dim; ++i) {
    const double x = static_cast<double>(head[i]) - mean;
    square += x * x;
  }
  const double factor = 1.0 / std::sqrt(square / static_cast<double>(head_dim) +
                                        static_cast<double>(call.node.real("epsilon", 1e-5f)));
  for (int64_t i = 0; i < head_dim; ++i) {
    const double x = (static_cast<double>(head[i]) - mean) * factor;
    head[i] = static_cast<float>(x * static_cast<double>(weight[i]));
  }
}

// One of q, k and v: which columns, and the input that holds the weight of its norm.
struct Source {
  size_t input;
  int64_t column, heads;
  size_t norm;  // 0: neither normalised nor rotated
};

// Copies the heads of all rows to the end of [heads, length, head_dim].
void take_heads(const Call& call, const Geometry& g, const Source& source, const Angles& angles,
                HostTensor& to) {
  const HostTensor& rows = call.input(source.input);
  const int64_t width = rows.shape.empty() ? 0 : rows.shape.back();
  if (source.column < 0 || source.column + source.heads * g.head_dim > width) {
    call.fail("reads beyond its rows");
  }
  const bool normed = source.norm > 0 && call.has(source.norm);
  const int64_t weights = normed ? call.input(source.norm).elements() : 0;
  if (normed && weights != g.head_dim && weights != source.heads * g.head_dim) {
    call.fail("has a norm of another width");
  }
  const int64_t tokens = rows.elements() / width;
  const int64_t length = to.shape[2];
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t h = 0; h < source.heads; ++h) {
      const float* from = rows.f.data() + t * width + source.column + h * g.head_dim;
      float* head = to.f.data() + (h * length + length - tokens + t) * g.head_dim;
      std::copy(from, from + g.head_dim, head);
      if (normed) {
        const float* weight = call.input(source.norm).f.data();
        normalise(call, head, g.head_dim, weights == g.head_dim ? weight : weight + h * g.head_dim);
      }
      if (source.norm == 0 || g.rotary_dim == 0) continue;
      rotate(head, g.rotary_dim, g.interleaved, [&](int64_t i) { return angles.at(t, i); });
    }
  }
}

// [1, kv_heads, past + tokens, head_dim]: the past, then room for the new rows.
HostTensor grown(const Call& call, const Geometry& g, const HostTensor& past, int64_t tokens) {
  if (past.rank() != 4 || past.shape[1] != g.kv_heads || past.shape[3] != g.head_dim) {
    call.fail("has a state of another shape");
  }
  const int64_t before = past.shape[2];
  HostTensor present =
      HostTensor::make(ElementType::f32, {1, g.kv_heads, before + tokens, g.head_dim});
  for (int64_t h = 0; h < g.kv_heads; ++h) {
    const float* from = past.f.data() + h * before * g.head_dim;
    std::copy(from, from + before * g.head_dim,
              present.f.data() + h * (before + tokens) * g.head_dim);
  }
  return present;
}

// How scores come about.
struct Scoring {
  double scale, soft_cap;
  int64_t window;
};

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using FloatRows = Eigen::Map<
    const Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>;

constexpr int64_t kQueriesAtOnce = 64;  // whose keys are read, and masked, together

// Query rows [tokens, head_dim] behind `past` keys against the keys and values up to each; row t of
// the result begins at out + t * stride.
void attend(const Scoring& scoring, const FloatRows& queries, const Matrix& keys,
            const Matrix& values, int64_t past, double slope, float* out, int64_t stride) {
  Matrix scores, sums;
  Eigen::ArrayXd totals(kQueriesAtOnce);
  for (int64_t first = 0; first < queries.rows(); first += kQueriesAtOnce) {
    const int64_t count = std::min(kQueriesAtOnce, queries.rows() - first);
    const auto first_key = [&](int64_t position) {
      return scoring.window > 0 ? std::max<int64_t>(position - scoring.window + 1, 0) : 0;
    };
    const int64_t from = first_key(past + first), length = past + first + count - from;
    const Matrix tile = queries.middleRows(first, count).cast<double>();
    scores.noalias() = tile * keys.middleRows(from, length).transpose();
    scores *= scoring.scale;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t position = past + first + i, begin = first_key(position);
      auto row = scores.row(i).array();
      auto seen = row.segment(begin - from, position + 1 - begin);
      if (scoring.soft_cap != 0.0) {
        seen = seen.unaryExpr(
            [&](double score) { return scoring.soft_cap * std::tanh(score / scoring.soft_cap); });
      }
      if (slope != 0.0) {
        for (int64_t s = begin; s <= position; ++s) {
          seen(s - begin) += slope * static_cast<double>(s - position);
        }
      }
      seen = (seen - seen.maxCoeff()).exp();
      row.head(begin - from).setZero();
      row.tail(from + length - 1 - position).setZero();
      totals(i) = row.sum();
    }
    sums.noalias() = scores * values.middleRows(from, length);
    for (int64_t i = 0; i < count; ++i) {
      Eigen::Map<Eigen::RowVectorXf>(out + (first + i) * stride, sums.cols()) =
          (sums.row(i) / totals(i)).cast<float>();
    }
  }
}

}  // namespace

std::vector<HostTensor> rotary_embedding(const Call& call) {
  HostTensor y = call.input(0);
  const HostTensor& past = call.input(1);
  const int64_t axis = call.node.integer("sequence_axis", -1);
  const int64_t rotary_dim = call.node.integer("rotary_dim", 0);
  const bool interleaved = call.node.integer("interleaved", 0) != 0;
  if (axis < 0 || axis + 1 >= y.rank() || rotary_dim < 2 || rotary_dim % 2 != 0 ||
      rotary_dim > y.shape.back() || !past.is_integer() || past.elements() != 1) {
    call.fail("has an impossible rotation");
  }
  const int64_t tokens = y.shape[static_cast<size_t>(axis)];
  const Angles angles(call, 2, "scale", past.i[0], tokens);
  int64_t inner = 1;  // heads between two tokens
  for (int64_t d = axis + 1; d + 1 < y.rank(); ++d) inner *= y.shape[static_cast<size_t>(d)];
  const int64_t width = y.shape.back();
  for (int64_t row = 0; row < y.elements() / width; ++row) {
    const int64_t token = row / inner % tokens;
    rotate(y.f.data() + row * width, rotary_dim, interleaved,
           [&](int64_t i) { return angles.at(token, i); });
  }
  return {std::move(y)};
}

std::vector<HostTensor> attention(const Call& call) {
  const Geometry g = geometry_of(call);
  const ir::Node& node = call.node;
  const HostTensor& q_rows = call.input(0);
  if (q_rows.shape.empty() || q_rows.shape.back() < 1) call.fail("has empty rows");
  const int64_t tokens = q_rows.elements() / q_rows.shape.back();
  for (const size_t other : {size_t{1}, size_t{2}}) {
    const HostTensor& rows = call.input(other);
    if (rows.shape.empty() || rows.shape.back() < 1 ||
        rows.elements() / rows.shape.back() != tokens) {
      call.fail("has rows of unequal number");
    }
  }
  HostTensor keys = grown(call, g, call.input(3), tokens);
  HostTensor values = grown(call, g, call.input(4), tokens);
  const int64_t past = call.input(3).shape[2];
  if (values.shape != keys.shape) call.fail("has states of unequal length");
  if (call.has(7) && call.input(7).elements() != g.heads) call.fail("has slopes of another number");
  const Angles angles(call, 5, "rotary_scale", past, tokens);
  HostTensor queries = HostTensor::make(ElementType::f32, {1, g.heads, tokens, g.head_dim});
  take_heads(call, g, {0, node.integer("q_column", 0), g.heads, 8}, angles, queries);
  take_heads(call, g, {1, node.integer("k_column", 0), g.kv_heads, 9}, angles, keys);
  take_heads(call, g, {2, node.integer("v_column", 0), g.kv_heads, 0}, angles, values);

  HostTensor y = HostTensor::make(ElementType::f32, {1, tokens, g.heads * g.head_dim});
  const Scoring scoring{static_cast<double>(node.real("scale", 1.0f)),
                        static_cast<double>(node.real("soft_cap", 0.0f)),
                        node.integer("window", 0)};
  const int64_t length = past + tokens;
  const int64_t sharers = g.heads / g.kv_heads;
  const auto head_of = [&](const HostTensor& x, int64_t head, int64_t rows) {
    return FloatRows(x.f.data() + head * rows * g.head_dim, rows, g.head_dim);
  };
  for (int64_t kv = 0; kv < g.kv_heads; ++kv) {
    const Matrix head_keys = head_of(keys, kv, length).cast<double>();
    const Matrix head_values = head_of(values, kv, length).cast<double>();
    for (int64_t h = kv * sharers; h < (kv + 1) * sharers; ++h) {
      const double slope =
          call.has(7) ? static_cast<double>(call.input(7).f[static_cast<size_t>(h)]) : 0.0;
      attend(scoring, head_of(queries, h, tokens), head_keys, head_values, past, slope,
             y.f.data() + h * g.head_dim, g.heads * g.head_dim);
    }
  }
  return {std::move(y), std::move(keys), std::move(values)};
}

}  // namespace pocket::reference
