// Generic operators in the engine: the same logits as the fused ones, in every phase, with poisoned
// memory and within lowered limits; the self-test covers their kernels.
#include <algorithm>

#include "runtime/kernels/selftest.h"
#include "test/engine/fixture.h"
#include "test/engine/generic_model.h"

namespace pocket::test {
namespace {

TinyOptions unfused() {
  TinyOptions options;
  options.unfused = true;
  return options;
}

struct Pair {
  TemporaryFolder folder;
  std::string fused = (folder.path() / "fused.pocket").string();
  std::string generic = (folder.path() / "generic.pocket").string();
  Pair() {
    write_tiny_model(make_tiny_model(unfused()), fused);
    write_tiny_model(generalised(make_tiny_model(unfused())), generic);
  }
};

}  // namespace

TEST_CASE("a program with generic operators computes what the fused one computes") {
  const Pair pair;
  const std::vector<int32_t> tokens = random_tokens(29);
  const std::vector<float> want = host_logits(pair.fused, tokens);
  CHECK(row_distance(host_logits(pair.generic, tokens), want, 105) < 1e-6);
  Engine engine(shared_device(), Package::open(pair.generic), engine_options());
  const std::vector<std::string>& needed = engine.manifest().required_features;
  CHECK(std::count(needed.begin(), needed.end(), "generic_operators") == 1);
  for (const int64_t decode_from : {-1, 19, 0}) {
    CHECK(row_distance(engine.logits(tokens, decode_from), want, 105) < 5e-3);
  }
}

TEST_CASE("the self-test runs every generic kernel in use and finds a broken one") {
  const Pair pair;
  const Package package = Package::open(pair.generic);
  SelftestOptions options;
  const SelftestResult good = selftest(shared_device(), package, options);
  CHECK(good.passed());
  INFO(good.failure());
  int generic = 0;
  for (const SelftestEntry& entry : good.entries) generic += entry.kernel == "generic_map" ? 1 : 0;
  CHECK(generic >= 2);
  // The function of every generic step becomes another one.
  options.plant = [](Dispatch& dispatch) {
    if (dispatch.shader == "generic_map") {
      dispatch.specialization[1] = static_cast<uint32_t>(GenericFunction::sub);
    }
  };
  const SelftestResult bad = selftest(shared_device(), package, options);
  CHECK(!bad.passed());
  CHECK(contains(bad.failure(), "generic_map"));
}

}  // namespace pocket::test
