#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>

#include "runtime/bench/commands.h"
#include "runtime/bench/open.h"
#include "runtime/bench/output.h"
#include "runtime/bench/tokens.h"
#include "runtime/text/utf8_stream.h"

namespace pocket::bench {
namespace {

constexpr int64_t kDefaultCount = 128;

void check_options(const GenerateOptions& options, const Manifest& manifest) {
  if (options.prompt.empty() == options.tokens.empty()) {
    throw Error(ExitCode::usage, "generate needs either --prompt TEXT or --tokens 1,2,3|FILE.json");
  }
  if (options.chat) {
    throw Error(ExitCode::usage, manifest.chat_template.empty()
                                     ? "--chat needs a chat template and this model has none; give "
                                       "the prompt in the model's own format"
                                     : "--chat cannot render this model's chat template; give the "
                                       "prompt in the template's format");
  }
}

}  // namespace

ExitCode generate(const GenerateOptions& options) {
  check_writable(options.json);
  Package package = Package::open(options.model);
  check_options(options, package.manifest());
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
  const std::vector<int32_t> prompt =
      options.prompt.empty() ? read_tokens(options.tokens, package.manifest().program.vocab)
                             : tokenizer->encode(options.prompt);
  if (prompt.empty()) throw Error(ExitCode::usage, "the prompt holds no token; give at least one");

  EngineOptions engine_settings = engine_options(options.common);
  engine_settings.sampling = sampling;
  Session session(options.common, std::move(package), engine_settings);
  Engine& engine = session.engine;
  const std::vector<int32_t> stop_ids = engine.manifest().generation.eos_ids;

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
  Utf8Stream characters;
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
        } else if (!tokenizer->is_special(token)) {
          deliver(characters.push(tokenizer->token_bytes(token)));
        }
        return static_cast<bool>(std::cout);
      },
      stop_ids);
  deliver(characters.flush());
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
