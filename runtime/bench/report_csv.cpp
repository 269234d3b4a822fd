#include <nlohmann/json.hpp>
#include <string>

#include "runtime/bench/output.h"
#include "runtime/bench/report.h"

namespace pocket::bench {
namespace {

// A field with a comma or a quote is quoted, quotes inside are doubled (RFC 4180).
std::string field(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + "\"";
}

}  // namespace

std::string to_csv(const Report& report) {
  std::string csv =
      "model,device,driver,prompt,generated,repetition,first_token_ns,decode_ns,"
      "prefill_tokens_per_second,decode_tokens_per_second,host_work_ns,host_wait_ns,submits,"
      "dispatches,logits_hash\n";
  const std::string fixed_fields =
      field(report.environment.at("model").at("path").get<std::string>()) + "," +
      field(report.environment.at("device").at("name").get<std::string>()) + "," +
      field(report.environment.at("device").at("driver").get<std::string>()) + ",";
  for (const Measurement& measurement : report.measurements) {
    for (size_t i = 0; i < measurement.repetitions.size(); ++i) {
      const Repetition& r = measurement.repetitions[i];
      const double prefill = static_cast<double>(measurement.prompt) * 1e9 /
                             static_cast<double>(r.first_token_ns ? r.first_token_ns : 1);
      const double decode = static_cast<double>(measurement.generated - 1) * 1e9 /
                            static_cast<double>(r.decode_ns ? r.decode_ns : 1);
      csv += fixed_fields + std::to_string(measurement.prompt) + "," +
             std::to_string(measurement.generated) + "," + std::to_string(i) + "," +
             std::to_string(r.first_token_ns) + "," + std::to_string(r.decode_ns) + "," +
             fixed(prefill, 3) + "," + fixed(decode, 3) + "," + std::to_string(r.host_work_ns) +
             "," + std::to_string(r.host_wait_ns) + "," + std::to_string(r.submits) + "," +
             std::to_string(r.dispatches) + "," + hex16(r.logits_hash) + "\n";
    }
  }
  return csv;
}

}  // namespace pocket::bench
