#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "runtime/bench/commands.h"
#include "runtime/bench/open.h"
#include "runtime/bench/output.h"
#include "runtime/bench/tokens.h"

namespace pocket::bench {
namespace {

// The shortest digits that give the same float again; a double's would be twice as long.
void append_float(std::string& text, float value) {
  char digits[32];
  const auto [end, error] = std::to_chars(digits, digits + sizeof(digits), value);
  text.append(digits, end);
}

void append_row(std::string& json, std::span<const float> row) {
  json += '[';
  for (size_t i = 0; i < row.size(); ++i) {
    if (i != 0) json += ',';
    append_float(json, row[i]);
  }
  json += ']';
}

}  // namespace

ExitCode logits(const LogitsOptions& options) {
  check_writable(options.json);
  Package package = open_package(options.model, options.common);
  const std::vector<int32_t> tokens = read_tokens(options.tokens, package.manifest().program.vocab);
  if (tokens.empty()) throw Error(ExitCode::usage, "--tokens names no token; give at least one");
  if (options.decode_from > static_cast<int64_t>(tokens.size())) {
    throw Error(ExitCode::usage, "--decode-from " + std::to_string(options.decode_from) +
                                     " lies behind the " + std::to_string(tokens.size()) +
                                     " tokens given");
  }
  Session session(options.common, std::move(package), engine_options(options.common));

  std::string json = "{\"schema\":\"pocketformer.logits\",\"version\":1,\"tokens\":" +
                     nlohmann::json(tokens).dump() + ",\"logits\":[\n";
  std::string table;
  session.engine.score(
      tokens, options.decode_from, [&](int64_t row, std::span<const float> values) {
        const auto bad = std::find_if_not(values.begin(), values.end(),
                                          [](float value) { return std::isfinite(value); });
        if (bad != values.end()) {
          throw Error(ExitCode::wrong_result, "logit " + std::to_string(bad - values.begin()) +
                                                  " of row " + std::to_string(row) +
                                                  " is not finite; run llmbench selftest");
        }
        if (row != 0) json += ",\n";
        append_row(json, values);
        const auto best = std::max_element(values.begin(), values.end());
        table += std::to_string(row) + "\t" + std::to_string(tokens[static_cast<size_t>(row)]) +
                 "\t" + std::to_string(best - values.begin()) + "\t" +
                 fixed(static_cast<double>(*best), 4) + "\n";
      });
  json += "]}\n";
  if (!options.json.empty()) write_output(options.json, json);
  if (options.json != "-") write_output("-", "row\ttoken\tbest next\tits logit\n" + table);
  return ExitCode::ok;
}

}  // namespace pocket::bench
