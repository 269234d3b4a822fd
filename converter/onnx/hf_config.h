// The files that HuggingFace lays beside a model. Everything is optional; what is there must be
// valid JSON of a sane size. Nothing here depends on the architecture.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace pocket::onnx_import {

struct HfConfig {
  std::string config_json;  // texts of the files, empty when absent
  std::string generation_config_json;
  std::string tokenizer_json;
  std::string tokenizer_config_json;
  // chat_template.jinja, else tokenizer_config's "chat_template" (of a list, the one named
  // default).
  std::string chat_template;
  // Texts of named special tokens, "bos_token" and so on, as chat templates see them:
  // special_tokens_map.json, overruled by tokenizer_config.json.
  std::map<std::string, std::string> chat_tokens;
  std::string model_type;  // for provenance only; no decision depends on it
  std::vector<int64_t> bos_ids;
  std::vector<int64_t> eos_ids;        // stop ids; generation_config.json wins over config.json
  std::optional<int64_t> max_context;  // max_position_embeddings, n_positions, n_ctx, ...
  std::optional<int64_t> vocabulary;   // vocab_size
};

// Reads from `folder`, and for files that are not there from its parent when `folder` is named
// "onnx" (the layout of transformers.js). Throws Error(bad_input) naming the file.
HfConfig read_hf_config(const std::string& folder);

}  // namespace pocket::onnx_import
