#include "runtime/text/tokenizer.h"

#include <chrono>
#include <nlohmann/json.hpp>

#include "runtime/base/error.h"
#include "runtime/text/unicode.h"
#include "test/text/random_text.h"
#include "test/text/test_support.h"

using namespace pocket;
using namespace pocket::test;
using nlohmann::json;

namespace {

json small_json() { return json::parse(read_file(golden_dir() / "small.json")); }
Tokenizer load(const json& j) { return Tokenizer::from_json(j.dump()); }

// The message of the Error bad_input that loading gives.
std::string refusal(const json& j) {
  try {
    load(j);
  } catch (const Error& error) {
    CHECK(error.code == ExitCode::bad_input);
    return error.what();
  }
  return "loaded";
}

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("byte-level round trip of any text") {
  const Tokenizer tokenizer = load(small_json());
  for (uint64_t i = 0; i < 3000; i += kStride) {
    const std::string text = random_string(i, {});
    const std::vector<int32_t> ids = tokenizer.encode(text);
    if (tokenizer.decode(ids, false) != text) FAIL(i << ": " << escaped(text));
    Tokenizer::Stream stream = tokenizer.stream(false);
    std::string streamed;
    for (const int32_t id : ids) {
      const std::string piece = stream.push(id);
      if (to_valid_utf8(piece) != piece) FAIL(i << ": half a character in " << escaped(piece));
      streamed += piece;
    }
    if (streamed + stream.finish() != text) FAIL(i << ": streamed " << escaped(streamed));
  }
  CHECK(tokenizer.encode("").empty());
  CHECK(tokenizer.decode({}, true).empty());
}

TEST_CASE("input that is not UTF-8 is read with U+FFFD in its place") {
  const Tokenizer tokenizer = load(small_json());
  CHECK(tokenizer.encode("a\xff\xe2\x82z") == tokenizer.encode("a\uFFFD\uFFFDz"));
  CHECK(tokenizer.decode(tokenizer.encode("\xed\xa0\x80"), false) == "\uFFFD\uFFFD\uFFFD");
  // Half a character decoded alone.
  const auto euro = tokenizer.encode("€");
  REQUIRE(euro.size() > 1);
  CHECK(tokenizer.decode(std::span(euro).first(1), false) == "\uFFFD");
}

TEST_CASE("ids, names, special tokens and the configuration file") {
  const std::string config = R"({"bos_token": "<|end|>", "eos_token": {"content": "<|end|>"}})";
  const Tokenizer tokenizer = Tokenizer::from_json(small_json().dump(), config);
  CHECK(tokenizer.bos_id() == 0);
  CHECK(tokenizer.eos_id() == 0);
  CHECK(tokenizer.is_special(0));
  CHECK_FALSE(tokenizer.is_special(5));
  CHECK(tokenizer.id_of("<|end|>") == 0);
  CHECK_FALSE(tokenizer.id_of("no such token"));
  CHECK(tokenizer.size() == small_json()["model"]["vocab"].size());
  for (int32_t id = 0; id < static_cast<int32_t>(tokenizer.size()); ++id) {
    CHECK(tokenizer.id_of(tokenizer.token_text(id)) == id);
  }
  const std::vector<int32_t> ids = {-1, 0, 1 << 30, *tokenizer.id_of("a")};
  CHECK(tokenizer.decode(ids, true) == "a");
  CHECK(tokenizer.decode(ids, false) == "<|end|>a");
  CHECK(tokenizer.stream(false).push(-1).empty());
  CHECK(tokenizer.stream(false).push(1 << 30).empty());
  CHECK_THROWS_AS(Tokenizer::from_json(small_json().dump(), "[]"), Error);
  CHECK_THROWS_AS(Tokenizer::from_json(small_json().dump(), R"({"bos_token": 3})"), Error);
}

TEST_CASE("a stream gives text as soon as nothing can change it") {
  json j = json::parse(read_file(golden_dir() / "fallback.json"));
  const auto id = [&](const char* token) { return j["model"]["vocab"].at(token).get<int32_t>(); };
  Tokenizer tokenizer = load(j);
  Tokenizer::Stream stream = tokenizer.stream(true);
  CHECK(stream.push(id("▁")).empty());  // the leading space is stripped
  CHECK(stream.push(id("a")) == "a");
  CHECK(stream.push(id("▁t")) == " t");
  for (const char* byte : {"<0xE2>", "<0x82>", "<0xAC>"}) CHECK(stream.push(id(byte)).empty());
  CHECK(stream.push(id("a")) == "€a");
  CHECK(stream.push(id("<0xE2>")).empty());
  CHECK(stream.push(id("<0x41>")).empty());
  CHECK(stream.finish() == "\uFFFD\uFFFD");

  const auto text_of = [&](const char* decoder, const std::vector<const char*>& tokens) {
    j["decoder"] = json::parse(decoder);
    tokenizer = load(j);
    Tokenizer::Stream pieces = tokenizer.stream(true);
    std::string out;
    for (const char* token : tokens) out += pieces.push(id(token)) + "|";
    return out + pieces.finish();
  };
  // At most two of the spaces at the end go; those that may still stay inside wait.
  CHECK(text_of(R"({"type": "Sequence", "decoders": [
                   {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "Fuse"},
                   {"type": "Strip", "content": " ", "start": 0, "stop": 2}]})",
                {"a", "▁", "▁", "▁", "b", "▁", "▁", "▁"}) == "a||| |  b||| |");
  // An "a" at the end may begin an "at".
  CHECK(text_of(R"({"type": "Sequence", "decoders": [{"type": "Fuse"},
                   {"type": "Replace", "pattern": {"String": "at"}, "content": "u"}]})",
                {"b", "a", "a", "t", "a"}) == "b||a|u||a");
}

