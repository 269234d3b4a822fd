#include "runtime/text/chat_template.h"

#include "runtime/text/jinja/interpreter.h"
#include "runtime/text/jinja/parser.h"
#include "runtime/text/unicode.h"

namespace pocket {

struct ChatTemplate::Parsed {
  jinja::Statements statements;
};

ChatTemplate::ChatTemplate(std::string_view source)
    : parsed_(std::make_unique<const Parsed>(Parsed{jinja::parse(to_valid_utf8(source))})) {}
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;

std::string ChatTemplate::render(const std::vector<ChatMessage>& messages,
                                 const std::map<std::string, std::string>& tokens,
                                 bool add_generation_prompt) const {
  nlohmann::ordered_json variables = tokens;
  variables["messages"] = nlohmann::ordered_json::array();
  for (const ChatMessage& message : messages) {
    variables["messages"].push_back({{"role", message.role}, {"content", message.content}});
  }
  variables["tools"] = nullptr;
  variables["documents"] = nullptr;
  variables["add_generation_prompt"] = add_generation_prompt;
  return render(variables, std::time(nullptr));
}

std::string ChatTemplate::render(const nlohmann::ordered_json& variables, std::time_t now) const {
  std::map<std::string, jinja::Value, std::less<>> names;
  for (const auto& [name, value] : variables.items()) names[name] = jinja::from_json(value);
  return jinja::Interpreter(now).run(parsed_->statements, std::move(names));
}

}  // namespace pocket
