#include "converter/quant/calibration_text.h"

#include <nlohmann/json.hpp>

#include "runtime/base/error.h"
#include "test/support/catch.h"
#include "test/support/command.h"

using namespace pocket;

namespace {

std::string ids(int64_t count) {
  nlohmann::json list = nlohmann::json::array();
  for (int64_t i = 0; i < count; ++i) list.push_back(i);
  return list.dump();
}

}  // namespace

TEST_CASE("windows lie behind each other, or are spread over a long file, the last eighth held out") {
  const test::TemporaryFolder folder;
  const std::string path = folder / "tokens.json";
  test::write_file(path, ids(1000));
  const CalibrationWindows all = read_calibration(path, "", "", 1000, 100, 5000);
  CHECK(all.windows.size() == 10);
  CHECK(all.tokens == 1000);
  CHECK(all.held_out == 1);
  CHECK(all.windows[3].front() == 300);
  const CalibrationWindows some = read_calibration(path, "", "", 1000, 100, 410);
  REQUIRE(some.windows.size() == 4);
  CHECK(some.tokens == 400);
  CHECK(some.windows[0].front() == 0);
  CHECK(some.windows[1].front() == 300);
  CHECK(some.windows[3].back() == 999);
  const CalibrationWindows few = read_calibration(path, "", "", 1000, 100, 7);
  CHECK(few.windows == std::vector<std::vector<int64_t>>{{0, 1, 2, 3, 4, 5, 6}});
  CHECK(few.held_out == 0);
}

TEST_CASE("given windows are kept apart and cut to the context") {
  const test::TemporaryFolder folder;
  const std::string path = folder / "tokens.json";
  test::write_file(path, "[[1,2,3,4,5],[],[6],[7,8,9]]");
  const CalibrationWindows found = read_calibration(path, "", "", 10, 4, 100);
  CHECK(found.windows == std::vector<std::vector<int64_t>>{{1, 2, 3, 4}, {6}, {7, 8, 9}});
  CHECK(found.held_out == 1);
  CHECK(read_calibration(path, "", "", 10, 4, 3).windows.size() == 1);
}

TEST_CASE("files without a token, or without a tokenizer to read them, are refused") {
  const test::TemporaryFolder folder;
  const std::string text = folder / "text.txt", tokens = folder / "tokens.json";
  test::write_file(text, "");
  test::write_file(tokens, "[]");
  const std::string tokenizer =
      test::read_file(std::string(POCKET_SOURCE_DIR) + "/models/folktale-2m/tokenizer.json");
  CHECK_THROWS_WITH(read_calibration(text, tokenizer, "", 2048, 64, 100),
                    Catch::Contains("holds no token"));
  CHECK_THROWS_WITH(read_calibration(tokens, "", "", 2048, 64, 100),
                    Catch::Contains("holds no token"));
  CHECK_THROWS_WITH(read_calibration(text, "", "", 2048, 64, 100),
                    Catch::Contains("no tokenizer.json"));
  CHECK_THROWS_WITH(read_calibration(folder / "absent.txt", tokenizer, "", 2048, 64, 100),
                    Catch::Contains("absent.txt"));
  test::write_file(tokens, "[1, 2048]");
  CHECK_THROWS_WITH(read_calibration(tokens, "", "", 2048, 64, 100), Catch::Contains("2048"));
  test::write_file(text, "Once");
  CHECK(read_calibration(text, tokenizer, "", 2048, 64, 100).tokens >= 1);
}
