#include "runtime/bench/tokens.h"

#include "runtime/base/error.h"
#include "test/support/catch.h"
#include "test/support/command.h"

namespace pocket::test {
namespace {

template <typename Action>
ExitCode code_of(Action&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.code;
  }
  return ExitCode::ok;
}

}  // namespace

TEST_CASE("token ids come from a list, an array, or an object with tokens") {
  const TemporaryFolder folder;
  write_file(folder / "array.json", "[3, 1, 2]");
  write_file(folder / "object.json", R"({"tokens": [3, 1, 2], "more": 1})");
  const std::vector<int32_t> expected = {3, 1, 2};
  CHECK(bench::read_tokens("3,1,2", 4) == expected);
  CHECK(bench::read_tokens("3, 1, 2", 4) == expected);
  CHECK(bench::read_tokens(folder / "array.json", 4) == expected);
  CHECK(bench::read_tokens(folder / "object.json", 4) == expected);
  CHECK(bench::read_tokens("", 4).empty());
}

TEST_CASE("ids outside of the vocabulary and files that are none are refused") {
  const TemporaryFolder folder;
  const auto list = [](const char* text) {
    return code_of([&] { bench::read_tokens(text, 100); });
  };
  CHECK(list("99") == ExitCode::ok);
  CHECK(list("100") == ExitCode::usage);
  CHECK(list("99999999999999999999999") == ExitCode::usage);
  const auto file = [&](const std::string& text) {
    write_file(folder / "t.json", text);
    return code_of([&] { bench::read_tokens(folder / "t.json", 100); });
  };
  CHECK(file("[99]") == ExitCode::ok);
  CHECK(file("[100]") == ExitCode::bad_input);
  CHECK(file("[-1]") == ExitCode::bad_input);
  CHECK(file("[1.5]") == ExitCode::bad_input);
  CHECK(file("[18446744073709551615]") == ExitCode::bad_input);
  CHECK(file("[\"a\"]") == ExitCode::bad_input);
  CHECK(file("{}") == ExitCode::bad_input);
  CHECK(file("[1") == ExitCode::bad_input);
  CHECK(code_of([&] { bench::read_tokens(folder / "absent.json", 100); }) == ExitCode::bad_input);
  CHECK(code_of([&] { bench::read_tokens(folder.path().string(), 100); }) == ExitCode::bad_input);
}

TEST_CASE("windows are named by arrays inside an array") {
  const TemporaryFolder folder;
  write_file(folder / "flat.json", "[1, 2, 3]");
  write_file(folder / "windows.json", "[[1, 2], [3]]");
  const bench::TokenWindows flat = bench::read_token_windows(folder / "flat.json", 9);
  CHECK_FALSE(flat.windowed);
  CHECK(flat.lists == std::vector<std::vector<int32_t>>{{1, 2, 3}});
  const bench::TokenWindows windows = bench::read_token_windows(folder / "windows.json", 9);
  CHECK(windows.windowed);
  CHECK(windows.lists == std::vector<std::vector<int32_t>>{{1, 2}, {3}});
  write_file(folder / "mixed.json", "[[1, 2], 3]");
  CHECK(code_of([&] { bench::read_token_windows(folder / "mixed.json", 9); }) ==
        ExitCode::bad_input);
}

TEST_CASE("the measuring tokens are fixed and inside the vocabulary") {
  const std::vector<int32_t> tokens = bench::measuring_tokens(1000, 105);
  CHECK(tokens == bench::measuring_tokens(1000, 105));
  CHECK(*std::min_element(tokens.begin(), tokens.end()) >= 0);
  CHECK(*std::max_element(tokens.begin(), tokens.end()) == 104);
}

}  // namespace pocket::test