TEST_CASE("Unigram: what is malformed is refused") {
  const auto with = [](const char* key, const json& value) {
    json j = json::parse(read_file(golden_dir() / "unigram.json"));
    j["model"][key] = value;
    return refusal(j);
  };
  CHECK(contains(with("vocab", json::array()), "1 to 16777215 tokens, not 0"));
  CHECK(contains(with("vocab", json::array({json::array({"a", "b"})})), "a token and its score"));
  CHECK(contains(with("vocab", json::array({json::array({"a", -1, 2})})), "a token and its score"));
  CHECK(contains(with("unk_id", 100000), "unk_id 100000"));
  CHECK(contains(with("unk_id", -1), "id"));
  CHECK(contains(with("nbest_size", 4), "'nbest_size' is not supported"));
  json j = json::parse(read_file(golden_dir() / "unigram.json"));
  j["model"]["unk_id"] = nullptr;
  const Tokenizer tokenizer = load(j);
  CHECK_NOTHROW(tokenizer.encode("wolf"));
  CHECK_THROWS_AS(tokenizer.encode("\U0001F999"), Error);
  j["normalizer"] = {{"type", "Precompiled"}, {"precompiled_charsmap", "AAAA"}};
  CHECK(contains(refusal(j), "states a trie of 0"));
  j["normalizer"]["precompiled_charsmap"] = "?";
  CHECK(contains(refusal(j), "not base64"));
  j["normalizer"] = {{"type", "StripAccents"}};
  j["pre_tokenizer"]["prepend_scheme"] = "first";
  CHECK(contains(refusal(j), "prepend_scheme 'first, after a normalizer"));
}

TEST_CASE("the template adds its tokens only when asked") {
  json j = small_json();
  j["post_processor"] = json::parse(R"({"type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "<|end|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [], "special_tokens": {"<|end|>": {"id": "<|end|>", "ids": [0], "tokens": ["<|end|>"]}}})");
  const Tokenizer tokenizer = load(j);
  const auto plain = tokenizer.encode("the wolf", false), with = tokenizer.encode("the wolf");
  REQUIRE(with.size() == plain.size() + 1);
  CHECK(with[0] == 0);
  CHECK(std::equal(plain.begin(), plain.end(), with.begin() + 1));
  CHECK(tokenizer.encode("") == std::vector<int32_t>{0});
}

