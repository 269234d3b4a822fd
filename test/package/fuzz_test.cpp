// Damaged files: each is refused with a sentence, or nothing that matters was damaged.
#include <random>

#include "runtime/base/error.h"
#include "runtime/package/file_header.h"
#include "runtime/package/package.h"
#include "test/support/catch.h"
#include "test/support/command.h"
#include "test/support/tiny_model.h"

using namespace pocket;

namespace {

test::TinyOptions small_options(Encoding encoding = Encoding::m0e4) {
  test::TinyOptions options;
  options.encoding = encoding;
  options.layers = 1;
  return options;
}

enum class Outcome { refused, weights_refused, unchanged };

Outcome outcome_of(const std::string& path, const std::string& bytes, const nlohmann::json& good) {
  test::write_file(path, bytes);
  try {
    const Package package = Package::open(path);
    REQUIRE(to_json(package.manifest()) == good);
    try {
      for (size_t i = 0; i < package.manifest().shards.size(); ++i) package.verify_shard(i);
    } catch (const Error& error) {
      REQUIRE(error.code == ExitCode::bad_input);
      return Outcome::weights_refused;
    }
    return Outcome::unchanged;
  } catch (const Error& error) {
    REQUIRE(error.code == ExitCode::bad_input);
    REQUIRE(std::string(error.what()).find(path) != std::string::npos);
    return Outcome::refused;
  }
}

// The manifest replaced, with honest hashes: what is left is the reader's own judgement.
std::string with_manifest(const std::string& file, const std::string& manifest) {
  FileHeader header;
  std::memcpy(&header, file.data(), sizeof header);
  const size_t begin = (sizeof header + header.manifest_bytes + 16383) / 16384 * 16384;
  const size_t end = (sizeof header + manifest.size() + 16383) / 16384 * 16384;
  header.manifest_bytes = manifest.size();
  header.manifest_hash = XXH64(manifest.data(), manifest.size(), 0);
  header.file_bytes = end + file.size() - begin;
  header.header_hash = header.compute_hash();
  std::string bytes(reinterpret_cast<const char*>(&header), sizeof header);
  bytes += manifest;
  bytes.resize(end, '\0');
  return bytes + file.substr(begin);
}

}  // namespace

TEST_CASE("truncated files are refused") {
  const test::TemporaryFolder folder;
  const std::string path = folder / "tiny.pocket", damaged = folder / "damaged.pocket";
  test::write_tiny_model(small_options(), path);
  const std::string bytes = test::read_file(path);
  const nlohmann::json good = to_json(Package::open(path).manifest());
  int cuts = 0;
  for (size_t size = 0; size < bytes.size(); size += 100, ++cuts) {
    REQUIRE(outcome_of(damaged, bytes.substr(0, size), good) == Outcome::refused);
  }
  CHECK(cuts > 200);
  CHECK(outcome_of(damaged, bytes + std::string(1, '\0'), good) == Outcome::refused);
  CHECK(outcome_of(damaged, bytes, good) == Outcome::unchanged);
}

TEST_CASE("flipped bits are found") {
  const test::TemporaryFolder folder;
  const std::string path = folder / "tiny.pocket", damaged = folder / "damaged.pocket";
  test::write_tiny_model(small_options(), path);
  const std::string bytes = test::read_file(path);
  const nlohmann::json good = to_json(Package::open(path).manifest());
  std::mt19937 random(5);
  int refused = 0, weights_refused = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string flipped = bytes;
    const size_t at = random() % flipped.size();
    flipped[at] = static_cast<char>(flipped[at] ^ (1 << random() % 8));
    const Outcome outcome = outcome_of(damaged, flipped, good);
    REQUIRE(outcome != Outcome::unchanged);  // every byte is covered by a hash or a check
    refused += outcome == Outcome::refused;
    weights_refused += outcome == Outcome::weights_refused;
  }
  CHECK(refused > 100);
  CHECK(weights_refused > 100);
}

TEST_CASE("a manifest with honest hashes and hostile contents never crashes the reader") {
  const test::TemporaryFolder folder;
  const std::string path = folder / "tiny.pocket", damaged = folder / "damaged.pocket";
  test::write_tiny_model(small_options(GENERATE(Encoding::m0e4, Encoding::any, Encoding::w8a8)), path);
  const std::string bytes = test::read_file(path);
  const std::string manifest = to_json(Package::open(path).manifest()).dump();
  std::mt19937 random(6);
  static const char* const kPieces[] = {"0",
                                        "-1",
                                        "9223372036854775807",
                                        "1e999",
                                        "null",
                                        "[]",
                                        "{}",
                                        "\"\"",
                                        "4294967296",
                                        "\"tokens*tokens\"",
                                        "true",
                                        "-9223372036854775808",
                                        "18446744073709551615",
                                        "0.5"};
  int refused = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string text = manifest;
    if (round % 3 == 0) {  // any byte
      text[random() % text.size()] = static_cast<char>(random() % 256);
    } else if (round % 3 == 1) {  // a digit
      size_t at = random() % text.size();
      while (text[at] < '0' || text[at] > '9') at = (at + 1) % text.size();
      text[at] = static_cast<char>('0' + random() % 10);
    } else {  // a whole value
      size_t at = random() % text.size();
      while (text[at] != ':') at = (at + 1) % text.size();
      const size_t end = text.find_first_of(",}]", at);
      text.replace(at + 1, end - at - 1, kPieces[random() % std::size(kPieces)]);
    }
    test::write_file(damaged, with_manifest(bytes, text));
    try {
      const Package package = Package::open(damaged);
      for (const Weight& weight : package.manifest().weights) {  // what it accepts can be read
        const auto codes = package.gather(weight, SectionRole::codes);
        const auto pairs = package.gather(weight, SectionRole::scale);
        std::vector<float> row(static_cast<size_t>(weight.format.columns));
        unpack_row(weight.format, codes.data(), pairs.data(), weight.format.rows - 1, row.data());
      }
      evaluate_plan(package.manifest().program,
                    {{"tokens", 1}, {"past", 0}, {"rows", 1}, {"context", 1}});
      to_text(package.manifest().program);
    } catch (const Error& error) {
      REQUIRE(error.code == ExitCode::bad_input);
      ++refused;
    }
  }
  CHECK(refused > 1500);
}

TEST_CASE("what is no .pocket file is refused with a reason") {
  const test::TemporaryFolder folder;
  const std::string path = folder / "x.pocket";
  CHECK_THROWS_WITH(Package::open(path), Catch::Contains("cannot be opened"));
  CHECK_THROWS_WITH(Package::open(folder.path().string()), Catch::Contains("no regular file"));
  test::write_file(path, "");
  CHECK_THROWS_WITH(Package::open(path), Catch::Contains("empty"));
  test::write_file(path, std::string(100, 'x'));
  CHECK_THROWS_WITH(Package::open(path), Catch::Contains("no .pocket file"));
  test::write_tiny_model(small_options(), path);
  std::string bytes = test::read_file(path);
  FileHeader header;
  std::memcpy(&header, bytes.data(), sizeof header);
  header.major = 2;
  header.header_hash = header.compute_hash();
  std::memcpy(bytes.data(), &header, sizeof header);
  test::write_file(path, bytes);
  CHECK_THROWS_WITH(Package::open(path), Catch::Contains("format version 2"));
  header.major = kPocketMajor;
  header.minor = 7;  // later minor versions only add what `requires` names
  header.header_hash = header.compute_hash();
  std::memcpy(bytes.data(), &header, sizeof header);
  test::write_file(path, bytes);
  CHECK_NOTHROW(Package::open(path));
}
