// Hostile tokenizer.json: loads or throws pocket::Error, nothing else. Reproducible by round
// number.
#include <nlohmann/json.hpp>

#include "runtime/base/error.h"
#include "runtime/text/tokenizer.h"
#include "test/text/random_text.h"
#include "test/text/test_support.h"

using namespace pocket;
using namespace pocket::test;
using nlohmann::json;

namespace {

// A tiny tokenizer with one part of each kind.
json every_part() {
  json vocabulary;
  int32_t next = 0;
  for (const char* token : {"<s>", "a", "b", "c", "Ġ", "ab", "abc", "<0x41>", "1", "Ġa"}) {
    vocabulary[token] = next++;
  }
  json j = json::parse(R"({"version": "1.0", "truncation": null, "padding": null,
    "added_tokens": [
      {"id": 0, "content": "<s>", "single_word": false, "lstrip": true, "rstrip": true, "normalized": false, "special": true},
      {"id": 10, "content": "Yes", "single_word": true, "lstrip": false, "rstrip": false, "normalized": true, "special": false}],
    "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}, {"type": "Prepend", "prepend": "a"},
      {"type": "Replace", "pattern": {"Regex": "x{2,}"}, "content": "x"}, {"type": "Strip", "strip_left": false, "strip_right": true}]},
    "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
      {"type": "Split", "pattern": {"Regex": "(?i:'s|'t)|[^\\r\\n\\p{L}]?\\p{L}+|\\s+(?!\\S)|\\p{N}{1,3}"}, "behavior": "Isolated", "invert": false},
      {"type": "Split", "pattern": {"String": "b"}, "behavior": "MergedWithNext", "invert": true},
      {"type": "Digits", "individual_digits": true}, {"type": "Punctuation", "behavior": "Contiguous"},
      {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true}]},
    "post_processor": {"type": "Sequence", "processors": [{"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true},
      {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
       "pair": [], "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}}}]},
    "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "_"}, "content": " "}, {"type": "ByteFallback"},
      {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 2}]},
    "model": {"type": "BPE", "dropout": null, "unk_token": "<s>", "continuing_subword_prefix": null, "end_of_word_suffix": "",
      "fuse_unk": true, "byte_fallback": true, "ignore_merges": true, "merges": ["a b", ["ab", "c"], "Ġ a"]}})");
  j["model"]["vocab"] = vocabulary;
  return j;
}

const std::vector<json>& odd_values() {
  static const std::vector<json> values = {nullptr,
                                           true,
                                           0,
                                           -1,
                                           1e300,
                                           4294967296,
                                           "",
                                           "x",
                                           "\\p{L}",
                                           "(",
                                           "\u0000",
                                           json::array(),
                                           json::object(),
                                           json::array({1, "a"}),
                                           "<s>",
                                           9,
                                           "Sequence",
                                           "Regex",
                                           "((((a+)+)+)+)+$",
                                           std::string(3000, '(')};
  return values;
}

// Replaces, deletes or doubles one value somewhere in the document.
void mutate_value(json& j, Draws& draws) {
  json* at = &j;
  for (int depth = 0; depth < 8 && at->is_structured() && !at->empty(); ++depth) {
    if (depth > 0 && draws.below(5) == 0) break;
    auto it = at->begin();
    std::advance(it, draws.below(at->size()));
    if (draws.below(12) == 0) {
      at->erase(it);
      return;
    }
    if (at->is_array() && draws.below(12) == 0) {
      at->push_back(json(*it));
      return;
    }
    at = &*it;
  }
  *at = draws.below(8) == 0 ? j : odd_values()[draws.below(odd_values().size())];
}

void mutate_bytes(std::string& text, Draws& draws) {
  for (uint32_t left = 1 + draws.below(3); left > 0 && !text.empty(); --left) {
    const size_t at = draws.below(text.size());
    switch (draws.below(4)) {
      case 0:
        text[at] = static_cast<char>(draws.below(256));
        break;
      case 1:
        text.erase(at, 1 + draws.below(20));
        break;
      case 2:
        text.insert(at, text.substr(draws.below(text.size()), draws.below(40)));
        break;
      default:
        text.resize(at);
    }
  }
}

}  // namespace

namespace {

struct Count {
  size_t loaded = 0, refused = 0;
};

// Loads it and uses it, or refuses it: nothing else may happen.
void try_tokenizer(const std::string& text, uint64_t round, Count& count) {
  static const std::vector<std::string> kAdded = {"<s>", "Yes"};
  try {
    const Tokenizer tokenizer = Tokenizer::from_json(text);
    ++count.loaded;
    const auto ids = tokenizer.encode(random_string(round, kAdded) + "abc xx 's Yes <s> ½ﬁＡ");
    for (const int32_t id : ids) {
      if (id < 0 || static_cast<size_t>(id) >= tokenizer.size()) FAIL(round << ": id " << id);
    }
    tokenizer.decode(ids, round % 2 == 0);
  } catch (const Error& error) {
    ++count.refused;
    if (error.code != ExitCode::bad_input) FAIL(round << ": " << error.what());
  } catch (const std::exception& error) {
    FAIL("round " << round << ": " << error.what() << "\n" << escaped(text.substr(0, 3000)));
  }
}

}  // namespace

TEST_CASE("2,000 mutations of a tokenizer.json load or are refused") {
  const json original = every_part();
  REQUIRE_NOTHROW(Tokenizer::from_json(original.dump()));
  Count count;
  for (uint64_t round = 0; round < 2000; round += kStride == 1 ? 1 : 2) {
    Draws draws(round * 977 + 5);
    json j = original;
    for (uint32_t left = 1 + draws.below(3); left > 0; --left) mutate_value(j, draws);
    std::string text = j.dump(-1, ' ', false, json::error_handler_t::replace);
    if (draws.below(3) == 0) mutate_bytes(text, draws);
    try_tokenizer(text, round, count);
  }
  CHECK(count.loaded > 50);
  CHECK(count.refused > 50);
}

TEST_CASE("1,000 mutations of a Unigram tokenizer.json and of its charsmap load or are refused") {
  json original = json::parse(read_file(golden_dir() / "unigram.json"));
  original["pre_tokenizer"] = json::parse(
      R"({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true})");
  original["model"]["byte_fallback"] = true;
  REQUIRE_NOTHROW(Tokenizer::from_json(original.dump()));
  Count count;
  for (uint64_t round = 0; round < 1000; round += kStride == 1 ? 1 : 2) {
    Draws draws(round * 131 + 7);
    json j = original;
    json& charsmap = j["normalizer"]["normalizers"][0]["precompiled_charsmap"];
    if (round % 2 == 0) {
      std::string& map = charsmap.get_ref<std::string&>();
      static constexpr std::string_view kDigits = "AQgwz/+09B";
      for (uint32_t left = 1 + draws.below(40); left > 0; --left) {
        map[draws.below(map.size())] = kDigits[draws.below(kDigits.size())];
      }
      if (draws.below(8) == 0) map.resize(draws.below(map.size()));
    } else {
      for (uint32_t left = 1 + draws.below(3); left > 0; --left) mutate_value(j, draws);
    }
    try_tokenizer(j.dump(-1, ' ', false, json::error_handler_t::replace), round, count);
  }
  CHECK(count.loaded > 50);
  CHECK(count.refused > 50);
}
