#include "converter/convert.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>

#include "converter/convert_report.h"
#include "converter/lower/fusion_report.h"
#include "converter/lower/lower.h"
#include "converter/onnx/decoder_check.h"
#include "converter/onnx/expand.h"
#include "converter/onnx/hf_config.h"
#include "converter/onnx/import.h"
#include "converter/package/temporary_file.h"
#include "converter/package/writer.h"
#include "converter/passes/passes.h"
#include "converter/progress.h"
#include "converter/quality.h"
#include "converter/quant/calibration_text.h"
#include "converter/quantise.h"
#include "converter/shape/infer.h"
#include "converter/verify.h"
#include "converter/verify_chunks.h"
#include "converter/verify_weights.h"
#include "runtime/base/error.h"
#include "runtime/text/chat_template.h"
#include "runtime/text/tokenizer.h"

namespace pocket {
namespace {

constexpr int kThreads = 2;
constexpr int64_t kAllTokens = int64_t{1} << 30;

std::string stage_list() {
  std::string names = "import, shapes";
  for (const Pass& pass : pass_list()) names += std::string(", ") + pass.name;
  return names + ", lower";
}

// Writes the text of one stage to stdout.
class Dump {
 public:
  explicit Dump(const std::string& wanted) : wanted_(wanted) {
    const auto& passes = pass_list();
    const bool known = wanted.empty() || wanted == "import" || wanted == "shapes" ||
                       wanted == "lower" ||
                       std::any_of(passes.begin(), passes.end(),
                                   [&](const Pass& pass) { return wanted == pass.name; });
    if (!known) {
      throw Error(ExitCode::usage, "--dump-after knows no stage '" + wanted + "': choose one of " +
                                       stage_list() + ".");
    }
  }
  void graph(const std::string& stage, const ir::Graph& graph) const {
    if (stage == wanted_) print(graph.to_text());
  }
  void program(const Program& program) const {
    if (wanted_ == "lower") print(to_text(program));
  }

