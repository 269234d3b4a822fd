#include "runtime/package/package.h"

#include <functional>
#include <map>
#include <set>

#include "converter/quant/rtn.h"
#include "runtime/base/error.h"
#include "runtime/package/w8a8.h"
#include "runtime/program/json.h"
#include "test/support/catch.h"
#include "test/support/command.h"
#include "test/support/tiny_model.h"

using namespace pocket;

TEST_CASE("a tiny model of every style and encoding comes back whole") {
  const test::TemporaryFolder folder;
  const std::string path = folder / "tiny.pocket";
  for (const auto style : {test::TinyStyle::llama, test::TinyStyle::gpt2}) {
    for (const Encoding encoding : {Encoding::f16, Encoding::int4, Encoding::m0e4}) {
      for (const bool variant : {false, true}) {
        test::TinyOptions options;
        options.style = style;
        options.encoding = encoding;
        options.merged_qkv = options.tied = !variant;
        options.unfused = variant;
        options.group = variant ? 64 : 32;
        options.eos_ids = {2, 5};
        test::TinyModel model = test::make_tiny_model(options);
        model.manifest.tokenizer_json = "{\"a\": \"\xc3\xa9\\n\"}";
        model.manifest.chat_template = "{{ x }}";
        model.manifest.chat_tokens = {{"bos_token", "<s>"}};
        test::write_tiny_model(model, path);
        const Package package = Package::open(path);
        const Manifest& manifest = package.manifest();
        CHECK(manifest.tokenizer_json == model.manifest.tokenizer_json);
        CHECK(manifest.chat_template == model.manifest.chat_template);
        CHECK(manifest.chat_tokens == model.manifest.chat_tokens);
        CHECK(manifest.generation.eos_ids == options.eos_ids);
        CHECK(manifest.provenance == model.manifest.provenance);
        CHECK(program_to_json(manifest.program) == program_to_json(model.manifest.program));
        REQUIRE(manifest.weights.size() == model.values.size());
        for (size_t i = 0; i < manifest.shards.size(); ++i) package.verify_shard(i);
        for (size_t i = 0; i < manifest.weights.size(); ++i) {
          const Weight& weight = manifest.weights[i];
          const WeightFormat& format = weight.format;
          CHECK(weight.shape == model.shapes[i]);
          CHECK(format.encoding == (weight.shape.size() == 1 ? Encoding::f32 : encoding));
          const auto codes = package.gather(weight, SectionRole::codes);
          const auto pairs = package.gather(weight, SectionRole::scale);
          CHECK(codes.size() == format.code_bytes());
          CHECK(pairs.size() == format.pair_bytes());
          std::vector<float> row(static_cast<size_t>(format.columns));
          double error = 0, norm = 0;
          for (int64_t n = 0; n < format.rows; ++n) {
            unpack_row(format, codes.data(), pairs.data(), n, row.data());
            for (int64_t k = 0; k < format.columns; ++k) {
              const double x = double(model.values[i][size_t(n * format.columns + k)]);
              error += (x - double(row[size_t(k)])) * (x - double(row[size_t(k)]));
              norm += x * x;
            }
          }
          CHECK(error <= norm * (format.four_bit() ? 0.012 : 1e-6));
        }
      }
    }
  }
}

TEST_CASE("the file holds the weights' bytes exactly, and little else") {
  const test::TemporaryFolder folder;
  const std::string path = folder / "tiny.pocket";
  test::TinyOptions options;
  options.encoding = Encoding::m0e4;
  test::write_tiny_model(options, path);
  const Package package = Package::open(path);
  uint64_t sections = 0, expected = 0, gaps = 0;
  for (const Weight& weight : package.manifest().weights) {
    for (const Section& section : weight.sections) {
      sections += section.bytes;
      gaps += 256;  // at most, each
    }
    const auto rows = uint64_t(weight.format.rows), columns = uint64_t(weight.format.columns);
    const uint64_t groups = (columns + 31) / 32;
    expected += weight.format.four_bit() ? rows * (groups * 16 + groups * 4)
                                         : rows * ((columns + 3) / 4 * 16);
  }
  CHECK(sections == expected);
  CHECK(package.file_bytes() <= sections + gaps + package.manifest_bytes() + 16384 + 64);
  CHECK(package.tokenizer_bytes() == 0);
}

