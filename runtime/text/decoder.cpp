#include "runtime/text/decoder.h"

#include "runtime/text/decoder_stages.h"
#include "runtime/text/json_read.h"
#include "runtime/text/metaspace.h"
#include "runtime/text/pattern.h"

namespace pocket {

using Kind = DecoderStep::Kind;

Decoder::Decoder() { steps_.push_back({.kind = Kind::join_with_spaces}); }

Decoder::Decoder(const nlohmann::json& json) {
  if (json.is_null()) {
    steps_.push_back({.kind = Kind::join_with_spaces});
  } else {
    add(json, 0);
  }
}

void Decoder::add(const nlohmann::json& json, int depth) {
  const std::string type = json_read::text(json, "type");
  if (depth > 8) json_read::refuse("decoders are nested deeper than 8");
  if (steps_.size() >= 64) json_read::refuse("the decoder has more than 64 steps");
  if (type == "Sequence") {
    for (const auto& item : json_read::array(json, "decoders")) add(item, depth + 1);
  } else if (type == "ByteLevel") {
    steps_.push_back({.kind = Kind::byte_level});
  } else if (type == "Fuse") {
    steps_.push_back({.kind = Kind::fuse});
  } else if (type == "ByteFallback") {
    steps_.push_back({.kind = Kind::byte_fallback});
  } else if (type == "Replace") {
    steps_.push_back(
        {.kind = Kind::replace,
         .pattern = read_pattern(json),
         .literal = json_read::text_or(json_read::value(json, "pattern"), "String", ""),
         .content = json_read::text(json, "content")});
  } else if (type == "Strip") {
    steps_.push_back({.kind = Kind::strip,
                      .content = json_read::one_character(json, "content"),
                      .start = json_read::count(json, "start"),
                      .stop = json_read::count(json, "stop")});
  } else if (type == "Metaspace") {
    steps_.push_back({.kind = Kind::metaspace,
                      .content = json_read::one_character(json, "replacement"),
                      .drop_first = read_prepend_scheme(json) != "never"});
  } else {
    json_read::unsupported("decoder", type);
  }
}

TextStream::TextStream(const Decoder& decoder) {
  bool fused = false;
  for (const DecoderStep& step : decoder.steps()) {
    stages_.push_back(make_decoder_stage(step, fused));
    fused |= step.kind == Kind::fuse || step.kind == Kind::byte_level;
  }
}

TextStream::TextStream(TextStream&&) noexcept = default;
TextStream& TextStream::operator=(TextStream&&) noexcept = default;
TextStream::~TextStream() = default;

std::string TextStream::run(std::vector<std::string> tokens, size_t from) {
  for (size_t i = from; i < stages_.size(); ++i) {
    std::vector<std::string> next;
    for (std::string& token : tokens) stages_[i]->push(std::move(token), next);
    tokens = std::move(next);
  }
  std::string out;
  for (const std::string& token : tokens) out += token;
  return out;
}

std::string TextStream::push(std::string token) {
  std::vector<std::string> tokens;
  tokens.push_back(std::move(token));
  return run(std::move(tokens), 0);
}

std::string TextStream::finish() {
  std::string out;
  for (size_t i = 0; i < stages_.size(); ++i) {
    std::vector<std::string> tokens;
    stages_[i]->finish(tokens);
    out += run(std::move(tokens), i + 1);
  }
  return out;
}

}  // namespace pocket
