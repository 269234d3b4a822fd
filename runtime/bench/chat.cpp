#include "runtime/bench/chat.h"

#include <algorithm>

#include "runtime/base/error.h"
#include "runtime/text/chat_template.h"

namespace pocket::bench {

std::vector<int32_t> chat_prompt(const Manifest& manifest, const Tokenizer& tokenizer,
                                 const std::string& system, const std::string& user) {
  if (manifest.chat_template.empty()) {
    throw Error(ExitCode::usage,
                "--chat needs a chat template and this model has none; give the prompt in the "
                "model's own format");
  }
  std::vector<ChatMessage> messages;
  if (!system.empty()) messages.push_back({"system", system});
  messages.push_back({"user", user});
  const std::string text = ChatTemplate(manifest.chat_template)
                               .render(messages, manifest.chat_tokens,
                                       /*add_generation_prompt=*/true);
  return tokenizer.encode(text, /*add_special=*/false);
}

std::vector<int32_t> chat_stop_ids(const Manifest& manifest, const Tokenizer& tokenizer) {
  std::vector<int32_t> ids = manifest.generation.eos_ids;
  const auto eos = tokenizer.eos_id();
  const bool new_one = eos && std::find(ids.begin(), ids.end(), *eos) == ids.end();
  if (new_one && *eos < manifest.program.vocab) ids.push_back(*eos);
  return ids;
}

}  // namespace pocket::bench
