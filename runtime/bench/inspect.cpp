#include <map>
#include <nlohmann/json.hpp>

#include "runtime/bench/commands.h"
#include "runtime/bench/output.h"
#include "runtime/package/package.h"

namespace pocket::bench {
namespace {

constexpr uint64_t kHeaderBytes = 64;

uint64_t weight_bytes(const Weight& weight) {
  uint64_t bytes = 0;
  for (const Section& section : weight.sections) bytes += section.bytes;
  return bytes;
}

nlohmann::json weights_json(const Manifest& manifest) {
  nlohmann::json list = nlohmann::json::array();
  for (const Weight& weight : manifest.weights) {
    list.push_back({{"name", weight.name},
                    {"encoding", encoding_name(weight.format.encoding)},
                    {"rows", weight.format.rows},
                    {"columns", weight.format.columns},
                    {"group", weight.format.group},
                    {"bytes", weight_bytes(weight)},
                    {"sections", weight.sections.size()}});
    for (int32_t width = kLeastWidth; width <= kMostWidth; ++width) {
      if (weight.format.has_width(width)) list.back()["bits"].push_back(width);
    }
    if (weight.act_scale != 0) list.back()["act_scale_in"] = weight.act_scale;
    if (weight.outlier) {
      list.back()["outlier"] = {{"importance", weight.outlier->importance},
                                {"hot_channels", weight.outlier->hot_channels.size()},
                                {"hit_rate", weight.outlier->hit_rate}};
    }
  }
  return list;
}

// Every byte of the file, once: the items add up to its length.
nlohmann::json file_json(const Package& package) {
  const Manifest& manifest = package.manifest();
  uint64_t weights = 0;
  std::map<std::string, uint64_t> encodings;
  for (const Weight& weight : manifest.weights) {
    weights += weight_bytes(weight);
    encodings[encoding_name(weight.format.encoding)] += weight_bytes(weight);
  }
  const uint64_t known = kHeaderBytes + package.manifest_bytes() + weights;
  return {{"bytes", package.file_bytes()},
          {"header_bytes", kHeaderBytes},
          {"manifest_bytes", package.manifest_bytes() - package.tokenizer_bytes()},
          {"tokenizer_bytes", package.tokenizer_bytes()},
          {"weight_bytes", weights},
          {"weight_bytes_by_encoding", encodings},
          {"padding_bytes", package.file_bytes() - known},
          {"shards", manifest.shards.size()}};
}

nlohmann::json plan_json(const Program& program, int64_t tokens, int64_t rows, int64_t context) {
  const Bindings bindings = {
      {"tokens", tokens}, {"past", context}, {"rows", rows}, {"context", context}};
  const EvaluatedPlan plan = evaluate_plan(program, bindings);
  uint64_t activations = 0, states = 0;
  for (size_t i = 0; i < program.tensors.size(); ++i) {
    const auto bytes = static_cast<uint64_t>(program.tensors[i].bytes().evaluate(bindings));
    (program.tensors[i].role == TensorRole::state ? states : activations) += bytes;
  }
  return {{"tokens", tokens},
          {"rows", rows},
          {"context", context},
          {"arena_bytes", plan.arena_bytes},
          {"arena_lower_bound_bytes", largest_live_set(program, bindings)},
          {"activation_bytes_without_reuse", activations},
          {"state_bytes", states}};
}

std::string text_of(const nlohmann::json& document) {
  const auto number = [](const nlohmann::json& value) {
    return std::to_string(value.get<uint64_t>());
  };
  std::string text = document.at("program").get<std::string>();
  text += "\nmemory plan\n";
  for (const nlohmann::json& plan : document.at("plans")) {
    text += "  tokens " + number(plan.at("tokens")) + ", rows " + number(plan.at("rows")) +
            ", context " + number(plan.at("context")) + ": arena " +
            number(plan.at("arena_bytes")) + " bytes (at least " +
            number(plan.at("arena_lower_bound_bytes")) + " are alive at once, " +
            number(plan.at("activation_bytes_without_reuse")) + " without reuse), states " +
            number(plan.at("state_bytes")) + "\n";
  }
  text += "\nweights\n";
  for (const nlohmann::json& weight : document.at("weights")) {
    text += "  " + weight.at("name").get<std::string>() + "  " +
            weight.at("encoding").get<std::string>() + "  " + number(weight.at("rows")) + " x " +
            number(weight.at("columns"));
    if (weight.at("group") != 0) text += "  group " + number(weight.at("group"));
    if (weight.contains("bits")) text += "  bits " + weight.at("bits").dump();
    if (weight.contains("act_scale_in")) text += "  input scale " + weight.at("act_scale_in").dump();
    if (weight.contains("outlier")) {
      const nlohmann::json& outlier = weight.at("outlier");
      text += "  outliers of importance " + outlier.at("importance").dump() + ", " +
              number(outlier.at("hot_channels")) + " hot channels hold " +
              outlier.at("hit_rate").dump() + " of them";
    }
    text += "  " + number(weight.at("bytes")) + " bytes\n";
  }
  const nlohmann::json& file = document.at("file");
  text += "\nfile\n";
  for (const char* key : {"header_bytes", "manifest_bytes", "tokenizer_bytes", "weight_bytes",
                          "padding_bytes", "bytes"}) {
    text += "  " + std::string(key) + "  " + number(file.at(key)) + "\n";
  }
  for (const auto& [encoding, bytes] : file.at("weight_bytes_by_encoding").items()) {
    text += "  weights in " + encoding + "  " + number(bytes) + "\n";
  }
  return text;
}

}  // namespace

ExitCode inspect(const InspectOptions& options) {
  check_writable(options.json);
  const Package package = Package::open(options.model);
  const Manifest& manifest = package.manifest();
  const Program& program = manifest.program;
  const int64_t context = options.common.context    ? options.common.context
                          : program.default_context ? program.default_context
                                                    : program.max_context;
  const int64_t chunk = options.common.chunk ? options.common.chunk : program.default_chunk;
  if (program.max_context > 0 && context > program.max_context) {
    throw Error(ExitCode::usage, "--context " + std::to_string(context) + " exceeds the model's " +
                                     std::to_string(program.max_context) + " positions");
  }
  nlohmann::json plans = nlohmann::json::array();
  plans.push_back(plan_json(program, 1, 1, context));
  if (chunk > 0) plans.push_back(plan_json(program, chunk, 1, context));
  const nlohmann::json document = {
      {"schema", "pocketformer.inspect"},
      {"version", 2},
      {"model", package.path()},
      {"vocab", program.vocab},
      {"max_context", program.max_context},
      {"default_context", program.default_context},
      {"default_chunk", program.default_chunk},
      {"eos_ids", manifest.generation.eos_ids},
      {"required_features", manifest.required_features},
      {"provenance",
       manifest.provenance.is_null() ? nlohmann::json::object() : manifest.provenance},
      {"program", to_text(program)},
      {"operators", program.operators.size()},
      {"plans", plans},
      {"weights", weights_json(manifest)},
      {"file", file_json(package)}};
  if (!options.json.empty()) write_json(options.json, document);
  if (options.json != "-") write_output("-", text_of(document));
  return ExitCode::ok;
}

}  // namespace pocket::bench
