// The host executor: chunks, single tokens and rewinding give the same logits; limits are kept.
#include "runtime/kernels/host_executor.h"

#include "runtime/base/error.h"
#include "test/support/catch.h"
#include "test/support/command.h"
#include "test/support/tiny_model.h"

namespace pocket::test {
namespace {

double worst(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    largest = std::max(largest, std::abs(double{a[i]} - b[i]));
  }
  return largest;
}

}  // namespace

TEST_CASE("the host executor: prompts in chunks equal one token at a time") {
  for (const TinyStyle style : {TinyStyle::llama, TinyStyle::gpt2}) {
    TinyOptions options;
    options.style = style;
    options.encoding = Encoding::int4;
    const TemporaryFolder folder;
    const std::string path = (folder.path() / "tiny.pocket").string();
    write_tiny_model(options, path);
    const Package package = Package::open(path);
    const std::vector<int32_t> ids = {3, 1, 104, 0, 77, 50, 50, 9, 13, 2, 8};

    HostExecutor whole(package, {.context = 32, .chunk = 64});
    const std::vector<float> expected = whole.append(ids);
    REQUIRE(expected.size() == ids.size() * 105);
    REQUIRE(*std::max_element(expected.begin(), expected.end()) > 0.0f);

    HostExecutor chunks(package, {.context = 32, .chunk = 4});
    REQUIRE(worst(chunks.append(ids), expected) == 0.0);

    HostExecutor single(package, {.context = 32, .chunk = 1});
    for (size_t i = 0; i < ids.size(); ++i) {
      const std::vector<float> row(expected.begin() + static_cast<std::ptrdiff_t>(i * 105),
                                   expected.begin() + static_cast<std::ptrdiff_t>((i + 1) * 105));
      REQUIRE(worst(single.append(std::span(ids).subspan(i, 1), true), row) == 0.0);
    }
    single.rewind(5);
    REQUIRE(single.past() == 5);
    const std::vector<float> last(expected.end() - 105, expected.end());
    REQUIRE(worst(single.append(std::span(ids).subspan(5), true), last) == 0.0);
  }
}

TEST_CASE("the host executor refuses an overflow of the context and unknown ids") {
  const TemporaryFolder folder;
  const std::string path = (folder.path() / "tiny.pocket").string();
  write_tiny_model(TinyOptions{}, path);
  const Package package = Package::open(path);
  HostExecutor executor(package, {.context = 4, .chunk = 4});
  REQUIRE_THROWS_WITH(executor.append(std::vector<int32_t>{1, 2, 3, 4, 5}),
                      Catch::Matchers::Contains("holds 4 tokens and 5"));
  REQUIRE_THROWS_AS(executor.append(std::vector<int32_t>{105}), Error);
}

}  // namespace pocket::test
