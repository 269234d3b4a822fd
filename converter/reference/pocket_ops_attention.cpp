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

// Copies the heads of all rows to [heads, length, head_dim] from position `past` on, rotated.
void take_heads(const Call& call, const Geometry& g, const HostTensor& rows, int64_t column,
                int64_t heads, bool rotated, int64_t past, HostTensor& to) {
  const int64_t width = rows.shape.empty() ? 0 : rows.shape.back();
  if (column < 0 || column + heads * g.head_dim > width) call.fail("reads beyond its rows");
  const int64_t tokens = rows.elements() / width;
  const int64_t length = to.shape[2];
  const float scale = call.node.real("rotary_scale", 1.0f);
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t h = 0; h < heads; ++h) {
      const float* from = rows.f.data() + t * width + column + h * g.head_dim;
      float* head = to.f.data() + (h * length + length - tokens + t) * g.head_dim;
      std::copy(from, from + g.head_dim, head);
      if (!rotated || g.rotary_dim == 0) continue;
      rotate(head, g.rotary_dim, g.interleaved, [&](int64_t i) {
        const double angle = static_cast<double>(past + t) *
                             static_cast<double>(call.input(5).f[static_cast<size_t>(i)]);
        return std::pair{scale * static_cast<float>(std::cos(angle)),
                         scale * static_cast<float>(std::sin(angle))};
      });
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

// One query row against the keys and values [0, length).
void attend(const Geometry& g, const float* query, const float* keys, const float* values,
            int64_t length, double scale, float* out) {
  std::vector<double> weights(static_cast<size_t>(length));
  double most = -HUGE_VAL, total = 0;
  for (int64_t s = 0; s < length; ++s) {
    double dot = 0;
    for (int64_t d = 0; d < g.head_dim; ++d) {
      dot += static_cast<double>(query[d]) * static_cast<double>(keys[s * g.head_dim + d]);
    }
    weights[static_cast<size_t>(s)] = dot * scale;
    most = std::max(most, dot * scale);
  }
  for (double& weight : weights) total += weight = std::exp(weight - most);
  for (int64_t d = 0; d < g.head_dim; ++d) {
    double sum = 0;
    for (int64_t s = 0; s < length; ++s) {
      sum += weights[static_cast<size_t>(s)] * static_cast<double>(values[s * g.head_dim + d]);
    }
    out[d] = static_cast<float>(sum / total);
  }
}

}  // namespace

std::vector<HostTensor> rotary_embedding(const Call& call) {
  HostTensor y = call.input(0);
  const HostTensor& cosines = call.input(1);
  const HostTensor& sines = call.input(2);
  const int64_t axis = call.node.integer("sequence_axis", -1);
  const int64_t rotary_dim = call.node.integer("rotary_dim", 0);
  const bool interleaved = call.node.integer("interleaved", 0) != 0;
  if (axis < 0 || axis + 1 >= y.rank() || rotary_dim < 2 || rotary_dim % 2 != 0 ||
      rotary_dim > y.shape.back() || cosines.shape != sines.shape || cosines.rank() < 1) {
    call.fail("has impossible tables");
  }
  const int64_t tokens = y.shape[static_cast<size_t>(axis)];
  const int64_t columns = cosines.shape.back();
  if ((columns != rotary_dim && columns != rotary_dim / 2) ||
      cosines.elements() != tokens * columns) {
    call.fail("has tables of another size");
  }
  int64_t inner = 1;  // heads between two tokens
  for (int64_t d = axis + 1; d + 1 < y.rank(); ++d) inner *= y.shape[static_cast<size_t>(d)];
  const int64_t width = y.shape.back();
  for (int64_t row = 0; row < y.elements() / width; ++row) {
    const int64_t token = row / inner % tokens;
    rotate(y.f.data() + row * width, rotary_dim, interleaved, [&](int64_t i) {
      const int64_t column = columns == rotary_dim && interleaved ? 2 * i : i;
      const auto at = static_cast<size_t>(token * columns + column);
      return std::pair{cosines.f[at], sines.f[at]};
    });
  }
  return {std::move(y)};
}

std::vector<HostTensor> attention(const Call& call) {
  const Geometry g = geometry_of(call);
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
  if (g.rotary_dim > 0 && call.input(5).elements() != g.rotary_dim / 2) {
    call.fail("has frequencies of another number");
  }
  HostTensor keys = grown(call, g, call.input(3), tokens);
  HostTensor values = grown(call, g, call.input(4), tokens);
  const int64_t past = call.input(3).shape[2];
  if (values.shape != keys.shape) call.fail("has states of unequal length");
  HostTensor queries = HostTensor::make(ElementType::f32, {1, g.heads, tokens, g.head_dim});
  const ir::Node& node = call.node;
  take_heads(call, g, q_rows, node.integer("q_column", 0), g.heads, true, past, queries);
  take_heads(call, g, call.input(1), node.integer("k_column", 0), g.kv_heads, true, past, keys);
  take_heads(call, g, call.input(2), node.integer("v_column", 0), g.kv_heads, false, past, values);

  HostTensor y = HostTensor::make(ElementType::f32, {1, tokens, g.heads * g.head_dim});
  const auto scale = static_cast<double>(node.real("scale", 1.0f));
  const int64_t length = past + tokens;
  for (int64_t h = 0; h < g.heads; ++h) {
    const int64_t kv = h / (g.heads / g.kv_heads);
    const float* head_keys = keys.f.data() + kv * length * g.head_dim;
    const float* head_values = values.f.data() + kv * length * g.head_dim;
    for (int64_t t = 0; t < tokens; ++t) {
      attend(g, queries.f.data() + (h * tokens + t) * g.head_dim, head_keys, head_values,
             past + t + 1, scale, y.f.data() + (t * g.heads + h) * g.head_dim);
    }
  }
  return {std::move(y), std::move(keys), std::move(values)};
}

}  // namespace pocket::reference