TEST_CASE("large weights are cut at whole blocks of rows, both roles alike") {
  const test::TemporaryFolder folder;
  const std::string whole = folder / "whole.pocket", cut = folder / "cut.pocket";
  test::TinyOptions options;
  options.encoding = Encoding::m0e4;
  options.vocab = 1000;
  const test::TinyModel model = test::make_tiny_model(options);
  test::write_tiny_model(model, whole);
  test::write_tiny_model(model, cut, 8192);
  const Package a = Package::open(whole), b = Package::open(cut);
  CHECK(a.manifest().shards.size() == 1);
  CHECK(b.manifest().shards.size() > 4);
  size_t pieces = 0;
  for (size_t i = 0; i < a.manifest().weights.size(); ++i) {
    const Weight& left = a.manifest().weights[i];
    const Weight& right = b.manifest().weights[i];
    std::map<SectionRole, std::vector<int64_t>> first_rows;
    for (const Section& section : right.sections) {
      CHECK(section.bytes <= 8192);
      CHECK(section.first_row % 32 == 0);
      first_rows[section.role].push_back(section.first_row);
    }
    if (left.format.four_bit()) {
      CHECK(first_rows[SectionRole::codes] == first_rows[SectionRole::scale]);
    }
    pieces = std::max(pieces, first_rows[SectionRole::codes].size());
    for (const SectionRole role : {SectionRole::codes, SectionRole::scale}) {
      CHECK(a.gather(left, role) == b.gather(right, role));
    }
  }
  CHECK(pieces > 3);
}

TEST_CASE("a precision is chosen among those that the file holds") {
  const test::TemporaryFolder folder;
  const std::string plain = folder / "plain.pocket", any = folder / "any.pocket";
  test::write_tiny_model(test::TinyOptions{}, plain);
  test::TinyOptions options;
  options.encoding = Encoding::any;
  options.intermediate = 1000;
  const test::TinyModel model = test::make_tiny_model(options);
  test::write_tiny_model(model, any, 8192);  // matrices in several sections of every kind
  Package package = Package::open(any), one = Package::open(plain);
  CHECK_THROWS_WITH(package.choose_precision(5), Catch::Contains("holds 2, 3, 4"));
  CHECK_THROWS_WITH(one.choose_precision(4), Catch::Contains("has one precision"));
  const nlohmann::json whole = to_json(package.manifest());
  size_t most = 0;
  for (const int32_t width : {4, 2, 3}) {
    package.choose_precision(width);
    CHECK(to_json(package.manifest()) == whole);  // what the file holds, not what is read
    for (const Weight& weight : package.manifest().weights) {
      if (weight.format.encoding != Encoding::any) continue;
      CHECK(package.gather(weight, SectionRole::codes).size() == weight.format.code_bytes());
      CHECK(package.gather(weight, SectionRole::scale).size() == weight.format.pair_bytes());
      CHECK(weight.format.width == width);
      most = std::max(most, weight.sections.size());
    }
  }
  CHECK(most > 7);
  // The same bytes as from a file in one piece.
  const std::string large = folder / "large.pocket";
  test::write_tiny_model(model, large);
  Package uncut = Package::open(large);
  uncut.choose_precision(3);
  for (size_t i = 0; i < model.shapes.size(); ++i) {
    for (const SectionRole role : {SectionRole::codes, SectionRole::scale}) {
      CHECK(uncut.gather(uncut.manifest().weights[i], role) ==
            package.gather(package.manifest().weights[i], role));
    }
  }
}

