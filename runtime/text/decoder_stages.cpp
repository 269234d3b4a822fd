#include "runtime/text/decoder_stages.h"

#include <algorithm>
#include <optional>
#include <string_view>

#include "runtime/text/byte_level.h"
#include "runtime/text/pattern.h"
#include "runtime/text/unicode.h"
#include "runtime/text/utf8_stream.h"

namespace pocket {

namespace {

using Tokens = std::vector<std::string>;

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

class JoinWithSpaces : public DecoderStage {
 public:
  void push(std::string token, Tokens& out) override {
    out.push_back(first_ ? std::move(token) : " " + token);
    first_ = false;
  }

 private:
  bool first_ = true;
};

class ByteLevel : public DecoderStage {
 public:
  void push(std::string token, Tokens& out) override {
    out.push_back(characters_.push(characters_to_bytes(token).value_or(token)));
  }
  void finish(Tokens& out) override { out.push_back(characters_.flush()); }

 private:
  Utf8Stream characters_;
};

class Fuse : public DecoderStage {
 public:
  void push(std::string token, Tokens& out) override { out.push_back(std::move(token)); }
};

class Replace : public DecoderStage {
 public:
  explicit Replace(const DecoderStep& step) : step_(step) {}
  void push(std::string token, Tokens& out) override {
    out.push_back(replace_all(step_.pattern, step_.content, token));
  }

 private:
  const DecoderStep& step_;
};

// A plain text replaced in one long token: the end that may begin a match waits.
class ReplaceInFused : public DecoderStage {
 public:
  explicit ReplaceInFused(const DecoderStep& step) : step_(step) {}

  void push(std::string token, Tokens& out) override {
    const std::string& from = step_.literal;
    pending_ += token;
    std::string done;
    size_t pos = 0;
    for (size_t at = pending_.find(from); at != std::string::npos; at = pending_.find(from, pos)) {
      done.append(pending_, pos, at - pos);
      done += step_.content;
      pos = at + from.size();
    }
    const std::string_view rest = std::string_view(pending_).substr(pos);
    size_t held = std::min(from.size() - 1, rest.size());
    while (held > 0 && !from.starts_with(rest.substr(rest.size() - held))) --held;
    done += rest.substr(0, rest.size() - held);
    pending_ = rest.substr(rest.size() - held);
    out.push_back(std::move(done));
  }
  void finish(Tokens& out) override { out.push_back(std::move(pending_)); }

 private:
  const DecoderStep& step_;
  std::string pending_;
};

// A run of byte tokens is a text when all of it is UTF-8, else one U+FFFD per byte: it waits.
class ByteFallback : public DecoderStage {
 public:
  void push(std::string token, Tokens& out) override {
    if (const auto byte = byte_token(token)) {
      pending_.push_back(*byte);
    } else {
      finish(out);
      out.push_back(std::move(token));
    }
  }
  void finish(Tokens& out) override {
    if (pending_.empty()) return;
    if (to_valid_utf8(pending_) == pending_) {
      out.push_back(pending_);
    } else {
      out.insert(out.end(), pending_.size(), "\uFFFD");
    }
    pending_.clear();
  }

 private:
  std::string pending_;
};

class Strip : public DecoderStage {
 public:
  explicit Strip(const DecoderStep& step) : step_(step) {}
  void push(std::string token, Tokens& out) override {
    std::string_view text = token;
    for (size_t i = 0; i < step_.start && text.starts_with(step_.content); ++i) {
      text.remove_prefix(step_.content.size());
    }
    for (size_t i = 0; i < step_.stop && text.ends_with(step_.content); ++i) {
      text.remove_suffix(step_.content.size());
    }
    out.emplace_back(text);
  }

 private:
  const DecoderStep& step_;
};

// Strip over one long token: the last `stop` characters wait when they are of the kind.
class StripOfFused : public DecoderStage {
 public:
  explicit StripOfFused(const DecoderStep& step) : step_(step), left_(step.start) {}

  void push(std::string token, Tokens& out) override {
    const std::string& character = step_.content;
    std::string_view text = token;
    while (left_ > 0 && !text.empty()) {
      if (!text.starts_with(character)) {
        left_ = 0;
        break;
      }
      text.remove_prefix(character.size());
      --left_;
    }
    pending_ += text;
    size_t held = 0;
    while (held < step_.stop && std::string_view(pending_)
                                    .substr(0, pending_.size() - held * character.size())
                                    .ends_with(character)) {
      ++held;
    }
    const size_t ready = pending_.size() - held * character.size();
    out.push_back(pending_.substr(0, ready));
    pending_.erase(0, ready);
  }
  // What waits is stripped.

 private:
  const DecoderStep& step_;
  size_t left_;  // characters that may still go at the start
  std::string pending_;
};

class Metaspace : public DecoderStage {
 public:
  Metaspace(const DecoderStep& step, bool fused)
      : step_(step), mark_(Regex::literal(step.content)), fused_(fused) {}
  void push(std::string token, Tokens& out) override {
    out.push_back(replace_all(mark_, first_ && step_.drop_first ? "" : " ", token));
    first_ = first_ && fused_;
  }

 private:
  const DecoderStep& step_;
  Regex mark_;
  bool fused_;
  bool first_ = true;
};

// A step over one long token that has to see all of it.
class WhenWhole : public DecoderStage {
 public:
  explicit WhenWhole(std::unique_ptr<DecoderStage> stage) : stage_(std::move(stage)) {}
  void push(std::string token, Tokens& /*out*/) override { whole_ += token; }
  void finish(Tokens& out) override {
    stage_->push(std::move(whole_), out);
    stage_->finish(out);
  }

 private:
  std::unique_ptr<DecoderStage> stage_;
  std::string whole_;
};

}  // namespace

std::unique_ptr<DecoderStage> make_decoder_stage(const DecoderStep& step, bool fused) {
  using Kind = DecoderStep::Kind;
  std::unique_ptr<DecoderStage> stage;
  switch (step.kind) {
    case Kind::join_with_spaces:
      return std::make_unique<JoinWithSpaces>();
    case Kind::fuse:
      return std::make_unique<Fuse>();
    case Kind::metaspace:
      return std::make_unique<Metaspace>(step, fused);
    case Kind::replace:
      if (fused && !step.literal.empty()) return std::make_unique<ReplaceInFused>(step);
      stage = std::make_unique<Replace>(step);
      break;
    case Kind::strip:
      if (fused) return std::make_unique<StripOfFused>(step);
      return std::make_unique<Strip>(step);
    case Kind::byte_level:
      stage = std::make_unique<ByteLevel>();
      break;
    case Kind::byte_fallback:
      stage = std::make_unique<ByteFallback>();
      break;
  }
  if (fused) return std::make_unique<WhenWhole>(std::move(stage));
  return stage;
}

}  // namespace pocket
