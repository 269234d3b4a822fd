// A model's chat template (Jinja, as in tokenizer_config.json): messages -> the text of a prompt.
//
// The part of Jinja that public templates use, equal to Python's jinja2 in the settings of
// transformers (sandbox, trim_blocks, lstrip_blocks, loop controls, tojson, raise_exception,
// strftime_now). What is not known is refused by name when the template is read.
#pragma once

#include <ctime>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace pocket {

struct ChatMessage {
  std::string role;  // "system", "user", "assistant"
  std::string content;
};

class ChatTemplate {
 public:
  // Error bad_input with the line and the name of what is not supported.
  explicit ChatTemplate(std::string_view source);
  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  // tokens: the texts of named special tokens, "bos_token" and so on. Error usage with the
  // template's own message when it refuses the conversation, bad_input when it fails.
  std::string render(const std::vector<ChatMessage>& messages,
                     const std::map<std::string, std::string>& tokens,
                     bool add_generation_prompt) const;

  // With any variables (an object), at a given time: for tests.
  std::string render(const nlohmann::ordered_json& variables, std::time_t now) const;

 private:
  struct Parsed;
  std::unique_ptr<const Parsed> parsed_;
};

}  // namespace pocket
