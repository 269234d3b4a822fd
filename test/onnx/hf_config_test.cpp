#include "converter/onnx/hf_config.h"

#include "runtime/base/error.h"
#include "test/onnx/model_builder.h"
#include "test/support/catch.h"

using namespace pocket;
using onnx_import::HfConfig;
using onnx_import::read_hf_config;
using test::ModelBuilder;

namespace {

struct Folder {
  test::TemporaryFolder files;
  Folder& with(const std::string& name, const std::string& text) {
    ModelBuilder::write_bytes(files / name, text);
    return *this;
  }
  HfConfig read() const { return read_hf_config(files.path().string()); }
};

using Ids = std::vector<int64_t>;

}  // namespace

TEST_CASE("nothing has to be there") {
  const HfConfig config = Folder().read();
  CHECK(config.config_json.empty());
  CHECK(config.eos_ids.empty());
  CHECK_FALSE(config.max_context);
}

TEST_CASE("ids come as a number or a list, from the generation configuration first") {
  Folder folder;
  folder.with("config.json",
              R"({"model_type": "x", "bos_token_id": 1, "eos_token_id": 2, "vocab_size": 97,
                  "max_position_embeddings": 160})");
  CHECK(folder.read().eos_ids == Ids{2});
  folder.with("generation_config.json", R"({"eos_token_id": [5, 6], "bos_token_id": null})");
  const HfConfig config = folder.read();
  CHECK(config.eos_ids == Ids{5, 6});
  CHECK(config.bos_ids == Ids{1});
  CHECK(config.max_context == 160);
  CHECK(config.vocabulary == 97);
  CHECK(config.model_type == "x");
}

TEST_CASE("a nested text configuration is used") {
  Folder folder;
  folder.with("config.json", R"({"text_config": {"n_ctx": 512, "eos_token_id": 9}})");
  CHECK(folder.read().max_context == 512);
  CHECK(folder.read().eos_ids == Ids{9});
}

TEST_CASE("the chat template has a file of its own or stands in the tokenizer configuration") {
  Folder folder;
  folder.with("tokenizer_config.json", R"({"chat_template": "inside"})");
  CHECK(folder.read().chat_template == "inside");
  folder.with("chat_template.jinja", "outside");
  CHECK(folder.read().chat_template == "outside");
  Folder named;
  named.with("tokenizer_config.json", R"({"chat_template": [{"name": "tool_use", "template": "t"},
                                          {"name": "default", "template": "d"}, 3, {}]})");
  CHECK(named.read().chat_template == "d");
  named.with("tokenizer_config.json", R"({"chat_template": [{"name": "rag", "template": "t"}]})");
  CHECK(named.read().chat_template.empty());
}

TEST_CASE("special tokens have names that chat templates use") {
  Folder folder;
  folder.with("special_tokens_map.json",
              R"({"bos_token": "<a>", "unk_token": {"content": "<u>"}})");
  folder.with("tokenizer_config.json", R"({"bos_token": {"content": "<s>", "lstrip": false},
      "eos_token": "</s>", "pad_token": null, "add_bos_token": true, "other": "x"})");
  CHECK(folder.read().chat_tokens == std::map<std::string, std::string>{{"bos_token", "<s>"},
                                                                        {"eos_token", "</s>"},
                                                                        {"unk_token", "<u>"}});
}

TEST_CASE("broken files are refused by name") {
  const auto refusal = [](const std::string& name, const std::string& text) {
    Folder folder;
    folder.with(name, text);
    try {
      folder.read();
    } catch (const Error& error) {
      CHECK(error.code == ExitCode::bad_input);
      return std::string(error.what());
    }
    return std::string();
  };
  for (const char* name :
       {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"}) {
    CHECK_THAT(refusal(name, "{\"a\": "), Catch::Contains(name));
    CHECK_THAT(refusal(name, "[1]"), Catch::Contains(name));
    CHECK_THAT(refusal(name, "\xff\xfe{}"), Catch::Contains(name));
    CHECK_THAT(refusal(name, std::string(100000, '[')), Catch::Contains(name));
  }
  CHECK_THAT(refusal("config.json", std::string(5 << 20, ' ')), Catch::Contains("limit"));
  CHECK(refusal("config.json", R"({"max_position_embeddings": -3, "eos_token_id": "x"})").empty());
}
