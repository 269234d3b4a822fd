// The program inside the manifest.
#pragma once

#include <nlohmann/json.hpp>

#include "runtime/program/program.h"

namespace pocket {

// Attributes that hold their default are left out.
nlohmann::json program_to_json(const Program&);

// Checks types, names and that numbers fit; verify() checks the meaning. Throws Error(bad_input)
// naming the place.
Program program_from_json(const nlohmann::json&);

}  // namespace pocket