TEST_CASE("a manifest that lies about planes and tables is refused") {
  const test::TemporaryFolder folder;
  const std::string path = folder / "any.pocket";
  test::TinyOptions options;
  options.encoding = Encoding::any;
  test::write_tiny_model(options, path);
  const nlohmann::json good = to_json(Package::open(path).manifest());
  CHECK_NOTHROW(manifest_from_json(good));
  size_t at = 0;
  while (good["weights"][at]["encoding"] != "any") ++at;
  const auto refused = [&](const std::function<void(nlohmann::json&)>& change) {
    nlohmann::json bad = good;
    change(bad["weights"][at]);
    CHECK_THROWS_AS(manifest_from_json(bad), Error);
  };
  refused([](auto& w) { w.erase("bits"); });
  refused([](auto& w) { w["bits"] = {2, 3}; });        // sections that no width asks for
  refused([](auto& w) { w["bits"] = {2, 3, 4, 5}; });  // sections that are not there
  refused([](auto& w) { w["bits"] = {4, 3, 2}; });
  refused([](auto& w) { w["bits"] = {1, 4}; });
  refused([](auto& w) { w["bits"] = {2, 3, 9}; });
  refused([](auto& w) { w["encoding"] = "f16"; });
  refused([](auto& w) { w["group"] = 32; });
  refused([](auto& w) { w["sections"][0].erase("bits"); });
  refused([](auto& w) { w["sections"][0]["bits"] = 2; });
  refused([](auto& w) { w["sections"][4]["role"] = "plane"; });
  refused([](auto& w) { w["sections"].erase(3); });
}

TEST_CASE("a manifest that lies about 8-bit weights and their inputs is refused") {
  const test::TemporaryFolder folder;
  const std::string path = folder / "w8a8.pocket";
  test::TinyOptions options;
  options.encoding = Encoding::w8a8;
  options.merged_qkv = false;
  test::write_tiny_model(options, path);
  const Package package = Package::open(path);
  const nlohmann::json good = to_json(package.manifest());
  CHECK_NOTHROW(manifest_from_json(good));
  const std::vector<std::string>& needed = package.manifest().required_features;
  CHECK(std::count(needed.begin(), needed.end(), "w8a8") == 1);
  const auto index_of = [&](const std::string& name) {
    size_t at = 0;
    while (good["weights"][at]["name"] != name) ++at;
    return at;
  };
  const auto change = [&](const std::string& name, const auto& edit) {
    nlohmann::json changed = good;
    edit(changed["weights"][index_of(name)]);
    return changed;
  };
  const auto refused = [&](const std::string& name, const char* sentence, const auto& edit) {
    CAPTURE(name, sentence);
    CHECK_THROWS_WITH(manifest_from_json(change(name, edit)), Catch::Contains(sentence));
  };
  using Json = nlohmann::json;
  refused("layer0.q", "input scale", [](Json& w) { w.erase("act_scale_in"); });
  refused("layer0.q", "input scale", [](Json& w) { w["act_scale_in"] = 0; });
  refused("layer0.q", "input scale", [](Json& w) { w["act_scale_in"] = -0.5; });
  refused("layer0.q", "input scale", [](Json& w) { w["act_scale_in"] = 1e-40; });
  refused("layer0.q", "fit a float", [](Json& w) { w["act_scale_in"] = 1e300; });
  refused("layer0.q", "must be a number", [](Json& w) { w["act_scale_in"] = "0.1"; });
  refused("layer0.q", "steps of 32", [](Json& w) { w["group"] = 32; });
  refused("layer0.q", "must be i8", [](Json& w) { w["sections"][0]["dtype"] = "u4"; });
  refused("layer0.q", "must be f32i32", [](Json& w) { w["sections"][1]["dtype"] = "f16x2"; });
  refused("layer0.q", "lacks rows of role scale", [](Json& w) { w["sections"].erase(1); });
  refused("layer0.gate", "for one input", [](Json& w) { w["act_scale_in"] = 0.5; });
  refused("embedding", "only w8a8 has", [](Json& w) { w["act_scale_in"] = 0.5; });
  const Json outlier = {{"importance", 3.5}, {"hot_channels", {1, 7, 39}}, {"hit_rate", 0.75}};
  const Manifest kept =
      manifest_from_json(change("layer0.o", [&](Json& w) { w["outlier"] = outlier; }));
  const Weight& held = kept.weights[index_of("layer0.o")];
  REQUIRE(held.outlier.has_value());
  CHECK(held.outlier->importance == 3.5f);
  CHECK(held.outlier->hit_rate == 0.75f);
  CHECK(held.outlier->hot_channels == std::vector<int32_t>{1, 7, 39});
  CHECK(to_json(kept)["weights"][index_of("layer0.o")]["outlier"] == outlier);
  const auto bad_outlier = [&](const char* key, const Json& value, const char* sentence) {
    refused("layer0.o", sentence, [&](Json& w) {
      w["outlier"] = outlier;
      w["outlier"][key] = value;
    });
  };
  bad_outlier("importance", -1, "importance");
  bad_outlier("hit_rate", 1.5, "hit rate");
  bad_outlier("hot_channels", {1, 1}, "ascending");
  bad_outlier("hot_channels", {39, 40}, "hot channel 40");
  bad_outlier("hot_channels", {-1}, "allowed are");
  bad_outlier("surprise", 1, "unknown key");
  refused("embedding", "only w8a8 has", [&](Json& w) { w["outlier"] = outlier; });
}

