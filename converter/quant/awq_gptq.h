// AWQ before GPTQ. AWQ chooses its scales as if the rounding behind it made nothing good; GPTQ does,
// and with some of those scales loses more than without any. They are kept where they help it.
#pragma once

#include <Eigen/Core>
#include <string>
#include <vector>

#include "converter/quant/awq.h"
#include "converter/quant/gptq.h"

namespace pocket {

// Squared error of the outputs of `rows` [n, K] behind GPTQ, per row of the input, with the columns
// multiplied by `scales` [K] that the input is divided by. GPTQ sees the second moments `seen`
// [K, K] of the input; the error is that on `judge`. Errors as of GptqFactor and gptq().
double loss_behind_gptq(Encoding encoding, int64_t group, const std::string& name,
                        const AwqProblem::Rows& rows, const std::vector<float>& scales,
                        const Eigen::MatrixXf& seen, const Eigen::MatrixXf& judge,
                        const GptqOptions&);

}  // namespace pocket
