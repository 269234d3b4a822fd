// Bit planes and tables on the device against the host reference: every width, odd sizes, every set
// of limits, and the bytes that a width binds.
#include <array>

#include "test/kernels/fixture.h"
#include "test/support/catch.h"

namespace pocket::test {
namespace {

constexpr uint32_t kAllWidths = 0x1FC;  // 2 to 8
constexpr uint32_t kThree = 1u << 2 | 1u << 3 | 1u << 4;

struct Case {
  int64_t rows, columns, tokens;
  uint32_t widths;
  int32_t width;
  int64_t section_rows = 0;
};

double run(const Case& c, const DeviceLimits& limits, bool epilogue = false) {
  Fixture f;
  f.random.seed(static_cast<uint32_t>(c.columns * 1000 + c.rows * 10 + c.tokens));
  const Expr tokens = Expr::symbol("tokens");
  const TensorId x = f.tensor(tokens, c.columns);
  const TensorId out = f.tensor(tokens, c.rows);
  const TensorId residual = epilogue ? f.tensor(tokens, c.rows) : kNone;
  const WeightId w = f.any_weight(c.rows, c.columns, c.widths, c.width, c.section_rows);
  Attributes a;
  if (epilogue) a.activation = Activation::silu;
  const int32_t op = f.add(OpKind::linear, {x, residual}, {out},
                           {w, epilogue ? f.vector(c.rows) : kNone}, a);
  const Bindings bindings = {{"tokens", c.tokens}, {"rows", 1}, {"context", 80}};
  HostState state = f.random_state(bindings);
  state.record.tokens = static_cast<uint32_t>((c.tokens + 1) / 2);
  KernelContext context{&f.manifest, limits, bindings, Accumulate::fp32, c.tokens == 1};
  return compare(f, op, context, state);
}

}  // namespace

TEST_CASE("any precision: every width equals the reference in decode and prefill") {
  for (int32_t width = kLeastWidth; width <= kMostWidth; ++width) {
    for (const int64_t tokens : {1, 5}) {
      if (tokens > 1 && width > 4 && width < 8) continue;  // a pipeline each
      CAPTURE(width, tokens);
      REQUIRE(run({37, 100, tokens, kAllWidths, width}, shared_device().limits()) < 1e-5);
    }
  }
}

TEST_CASE("any precision: odd sizes under every set of limits") {
  for (const LimitSet& set : limit_sets()) {
    int i = 0;
    for (const int64_t columns : {20, 32, 96, 160, 228}) {
      const int64_t rows = std::array{1, 33, 257, 64, 31}[static_cast<size_t>(i)];
      for (const int64_t tokens : {int64_t{1}, int64_t{2 + 17 * i}}) {
        CAPTURE(set.name, rows, columns, tokens);
        const Case c{rows, columns, tokens, kThree, 3, rows > 64 ? 64 : 0};
        REQUIRE(run(c, set.limits) < 1e-5);
      }
      ++i;
    }
  }
}

TEST_CASE("any precision: an odd number of columns, bias, activation and residual") {
  for (const LimitSet& set : {limit_sets().front(), limit_sets().back()}) {
    for (const int64_t columns : {1, 63, 101}) {
      for (const int64_t tokens : {1, 3}) {
        CAPTURE(set.name, columns, tokens);
        REQUIRE(run({35, columns, tokens, kThree, 2}, set.limits) < 1e-5);
      }
    }
  }
  REQUIRE(run({35, 64, 1, kThree, 4}, shared_device().limits(), true) < 1e-4);
}

TEST_CASE("any precision: a width binds only its planes and its table") {
  Fixture f;
  const TensorId x = f.tensor(Expr::symbol("tokens"), 96);
  const TensorId out = f.tensor(Expr::symbol("tokens"), 64);
  const WeightId w = f.any_weight(64, 96, kThree, 4);
  const int32_t op = f.add(OpKind::linear, {x, kNone}, {out}, {w, kNone});
  for (const int32_t width : {2, 3, 4}) {
    f.manifest.weights[static_cast<size_t>(w)].format.width = width;
    const Bindings bindings = {{"tokens", 1}, {"rows", 1}, {"context", 8}};
    KernelContext context{&f.manifest, shared_device().limits(), bindings, Accumulate::fp32, true};
    const std::vector<Dispatch> plan = plan_operator(context, op);
    REQUIRE(plan.size() == 1);
    uint64_t bytes = 0;
    for (const Operand& operand : plan[0].operands) {
      if (operand.kind == Operand::Kind::weight) bytes += operand.bytes;
    }
    const auto bits = static_cast<uint64_t>(width);
    CHECK(bytes == 64 * (bits * 96 / 8 + (uint64_t{2} << bits)));
    CHECK(plan[0].bytes_read == bytes + 96 * 4);
  }
}

TEST_CASE("any precision: gate and up go through scratch") {
  for (const int64_t tokens : {1, 4}) {
    Fixture f;
    const TensorId x = f.tensor(Expr::symbol("tokens"), 40);
    const TensorId out = f.tensor(Expr::symbol("tokens"), 72);
    Attributes a;
    a.activation = Activation::silu;
    const WeightId gate = f.any_weight(72, 40, kThree, 3), up = f.any_weight(72, 40, kThree, 3);
    const int32_t op = f.add(OpKind::gated_linear, {x}, {out}, {gate, up, kNone, kNone}, a);
    const Bindings bindings = {{"tokens", tokens}, {"rows", 1}, {"context", 8}};
    KernelContext context{&f.manifest, shared_device().limits(), bindings, Accumulate::fp32,
                          tokens == 1};
    REQUIRE(plan_operator(context, op).size() == 2);
    HostState state = f.random_state(bindings);
    state.record.tokens = static_cast<uint32_t>(tokens);
    REQUIRE(compare(f, op, context, state) < 1e-4);
  }
}

TEST_CASE("any precision: a matrix larger than a binding is cut, planes off their alignment") {
  Fixture f;
  const TensorId x = f.tensor(Expr::symbol("tokens"), 32);  // a block of a plane is 128 bytes
  const TensorId out = f.tensor(Expr::symbol("tokens"), 1000);
  const WeightId w = f.any_weight(1000, 32, kThree, 4);
  const int32_t op = f.add(OpKind::linear, {x, kNone}, {out}, {w, kNone});
  DeviceLimits limits = shared_device().limits();
  limits.max_binding = 4096;
  limits.offset_alignment = 256;
  const Bindings bindings = {{"tokens", 1}, {"rows", 1}, {"context", 8}};
  KernelContext context{&f.manifest, limits, bindings, Accumulate::fp32, true};
  const std::vector<Dispatch> plan = plan_operator(context, op);
  REQUIRE(plan.size() > 4);
  bool off = false;
  for (const Dispatch& d : plan) off |= d.push_constants.at(12) != 0;
  REQUIRE(off);
  HostState state = f.random_state(bindings);
  state.record.tokens = 1;
  REQUIRE(compare(f, op, context, state) < 1e-5);
}

}  // namespace pocket::test
