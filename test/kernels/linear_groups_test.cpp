// What groups ask of 4-bit kernels: activation sums made once for all that reads them, and groups of 16.
#include <algorithm>
#include <string>

#include "test/kernels/fixture.h"
#include "test/support/catch.h"

namespace pocket::test {
namespace {

constexpr double kTolerance = 1e-4;

struct Shape {
  int64_t columns, rows, tokens, valid;  // record.tokens
};

KernelContext context_for(const Fixture& f, const DeviceLimits& limits, int64_t tokens) {
  return {&f.manifest, limits, {{"tokens", tokens}, {"rows", 1}, {"context", 80}},
          Accumulate::fp32, tokens == 1};
}

size_t sums_in(const std::vector<Dispatch>& plan) {
  return static_cast<size_t>(std::count_if(plan.begin(), plan.end(), [](const Dispatch& d) {
    return d.shader == "group_sums";
  }));
}

double error_of(Fixture& f, int32_t op, const KernelContext& context, int64_t valid) {
  HostState state = f.random_state(context.bindings);
  state.record.tokens = static_cast<uint32_t>(valid);
  return compare(f, op, context, state);
}

double run_linear(const Shape& s, Encoding encoding, int64_t group, const DeviceLimits& limits,
                  std::string_view shader, DType x_type = DType::f32) {
  Fixture f;
  f.random.seed(static_cast<uint32_t>(s.columns * 1000 + s.rows * 10 + s.tokens));
  const TensorId x = f.tensor(Expr::symbol("tokens"), s.columns, x_type);
  const TensorId out = f.tensor(Expr::symbol("tokens"), s.rows);
  const WeightId w = f.weight(s.rows, s.columns, encoding, group, s.rows > 64 ? 64 : 0);
  const int32_t op = f.add(OpKind::linear, {x, kNone}, {out}, {w, kNone});
  const KernelContext context = context_for(f, limits, s.tokens);
  const std::vector<Dispatch> plan = plan_operator(context, op);
  REQUIRE(plan.back().shader == shader);
  REQUIRE(sums_in(plan) == (s.tokens == 1 ? 0 : 1));
  REQUIRE(plan.size() == static_cast<size_t>((s.rows > 64 ? (s.rows + 63) / 64 : 1)) + sums_in(plan));
  return error_of(f, op, context, s.valid);
}

struct Form {
  const char* suffix;
  DeviceLimits limits;
};
// The three ways of a matrix kernel to read and exchange, as far as the device has them.
std::vector<Form> forms() {
  const DeviceLimits& real = shared_device().limits();
  std::vector<Form> all = {{"", lower_limits(real, {{"subgroup_size", 0}})}};
  if (real.subgroup_size < 4) return all;
  all.push_back({"_sg", lower_limits(real, {{"max_texels", 0}})});
  if (real.name.find("llvmpipe") != std::string::npos && real.max_texels != 0) {
    all.push_back({"_tx", real});
  }
  return all;
}

}  // namespace

TEST_CASE("groups of 16 equal the reference over odd sizes in every form") {
  for (const Form& form : forms()) {
    for (const Encoding encoding : {Encoding::int4, Encoding::m0e4}) {
      if (encoding == Encoding::int4 && *form.suffix == 0) continue;  // a pipeline each
      // Short last groups, groups wholly in the padding, both, none; ranges of rows; padded rows.
      for (const Shape& s : {Shape{40, 105, 1, 1}, Shape{64, 34, 1, 1}, Shape{196, 257, 1, 1},
                             Shape{40, 105, 19, 13}, Shape{64, 34, 2, 2}, Shape{196, 257, 9, 5},
                             Shape{12, 1, 3, 3}}) {
        CAPTURE(form.suffix, encoding_name(encoding), s.columns, s.rows, s.tokens);
        const std::string shader = std::string(s.tokens == 1 ? "gemv_" : "gemm_") +
                                   encoding_name(encoding) + "_g16" + form.suffix;
        REQUIRE(run_linear(s, encoding, 16, form.limits, shader) < kTolerance);
      }
    }
  }
}

TEST_CASE("groups of 16 over columns that no vector load fits, and in f16") {
  for (const Form& form : forms()) {
    if (std::string_view(form.suffix) == "_tx") continue;  // rows are no whole texels
    for (const int64_t tokens : {1, 5}) {
      for (const auto& [columns, type] :
           {std::pair{int64_t{1}, DType::f32}, std::pair{int64_t{63}, DType::f32},
            std::pair{int64_t{98}, DType::f16}}) {
        CAPTURE(form.suffix, tokens, columns);
        const std::string shader =
            std::string(tokens == 1 ? "gemv_m0e4_g16" : "gemm_m0e4_g16") + form.suffix;
        const Shape s{columns, 37, tokens, tokens};
        REQUIRE(run_linear(s, Encoding::m0e4, 16, form.limits, shader, type) < kTolerance);
      }
    }
  }
}

TEST_CASE("groups of 16 keep f32 products where fp16 is asked for") {
  Fixture f;
  const TensorId x = f.tensor(Expr::symbol("tokens"), 64);
  const TensorId out = f.tensor(Expr::symbol("tokens"), 40);
  const int32_t op =
      f.add(OpKind::linear, {x, kNone}, {out}, {f.weight(40, 64, Encoding::m0e4, 16), kNone});
  for (const int64_t tokens : {1, 7}) {
    KernelContext context = context_for(f, shared_device().limits(), tokens);
    context.accumulate = Accumulate::fp16;
    REQUIRE(plan_operator(context, op).back().shader.find("_half") == std::string::npos);
    REQUIRE(error_of(f, op, context, tokens) < kTolerance);
  }
}

TEST_CASE("a table in groups of 16 is gathered") {
  for (const Encoding encoding : {Encoding::int4, Encoding::m0e4}) {
    for (const int64_t width : {1, 40, 64, 100}) {
      Fixture f;
      f.manifest.program.vocab = 70;
      const TensorId out = f.tensor(Expr::symbol("tokens"), width);
      Attributes a;
      a.scale = 1.5f;
      const int32_t op = f.add(OpKind::embed, {}, {out}, {f.weight(70, width, encoding, 16, 32)}, a);
      const KernelContext context = context_for(f, shared_device().limits(), 9);
      for (const Dispatch& d : plan_operator(context, op)) REQUIRE(d.shader == "embed_g16");
      HostState state = f.random_state(context.bindings);
      state.record.tokens = 7;
      state.token_ids.resize(81);
      for (int32_t& id : state.token_ids) id = static_cast<int32_t>(f.random() % 70);
      CAPTURE(encoding_name(encoding), width);
      REQUIRE(compare(f, op, context, state) < kTolerance);
    }
  }
}

TEST_CASE("both matrices of a gate read one set of sums, together, apart, and of two encodings") {
  struct Gates {
    Encoding gate;
    int64_t gate_group;
    Encoding up;
    int64_t up_group;
    uint32_t buffers;
    size_t sums, dispatches;  // of prefill
  };
  const uint32_t all = shared_device().limits().max_storage_buffers;
  for (const Gates& g : {Gates{Encoding::m0e4, 32, Encoding::m0e4, 32, all, 1, 2},
                         Gates{Encoding::m0e4, 32, Encoding::m0e4, 32, 10, 1, 3},
                         Gates{Encoding::int4, 64, Encoding::m0e4, 64, all, 1, 3},
                         Gates{Encoding::m0e4, 32, Encoding::m0e4, 64, all, 2, 4},
                         Gates{Encoding::m0e4, 16, Encoding::m0e4, 16, all, 1, 3},
                         Gates{Encoding::f16, 0, Encoding::m0e4, 16, all, 1, 3}}) {
    Fixture f;
    constexpr int64_t kColumns = 100, kRows = 70;
    const TensorId x = f.tensor(Expr::symbol("tokens"), kColumns, DType::f16);
    const TensorId out = f.tensor(Expr::symbol("tokens"), kRows);
    const WeightId gate = f.weight(kRows, kColumns, g.gate, g.gate_group);
    const WeightId up = f.weight(kRows, kColumns, g.up, g.up_group);
    Attributes a;
    a.activation = Activation::silu;
    const int32_t op = f.add(OpKind::gated_linear, {x}, {out}, {gate, up, kNone, kNone}, a);
    DeviceLimits limits = shared_device().limits();
    limits.max_storage_buffers = g.buffers;
    const KernelContext context = context_for(f, limits, 11);
    const std::vector<Dispatch> plan = plan_operator(context, op);
    CAPTURE(encoding_name(g.gate), encoding_name(g.up), g.gate_group, g.up_group, g.buffers);
    REQUIRE(sums_in(plan) == g.sums);
    REQUIRE(plan.size() == g.dispatches);
    REQUIRE(error_of(f, op, context, 9) < kTolerance);
  }
}

}  // namespace pocket::test
