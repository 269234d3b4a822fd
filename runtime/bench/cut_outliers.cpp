#include "runtime/bench/cut_outliers.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "runtime/bench/output.h"

namespace pocket::bench {

CutOutliers cut_outliers(const Manifest& manifest) {
  CutOutliers found;
  for (const Weight& weight : manifest.weights) {
    if (!weight.outlier || weight.outlier->importance <= 1.0f) continue;
    ++found.linears;
    found.importance = std::max(found.importance, weight.outlier->importance);
  }
  return found;
}

nlohmann::json to_json(const CutOutliers& found) {
  return {{"linears", found.linears}, {"importance", found.importance}};
}

std::string warning(const CutOutliers& found) {
  if (found.linears == 0) return "";
  return "inputs of " + std::to_string(found.linears) +
         " w8a8 linears are cut off where their codes end, at worst at 1/" +
         fixed(double{found.importance}, 2) +
         " of the largest value that calibration saw: convert with a larger --w8a8-clip-threshold "
         "for whole ranges, or with other --weights";
}

}  // namespace pocket::bench
