// What a conversion did, for people (summary) and scripts (--report).
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "converter/lower/lower.h"
#include "converter/onnx/import.h"
#include "converter/passes/passes.h"
#include "converter/quality.h"
#include "converter/quant/journal.h"
#include "converter/shape/infer.h"
#include "converter/verify.h"
#include "runtime/package/package.h"

namespace pocket {

struct ConvertReport {
  onnx_import::ImportReport source;
  shape::InferReport shapes;
  PassReport passes;
  nlohmann::json dispatches;       // fusion_report_json
  std::vector<UnfusedNode> unfused;
  std::vector<WeightRole> roles;   // by weight
  std::vector<QuantError> errors;  // by weight
  std::vector<std::optional<WeightOutcome>> outcomes;  // by weight; none without a calibration
  nlohmann::json calibration;                          // what was read; null without
  nlohmann::json budget;                               // of --target-bits; null without
  std::optional<VerifyResult> verify;
  std::optional<Quality> quality;  // on the text of --held-out

  // {"schema": "llmconvert-report", "version": 1, ...}
  nlohmann::json to_json(const Package&) const;
  // A few lines for stderr.
  std::string summary(const Package&) const;
};

}  // namespace pocket
