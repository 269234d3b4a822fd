#include "runtime/text/decoder.h"

#include <optional>

#include "runtime/text/byte_level.h"
#include "runtime/text/json_read.h"
#include "runtime/text/pattern.h"
#include "runtime/text/unicode.h"

namespace pocket {

namespace {

std::string join(const std::vector<std::string>& parts, std::string_view separator) {
  std::string out;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (i != 0) out += separator;
    out += parts[i];
  }
  return out;
}

// "<0x41>" -> 'A'
std::optional<char> byte_token(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
  };
  const int high = token[3] == '+' ? 0 : digit(token[3]), low = digit(token[4]);
  if (high < 0 || low < 0) return std::nullopt;
  return static_cast<char>(high * 16 + low);
}

std::vector<std::string> fall_back(const std::vector<std::string>& tokens) {
  std::vector<std::string> out;
  std::string pending;
  const auto flush = [&] {
    if (pending.empty()) return;
    if (to_valid_utf8(pending) == pending) {
      out.push_back(pending);
    } else {
      out.insert(out.end(), pending.size(), "\uFFFD");
    }
    pending.clear();
  };
  for (const std::string& token : tokens) {
    if (const auto byte = byte_token(token)) {
      pending.push_back(*byte);
    } else {
      flush();
      out.push_back(token);
    }
  }
  flush();
  return out;
}

std::string strip(std::string_view text, std::string_view character, size_t start, size_t stop) {
  for (size_t i = 0; i < start && text.starts_with(character); ++i) {
    text.remove_prefix(character.size());
  }
  for (size_t i = 0; i < stop && text.ends_with(character); ++i) {
    text.remove_suffix(character.size());
  }
  return std::string(text);
}

std::string unmap(const std::string& token) { return characters_to_bytes(token).value_or(token); }

}  // namespace

Decoder::Decoder(const nlohmann::json& json) {
  if (json.is_null()) return;
  join_with_spaces_ = false;
  add(json, 0);
}

void Decoder::add(const nlohmann::json& json, int depth) {
  const std::string type = json_read::text(json, "type");
  if (depth > 8) json_read::refuse("decoders are nested deeper than 8");
  if (type == "Sequence") {
    for (const auto& item : json_read::array(json, "decoders")) add(item, depth + 1);
  } else if (type == "ByteLevel") {
    steps_.push_back({.kind = Kind::byte_level});
  } else if (type == "Fuse") {
    steps_.push_back({.kind = Kind::fuse});
  } else if (type == "ByteFallback") {
    steps_.push_back({.kind = Kind::byte_fallback});
  } else if (type == "Replace") {
    steps_.push_back({.kind = Kind::replace,
                      .pattern = read_pattern(json),
                      .content = json_read::text(json, "content")});
  } else if (type == "Strip") {
    steps_.push_back({.kind = Kind::strip,
                      .content = json_read::one_character(json, "content"),
                      .start = json_read::count(json, "start"),
                      .stop = json_read::count(json, "stop")});
  } else {
    json_read::unsupported("decoder", type);
  }
}

std::string Decoder::apply(std::vector<std::string> tokens) const {
  if (join_with_spaces_) return join(tokens, " ");
  for (const Step& step : steps_) {
    switch (step.kind) {
      case Kind::byte_level: {
        std::string bytes;
        for (const std::string& token : tokens) bytes += unmap(token);
        tokens = {to_valid_utf8(bytes)};
        break;
      }
      case Kind::fuse:
        tokens = {join(tokens, "")};
        break;
      case Kind::byte_fallback:
        tokens = fall_back(tokens);
        break;
      case Kind::replace:
        for (std::string& token : tokens) token = replace_all(step.pattern, step.content, token);
        break;
      case Kind::strip:
        for (std::string& token : tokens) {
          token = strip(token, step.content, step.start, step.stop);
        }
        break;
    }
  }
  return join(tokens, "");
}

std::string Decoder::bytes_of(const std::string& token) const {
  std::string out = token;
  bool fused = false;
  for (const Step& step : steps_) {
    switch (step.kind) {
      case Kind::byte_level:
        out = unmap(out);
        fused = true;
        break;
      case Kind::fuse:
        fused = true;
        break;
      case Kind::byte_fallback:
        if (const auto byte = byte_token(out)) out = std::string(1, *byte);
        break;
      case Kind::replace:
        if (to_valid_utf8(out) == out) out = replace_all(step.pattern, step.content, out);
        break;
      case Kind::strip:
        if (!fused) out = strip(out, step.content, step.start, step.stop);
        break;
    }
  }
  return out;
}

}  // namespace pocket
