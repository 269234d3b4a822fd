#include <onnx/onnx_pb.h>

#include <functional>

#include "test/convert/llmconvert.h"
#include "test/support/catch.h"

using namespace pocket;
using test::llmconvert;

namespace {

// Converts onto an existing file: exit code 3, one sentence, the old file as it was, nothing else.
std::string refused(const std::string& input, const std::vector<std::string>& more = {}) {
  const test::TemporaryFolder folder;
  const std::string out = folder / "out.pocket";
  test::write_file(out, "precious");
  std::vector<std::string> arguments = {input, "-o", out, "--quiet"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  const auto result = llmconvert(arguments);
  INFO(result.err);
  CHECK(result.exit_code == 3);
  CHECK(result.out.empty());
  CHECK(test::one_line(result.err));
  CHECK(test::files_in(folder) == 1);
  CHECK(test::read_file(out) == "precious");
  return result.err;
}

void edit_model(const std::string& file, const std::function<void(onnx::ModelProto&)>& edit) {
  onnx::ModelProto model;
  REQUIRE(model.ParseFromString(test::read_file(file)));
  edit(model);
  test::write_file(file, model.SerializeAsString());
}

}  // namespace

TEST_CASE("files that are missing or something else are refused") {
  const test::TemporaryFolder folder;
  CHECK(refused(folder / "nothing.onnx").find("nothing.onnx") != std::string::npos);
  refused(folder.path().string());  // a folder without a model
  test::write_file(folder / "text.onnx", "this is no protobuf at all");
  refused(folder / "text.onnx");
  test::write_file(folder / "empty.onnx", "");
  refused(folder / "empty.onnx");
  refused(folder / "nothing.pocket");
  test::write_file(folder / "text.pocket", std::string(1000, 'x'));
  CHECK(refused(folder / "text.pocket").find("no .pocket file") != std::string::npos);
}

TEST_CASE("a calibration file without a token is refused") {
  const test::TemporaryFolder folder;
  const std::string text = folder / "empty.txt", ids = folder / "ids.json";
  test::write_file(text, "");
  test::write_file(ids, "[[], []]");
  for (const std::string& file : {text, ids}) {
    const std::string said = refused(test::model_folder("folktale-2m"), {"--calibration", file});
    CHECK(said.find("holds no token") != std::string::npos);
  }
}

TEST_CASE("a model of more than 2 GiB in one file is refused by its size") {
  const test::TemporaryFolder folder;
  const std::string model = folder / "model.onnx";
  test::write_file(model, test::read_file(test::model_folder("tiny-gpt2") + "/model.onnx"));
  std::filesystem::resize_file(model, (uint64_t{1} << 31) + 1);  // the rest is a hole
  const std::string sentence = refused(model);
  CHECK(sentence.find("2147483649 bytes") != std::string::npos);
  CHECK(sentence.find("external data") != std::string::npos);
}

TEST_CASE("a chat template or a tokenizer that cannot be run is refused by name") {
  const test::TemporaryFolder folder;
  const std::string model = test::copy_model(folder, "tiny-gpt2");
  test::write_file(model + "/chat_template.jinja", "{% for m in messages %}\n{{ m | pprint }}");
  const std::string sentence = refused(model);
  CHECK(sentence.find("line 2: the filter 'pprint' is not supported") != std::string::npos);
  CHECK(sentence.find("take chat_template out") != std::string::npos);
  test::write_file(model + "/chat_template.jinja", "{{ bos_token }}");
  test::write_file(model + "/tokenizer.json", R"({"model": {"type": "WordPiece", "vocab": {}}})");
  CHECK(refused(model).find("model 'WordPiece' is not supported") != std::string::npos);
}

TEST_CASE("a truncated model is refused wherever it ends") {
  const test::TemporaryFolder folder;
  const std::string model = test::copy_model(folder, "tiny-gpt2") + "/model.onnx";
  const std::string bytes = test::read_file(model);
  for (const size_t tenths : {1, 3, 5, 7, 9}) {
    test::write_file(model, bytes.substr(0, bytes.size() * tenths / 10));
    refused(model);
  }
  test::write_file(model, bytes.substr(0, bytes.size() - 1));
  refused(model);
}

TEST_CASE("external data must lie inside the model's folder and be whole") {
  const test::TemporaryFolder folder;
  const std::string model = test::copy_model(folder, "tiny-qwen2-fp16-external");
  test::write_file(folder / "secret", test::read_file(model + "/model.onnx_data"));
  const std::string original = test::read_file(model + "/model.onnx");
  for (const std::string& location :
       {std::string("../secret"), folder / "secret", std::string("a/../../secret")}) {
    test::write_file(model + "/model.onnx", original);
    edit_model(model + "/model.onnx", [&](onnx::ModelProto& proto) {
      for (auto& tensor : *proto.mutable_graph()->mutable_initializer()) {
        for (auto& entry : *tensor.mutable_external_data()) {
          if (entry.key() == "location") entry.set_value(location);
        }
      }
    });
    refused(model);
  }
  test::write_file(model + "/model.onnx", original);
  const std::string data = test::read_file(model + "/model.onnx_data");
  test::write_file(model + "/model.onnx_data", data.substr(0, data.size() / 2));
  refused(model);
  std::filesystem::remove(model + "/model.onnx_data");
  CHECK(refused(model).find("model.onnx_data") != std::string::npos);
}

TEST_CASE("all unsupported operators are listed at once, with their nodes") {
  const test::TemporaryFolder folder;
  const std::string model = test::copy_model(folder, "tiny-gpt2");
  std::vector<std::string> names;
  edit_model(model + "/model.onnx", [&](onnx::ModelProto& proto) {
    for (auto& node : *proto.mutable_graph()->mutable_node()) {
      if (node.op_type() == "Tanh") {
        node.set_op_type("FancyTanh");
        names.push_back(node.name());
      } else if (node.op_type() == "LayerNormalization" && names.size() == 1) {
        node.set_op_type("GroupedNorm");
        names.push_back(node.name());
      }
    }
  });
  REQUIRE(names.size() >= 3);
  const std::string message = refused(model);
  CHECK(message.find("FancyTanh") != std::string::npos);
  CHECK(message.find("GroupedNorm") != std::string::npos);
  for (const std::string& name : names) CHECK(message.find(name) != std::string::npos);
}

TEST_CASE("a tokenizer that is unknown, damaged, or another model's is refused") {
  const test::TemporaryFolder folder;
  const std::string model = test::copy_model(folder, "tiny-gpt2");
  const std::string tokenizer = model + "/tokenizer.json";
  const std::string foreign =
      test::read_file(test::model_folder("folktale-2m") + "/tokenizer.json");
  test::write_file(tokenizer, foreign);
  CHECK(refused(model).find("another model") != std::string::npos);
  test::write_file(tokenizer, foreign.substr(0, foreign.size() / 2));
  refused(model);
  test::write_file(tokenizer, R"({"version":"1.0","added_tokens":[],"model":{"type":"Unigrams",
                                  "vocab":[]}})");
  CHECK(refused(model).find("Unigrams") != std::string::npos);
}

TEST_CASE("a weight that is not finite is refused by name") {
  const test::TemporaryFolder folder;
  const std::string model = test::copy_model(folder, "tiny-qwen2");
  std::string changed;
  edit_model(model + "/model.onnx", [&](onnx::ModelProto& proto) {
    for (auto& tensor : *proto.mutable_graph()->mutable_initializer()) {
      if (tensor.dims_size() != 2 || tensor.raw_data().size() < 4096) continue;
      const uint32_t infinity = 0x7F800000u;
      tensor.mutable_raw_data()->replace(400, 4, reinterpret_cast<const char*>(&infinity), 4);
      changed = tensor.name();
      break;
    }
  });
  REQUIRE_FALSE(changed.empty());
  CHECK(refused(model).find("no finite number") != std::string::npos);
}
