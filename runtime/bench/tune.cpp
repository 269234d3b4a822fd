#include <nlohmann/json.hpp>

#include "runtime/bench/commands.h"
#include "runtime/bench/open.h"
#include "runtime/bench/output.h"
#include "runtime/bench/report.h"
#include "runtime/bench/tuned_cache.h"
#include "runtime/kernels/tuner.h"
#include "runtime/vulkan/pipeline.h"

namespace pocket::bench {
namespace {

nlohmann::json shape_json(const TuneShape& shape) {
  nlohmann::json rows = nlohmann::json::array();
  for (const TuneCandidate& candidate : shape.candidates) {
    rows.push_back({{"config", candidate.config.str()},
                    {"correct", candidate.correct},
                    {"error", candidate.error},
                    {"nanoseconds", candidate.nanoseconds},
                    {"refused", candidate.refused}});
  }
  return {{"key", shape.key},
          {"label", shape.label},
          {"tolerance", shape.tolerance},
          {"best", shape.best},
          {"candidates", rows}};
}

std::string shape_text(const TuneShape& shape) {
  const TuneCandidate &table = shape.candidates.front(), &best = shape.candidates[shape.best];
  std::string text =
      shape.key + "\n  " + best.config.str() + "  " + fixed(best.nanoseconds / 1e3, 1) + " us";
  if (shape.best != 0 && table.correct) {
    text += ", the table's row " + fixed(table.nanoseconds / 1e3, 1) + " us";
  } else if (shape.best == 0) {
    text += ", the table's row";
  }
  text += ", of " + std::to_string(shape.candidates.size()) + " rows\n";
  for (const TuneCandidate& candidate : shape.candidates) {
    if (candidate.correct) continue;
    text += "  WRONG: " + candidate.config.str() + ": " +
            (candidate.refused.empty() ? "error " + scientific(candidate.error) + " of at most " +
                                             scientific(shape.tolerance)
                                       : candidate.refused) +
            "\n";
  }
  return text;
}

}  // namespace

ExitCode tune(const TuneCommandOptions& options) {
  check_writable(options.json);
  const Package package = open_package(options.model, options.common);
  const Instance instance;
  Device device(instance, device_options(options.common));
  TuneOptions how;
  how.base = selftest_options(options.common, options.cases);
  how.rounds = options.rounds;
  how.only = options.only;
  how.progress = [&](const std::string& sentence) { progress(options.common.quiet, sentence); };
  const TuneResult result = pocket::tune(device, package, how);
  device.pipelines().save_cache();
  const TunedFile file = write_tuned(device, result.tuned);

  if (!options.json.empty()) {
    nlohmann::json shapes = nlohmann::json::array();
    for (const TuneShape& shape : result.shapes) shapes.push_back(shape_json(shape));
    write_json(options.json, {{"schema", "pocketformer.tune"},
                              {"version", 1},
                              {"device", device.info().name},
                              {"driver", device.info().driver},
                              {"path", file.path},
                              {"rows_stored", file.configs->rows().size()},
                              {"wrong", result.wrong()},
                              {"shapes", shapes}});
  }
  if (options.json != "-") {
    std::string text;
    for (const TuneShape& shape : result.shapes) text += shape_text(shape);
    text += std::to_string(result.shapes.size()) + " rows stored in " + file.path + ", " +
            std::to_string(result.wrong()) + " rows were wrong\n";
    write_output("-", text);
  }
  return ExitCode::ok;
}

}  // namespace pocket::bench
