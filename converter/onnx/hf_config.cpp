#include "converter/onnx/hf_config.h"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <system_error>

#include "runtime/base/error.h"

namespace pocket::onnx_import {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr uintmax_t kMostConfig = uintmax_t{4} << 20;
constexpr uintmax_t kMostTokenizer = uintmax_t{64} << 20;
constexpr int kMostDepth = 64;
constexpr int64_t kMostContext = int64_t{1} << 30;

[[noreturn]] void fail(const std::string& message) { throw Error(ExitCode::bad_input, message); }

// The text of a file, empty when it is absent.
std::string read_text(const fs::path& folder, const char* name, uintmax_t most) {
  std::error_code ignored;
  fs::path file = folder / name;
  if (!fs::exists(file, ignored) && fs::absolute(folder).filename() == "onnx") {
    file = fs::absolute(folder).parent_path() / name;
  }
  if (!fs::exists(file, ignored)) return "";
  if (!fs::is_regular_file(file, ignored)) {
    fail("\"" + file.string() + "\" is not a regular file; remove it or put the real one there.");
  }
  const uintmax_t size = fs::file_size(file, ignored);
  if (ignored || size > most) {
    fail("\"" + file.string() + "\" has " + std::to_string(size) + " bytes where " +
         std::to_string(most) + " are the limit; check that it is the right file.");
  }
  std::ifstream stream(file, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
  if (stream.bad() || text.size() != size) {
    fail("\"" + file.string() + "\" cannot be read; check its rights.");
  }
  return text;
}

// The JSON of a text, an empty object for an empty text.
json parse_text(const fs::path& folder, const char* name, const std::string& text) {
  if (text.empty()) return json::object();
  bool too_deep = false;
  const json::parser_callback_t guard = [&](int depth, json::parse_event_t, json&) {
    too_deep = too_deep || depth > kMostDepth;
    return !too_deep;
  };
  json parsed;
  try {
    parsed = json::parse(text, guard);
  } catch (const json::exception& error) {
    fail("\"" + (folder / name).string() + "\" is not valid JSON (" + error.what() +
         "); download the model's files again.");
  }
  if (too_deep || !parsed.is_object()) {
    fail("\"" + (folder / name).string() +
         "\" is not a JSON object of sane depth; download the "
         "model's files again.");
  }
  return parsed;
}

// A token id or a list of them; anything else is ignored, as HuggingFace writes null too.
std::vector<int64_t> ids_of(const json& object, const char* key) {
  std::vector<int64_t> ids;
  const auto it = object.find(key);
  if (it == object.end()) return ids;
  const auto add = [&](const json& id) {
    if (id.is_number_integer()) ids.push_back(id.get<int64_t>());
  };
  if (it->is_array()) {
    for (const json& id : *it) add(id);
  } else {
    add(*it);
  }
  return ids;
}

std::optional<int64_t> positive(const json& object, std::initializer_list<const char*> keys) {
  for (const char* key : keys) {
    const auto it = object.find(key);
    if (it == object.end() || !it->is_number_integer()) continue;
    const auto value = it->get<int64_t>();
    if (value > 0 && value <= kMostContext) return value;
  }
  return std::nullopt;
}

// The template of "chat_template": a text, or of [{"name": ..., "template": ...}, ...] the one that
// is named default.
std::string chat_template_of(const json& tokenizer_config) {
  const auto found = tokenizer_config.find("chat_template");
  if (found == tokenizer_config.end()) return "";
  if (found->is_string()) return found->get<std::string>();
  if (!found->is_array()) return "";
  for (const json& item : *found) {
    if (!item.is_object() || item.value("name", json()) != "default") continue;
    const json text = item.value("template", json());
    if (text.is_string()) return text.get<std::string>();
  }
  return "";
}

// "bos_token": "<s>" or {"content": "<s>", ...}; other kinds of keys and values are left out.
void add_special_tokens(const json& object, std::map<std::string, std::string>& out) {
  for (const auto& [key, value] : object.items()) {
    if (!key.ends_with("_token")) continue;
    const json text = value.is_object() ? value.value("content", json()) : value;
    if (text.is_string()) out[key] = text.get<std::string>();
  }
}

}  // namespace

HfConfig read_hf_config(const std::string& folder_name) {
  const fs::path folder(folder_name);
  HfConfig out;
  out.config_json = read_text(folder, "config.json", kMostConfig);
  out.generation_config_json = read_text(folder, "generation_config.json", kMostConfig);
  out.tokenizer_json = read_text(folder, "tokenizer.json", kMostTokenizer);
  out.tokenizer_config_json = read_text(folder, "tokenizer_config.json", kMostConfig);
  out.chat_template = read_text(folder, "chat_template.jinja", kMostConfig);

  const json config = parse_text(folder, "config.json", out.config_json);
  const json generation = parse_text(folder, "generation_config.json", out.generation_config_json);
  const json tokenizer_config =
      parse_text(folder, "tokenizer_config.json", out.tokenizer_config_json);
  const json special_tokens = parse_text(folder, "special_tokens_map.json",
                                         read_text(folder, "special_tokens_map.json", kMostConfig));
  (void)parse_text(folder, "tokenizer.json", out.tokenizer_json);

  const auto nested = config.find("text_config");
  const json& model = nested != config.end() && nested->is_object() ? *nested : config;
  if (const auto type = config.find("model_type"); type != config.end() && type->is_string()) {
    out.model_type = type->get<std::string>();
  }
  out.max_context = positive(model, {"max_position_embeddings", "n_positions", "n_ctx",
                                     "max_sequence_length", "max_seq_len", "seq_length"});
  out.vocabulary = positive(model, {"vocab_size"});
  for (const char* key : {"bos_token_id", "eos_token_id"}) {
    std::vector<int64_t>& ids = key[0] == 'b' ? out.bos_ids : out.eos_ids;
    ids = ids_of(generation, key);
    if (ids.empty()) ids = ids_of(model, key);
    if (ids.empty()) ids = ids_of(config, key);
  }
  if (out.chat_template.empty()) out.chat_template = chat_template_of(tokenizer_config);
  add_special_tokens(special_tokens, out.chat_tokens);
  add_special_tokens(tokenizer_config, out.chat_tokens);
  return out;
}

}  // namespace pocket::onnx_import
