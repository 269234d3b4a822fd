#include "converter/quant/clip_search.h"

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <type_traits>

#include "converter/quant/int4.h"
#include "converter/quant/m0e4.h"
#include "runtime/base/error.h"

namespace pocket {
namespace {

// Width of the range that a group's codes span, relative to the group's own.
constexpr float kShrinks[] = {1.0f, 0.95f, 0.9f, 0.85f, 0.8f, 0.75f, 0.7f};
static_assert(2 * std::size(kShrinks) == PairCandidates::kMost);

using Moments = Eigen::Map<
    const Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>, Eigen::Unaligned,
    Eigen::OuterStride<>>;

double loss_of(const float* values, int64_t count, const uint8_t* codes, const float levels[16],
               const GroupMetric& metric) {
  double sum = 0.0;
  if (metric.moments != nullptr) {
    float difference[kMaxGroup];
    for (int64_t i = 0; i < count; ++i) difference[i] = values[i] - levels[codes[i]];
    const Eigen::Map<const Eigen::VectorXf> d(difference, count);
    const Moments moments(metric.moments, count, count, Eigen::OuterStride<>(metric.moment_stride));
    return (moments * d).cast<double>().dot(d.cast<double>());
  }
  for (int64_t i = 0; i < count; ++i) {
    const double difference = double{values[i]} - double{levels[codes[i]]};
    sum += difference * difference * (metric.weights != nullptr ? metric.weights[i] : 1.0);
  }
  return sum;
}

// The pair of a real-bias grid with the integer zero point that int4 would take, or false.
template <typename Grid>
bool with_zero(float from, float to, uint32_t* pair) {
  uint32_t integer = 0;
  if (!std::is_same_v<Grid, M0e4> || !Int4::pair_for(from, to, &integer)) return false;
  const float step = half_to_float(static_cast<uint16_t>(integer));
  const float zero = half_to_float(static_cast<uint16_t>(integer >> 16));
  const ScaleBias exact = m0e4_from_integer(double{step}, double{zero});
  const auto scale = static_cast<float>(exact.scale), bias = static_cast<float>(exact.bias);
  *pair = float_to_half(scale) | uint32_t{float_to_half(bias)} << 16;
  return std::isfinite(half_to_float(static_cast<uint16_t>(*pair))) &&
         std::isfinite(half_to_float(static_cast<uint16_t>(*pair >> 16)));
}

template <typename Grid>
PairCandidates candidates(const std::string& name, const float* values, int64_t count) {
  float low = values[0], high = values[0];
  for (int64_t i = 0; i < count; ++i) {
    if (!std::isfinite(values[i])) {
      throw Error(ExitCode::bad_input, "Tensor '" + name +
                                           "' holds a value that is no finite number, so it "
                                           "cannot be quantised: export the model again.");
    }
    low = std::min(low, values[i]);
    high = std::max(high, values[i]);
  }
  const double middle = (double{low} + double{high}) / 2, half = (double{high} - double{low}) / 2;
  PairCandidates found;
  for (const float shrink : kShrinks) {
    const auto from = shrink == 1.0f ? low : static_cast<float>(middle - half * double{shrink});
    const auto to = shrink == 1.0f ? high : static_cast<float>(middle + half * double{shrink});
    if (Grid::pair_for(from, to, &found.pairs[found.count])) ++found.count;
    // A grid that holds zero itself, as int4's do: many weights of a trained matrix are near it.
    if (with_zero<Grid>(from, to, &found.pairs[found.count])) ++found.count;
  }
  if (found.count == 0) {
    throw Error(ExitCode::bad_input, "Tensor '" + name + "' has values from " +
                                         std::to_string(low) + " to " + std::to_string(high) +
                                         ", too large for a scale in fp16 (65504).");
  }
  return found;
}

template <typename Grid>
double search(Encoding encoding, const std::string& name, const float* values, int64_t count,
              const GroupMetric& metric, uint8_t* codes, uint32_t* pair) {
  const PairCandidates tried = candidates<Grid>(name, values, count);
  double best = 0.0;
  uint8_t trial[kMaxGroup];
  float levels[16];
  for (int i = 0; i < tried.count; ++i) {
    Grid::encode(values, count, tried.pairs[i], trial);
    decode_levels(encoding, tried.pairs[i], levels);
    const double loss = loss_of(values, count, trial, levels, metric);
    if (i > 0 && loss >= best) continue;
    best = loss;
    *pair = tried.pairs[i];
    std::copy_n(trial, count, codes);
  }
  return best;
}

template <typename Grid>
bool round_plainly(Encoding encoding, const float* values, int64_t count, uint8_t* codes,
                   uint32_t* pair) {
  const auto [low, high] = std::minmax_element(values, values + count);
  const bool found = Grid::pair_for(*low, *high, pair);
  if (found) Grid::encode(values, count, *pair, codes);
  uint32_t zeroed = 0;
  if (!with_zero<Grid>(*low, *high, &zeroed)) return found;
  uint8_t trial[kMaxGroup];
  float levels[16], trial_levels[16];
  Grid::encode(values, count, zeroed, trial);
  decode_levels(encoding, zeroed, trial_levels);
  if (found) decode_levels(encoding, *pair, levels);
  if (!found || loss_of(values, count, trial, trial_levels, {}) <
                    loss_of(values, count, codes, levels, {})) {
    *pair = zeroed;
    std::copy_n(trial, count, codes);
  }
  return true;
}

}  // namespace

PairCandidates pair_candidates(Encoding encoding, const std::string& name, const float* values,
                               int64_t count) {
  const auto find = encoding == Encoding::m0e4 ? candidates<M0e4> : candidates<Int4>;
  return find(name, values, count);
}

double clip_search(Encoding encoding, const std::string& name, const float* values, int64_t count,
                   const GroupMetric& metric, uint8_t* codes, uint32_t* pair) {
  const auto find = encoding == Encoding::m0e4 ? search<M0e4> : search<Int4>;
  return find(encoding, name, values, count, metric, codes, pair);
}

bool round_group(Encoding encoding, const float* values, int64_t count, uint8_t* codes,
                 uint32_t* pair) {
  const auto round = encoding == Encoding::m0e4 ? round_plainly<M0e4> : round_plainly<Int4>;
  return round(encoding, values, count, codes, pair);
}

void decode_levels(Encoding encoding, uint32_t pair, float levels[16]) {
  return encoding == Encoding::m0e4 ? M0e4::levels(pair, levels) : Int4::levels(pair, levels);
}

uint8_t nearest_code(Encoding encoding, float value, uint32_t pair) {
  uint8_t code = 0;
  const auto encode = encoding == Encoding::m0e4 ? M0e4::encode : Int4::encode;
  encode(&value, 1, pair, &code);
  return code;
}

float decode_code(Encoding encoding, uint8_t code, uint32_t pair) {
  return encoding == Encoding::m0e4 ? M0e4::decode(code, pair) : Int4::decode(code, pair);
}

}  // namespace pocket