TEST_CASE("what is not known is refused by name") {
  const auto with = [](const char* key, const char* value) {
    json j = small_json();
    j[key] = json::parse(value);
    return refusal(j);
  };
  CHECK(contains(with("pre_tokenizer", R"({"type": "UnicodeScripts"})"),
                 "tokenizer: pre-tokenizer 'UnicodeScripts' is not supported; "));
  CHECK(contains(with("normalizer", R"({"type": "BertNormalizer"})"), "'BertNormalizer'"));
  CHECK(contains(with("pre_tokenizer",
                      R"({"type": "Metaspace", "replacement": "_", "prepend_scheme": "last"})"),
                 "prepend_scheme 'last'"));
  CHECK(contains(with("pre_tokenizer", R"({"type": "Metaspace", "replacement": "__"})"),
                 "one character"));
  CHECK(contains(with("decoder", R"({"type": "WordPiece"})"), "decoder 'WordPiece'"));
  CHECK(contains(with("post_processor", R"({"type": "BertProcessing"})"), "'BertProcessing'"));
  CHECK(contains(with("model", R"({"type": "WordLevel", "vocab": {}})"), "model 'WordLevel'"));
  const auto with_model = [](const char* key, const json& value) {
    json j = small_json();
    j["model"][key] = value;
    return refusal(j);
  };
  CHECK(contains(with_model("dropout", 0.1), "dropout"));
  CHECK(contains(with_model("continuing_subword_prefix", "##"), "'##'"));
  CHECK(contains(with_model("end_of_word_suffix", "</w>"), "'</w>'"));
  CHECK(contains(with_model("unk_token", "nope"), "nope"));
  CHECK(contains(with_model("merges", {"q"}), "merge"));
  CHECK(contains(with_model("merges", {"qqq zzz"}), "qqq"));
  CHECK(contains(with_model("vocab", {{"a", 4000000000u}}), "id"));
  CHECK(contains(with_model("vocab", {{"a", 16000000}}), "too far"));
  CHECK(contains(with_model("vocab", {{"a", 1}, {"b", 1}}), "share"));
  CHECK(contains(with_model("vocab", {{"a", -1}}), "id"));
  CHECK(contains(with_model("vocab", {{"a", 1.5}}), "id"));
  json j = small_json();
  j["added_tokens"].push_back(j["added_tokens"][0]);
  CHECK(contains(refusal(j), "twice"));
  j = small_json();
  j["added_tokens"][0]["id"] = 7;
  CHECK(contains(refusal(j), "takes id 0"));
  CHECK_THROWS_AS(validate_supported(""), Error);
  CHECK_THROWS_AS(validate_supported("[1]"), Error);
  CHECK_THROWS_AS(validate_supported("{}"), Error);
  CHECK_NOTHROW(validate_supported(small_json().dump()));
}

TEST_CASE("deep nesting is refused") {
  json nested = {{"type", "NFC"}};
  for (int depth = 0; depth < 50; ++depth) {
    nested = {{"type", "Sequence"}, {"normalizers", json::array({nested})}};
  }
  json j = small_json();
  j["normalizer"] = nested;
  CHECK(contains(refusal(j), "nested"));
  CHECK_THROWS_AS(Tokenizer::from_json(std::string(100000, '[')), Error);
}

TEST_CASE("100 kB are encoded in well under a second") {
  const Tokenizer tokenizer = load(small_json());
  std::string words, one_word(100000, 'a'), spaces(100000, ' '), mixed;
  for (uint64_t i = 0; words.size() < 100000; ++i)
    words += " wolf" + std::to_string(i) + " the end.";
  for (uint64_t i = 0; mixed.size() < 100000; ++i) mixed += random_string(i, {});
  for (const std::string* text : {&words, &one_word, &spaces, &mixed}) {
    const auto start = std::chrono::steady_clock::now();
    const auto ids = tokenizer.encode(*text);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    CHECK(tokenizer.decode(ids, false) == *text);
    INFO(escaped(text->substr(0, 20)) << " took " << took.count() << " s");
    CHECK(took.count() < 5);  // generous: sanitizers, a loaded machine
  }
}
