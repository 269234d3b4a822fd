// RotaryEmbedding and Attention of the domain "pocket", see pocket_ops.h.
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

// The angles of one step, from frequencies or from a table (pocket_ops.h).
class Angles {
 public:
  // `first` is the index of the inputs {angles, far angles}.
  Angles(const Call& call, size_t first, const char* scale, int64_t past, int64_t tokens)
      : pairs_(call.node.integer("rotary_dim", 0) / 2) {
    if (pairs_ == 0) return;
    const int64_t far_from = call.node.integer("far_from", 0);
    const bool far = call.has(first + 1) && past + tokens >= far_from;
    values_ = &call.input(first + (far ? 1 : 0));
    scale_ = call.node.real(far ? "far_scale" : scale, 1.0f);
    is_table_ = values_->rank() == 2;
    const bool fits = is_table_
                          ? values_->shape[1] == 2 * pairs_ && past + tokens <= values_->shape[0]
                          : values_->elements() == pairs_;
    if (!fits) call.fail("has angles of another number");
  }

  std::pair<float, float> at(int64_t position, int64_t pair) const {
    if (is_table_) {
      const auto row = static_cast<size_t>(position * 2 * pairs_ + pair);
      return {values_->f[row], values_->f[row + static_cast<size_t>(pairs_)]};
    }
    const double angle =
        static_cast<double>(position) * static_cast<double>(values_->f[static_cast<size_t>(pair)]);
    return {scale_ * static_cast<float>(std::cos(angle)),
            scale_ * static_cast<float>(std::sin(angle))};
  }

 private:
  int64_t pairs_ = 0;
  const HostTensor* values_ = nullptr;
  float scale_ = 1.0f;
  bool is_table_ = false;
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

// Copies the heads of all rows to [heads, length, head_dim] from position `past` on.
void take_heads(const Call& call, const Geometry& g, const Source& source, const Angles& angles,
                int64_t past, HostTensor& to) {
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
      rotate(head, g.rotary_dim, g.interleaved, [&](int64_t i) { return angles.at(past + t, i); });
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

// One query row at `position` against the keys and values up to it.
void attend(const Geometry& g, const Scoring& scoring, const float* query, const float* keys,
            const float* values, int64_t position, double slope, float* out) {
  const int64_t first =
      scoring.window > 0 ? std::max<int64_t>(position - scoring.window + 1, 0) : 0;
  std::vector<double> weights(static_cast<size_t>(position + 1 - first));
  double most = -HUGE_VAL, total = 0;
  for (int64_t s = first; s <= position; ++s) {
    double score = 0;
    for (int64_t d = 0; d < g.head_dim; ++d) {
      score += static_cast<double>(query[d]) * static_cast<double>(keys[s * g.head_dim + d]);
    }
    score *= scoring.scale;
    if (scoring.soft_cap != 0.0) score = scoring.soft_cap * std::tanh(score / scoring.soft_cap);
    score += slope * static_cast<double>(s - position);
    weights[static_cast<size_t>(s - first)] = score;
    most = std::max(most, score);
  }
  for (double& weight : weights) total += weight = std::exp(weight - most);
  for (int64_t d = 0; d < g.head_dim; ++d) {
    double sum = 0;
    for (int64_t s = first; s <= position; ++s) {
      sum +=
          weights[static_cast<size_t>(s - first)] * static_cast<double>(values[s * g.head_dim + d]);
    }
    out[d] = static_cast<float>(sum / total);
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
    const int64_t position = past.i[0] + row / inner % tokens;
    rotate(y.f.data() + row * width, rotary_dim, interleaved,
           [&](int64_t i) { return angles.at(position, i); });
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
  take_heads(call, g, {0, node.integer("q_column", 0), g.heads, 8}, angles, past, queries);
  take_heads(call, g, {1, node.integer("k_column", 0), g.kv_heads, 9}, angles, past, keys);
  take_heads(call, g, {2, node.integer("v_column", 0), g.kv_heads, 0}, angles, past, values);

  HostTensor y = HostTensor::make(ElementType::f32, {1, tokens, g.heads * g.head_dim});
  const Scoring scoring{static_cast<double>(node.real("scale", 1.0f)),
                        static_cast<double>(node.real("soft_cap", 0.0f)),
                        node.integer("window", 0)};
  const int64_t length = past + tokens;
  for (int64_t h = 0; h < g.heads; ++h) {
    const int64_t kv = h / (g.heads / g.kv_heads);
    const float* head_keys = keys.f.data() + kv * length * g.head_dim;
    const float* head_values = values.f.data() + kv * length * g.head_dim;
    const double slope =
        call.has(7) ? static_cast<double>(call.input(7).f[static_cast<size_t>(h)]) : 0.0;
    for (int64_t t = 0; t < tokens; ++t) {
      attend(g, scoring, queries.f.data() + (h * tokens + t) * g.head_dim, head_keys, head_values,
             past + t, slope, y.f.data() + (t * g.heads + h) * g.head_dim);
    }
  }
  return {std::move(y), std::move(keys), std::move(values)};
}

}  // namespace pocket::reference
