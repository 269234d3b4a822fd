// JSON documents against the JSON Schemas of test/schemas.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace pocket::test {

// Empty when the document is valid; else what is wrong and where. `name` is the schema's file name
// without folder and ending. Strict: the type of a number counts.
std::string schema_errors(const std::string& name, const nlohmann::json& document);

}  // namespace pocket::test
