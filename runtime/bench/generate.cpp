#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>
#include <span>

#include "runtime/bench/chat.h"
#include "runtime/bench/commands.h"
#include "runtime/bench/open.h"
#include "runtime/bench/output.h"
#include "runtime/bench/tokens.h"

namespace pocket::bench {
namespace {

constexpr int64_t kDefaultCount = 128;

void check_options(const GenerateOptions& options) {
  if (options.prompt.empty() == options.tokens.empty()) {
    throw Error(ExitCode::usage, "generate needs either --prompt TEXT or --tokens 1,2,3|FILE.json");
  }
  if (options.chat && options.prompt.empty()) {
    throw Error(ExitCode::usage, "--chat wraps a text; give --prompt TEXT instead of --tokens");
  }
  if (!options.chat && !options.system.empty()) {
    throw Error(ExitCode::usage, "--system is a turn of a chat; give --chat too");
  }
}

// The text that ids add to a prompt. The prompt's ids go first, so that the space between prompt
// and continuation is not taken for one at the start of the text.
class Continuation {
 public:
  Continuation(const Tokenizer& tokenizer, std::span<const int32_t> prompt)
      : stream_(tokenizer.stream(/*skip_special=*/true)) {
    size_t given = 0;
    for (const int32_t id : prompt) given += stream_.push(id).size();
    // What still waits belongs to the prompt, unless the prompt ends inside of a character.
    const std::string text = tokenizer.decode(prompt, /*skip_special=*/true);
    if (!text.ends_with("\uFFFD")) waiting_ = text.size() - std::min(text.size(), given);
  }
  std::string push(int32_t id) { return without_prompt(stream_.push(id)); }
  std::string finish() { return without_prompt(stream_.finish()); }

 private:
  std::string without_prompt(std::string piece) {
    const size_t prompt = std::min(waiting_, piece.size());
    waiting_ -= prompt;
    return piece.erase(0, prompt);
  }

  Tokenizer::Stream stream_;
  size_t waiting_ = 0;  // bytes of the prompt that the stream has not given yet
};

}  // namespace

ExitCode generate(const GenerateOptions& options) {
  check_options(options);
  check_writable(options.json);
  Package package = open_package(options.model, options.common);
  SamplerSettings sampling;
  sampling.temperature = static_cast<float>(options.temperature);
  sampling.top_k = options.top_k;
  sampling.top_p = static_cast<float>(options.top_p);
  sampling.seed = options.seed;
  check_sampler_settings(sampling);

  std::optional<Tokenizer> tokenizer;
  if (!package.manifest().tokenizer_json.empty() || !options.prompt.empty()) {
    tokenizer = open_tokenizer(package);
  }
  std::vector<int32_t> prompt, stop_ids = package.manifest().generation.eos_ids;
  if (options.chat) {
    prompt = chat_prompt(package.manifest(), *tokenizer, options.system, options.prompt);
    stop_ids = chat_stop_ids(package.manifest(), *tokenizer);
  } else if (options.prompt.empty()) {
    prompt = read_tokens(options.tokens, package.manifest().program.vocab);
  } else {
    prompt = tokenizer->encode(options.prompt);
  }
  if (prompt.empty()) throw Error(ExitCode::usage, "the prompt holds no token; give at least one");

  EngineOptions engine_settings = engine_options(options.common);
  engine_settings.sampling = sampling;
  Session session(options.common, std::move(package), engine_settings);
  Engine& engine = session.engine;

  // The token chosen from the last slot is delivered too, though it can no longer be evaluated.
  const int64_t room = engine.context() - static_cast<int64_t>(prompt.size()) + 1;
  const int64_t count = options.count.value_or(std::min(kDefaultCount, room));
  if (room < 1 || count > room) {
    throw Error(ExitCode::usage,
                "a prompt of " + std::to_string(prompt.size()) + " tokens leaves room for " +
                    std::to_string(std::max<int64_t>(room, 0)) + " more in a context of " +
                    std::to_string(engine.context()) + " but " + std::to_string(count) +
                    " were asked for; lower -n or raise --context");
  }
  engine.prefill(prompt);
  const bool stream_text = options.json != "-";
  std::optional<Continuation> decoded;
  // A reply is a text of its own.
  if (tokenizer) {
    decoded.emplace(*tokenizer, options.chat ? std::span<const int32_t>() : std::span(prompt));
  }
  std::vector<int32_t> tokens;
  std::string text;
  const auto deliver = [&](const std::string& piece) {
    text += piece;
    if (stream_text) std::cout << piece << std::flush;
  };
  const DecodeResult result = engine.decode(
      count,
      [&](int32_t token) {
        tokens.push_back(token);
        if (!tokenizer) {
          deliver((tokens.size() > 1 ? "," : "") + std::to_string(token));
        } else {
          deliver(decoded->push(token));
        }
        return static_cast<bool>(std::cout);
      },
      stop_ids);
  if (decoded) deliver(decoded->finish());
  if (stream_text) std::cout << "\n";

  if (!options.json.empty()) {
    write_json(options.json, {{"schema", "pocketformer.generate"},
                              {"version", 1},
                              {"prompt_tokens", prompt},
                              {"tokens", tokens},
                              {"text", tokenizer ? text : ""},
                              {"stop", result.reason == StopReason::stop_id ? "eos" : "length"}});
  }
  return ExitCode::ok;
}

}  // namespace pocket::bench
