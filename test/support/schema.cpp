#include "test/support/schema.h"

#include <nlohmann/json.hpp>
#include <valijson/adapters/nlohmann_json_adapter.hpp>
#include <valijson/schema.hpp>
#include <valijson/schema_parser.hpp>
#include <valijson/validator.hpp>

#include "test/support/command.h"

namespace pocket::test {

std::string schema_errors(const std::string& name, const nlohmann::json& document) {
  const nlohmann::json text =
      nlohmann::json::parse(read_file(POCKET_SOURCE_DIR "/test/schemas/" + name + ".json"));
  valijson::Schema schema;
  valijson::SchemaParser().populateSchema(valijson::adapters::NlohmannJsonAdapter(text), schema);
  valijson::Validator validator(valijson::Validator::kStrongTypes);
  valijson::ValidationResults results;
  std::string errors;
  if (!validator.validate(schema, valijson::adapters::NlohmannJsonAdapter(document), &results)) {
    valijson::ValidationResults::Error error;
    while (results.popError(error)) {
      for (const std::string& part : error.context) errors += part;
      errors += ": " + error.description + "\n";
    }
    if (errors.empty()) errors = "not valid";
  }
  return errors;
}

}  // namespace pocket::test
