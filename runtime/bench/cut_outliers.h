// Inputs of w8a8 linears that reach beyond their codes: the runtime cuts them off at the ends of the
// scale, which a reader of its numbers must know.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "runtime/package/package.h"

namespace pocket::bench {

struct CutOutliers {
  int64_t linears = 0;   // with an importance above 1
  float importance = 0;  // the largest of theirs: largest input seen over the end of its codes
};

CutOutliers cut_outliers(const Manifest&);
nlohmann::json to_json(const CutOutliers&);
// One sentence: how many, how far, what to do; empty when there is none.
std::string warning(const CutOutliers&);

}  // namespace pocket::bench
