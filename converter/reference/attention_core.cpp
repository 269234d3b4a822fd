#include "converter/reference/attention_core.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace pocket::reference {

namespace {

void need_heads(const Call& call, const HostTensor& x) {
  if (x.is_integer() || x.rank() != 4) call.fail("needs heads of floats");
}

}  // namespace

HostTensor AttentionCore::attend(const Call& call, const HostTensor& q, const HostTensor& k,
                                 const HostTensor& v, HostTensor* scores, int stage) const {
  for (const HostTensor* x : {&q, &k, &v}) need_heads(call, *x);
  const int64_t batch = q.shape[0], heads = q.shape[1], rows = q.shape[2], width = q.shape[3];
  const int64_t kv_heads = k.shape[1], columns = k.shape[2], value_width = v.shape[3];
  if (k.shape[0] != batch || v.shape[0] != batch || k.shape[3] != width || v.shape[1] != kv_heads ||
      v.shape[2] != columns || kv_heads < 1 || heads % kv_heads != 0) {
    call.fail("has queries, keys and values of shapes that do not fit");
  }
  HostTensor y = HostTensor::make(q.type, {batch, heads, rows, value_width});
  if (scores != nullptr) *scores = HostTensor::make(q.type, {batch, heads, rows, columns});
  constexpr double kNever = -std::numeric_limits<double>::infinity();
  std::vector<double> line(at(columns));
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t h = 0; h < heads; ++h) {
      const int64_t kv = b * kv_heads + h / (heads / kv_heads);
      for (int64_t i = 0; i < rows; ++i) {
        const int64_t row = (b * heads + h) * rows + i;
        const float* query = q.f.data() + row * width;
        double most = kNever, total = 0;
        for (int64_t j = 0; j < columns; ++j) {
          const float* key = k.f.data() + (kv * columns + j) * width;
          double dot = 0;
          for (int64_t d = 0; d < width; ++d) {
            dot += static_cast<double>(query[d]) * static_cast<double>(key[d]);
          }
          double& score = line[at(j)];
          score = dot * scale;
          const auto keep = [&](int reached) {
            if (scores != nullptr && stage == reached) {
              scores->f[at(row * columns + j)] = static_cast<float>(score);
            }
          };
          keep(0);
          if (soft_cap > 0) score = soft_cap * std::tanh(score / soft_cap);
          keep(1);
          if (mask) score += mask(b, h, i, j);
          keep(2);
          most = std::max(most, score);
        }
        if (most == kNever) continue;  // sees nothing: zeros
        for (double& score : line) total += score = std::exp(score - most);
        for (int64_t d = 0; d < value_width; ++d) {
          double sum = 0;
          for (int64_t j = 0; j < columns; ++j) {
            sum += line[at(j)] * static_cast<double>(v.f[at((kv * columns + j) * value_width + d)]);
          }
          y.f[at(row * value_width + d)] = static_cast<float>(sum / total);
        }
        if (scores != nullptr && stage == 3) {
          for (int64_t j = 0; j < columns; ++j) {
            scores->f[at(row * columns + j)] = static_cast<float>(line[at(j)] / total);
          }
        }
      }
    }
  }
  return y;
}

HostTensor split_heads(const Call& call, const HostTensor& rows, int64_t column, int64_t heads,
                       int64_t width) {
  if (rows.is_integer() || rows.rank() != 3 || heads < 1 || width < 1 || column < 0 ||
      width > rows.shape[2] / heads || column + heads * width > rows.shape[2]) {
    call.fail("needs rows that hold " + std::to_string(heads) + " heads");
  }
  const int64_t batch = rows.shape[0], count = rows.shape[1], stride = rows.shape[2];
  HostTensor y = HostTensor::make(rows.type, {batch, heads, count, width});
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t h = 0; h < heads; ++h) {
      for (int64_t t = 0; t < count; ++t) {
        std::copy_n(rows.f.data() + (b * count + t) * stride + column + h * width, width,
                    y.f.data() + ((b * heads + h) * count + t) * width);
      }
    }
  }
  return y;
}

HostTensor merge_heads(const Call& call, const HostTensor& heads) {
  need_heads(call, heads);
  const int64_t batch = heads.shape[0], count = heads.shape[1], rows = heads.shape[2],
                width = heads.shape[3];
  HostTensor y = HostTensor::make(heads.type, {batch, rows, count * width});
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t h = 0; h < count; ++h) {
      for (int64_t t = 0; t < rows; ++t) {
        std::copy_n(heads.f.data() + ((b * count + h) * rows + t) * width, width,
                    y.f.data() + ((b * rows + t) * count + h) * width);
      }
    }
  }
  return y;
}

HostTensor append_rows(const Call& call, const HostTensor* past, int64_t past_rows,
                       const HostTensor& fresh) {
  need_heads(call, fresh);
  if (past == nullptr) return fresh;
  need_heads(call, *past);
  const int64_t groups = fresh.shape[0] * fresh.shape[1], rows = fresh.shape[2],
                width = fresh.shape[3], stored = past->shape[2];
  if (past->shape[0] != fresh.shape[0] || past->shape[1] != fresh.shape[1] ||
      past->shape[3] != width || past_rows < 0 || past_rows > stored) {
    call.fail("has a past of another shape");
  }
  HostTensor y =
      HostTensor::make(fresh.type, {fresh.shape[0], fresh.shape[1], past_rows + rows, width});
  for (int64_t g = 0; g < groups; ++g) {
    float* to = y.f.data() + g * (past_rows + rows) * width;
    std::copy_n(past->f.data() + g * stored * width, past_rows * width, to);
    std::copy_n(fresh.f.data() + g * rows * width, rows * width, to + past_rows * width);
  }
  return y;
}

double broadcast_element(const HostTensor& mask, int64_t b, int64_t h, int64_t i, int64_t j) {
  const int64_t position[] = {b, h, i, j};
  int64_t flat = 0;
  for (int64_t d = 0; d < mask.rank(); ++d) {
    const int64_t size = mask.shape[at(d)];
    flat = flat * size + (size == 1 ? 0 : position[4 - mask.rank() + d]);
  }
  if (mask.is_integer()) return static_cast<double>(mask.i.at(at(flat)));
  return static_cast<double>(mask.f.at(at(flat)));
}

}  // namespace pocket::reference
