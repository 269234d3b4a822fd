#include "converter/quant/magnitudes.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "runtime/base/error.h"

namespace pocket {
namespace {

constexpr int kDroppedBits = 12;  // of the 23 fraction bits: a bin is 2^-11 of its values wide
constexpr size_t kBins = size_t{1} << (31 - kDroppedBits);

}  // namespace

Magnitudes::Magnitudes(std::string name) : name_(std::move(name)), histogram_(kBins) {}

void Magnitudes::add(const Eigen::Ref<const Rows>& rows) {
  for (Eigen::Index row = 0; row < rows.rows(); ++row) {
    for (Eigen::Index k = 0; k < rows.cols(); ++k) {
      const float magnitude = std::fabs(rows(row, k));
      if (!std::isfinite(magnitude)) {
        throw Error(ExitCode::bad_input,
                    "Calibration reaches the input of '" + name_ + "' with " +
                        std::to_string(rows(row, k)) +
                        ", no finite number: the model overflows on this text or its weights are "
                        "damaged, export it again.");
      }
      most_ = std::max(most_, magnitude);
      ++histogram_[std::bit_cast<uint32_t>(magnitude) >> kDroppedBits];
    }
  }
  count_ += static_cast<uint64_t>(rows.size());
}

float Magnitudes::percentile_999() const {
  uint64_t seen = 0;
  size_t bin = 0;
  for (; bin + 1 < kBins; ++bin) {
    seen += histogram_[bin];
    if (static_cast<double>(seen) >= 0.999 * static_cast<double>(count_)) break;
  }
  const auto upper = static_cast<uint32_t>(((bin + 1) << kDroppedBits) - 1);
  return std::min(std::bit_cast<float>(upper), most_);
}

}  // namespace pocket
