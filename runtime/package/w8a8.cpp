#include "runtime/package/w8a8.h"

#include "runtime/base/error.h"
#include "runtime/package/package.h"

namespace pocket {
namespace {

[[noreturn]] void fail(const std::string& where, const std::string& what) {
  throw Error(ExitCode::bad_input, where + " " + what + ": convert the model again.");
}

void check_outlier(const Weight& weight) {
  const std::string where = "Weight '" + weight.name + "'";
  const Outlier& outlier = *weight.outlier;
  if (!(outlier.importance >= 0) || !std::isfinite(outlier.importance)) {
    fail(where, "has outliers of importance " + std::to_string(outlier.importance) +
                    ", which is no finite number from 0");
  }
  if (!(outlier.hit_rate >= 0 && outlier.hit_rate <= 1)) {
    fail(where, "has outliers with a hit rate of " + std::to_string(outlier.hit_rate) +
                    ", allowed are 0 to 1");
  }
  int64_t last = -1;
  for (const int32_t channel : outlier.hot_channels) {
    if (channel <= last || channel >= weight.format.columns) {
      fail(where, "has the hot channel " + std::to_string(channel) + " after " +
                      std::to_string(last) + ", of " + std::to_string(weight.format.columns) +
                      " in ascending order");
    }
    last = channel;
  }
}

void check_weight(const Weight& weight) {
  const std::string where = "Weight '" + weight.name + "'";
  if (weight.format.encoding != Encoding::w8a8) {
    if (weight.act_scale != 0 || weight.outlier) {
      fail(where, std::string("is ") + encoding_name(weight.format.encoding) +
                      " and has the scale or the outliers of an input, which only w8a8 has");
    }
    return;
  }
  if (!is_act_scale(weight.act_scale)) {
    fail(where, "has an input scale of " + std::to_string(weight.act_scale) +
                    ", which is no positive normal number with such an inverse");
  }
  if (weight.outlier) check_outlier(weight);
}

// Matrices of an operator lie first in its weights.
size_t matrices(const Operator& op) {
  return op.kind == OpKind::linear ? 1 : op.kind == OpKind::gated_linear ? 2 : 0;
}

}  // namespace

void check_w8a8(const Manifest& manifest) {
  for (const Weight& weight : manifest.weights) check_weight(weight);
  const auto is_w8a8 = [&](WeightId id) {
    return id != kNone &&
           manifest.weights[static_cast<size_t>(id)].format.encoding == Encoding::w8a8;
  };
  const auto refuse_table = [&](const std::string& where, WeightId id) {
    if (!is_w8a8(id)) return;
    fail(where, "reads weight '" + manifest.weights[static_cast<size_t>(id)].name +
                    "' as w8a8, which serves matrices of linears only");
  };
  for (const RopeTable& table : manifest.program.rope_tables) {
    refuse_table("A rope table", table.values);
  }
  for (const Operator& op : manifest.program.operators) {
    const std::string where = "Operator '" + op.name + "' (" + op_kind_name(op.kind) + ")";
    for (size_t i = matrices(op); i < op.weights.size(); ++i) refuse_table(where, op.weights[i]);
    if (op.kind != OpKind::gated_linear) continue;
    if (!is_w8a8(op.weights[0]) || !is_w8a8(op.weights[1])) continue;
    const Weight& gate = manifest.weights[static_cast<size_t>(op.weights[0])];
    const Weight& up = manifest.weights[static_cast<size_t>(op.weights[1])];
    if (gate.act_scale != up.act_scale) {
      fail(where, "has the input scales " + std::to_string(gate.act_scale) + " and " +
                      std::to_string(up.act_scale) + " for one input");
    }
  }
}

}  // namespace pocket
