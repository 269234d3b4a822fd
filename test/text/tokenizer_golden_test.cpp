// The tokenizer against the Python package `tokenizers`: hashes made by
// scripts/make_tokenizer_golden.py over thousands of random strings, and published vectors.
#include <cstring>
#include <iomanip>
#include <nlohmann/json.hpp>
#include <sstream>

#include "runtime/text/tokenizer.h"
#include "runtime/text/unicode.h"
#include "test/text/random_text.h"
#include "test/text/test_support.h"

using namespace pocket;
using namespace pocket::test;
using nlohmann::json;

namespace {

uint32_t fnv1a(std::string_view bytes, uint32_t state) {
  for (const char b : bytes) state = (state ^ static_cast<unsigned char>(b)) * 0x01000193u;
  return state;
}

uint64_t fnv1a64(std::string_view bytes) {
  uint64_t state = 0xCBF29CE484222325;
  for (const char b : bytes) state = (state ^ static_cast<unsigned char>(b)) * 0x100000001B3u;
  return state;
}

uint32_t hash_of(const std::vector<int32_t>& ids, std::string_view decoded) {
  uint32_t state = 0x811C9DC5;
  for (const int32_t id : ids) {
    const auto u = static_cast<uint32_t>(id);
    for (unsigned shift = 0; shift < 32; shift += 8) {
      const char byte = static_cast<char>(u >> shift & 0xFFu);
      state = fnv1a({&byte, 1}, state);
    }
  }
  return fnv1a(decoded, state);
}

std::string listed(const std::vector<int32_t>& ids) {
  std::ostringstream out;
  for (const int32_t id : ids) out << id << ' ';
  return out.str();
}

// Every string of one golden file; the first wrong one is printed. entry: of index.json.
void check_golden(const std::string& name, const json& entry, const std::string& tokenizer_json) {
  const Tokenizer tokenizer = Tokenizer::from_json(tokenizer_json);
  const auto added = entry.at("added").get<std::vector<std::string>>();
  const std::string golden = read_file(golden_dir() / (name + ".u32"));
  const size_t count = golden.size() / 4;
  REQUIRE(count >= 600);
  size_t wrong = 0;
  std::string first;
  for (size_t i = 0; i < count; i += kStride) {
    uint32_t expected = 0;
    std::memcpy(&expected, golden.data() + 4 * i, 4);
    const std::string text = random_string(i, added);
    const std::vector<int32_t> ids = tokenizer.encode(text);
    Tokenizer::Stream stream = tokenizer.stream(true);
    std::string decoded;
    bool whole = true;  // every piece is whole characters
    for (const int32_t id : ids) {
      const std::string piece = stream.push(id);
      whole &= to_valid_utf8(piece) == piece;
      decoded += piece;
    }
    decoded += stream.finish();
    if (hash_of(ids, decoded) == expected && whole && decoded == tokenizer.decode(ids, true)) {
      continue;
    }
    if (wrong++ == 0) {
      first = "string " + std::to_string(i) + " " + escaped(text) + "\nids " + listed(ids) +
              "\ndecoded " + escaped(decoded);
    }
  }
  INFO(name << ": " << wrong << " of " << count << " strings differ; the first is " << first);
  CHECK(wrong == 0);
}

json golden_index() { return json::parse(read_file(golden_dir() / "index.json")); }

}  // namespace

TEST_CASE("real tokenizers equal the Python package on 10,000 random strings each") {
  size_t checked = 0;
  const json index = golden_index();
  for (const auto& file : index.at("files")) {
    const bool shared = file.at("where") == "shared";
    const auto path = (shared ? shared_data() : source_dir()) / file.at("path").get<std::string>();
    if (!std::filesystem::exists(path)) {
      WARN("skipped: " << path << " is not there");
      continue;
    }
    const std::string text = read_file(path);
    std::ostringstream hash;
    hash << std::hex << std::setw(16) << std::setfill('0') << fnv1a64(text);
    INFO(path << " changed: run scripts/make_tokenizer_golden.py again");
    REQUIRE(hash.str() == file.at("fnv1a64"));
    check_golden(file.at("name"), file, text);
    ++checked;
  }
  if (checked == 0) POCKET_SKIP("no tokenizer is there");
}

TEST_CASE("every bundled tokenizer has golden hashes") {
  const auto models = source_dir() / "models";
  if (!std::filesystem::is_directory(models)) POCKET_SKIP("no models folder");
  const json index = golden_index();
  size_t found = 0;
  for (const auto& entry : std::filesystem::directory_iterator(models)) {
    if (!std::filesystem::exists(entry.path() / "tokenizer.json")) continue;
    ++found;
    const std::string path = "models/" + entry.path().filename().string() + "/tokenizer.json";
    bool listed_there = false;
    for (const auto& file : index.at("files")) listed_there |= file.at("path") == path;
    INFO(path << ": run scripts/make_tokenizer_golden.py");
    CHECK(listed_there);
  }
  if (found == 0) POCKET_SKIP("no bundled tokenizer");
}

TEST_CASE("every kind of part equals the Python package") {
  const json index = golden_index();
  REQUIRE(index.at("variants").size() >= 60);
  for (const auto& variant : index.at("variants")) {
    json base =
        json::parse(read_file(golden_dir() / (variant.at("base").get<std::string>() + ".json")));
    for (const auto& [key, value] : variant.at("patch").items()) {
      if (key == "model") {
        base["model"].update(value);
      } else {
        base[key] = value;
      }
    }
    check_golden("variant-" + variant.at("name").get<std::string>(), variant, base.dump());
  }
}

TEST_CASE("llama.cpp's GPT-2 vectors") {
  const auto folder = shared_data() / "tokenizers";
  if (!std::filesystem::exists(folder / "vectors")) POCKET_SKIP("no tokenizers/vectors");
  const Tokenizer tokenizer = Tokenizer::from_json(read_file(folder / "gpt2/tokenizer.json"));
  const std::string texts = read_file(folder / "vectors/ggml-vocab-gpt-2.gguf.inp");
  std::istringstream expected(read_file(folder / "vectors/ggml-vocab-gpt-2.gguf.out"));
  static constexpr std::string_view kSeparator = "\n__ggml_vocab_test__\n";
  size_t pos = 0, count = 0;
  for (std::string line; std::getline(expected, line); ++count) {
    REQUIRE(pos <= texts.size());
    const size_t end = std::min(texts.find(kSeparator, pos), texts.size());
    const std::string text = texts.substr(pos, end - pos);
    pos = end + kSeparator.size();
    std::vector<int32_t> ids;
    std::istringstream words(line);
    for (int32_t id = 0; words >> id;) ids.push_back(id);
    INFO("text " << escaped(text));
    CHECK(tokenizer.encode(text) == ids);
    CHECK(tokenizer.decode(ids, false) == text);
  }
  CHECK(count >= 40);
}
