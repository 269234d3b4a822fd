// `generate --chat` over a tiny model with a tokenizer and a chat template.
#include <algorithm>
#include <fstream>
#include <iterator>

#include "runtime/text/tokenizer.h"
#include "test/bench/llmbench.h"
#include "test/support/catch.h"

namespace pocket::test {
namespace {

constexpr const char* kTemplate =
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' and m.content == 'no' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "<|{{ m.role }}|>{{ m.content | trim }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}";

std::string tokenizer_json() {
  std::ifstream in(std::string(POCKET_SOURCE_DIR) + "/test/golden/tokenizer/small.json");
  REQUIRE(in.good());
  nlohmann::json out = nlohmann::json::parse(in);
  int64_t id = static_cast<int64_t>(out.at("model").at("vocab").size());
  for (const char* content : {"<|bos|>", "<|eos|>", "<|user|>", "<|assistant|>", "<|system|>"}) {
    out["added_tokens"].push_back({{"id", id++},
                                   {"content", content},
                                   {"single_word", false},
                                   {"lstrip", false},
                                   {"rstrip", false},
                                   {"normalized", false},
                                   {"special", true}});
  }
  // A text on its own begins with bos: it must not stand twice before a chat.
  out["post_processor"] = nlohmann::json::parse(R"({"type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "<|bos|>", "type_id": 0}},
               {"Sequence": {"id": "A", "type_id": 0}}], "pair": [],
    "special_tokens": {"<|bos|>": {"id": "<|bos|>", "ids": [460], "tokens": ["<|bos|>"]}}})");
  return out.dump();
}

class ChatFile {
 public:
  explicit ChatFile(const std::string& chat_template,
                    const std::string& tokenizer = tokenizer_json()) {
    TinyOptions options;
    options.vocab = 480;
    TinyModel model = make_tiny_model(options);
    model.manifest.tokenizer_json = tokenizer;
    model.manifest.tokenizer_config_json = R"({"bos_token": "<|bos|>", "eos_token": "<|eos|>"})";
    model.manifest.chat_template = chat_template;
    model.manifest.chat_tokens = {{"bos_token", "<|bos|>"}, {"eos_token", "<|eos|>"}};
    path_ = folder_ / "chat.pocket";
    write_tiny_model(model, path_);
  }
  const std::string& path() const { return path_; }

 private:
  TemporaryFolder folder_;
  std::string path_;
};

}  // namespace

TEST_CASE("generate --chat wraps the prompt in the model's template") {
  const ChatFile file(kTemplate);
  const Tokenizer tokenizer = Tokenizer::from_json(tokenizer_json());
  const auto prompt_of = [&](std::vector<std::string> more) {
    std::vector<std::string> words = {"generate",   file.path(), "--chat", "--prompt",
                                      " the wolf ", "-n",        "2"};
    words.insert(words.end(), more.begin(), more.end());
    return llmbench_json(words).at("prompt_tokens").get<std::vector<int32_t>>();
  };
  const std::vector<int32_t> plain = prompt_of({});
  CHECK(plain == tokenizer.encode("<|bos|><|user|>the wolf<|eos|><|assistant|>", false));
  CHECK(std::count(plain.begin(), plain.end(), 460) == 1);
  CHECK(std::count(plain.begin(), plain.end(), *tokenizer.id_of("<|assistant|>")) == 1);
  CHECK(prompt_of({"--system", "be kind"}) ==
        tokenizer.encode("<|bos|><|system|>be kind<|eos|><|user|>the wolf<|eos|><|assistant|>",
                         false));
}

TEST_CASE("a continuation keeps the space that a text on its own would lose") {
  std::ifstream in(std::string(POCKET_SOURCE_DIR) + "/test/golden/tokenizer/fallback.json");
  const std::string json{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  const ChatFile file("{{ messages[0].content }}", json);
  const Tokenizer tokenizer = Tokenizer::from_json(json);
  for (const char* chat : {"", "--chat"}) {
    std::vector<std::string> words = {"generate", file.path(), "--prompt", "the wolf",      "-n",
                                      "24",       "--seed",    "3",        "--temperature", "1"};
    if (*chat != 0) words.emplace_back(chat);
    const nlohmann::json result = llmbench_json(words);
    auto ids = result.at("prompt_tokens").get<std::vector<int32_t>>();
    const auto made = result.at("tokens").get<std::vector<int32_t>>();
    REQUIRE(made.size() == 24);
    if (*chat != 0) {
      CHECK(result.at("text") == tokenizer.decode(made, true));
      continue;
    }
    const std::string before = tokenizer.decode(ids, true);
    ids.insert(ids.end(), made.begin(), made.end());
    CHECK(before + result.at("text").get<std::string>() == tokenizer.decode(ids, true));
  }
}

TEST_CASE("what a chat cannot do is said in a sentence") {
  const ChatFile file(kTemplate), unknown("{{ x | pprint }}");
  const auto refused = [](std::vector<std::string> words, int code, const std::string& part) {
    const CommandResult result = llmbench(words);
    INFO(result.err);
    CHECK(result.exit_code == code);
    CHECK(result.err.find(part) != std::string::npos);
    CHECK(result.out.empty());
  };
  refused({"generate", file.path(), "--chat", "--prompt", "a", "--system", "no"}, 2,
          "the chat template refuses this conversation: System role not supported");
  refused({"generate", unknown.path(), "--chat", "--prompt", "a"}, 3, "the filter 'pprint'");
  refused({"generate", ChatFile("").path(), "--chat", "--prompt", "a"}, 2, "needs a chat template");
  refused({"generate", file.path(), "--chat", "--tokens", "1"}, 2, "--chat wraps a text");
  refused({"generate", file.path(), "--system", "x", "--prompt", "a"}, 2, "give --chat too");
}

}  // namespace pocket::test