 private:
  static void print(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stdout); }
  std::string wanted_;
};

// Context and chunk that the user asks for, within what the model can do.
LowerOptions lower_options(const ConvertOptions& options, const onnx_import::ImportReport& source) {
  LowerOptions lowering;
  lowering.max_context =
      source.context_is_default ? std::max(source.context, options.context) : source.context;
  if (options.context > lowering.max_context) {
    throw Error(ExitCode::usage, "--context " + std::to_string(options.context) + " exceeds the " +
                                     std::to_string(lowering.max_context) +
                                     " positions that the model was made for: choose fewer.");
  }
  lowering.default_context = options.context;
  lowering.default_chunk = options.chunk;
  return lowering;
}

std::vector<int32_t> token_ids(const std::vector<int64_t>& ids, int64_t vocab, const char* what,
                               Progress& progress) {
  std::vector<int32_t> kept;
  for (const int64_t id : ids) {
    if (id >= 0 && id < vocab) {
      kept.push_back(static_cast<int32_t>(id));
    } else {
      progress.note(std::string(what) + " id " + std::to_string(id) +
                    " is left out: the vocabulary has " + std::to_string(vocab) + " entries.");
    }
  }
  return kept;
}

// Without the white space that people put into JSON; the order of keys stays.
std::string compact(const std::string& text) {
  const auto json = nlohmann::ordered_json::parse(text, nullptr, false);
  return json.is_discarded() ? text : json.dump();
}

void check_tokenizer(const onnx_import::HfConfig& config, int64_t vocab) {
  const Tokenizer tokenizer =
      Tokenizer::from_json(config.tokenizer_json, config.tokenizer_config_json);
  if (static_cast<int64_t>(tokenizer.size()) > vocab) {
    throw Error(ExitCode::bad_input, "tokenizer.json has ids up to " +
                                         std::to_string(tokenizer.size() - 1) +
                                         ", the model's vocabulary " + std::to_string(vocab) +
                                         " entries: it belongs to another model.");
  }
}

void check_chat_template(const std::string& source) {
  try {
    const ChatTemplate parsed(source);
  } catch (const Error& error) {
    throw Error(error.code, std::string(error.what()) +
                                "; take chat_template out of the model's folder to convert it "
                                "without one.");
  }
}

Manifest make_manifest(const ConvertOptions& options, const onnx_import::ImportReport& source,
                       const onnx_import::HfConfig& config, const Program& program,
                       Progress& progress) {
  Manifest manifest;
  manifest.program = program;
  manifest.generation.bos_ids = token_ids(config.bos_ids, program.vocab, "bos", progress);
  manifest.generation.eos_ids = token_ids(config.eos_ids, program.vocab, "eos", progress);
  if (config.tokenizer_json.empty()) {
    progress.note("there is no tokenizer.json beside the model: only token ids can be used.");
  } else {
    check_tokenizer(config, program.vocab);
    manifest.tokenizer_json = compact(config.tokenizer_json);
    if (!config.tokenizer_config_json.empty()) {
      manifest.tokenizer_config_json = compact(config.tokenizer_config_json);
    }
  }
  if (!config.chat_template.empty()) {
    check_chat_template(config.chat_template);
    manifest.chat_template = config.chat_template;
    manifest.chat_tokens = config.chat_tokens;
  }
  const bool named = options.weights == Encoding::any || options.weights == Encoding::w8a8;
  const bool grouped = options.weights == Encoding::int4 || options.weights == Encoding::m0e4;
  manifest.provenance = {{"source", std::filesystem::path(source.model_file).filename().string()},
                         {"producer", source.producer},
                         {"opset", source.opset},
                         {"model_type", config.model_type},
                         {"converter", "pocketformer 0.1.0"},
                         {"weights", encoding_name(options.weights)},
                         {"method", grouped || named ? options.method.name : "round"},
                         {"group_size", grouped ? options.group_size : 0}};
  if (options.target_bits > 0) {
    manifest.provenance["target_bits"] = options.target_bits;
    manifest.provenance["group_size"] = 0;  // they differ
  }
  if (!options.calibration.empty()) {
    manifest.provenance["calibration"] =
        std::filesystem::path(options.calibration).filename().string();
  }
  return manifest;
}

void write_report(const std::string& path, const std::string& text) {
  TemporaryFile file(path);
  file.write(0, {reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  file.commit();
}

}  // namespace

void convert(const ConvertOptions& options) {
  const Dump dump(options.dump_after);
  Progress progress(options.quiet);
  // Opened first: a place that cannot be written is said before the work is done.
  std::optional<PackageWriter> writer;
  if (!options.shapes_only) writer.emplace(options.output);
  ConvertReport report;

  progress.stage("importing " + options.input);
  onnx_import::ImportOptions import_options;
  import_options.external_data_may_be_absent = options.shapes_only;
  import_options.expand_operators = false;  // --verify runs the graph as the file has it
  ir::Graph graph = onnx_import::import_model(options.input, &report.source, import_options);
  for (const std::string& note : report.source.notes) progress.note(note);
  dump.graph("import", graph);
  LowerOptions lowering = lower_options(options, report.source);
  const onnx_import::HfConfig config = onnx_import::read_hf_config(report.source.folder);

  progress.stage("inferring shapes of " + std::to_string(report.source.nodes) + " nodes");
  ir::Graph imported = options.verify ? graph : ir::Graph();
  if (options.shapes_only) {
    onnx_import::require_language_model(graph);
  } else {
    onnx_import::require_decoder(graph);
  }
  std::vector<std::string> expansion_notes;
  if (!options.shapes_only) onnx_import::expand_operators(graph, &expansion_notes);
  for (const std::string& note : expansion_notes) progress.note(note);
  // What dropping an export's own rounding of activations changes is no error of the passes.
  if (options.verify && onnx_import::rounds_activations(imported)) imported = graph;
  report.shapes = shape::infer_shapes(graph);
  dump.graph("shapes", graph);
  if (options.shapes_only) {
    const std::string text = shape::shapes_text(graph);
    std::fwrite(text.data(), 1, text.size(), stdout);
    for (const std::string& line : report.shapes.unresolved) progress.note("unresolved " + line);
    return;
  }
  shape::require_resolved(report.shapes);
  const DispatchCounts before = count_before_fusion(graph);
  const bool remembers = !graph.states.empty();

  const auto pass_count = static_cast<int64_t>(pass_list().size());
  progress.stage("rewriting with " + std::to_string(pass_count) + " passes");
  int64_t passes_done = 0;
  PassOptions pass_options;
  pass_options.max_context = lowering.max_context;
  PassHooks hooks;
  hooks.after_pass = [&](const std::string& pass, int hits, const ir::Graph& rewritten) {
    progress.count(++passes_done, pass_count, pass + ": " + std::to_string(hits));
    dump.graph(pass, rewritten);
  };
  report.passes = run_passes(graph, pass_options, hooks);

  lowering.max_context = std::min(lowering.max_context, report.passes.max_context);
  if (options.context > lowering.max_context) {
    throw Error(ExitCode::usage, "--context " + std::to_string(options.context) + " exceeds the " +
                                     std::to_string(lowering.max_context) +
                                     " positions that the model's tables reach: choose fewer.");
  }

  progress.stage("lowering and planning memory");
  Lowered lowered = lower(graph, lowering);
  if (!remembers) onnx_import::require_recognised_states(lowered.unfused.size());
  if (!lowered.unfused.empty()) {
    progress.stage("computing the blocks that were not recognised in one call and in chunks");
    require_chunks_agree(graph);
  }
  dump.program(lowered.program);
  report.unfused = lowered.unfused;
  report.dispatches = fusion_report_json(before, count_after_fusion(lowered.program));
  Manifest manifest = make_manifest(options, report.source, config, lowered.program, progress);

  std::vector<std::vector<int64_t>> held_out;
  if (!options.held_out.empty()) {
    held_out = read_windows(options.held_out, config.tokenizer_json, config.tokenizer_config_json,
                            lowered.program.vocab, lowered.program.max_context, kAllTokens);
  }
  const std::unique_ptr<Journal> journal =
      quantise(options, graph, config, lowered, progress, *writer, report);

  writer->finish(std::move(manifest), [&](const std::string& path) {
    if (!options.held_out.empty()) {
      progress.stage("comparing with the model on held-out text");
      const auto count = static_cast<int64_t>(held_out.size());
      report.quality = measure_quality(
          graph,
          with_file_weights(graph, lowered.weights, Package::open(path), options.w8a8_shadow),
          held_out, kThreads,
          [&](size_t done) { progress.count(static_cast<int64_t>(done), count, "windows"); });
    }
    if (!options.verify) return;
    progress.stage("verifying with the reference executor");
    report.verify = verify_conversion(imported, graph, lowered.weights, path);
    if (report.verify->passed()) return;
    char numbers[200];
    std::snprintf(numbers, sizeof numbers,
                  "passes changed the logits by %.2e (at most %.0e), the file by %.2e (at most "
                  "%.0e)",
                  report.verify->passes_error, report.verify->passes_tolerance,
                  report.verify->file_error, report.verify->file_tolerance);
    throw Error(ExitCode::wrong_result, "Verification failed, nothing is written: " +
                                            std::string(numbers) + "; report this model.");
  });
  if (journal) journal->remove();
  const Package package = Package::open(options.output);
  if (!options.report.empty()) write_report(options.report, report.to_json(package).dump(2) + "\n");
  if (!options.quiet) std::fputs(report.summary(package).c_str(), stderr);
}

}  // namespace pocket