TEST_CASE("8-bit weights serve the matrices of linears only") {
  test::TinyOptions options;
  options.encoding = Encoding::w8a8;
  test::TinyModel model = test::make_tiny_model(options);
  Manifest& manifest = model.manifest;
  for (size_t i = 0; i < model.shapes.size(); ++i) {
    Weight weight;
    weight.name = manifest.program.weights[i];
    weight.shape = model.shapes[i];
    const bool matrix = weight.shape.size() == 2;
    weight.format.encoding = matrix ? Encoding::w8a8 : Encoding::f32;
    weight.act_scale = matrix ? 0.5f : 0.0f;
    manifest.weights.push_back(weight);
  }
  CHECK_THROWS_WITH(check_w8a8(manifest), Catch::Contains("'embed' (embed) reads weight"));
  manifest.weights[0].format.encoding = Encoding::f16;
  manifest.weights[0].act_scale = 0;
  CHECK_NOTHROW(check_w8a8(manifest));
  manifest.program.rope_tables[0].values = 1;
  manifest.weights[1].format.encoding = Encoding::w8a8;
  manifest.weights[1].act_scale = 1;
  CHECK_THROWS_WITH(check_w8a8(manifest), Catch::Contains("rope table"));
}

TEST_CASE("a manifest that lies about its weights is refused") {
  const test::TemporaryFolder folder;
  const std::string path = folder / "tiny.pocket";
  test::TinyOptions options;
  options.encoding = Encoding::int4;
  test::write_tiny_model(options, path);
  const nlohmann::json good = to_json(Package::open(path).manifest());
  CHECK_NOTHROW(manifest_from_json(good));
  auto refused = [&](const char* pointer, const nlohmann::json& value) {
    nlohmann::json bad = good;
    bad[nlohmann::json::json_pointer(pointer)] = value;
    INFO(pointer << " = " << value);
    CHECK_THROWS_AS(manifest_from_json(bad), Error);
  };
  refused("/requires", {"planes"});
  refused("/format", "other");
  refused("/weights/0/sections/0/offset", 128);
  refused("/weights/0/sections/0/offset", 256);
  refused("/weights/0/sections/0/shard", 1);
  refused("/weights/0/sections/0/shard", -1);
  refused("/weights/0/sections/0/bytes", 1);
  refused("/weights/0/sections/0/rows", 104);
  refused("/weights/0/sections/0/first_row", 32);
  refused("/weights/0/sections/0/role", "zero");
  refused("/weights/0/sections/0/layout", "rows64");
  refused("/weights/0/sections/0/dtype", "u8");
  refused("/weights/0/shape", {105, 41});
  refused("/weights/0/shape", {int64_t{1} << 40, int64_t{1} << 40});
  refused("/weights/0/shape", nlohmann::json::array());
  refused("/weights/0/encoding", "int5");
  refused("/weights/0/group", 16);  // twice the pairs of its section
  refused("/weights/0/group", 48);
  refused("/weights/0/name", "other");
  refused("/weights/1/encoding", "f16");  // a vector
  refused("/weights/0/surprise", 1);
  refused("/shards/0/offset", 100);
  refused("/shards/0/bytes", 1);
  refused("/shards/0/xxh64", "xyz");
  refused("/generation/eos_ids", {-1});
  refused("/program/operators/0/weights/0", 1000);
  CHECK_THROWS_WITH(manifest_from_json([&] {
                      nlohmann::json bad = good;
                      bad["requires"] = {"bit_planes"};
                      return bad;
                    }()),
                    Catch::Contains("'bit_planes'"));
  nlohmann::json more = good;  // optional blocks of later minor versions are not our business
  more["schedules"] = nlohmann::json::array();
  CHECK_NOTHROW(manifest_from_json(more));
}
