#include "runtime/bench/open.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "runtime/base/error.h"
#include "runtime/bench/output.h"
#include "runtime/bench/tokens.h"

namespace pocket::bench {

DeviceOptions device_options(const CommonOptions& common) {
  DeviceOptions options;
  options.device = common.device;
  options.priority = queue_priority_from_name(common.priority);
  if (!common.limits_file.empty()) {
    try {
      options.limits = nlohmann::json::parse(read_text_file(common.limits_file));
    } catch (const nlohmann::json::exception& error) {
      throw Error(ExitCode::bad_input,
                  "the file " + common.limits_file + " is no JSON: " + error.what());
    }
  }
  return options;
}

EngineOptions engine_options(const CommonOptions& common) {
  EngineOptions options;
  options.context = common.context;
  options.chunk = common.chunk;
  options.max_submit_ms = common.max_submit_ms;
  options.import_weights = !common.copy_weights;
  options.accumulate = accumulate_from_name(common.accumulate);
  options.message = [quiet = common.quiet](const std::string& sentence) {
    progress(quiet, sentence);
  };
  return options;
}

TunedFile open_tuned(const CommonOptions& common, const Device& device) {
  if (common.no_tuned) return {"", std::make_shared<TunedConfigs>(), ""};
  TunedFile tuned = read_tuned(device);
  if (!tuned.note.empty()) progress(common.quiet, tuned.note);
  return tuned;
}

EngineOptions with_tuned(EngineOptions options, const TunedFile& tuned) {
  options.tuned = tuned.configs;
  return options;
}

Package open_package(const std::string& path, const CommonOptions& common) {
  Package package = Package::open(path);
  if (common.precision != 0) package.choose_precision(common.precision);
  return package;
}

Session::Session(const CommonOptions& common, Package package, const EngineOptions& options)
    : device(instance, device_options(common)),
      tuned(open_tuned(common, device)),
      engine(device, std::move(package), with_tuned(options, tuned)) {
  if (!device.priority_note().empty()) {
    progress(common.quiet, "--priority " + common.priority + ": " + device.priority_note());
  }
}

Tokenizer open_tokenizer(const Package& package) {
  const Manifest& manifest = package.manifest();
  if (manifest.tokenizer_json.empty()) {
    throw Error(ExitCode::bad_input, "the model " + package.path() +
                                         " came without a tokenizer.json; give --tokens instead "
                                         "of a text");
  }
  return Tokenizer::from_json(manifest.tokenizer_json, manifest.tokenizer_config_json);
}

}  // namespace pocket::bench
