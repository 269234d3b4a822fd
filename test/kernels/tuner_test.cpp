// Tuning on a whole small model: the fastest row among those that are right, and a wrong one found.
#include "runtime/kernels/tuner.h"

#include <set>

#include "test/kernels/fixture.h"
#include "test/support/catch.h"
#include "test/support/command.h"
#include "test/support/tiny_model.h"

namespace pocket::test {
namespace {

TuneResult run(const TuneOptions& options) {
  TinyOptions model;
  model.encoding = Encoding::m0e4;
  model.vocab = 300;
  const TemporaryFolder folder;
  const std::string path = (folder.path() / "tiny.pocket").string();
  write_tiny_model(model, path);
  const Package package = Package::open(path);
  return tune(shared_device(), package, options);
}

TuneOptions quick() {
  TuneOptions options;
  options.base.repetitions = 1;
  options.rounds = 1;
  return options;
}

}  // namespace

TEST_CASE("tuning measures every valid row of every shape and keeps the fastest right one") {
  const TuneResult result = run(quick());
  std::set<std::string> kernels;
  for (const TuneShape& shape : result.shapes) {
    CAPTURE(shape.key);
    kernels.insert(shape.key.substr(0, shape.key.find(' ')));
    REQUIRE(shape.candidates.size() >= 2);
    const TuneCandidate& best = shape.candidates.at(shape.best);
    REQUIRE(best.correct);
    for (const TuneCandidate& candidate : shape.candidates) {
      CAPTURE(candidate.config.str(), candidate.error, candidate.refused);
      REQUIRE(candidate.correct);
      REQUIRE(candidate.nanoseconds >= best.nanoseconds);
    }
    const KernelConfig* stored = result.tuned.find(shape.key);
    REQUIRE(stored != nullptr);
    REQUIRE(same_numbers(*stored, best.config));
    REQUIRE(std::string(stored->origin) == kTunedOrigin);
  }
  for (const char* kernel : {"gemv", "gemm", "attention_decode", "attention_prefill", "norm"}) {
    CAPTURE(kernel);
    REQUIRE(kernels.contains(kernel));
  }
  REQUIRE(result.wrong() == 0);
}

TEST_CASE("a tuned row is planned where it is valid, and nowhere else") {
  TinyOptions model;
  const TemporaryFolder folder;
  const std::string path = (folder.path() / "tiny.pocket").string();
  write_tiny_model(model, path);
  const Package package = Package::open(path);
  const Program& program = package.manifest().program;
  KernelContext context;
  context.manifest = &package.manifest();
  context.limits = shared_device().limits();
  context.bindings = {{"tokens", 1}, {"rows", 1}, {"context", 64}, {"past", 64}};
  context.decode = true;
  const auto op = static_cast<int32_t>(program.operators.size()) - 1;  // the head
  std::vector<ConfigRequest> requests;
  context.requests = &requests;
  const std::string before = plan_operator(context, op).at(0).config;
  REQUIRE(requests.size() == 1);
  TunedConfigs tuned;
  KernelConfig other;
  for (const KernelConfig& row : candidates(requests[0], context.limits)) {
    if (before != row.str()) other = row;
  }
  REQUIRE(other.kernel == Kernel::gemv);
  tuned.set(requests[0].key(), other);
  context.tuned = &tuned;
  const Dispatch planned = plan_operator(context, op).at(0);
  CHECK(planned.config.find(kTunedOrigin) != std::string::npos);
  CHECK(planned.specialization[0] == other.lanes * other.splits);
  ConfigRequest finer = requests[0];  // other kernels, though of the same size
  finer.shape.group16 = true;
  CHECK(tuned.find(finer.key()) == nullptr);
  context.limits.max_invocations = other.lanes * other.splits - 1;
  CHECK(plan_operator(context, op).at(0).config.find(kTunedOrigin) == std::string::npos);
}

TEST_CASE("a row that leaves out its last workgroup is caught and never chosen") {
  TuneOptions options = quick();
  const auto planted = [](const KernelConfig& row) {
    return row.kernel == Kernel::gemv && row.lanes == 64;
  };
  options.plant = [&](const KernelConfig& row, Dispatch& dispatch) {
    if (planted(row) && dispatch.groups[0] > 1) --dispatch.groups[0];
  };
  const TuneResult result = run(options);
  REQUIRE(result.wrong() > 0);
  for (const TuneShape& shape : result.shapes) {
    for (size_t i = 0; i < shape.candidates.size(); ++i) {
      const TuneCandidate& candidate = shape.candidates[i];
      CAPTURE(shape.key, candidate.config.str(), candidate.error);
      if (candidate.correct) continue;
      CHECK(planted(candidate.config));
      CHECK(candidate.error > shape.tolerance);
      CHECK(candidate.nanoseconds == 0);
      CHECK(i != shape.best);
    }
  }
  options.plant = [](const KernelConfig& row, Dispatch& dispatch) {
    if (row.kernel == Kernel::gemv) dispatch.groups[0] = 0;
  };
  const auto all_wrong = [&] { run(options); };
  CHECK_THROWS_WITH(all_wrong(), Catch::Matchers::Contains("is right on this device"));
}

}  // namespace pocket::test
