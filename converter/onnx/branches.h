// `If` written out, so that what remains is one plain graph: the branch with a past of a merged
// decoder, the branch that a condition on shapes always takes, or both branches and a choice.
#pragma once

#include <onnx/onnx_pb.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace pocket::onnx_import {

// Tells the value of a boolean that follows from shapes and constants; nothing when it depends on
// more.
using ConditionFolder = std::function<std::optional<bool>(const std::string& value)>;

// Replaces every If of the model's graph, nested ones included. A condition that is an input of the
// graph ("use_cache_branch") takes the branch that reads the past, and the input becomes a
// constant. A condition that does not fold keeps both branches: each output becomes
// Where(condition, then, else), or pocket.Choose where both are constant tables of different
// lengths (reference/pocket_ops.h; the rotary tables of models with a short and a long context).
// Throws Error(bad_input) for Loop and Scan-like nesting without end.
void resolve_branches(onnx::ModelProto&, const ConditionFolder&, std::vector<std::string>& notes);

}  // namespace pocket::onnx_import
