// What a file needs of its reader beyond the first version of the format.
#include <algorithm>

#include "runtime/program/program.h"

namespace pocket {
namespace {

constexpr const char* kFeatures[] = {
    "alibi",           "attention_window", "generic_operators", "long_rope",
    "qk_norm",         "rope_values",      "soft_cap",          "binary_sub_div",
    "unary_functions", "stacked_plan",     "positions_alone",
    "any_precision",   "w8a8",
};

}  // namespace

std::vector<std::string> required_features(const Program& program) {
  std::vector<std::string> used;
  const auto add = [&](bool condition, const char* name) {
    if (condition && std::find(used.begin(), used.end(), name) == used.end()) used.push_back(name);
  };
  for (const RopeTable& table : program.rope_tables) {
    add(!table.long_inv_freq.empty(), "long_rope");
    add(table.values != kNone, "rope_values");
  }
  for (const Operator& op : program.operators) {
    const Attributes& a = op.attributes;
    const bool weighted =
        std::any_of(op.weights.begin(), op.weights.end(), [](WeightId id) { return id != kNone; });
    add(op.kind == OpKind::attention && a.window != 0, "attention_window");
    add(op.kind == OpKind::attention && a.soft_cap != 0.0f, "soft_cap");
    add(op.kind == OpKind::attention && weighted, "alibi");
    add(op.kind == OpKind::rotary_kv && weighted, "qk_norm");
    add(op.kind == OpKind::generic, "generic_operators");
    add(op.kind == OpKind::embed && !op.weights.empty() && op.weights[0] == kNone,
        "positions_alone");
    add(a.binary != BinaryKind::add && a.binary != BinaryKind::mul, "binary_sub_div");
    add(a.activation > Activation::sigmoid, "unary_functions");
  }
  add(!program.plan.order.empty(), "stacked_plan");
  std::sort(used.begin(), used.end());
  return used;
}

bool is_known_feature(const std::string& name) {
  return std::find(std::begin(kFeatures), std::end(kFeatures), name) != std::end(kFeatures);
}

}  // namespace pocket
