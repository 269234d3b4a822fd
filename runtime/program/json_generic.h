// Expressions and the steps of generic operators inside the manifest.
#pragma once

#include <nlohmann/json.hpp>
#include <vector>

#include "runtime/program/generic.h"
#include "runtime/program/json_view.h"

namespace pocket {

// A size: a number that is not negative, or a text in symbols.
nlohmann::json expression_to_json(const Expr&);
Expr expression_from_json(const JsonView&);

nlohmann::json generic_steps_to_json(const std::vector<GenericStep>&);
std::vector<GenericStep> generic_steps_from_json(const JsonView&);

}  // namespace pocket
