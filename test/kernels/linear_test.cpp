// GEMV and GEMM of every encoding against the host reference: odd sizes, short last groups, every
// epilogue, every set of limits.
#include <string>

#include "runtime/base/error.h"
#include "test/kernels/fixture.h"
#include "test/support/catch.h"

namespace pocket::test {
namespace {

// What surrounds the matrix. Each kind is a pipeline of its own, and lavapipe takes a second for
// one; sizes are push constants and cost nothing.
struct Kind {
  DType x = DType::f32, out = DType::f32;
  Activation activation = Activation::none;
  int bias = 0, residual = 0;  // 0 none, 1 f32, 2 f16
};
constexpr Kind kPlain;
constexpr Kind kHalf{DType::f16, DType::f16, Activation::silu, 1, 2};
constexpr Kind kMixed{DType::f32, DType::f16, Activation::gelu_tanh, 2, 1};

struct Case {
  Encoding encoding;
  int64_t group;
  int64_t columns, rows, tokens;
  int64_t valid = 0;  // record.tokens; 0: all
  int64_t section_rows = 0;
};

DType dtype_for(DType wanted, int64_t width) { return width % 2 == 0 ? wanted : DType::f32; }

// Plans the operator for all tokens of the case, by the row `forced` if there is one; the kernel's name
// ends with `form`.
double run(Fixture& f, int32_t op, const Case& c, const DeviceLimits& limits, Accumulate accumulate,
           const KernelConfig* forced, std::string_view form = "") {
  const Bindings bindings = {{"tokens", c.tokens}, {"rows", 1}, {"context", 80}};
  HostState state = f.random_state(bindings);
  state.record.tokens = static_cast<uint32_t>(c.valid == 0 ? c.tokens : c.valid);
  KernelContext context{&f.manifest, limits, bindings, accumulate, c.tokens == 1};
  context.forced = forced;
  const Dispatch last = plan_operator(context, op).back();  // in front may stand what makes its sums
  if (forced != nullptr) REQUIRE(last.config == forced->str());
  CAPTURE(last.shader);
  REQUIRE(last.shader.ends_with(form));
  return compare(f, op, context, state);
}

double run_linear(const Case& c, const Kind& kind, const DeviceLimits& limits,
                  Accumulate accumulate = Accumulate::fp32, const KernelConfig* forced = nullptr,
                  std::string_view form = "") {
  Fixture f;
  f.random.seed(static_cast<uint32_t>(c.columns * 1000 + c.rows * 10 + c.tokens));
  const Expr tokens = Expr::symbol("tokens");
  const TensorId x = f.tensor(tokens, c.columns, dtype_for(kind.x, c.columns));
  const TensorId out = f.tensor(tokens, c.rows, dtype_for(kind.out, c.rows));
  const TensorId residual =
      kind.residual == 0
          ? kNone
          : f.tensor(tokens, c.rows,
                     dtype_for(kind.residual == 2 ? DType::f16 : DType::f32, c.rows));
  const WeightId w = f.weight(c.rows, c.columns, c.encoding, c.group, c.section_rows);
  const WeightId bias =
      kind.bias == 0 ? kNone : f.vector(c.rows, kind.bias == 1 ? Encoding::f32 : Encoding::f16);
  Attributes a;
  a.activation = kind.activation;
  const int32_t op = f.add(OpKind::linear, {x, residual}, {out}, {w, bias}, a);
  return run(f, op, c, limits, accumulate, forced, form);
}

double run_gated(const Case& c, const DeviceLimits& limits, const KernelConfig* forced,
                 Accumulate accumulate = Accumulate::fp32) {
  Fixture f;
  f.random.seed(static_cast<uint32_t>(c.columns * 1000 + c.rows * 10 + c.tokens));
  const TensorId x = f.tensor(Expr::symbol("tokens"), c.columns);
  const TensorId out = f.tensor(Expr::symbol("tokens"), c.rows);
  const WeightId gate = f.weight(c.rows, c.columns, c.encoding, c.group);
  const WeightId up = f.weight(c.rows, c.columns, c.encoding, c.group);
  Attributes a;
  a.activation = Activation::silu;
  const int32_t op = f.add(OpKind::gated_linear, {x}, {out}, {gate, up, kNone, kNone}, a);
  return run(f, op, c, limits, accumulate, forced);
}

// Rounding a result to f16 may fall to the other side.
constexpr double kTolerance = 4e-3;

using Encodings = std::vector<std::pair<Encoding, std::vector<int64_t>>>;
const Encodings kEncodings = {{Encoding::f32, {0}},
                              {Encoding::f16, {0}},
                              {Encoding::int4, {32, 64, 128}},
                              {Encoding::m0e4, {32, 64, 128}}};

const Encodings kTwoEncodings = {kEncodings[1], kEncodings[3]};  // f16 and m0e4

void check_shapes(const LimitSet& set, const Kind& kind, const Encodings& encodings) {
  const int64_t rows[] = {32, 106, 2, 258, 34};
  const int64_t odd_rows[] = {33, 105, 1, 257, 31};
  const bool even = kind.out == DType::f16 || kind.residual == 2;
  for (const auto& [encoding, groups] : encodings) {
    for (const int64_t group : groups) {
      size_t i = 0;
      for (const int64_t columns : {20, 40, 96, 100, 160}) {
        for (const int64_t tokens : {int64_t{1}, int64_t{2 + 17 * static_cast<int64_t>(i)}}) {
          const int64_t n = even ? rows[i] : odd_rows[i];
          const Case c{encoding,
                       group,
                       columns,
                       n,
                       tokens,
                       (tokens + 1) / 2 + 1,
                       n > 64 && i % 2 == 1 ? 64 : 0};
          Case checked = c;
          checked.valid = std::min(c.valid, tokens);
          CAPTURE(set.name, encoding_name(encoding), group, columns, n, tokens);
          REQUIRE(run_linear(checked, kind, set.limits) < kTolerance);
        }
        ++i;
      }
    }
  }
}

}  // namespace

TEST_CASE("linear equals the reference over odd sizes under every set of limits") {
  for (const LimitSet& set : limit_sets()) check_shapes(set, kPlain, kEncodings);
}

TEST_CASE("texels are read only where each operand of the dispatch fits a view of them") {
  if (shared_device().limits().max_texels == 0 || shared_device().limits().subgroup_size < 4) {
    SKIP("the device reads no texels");
  }
  // Codes take 16 bytes a texel and pairs 4: of 64 columns, two texels of each for a row.
  const DeviceLimits limits = lower_limits(shared_device().limits(), {{"max_texels", 512}});
  for (const int64_t tokens : {1, 9}) {
    for (const int64_t rows : {256, 258}) {
      CAPTURE(tokens, rows);
      const Case c{Encoding::m0e4, 32, 64, rows, tokens};
      const double error = run_linear(c, kPlain, limits, Accumulate::fp32, nullptr,
                                      rows == 256 ? "m0e4_tx" : "m0e4_sg");
      REQUIRE(error < kTolerance);
    }
  }
}

TEST_CASE("linear with bias, activation and residual in every type") {
  check_shapes(limit_sets().front(), kHalf, kTwoEncodings);
  check_shapes(limit_sets().front(), kMixed, kTwoEncodings);
}

TEST_CASE("linear with every epilogue without subgroups") {
  check_shapes(limit_sets().back(), kHalf, kTwoEncodings);
}

TEST_CASE("linear over a number of columns that is odd") {
  for (const LimitSet& set : {limit_sets().front(), limit_sets().back()}) {
    for (const auto& [encoding, groups] : Encodings{kEncodings[0], kEncodings[3]}) {
      for (const int64_t tokens : {1, 5}) {
        for (const int64_t columns : {1, 63, 101}) {
          CAPTURE(set.name, encoding_name(encoding), tokens, columns);
          const Case c{encoding, groups[0], columns, 37, tokens};
          REQUIRE(run_linear(c, kPlain, set.limits) < 1e-4);
        }
      }
    }
  }
}

TEST_CASE("every activation in the epilogue") {
  for (uint32_t activation = 1; activation < 7; ++activation) {
    Kind kind;
    kind.activation = static_cast<Activation>(activation);
    CAPTURE(activation);
    REQUIRE(run_linear({Encoding::f32, 0, 20, 40, 1}, kind, shared_device().limits()) < 1e-4);
  }
}

TEST_CASE("linear in f32 is exact to a few units in the last place") {
  for (const Encoding encoding : {Encoding::f32, Encoding::f16, Encoding::int4, Encoding::m0e4}) {
    for (const int64_t tokens : {1, 9}) {
      const int64_t group = encoding == Encoding::int4 || encoding == Encoding::m0e4 ? 32 : 0;
      CAPTURE(encoding_name(encoding), tokens);
      REQUIRE(run_linear({encoding, group, 200, 64, tokens}, kPlain, shared_device().limits()) <
              1e-5);
    }
  }
}

// Products and sums of up to 16 of them in f16, of codes that are centred where f16 comes in pairs and
// carry 3/2 more elsewhere. Twice what these cases show (0.003 and 0.0124); a gate multiplies two of
// them (0.0086 and 0.043).
constexpr double kHalfTolerance = 0.006, kHalfUncentred = 0.025, kGates = 3.5;

TEST_CASE("linear with fp16 arithmetic stays near the reference") {
  if (!shared_device().limits().fp16_arithmetic) SKIP("the device has no fp16 arithmetic");
  for (const char* form : {"", "no subgroups", "adreno"}) {
    DeviceLimits limits = shared_device().limits();
    if (form == std::string_view("no subgroups")) limits.subgroup_size = 0;
    if (form == std::string_view("adreno")) limits.name = form;
    for (const Encoding encoding : {Encoding::f16, Encoding::int4, Encoding::m0e4}) {
      if (*form != 0 && encoding != Encoding::m0e4) continue;
      for (const int64_t columns : {96, 100}) {
        for (const int64_t tokens : {1, 9}) {
          if (*form != 0 && columns == 96 && tokens == 1) continue;  // a pipeline each
          const int64_t group = encoding == Encoding::f16 ? 0 : (columns == 96 ? 64 : 32);
          CAPTURE(encoding_name(encoding), columns, tokens, form);
          const Case c{encoding, group, columns, 65, tokens};
          const double error = run_linear(c, kPlain, limits, Accumulate::fp16);
          const double most = pairs_halves(limits) ? kHalfTolerance : kHalfUncentred;
          REQUIRE(error < most);
          REQUIRE(error > 1e-6);  // else it was not fp16 arithmetic
          if (encoding != Encoding::m0e4) continue;
          const double gated = run_gated(c, limits, nullptr, Accumulate::fp16);
          REQUIRE(gated < kGates * most);
          REQUIRE(gated > 1e-6);
        }
      }
    }
  }
}

TEST_CASE("gated_linear equals the reference, in one dispatch and through scratch") {
  const std::vector<LimitSet> all = limit_sets();
  for (const LimitSet& set : {all.front(), all.back()}) {
    for (const auto& [encoding, groups] : kTwoEncodings) {
      for (const int64_t tokens : {1, 6}) {
        for (const int64_t rows : {34, 106, 33}) {
          const bool mixed = rows == 33;  // two encodings: the gate goes through scratch
          const bool half = rows % 2 == 0;
          Fixture f;
          const int64_t columns = rows == 34 ? 64 : 100;
          const TensorId x = f.tensor(Expr::symbol("tokens"), columns);
          const TensorId out =
              f.tensor(Expr::symbol("tokens"), rows, half ? DType::f16 : DType::f32);
          const WeightId gate = f.weight(rows, columns, encoding, groups[0]);
          const WeightId up = mixed ? f.weight(rows, columns, Encoding::f16)
                                    : f.weight(rows, columns, encoding, groups[0]);
          const WeightId gate_bias = mixed ? kNone : f.vector(rows);
          const WeightId up_bias = mixed ? kNone : f.vector(rows, Encoding::f16);
          Attributes a;
          a.activation = Activation::silu;
          const int32_t op =
              f.add(OpKind::gated_linear, {x}, {out}, {gate, up, gate_bias, up_bias}, a);
          const Bindings bindings = {{"tokens", tokens}, {"rows", 1}, {"context", 80}};
          HostState state = f.random_state(bindings);
          state.record.tokens = static_cast<uint32_t>((tokens + 1) / 2);
          KernelContext context{&f.manifest, set.limits, bindings, Accumulate::fp32, tokens == 1};
          CAPTURE(set.name, encoding_name(encoding), tokens, rows, columns);
          const bool through_scratch = mixed && encoding != Encoding::f16;
          const size_t sums = encoding == Encoding::m0e4 && tokens > 1 ? 1 : 0;
          REQUIRE(plan_operator(context, op).size() == (through_scratch ? 2u : 1u) + sums);
          REQUIRE(compare(f, op, context, state) < kTolerance);
        }
      }
    }
  }
}

TEST_CASE("the rows of phones for many activations equal the reference over odd sizes") {
  const DeviceLimits& limits = shared_device().limits();
  int forms = 0;
  for (const KernelConfig& row : kernel_configs()) {
    const std::string_view device = row.device;
    if (row.kernel != Kernel::gemm || (device != "adreno" && device != "mali")) continue;
    if (!valid(row, limits, {.tokens = 2})) continue;  // without subgroups: their rows of that kind
    // Fewer activation rows than a tile, a last tile in part, padding; weight rows likewise.
    for (const Case& c :
         {Case{Encoding::m0e4, 32, 100, 105, 7, 5}, Case{Encoding::m0e4, 64, 160, 257, 2},
          Case{Encoding::m0e4, 32, 20, 1, 9}}) {
      CAPTURE(row.str(), c.columns, c.rows, c.tokens);
      if (!row.gated) REQUIRE(run_linear(c, kPlain, limits, Accumulate::fp32, &row) < 1e-4);
      REQUIRE(run_gated(c, limits, &row) < 1e-4);
    }
    ++forms;
  }
  REQUIRE(forms >= (limits.subgroup_size >= 4 ? 5 : 2));
}

TEST_CASE("a matrix larger than a binding is cut into ranges that give the same result") {
  Fixture f;
  const TensorId x = f.tensor(Expr::symbol("tokens"), 160);
  const TensorId out = f.tensor(Expr::symbol("tokens"), 1000);
  const WeightId w = f.weight(1000, 160, Encoding::m0e4, 32);
  const int32_t op = f.add(OpKind::linear, {x, kNone}, {out}, {w, f.vector(1000)});
  for (const int64_t tokens : {1, 3}) {
    const Bindings bindings = {{"tokens", tokens}, {"rows", 1}, {"context", 8}};
    DeviceLimits limits = shared_device().limits();
    limits.max_binding = 12 * 1024;  // 128 rows of codes
    KernelContext context{&f.manifest, limits, bindings, Accumulate::fp32, tokens == 1};
    REQUIRE(plan_operator(context, op).size() >= 7);
    HostState state = f.random_state(bindings);
    state.record.tokens = static_cast<uint32_t>(tokens);
    REQUIRE(compare(f, op, context, state) < 1e-5);
  }
}

TEST_CASE("an output row larger than a binding is bound in windows") {
  Fixture f;
  const TensorId x = f.tensor(Expr::symbol("rows"), 8);
  const TensorId out = f.tensor(Expr::symbol("rows"), 40000);
  const WeightId w = f.weight(40000, 8, Encoding::f16);  // 640 KB in ten ranges
  const int32_t op = f.add(OpKind::linear, {x, kNone}, {out}, {w, f.vector(40000)}, {}, Part::head);
  DeviceLimits limits = shared_device().limits();
  limits.max_binding = 64 * 1024;
  const Bindings bindings = {{"tokens", 1}, {"rows", 1}, {"context", 8}};
  KernelContext context{&f.manifest, limits, bindings, Accumulate::fp32, true};
  HostState state = f.random_state(bindings);
  state.record.tokens = 1;
  REQUIRE(compare(f, op, context, state) < 1e-5);
  context.bindings["rows"] = 2;
  REQUIRE_THROWS_AS(plan_operator(context, op), Error);
}

}  // namespace pocket::test
