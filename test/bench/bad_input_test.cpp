// What goes wrong ends in one sentence on stderr, the right exit code, and nothing on stdout.
#include <random>

#include "test/bench/llmbench.h"
#include "test/support/catch.h"

namespace pocket::test {
namespace {

const TinyFile& model() {
  static const TinyFile file;
  return file;
}

void refused(const std::vector<std::string>& arguments, int exit_code, const std::string& part,
             const std::string& environment = "") {
  const CommandResult result = llmbench(arguments, environment);
  std::string line;
  for (const std::string& argument : arguments) line += argument + " ";
  INFO(line << "\n" << result.err);
  CHECK(result.exit_code == exit_code);
  CHECK(result.err.find(part) != std::string::npos);
  CHECK(result.out.empty());
  // One sentence of ours; progress may stand before it.
  const size_t last = result.err.rfind("llmbench: ");
  REQUIRE(last != std::string::npos);
  CHECK(std::count(result.err.begin() + static_cast<ptrdiff_t>(last), result.err.end(), '\n') == 1);
}

}  // namespace

TEST_CASE("a model that cannot be read is a bad input") {
  const std::string& path = model().path();
  const std::string absent = model().folder() / "absent.pocket";
  for (const char* command : {"run", "selftest", "inspect"}) {
    refused({command, absent}, 3, "absent.pocket");
  }
  refused({"generate", absent, "--tokens", "1"}, 3, "absent.pocket");
  refused({"logits", absent, "--tokens", "1"}, 3, "absent.pocket");
  refused({"perplexity", absent, "--text", absent}, 3, "absent.pocket");

  const std::string bytes = read_file(path), damaged = model().folder() / "damaged.pocket";
  write_file(damaged, bytes.substr(0, bytes.size() / 2));
  refused({"inspect", damaged}, 3, "");
  write_file(damaged, "");
  refused({"inspect", damaged}, 3, "");
  std::mt19937 random(11);
  for (int i = 0; i < 6; ++i) {
    std::string flipped = bytes;
    // The last one lies in a weight, which only loading looks at.
    const size_t at = i < 5 ? random() % 4096 : bytes.size() - 5000;
    flipped[at] = static_cast<char>(flipped[at] ^ (1 << random() % 8));
    if (flipped == bytes) continue;
    write_file(damaged, flipped);
    INFO("byte " << at);
    refused({"generate", damaged, "--tokens", "1,2", "-n", "2"}, 3, "");
  }
}

TEST_CASE("options that make no sense are usage errors") {
  const std::string& path = model().path();
  const auto usage = [&](std::vector<std::string> words, const std::string& part) {
    refused(words, 2, part);
  };
  usage({"generate", path, "--tokens", "1", "--prompt", "x"}, "either --prompt");
  usage({"generate", path}, "either --prompt");
  usage({"generate", path, "--tokens", "1", "--chat"}, "--chat");
  usage({"generate", path, "--tokens", "105"}, "vocabulary");
  usage({"generate", path, "--tokens", "1", "--temperature", "-1"}, "temperature");
  usage({"generate", path, "--tokens", "1", "--top-k", "257"}, "257");
  usage({"generate", path, "--tokens", "1", "--device", "no such device"}, "no such device");
  usage({"logits", path, "--tokens", "1,2", "--decode-from", "3"}, "--decode-from");
  for (const char* command : {"run", "selftest", "tune"}) {
    usage({command, path, "--precision", "3"}, "has one precision");
  }
  usage({"logits", path, "--tokens", "1", "--precision", "3"}, "has one precision");
  usage({"generate", path, "--tokens", "1", "--precision", "3"}, "has one precision");
  static const TinyFile any{TinyOptions{.encoding = Encoding::any}};
  usage({"generate", any.path(), "--tokens", "1", "--precision", "5"}, "holds 2, 3, 4");
  usage({"run", path, "-p", "250", "-n", "10"}, "context");
  usage({"run", path, "-p", "5", "-n", "3", "--context", "7"}, "context");
  usage({"generate", path, "--tokens", "1", "-n", "2", "--json", "/nonexistent/x.json", "--quiet"},
        "");
}

TEST_CASE("unknown options and commands end in the usage exit code") {
  for (const std::vector<std::string>& words : {std::vector<std::string>{},
                                                {"fly"},
                                                {"run"},
                                                {"run", model().path(), "--fast"},
                                                {"run", model().path(), "-n", "one"},
                                                {"profile", model().path()}}) {
    const CommandResult result = llmbench(words);
    CHECK(result.exit_code == 2);
    CHECK(result.out.empty());
  }
  const CommandResult help = llmbench({"--help"});
  CHECK(help.exit_code == 0);
  CHECK(help.out.find("perplexity") != std::string::npos);
}

TEST_CASE("a context that would overflow is refused before anything runs") {
  const std::string& path = model().path();
  refused({"generate", path, "--tokens", "1,2,3,4,5,6,7", "-n", "5", "--context", "10"}, 2,
          "context");
  refused({"generate", path, "--tokens", "1,2,3,4,5,6,7", "--context", "6"}, 2, "");
  refused({"logits", path, "--tokens", "1,2,3,4,5,6,7", "--context", "6"}, 2, "");
  refused({"generate", path, "--tokens", "1", "--context", "100000"}, 2, "100000");
}

TEST_CASE("files beside the model are checked") {
  const std::string& path = model().path();
  const std::string file = model().folder() / "beside";
  refused({"generate", path, "--prompt", "text"}, 3, "tokenizer");
  refused({"generate", path, "--tokens", file + ".absent.json"}, 3, "absent.json");
  refused({"perplexity", path, "--text", file + ".absent.json"}, 3, "absent.json");
  write_file(file + ".json", "[1, 2");
  refused({"logits", path, "--tokens", file + ".json"}, 3, "no JSON");
  write_file(file + ".json", "[7]");
  refused({"perplexity", path, "--text", file + ".json"}, 3, "two tokens");
  refused({"generate", path, "--tokens", "1", "--limits", file + ".absent.json"}, 3, "absent.json");
  write_file(file + ".json", R"({"shared_memory": 1000000000})");
  refused({"generate", path, "--tokens", "1", "--limits", file + ".json"}, 2, "shared_memory");
  write_file(file + ".json", R"({"shared_memoryy": 1})");
  refused({"generate", path, "--tokens", "1", "--limits", file + ".json"}, 3, "shared_memoryy");
}

TEST_CASE("no Vulkan device is the device exit code") {
  const std::string none = "VK_DRIVER_FILES=/nonexistent.json VK_ICD_FILENAMES=/nonexistent.json";
  refused({"run", model().path()}, 5, "Vulkan", none);
  refused({"generate", model().path(), "--tokens", "1"}, 5, "Vulkan", none);
  refused({"devices"}, 5, "Vulkan", none);
}

TEST_CASE("the program runs under every limits file of the tests") {
  for (const auto& entry : std::filesystem::directory_iterator(POCKET_SOURCE_DIR "/test/limits")) {
    INFO(entry.path());
    const CommandResult result =
        llmbench({"generate", model().path(), "--tokens", "1,2,3,4,5,6,7,8,9,10,11", "-n", "3",
                  "--limits", entry.path().string(), "--quiet"});
    INFO(result.err);
    CHECK(result.exit_code == 0);
    CHECK(std::count(result.out.begin(), result.out.end(), ',') == 2);
  }
}

TEST_CASE("a context that does not fit is refused with the sums, printed before anything is held") {
  // Each state fills one binding of 128 MiB; 400 layers of them fill no machine of ours.
  TinyOptions options;
  options.layers = 400;
  options.max_context = 8'388'608 - 1;
  options.rotary_dim = 0;
  const TinyFile model(options);
  const CommandResult result = llmbench({"generate", model.path(), "--tokens", "1,2,3"});
  INFO(result.err);
  CHECK(result.exit_code == 6);
  const size_t planned = result.err.find("Planned device memory: weights");
  const size_t refused = result.err.find("The model needs weights");
  CHECK(planned != std::string::npos);
  CHECK(refused != std::string::npos);
  CHECK(planned < refused);
  for (const char* part : {" + KV 102", " + activations ", " = ", "are available"}) {
    CHECK(result.err.find(part, refused) != std::string::npos);
  }
}

}  // namespace pocket::test
