// `decoder` of tokenizer.json: the texts of tokens back to one text.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/text/regex.h"

namespace pocket {

// One step of a decoder. A step that needs what comes later looks at the stream (decoder_stages.h).
struct DecoderStep {
  enum class Kind { join_with_spaces, byte_level, fuse, replace, byte_fallback, strip, metaspace };
  Kind kind;
  Regex pattern = {};          // replace
  std::string literal = {};    // replace: the pattern when it is a plain text
  std::string content = {};    // replace: the new text; strip, metaspace: the character
  size_t start = 0, stop = 0;  // strip: at most so many characters
  bool drop_first = false;     // metaspace: the first token's marks go, those of others are spaces
};

// null (tokens joined by spaces), ByteLevel, Sequence, Fuse, Replace, ByteFallback, Strip,
// Metaspace.
class Decoder {
 public:
  Decoder();
  // Error bad_input names an unknown type.
  explicit Decoder(const nlohmann::json& json);

  const std::vector<DecoderStep>& steps() const { return steps_; }

 private:
  void add(const nlohmann::json& json, int depth);

  std::vector<DecoderStep> steps_;
};

class DecoderStage;

// The decoder over a stream of tokens. All results put together are the text of the whole; each is
// valid UTF-8 and holds what no later token can change.
class TextStream {
 public:
  explicit TextStream(const Decoder& decoder);
  TextStream(TextStream&&) noexcept;
  TextStream& operator=(TextStream&&) noexcept;
  ~TextStream();

  std::string push(std::string token);
  // What was waiting. Nothing may be pushed after it.
  std::string finish();

 private:
  std::string run(std::vector<std::string> tokens, size_t from);

  std::vector<std::unique_ptr<DecoderStage>> stages_;
};

}  // namespace pocket
