// 8-bit weights and activations on the device against the host reference: sums are exact, so that f32
// results are equal bit for bit. Every form of the products, odd sizes, every epilogue.
#include <cstring>

#include "test/kernels/fixture.h"
#include "test/support/catch.h"

namespace pocket::test {
namespace {

// One way to multiply and to exchange values, on the device at hand.
struct Form {
  const char* shader;  // part of the variant's name
  DeviceLimits limits;
};

std::vector<Form> forms() {
  const DeviceLimits real = shared_device().limits();
  std::vector<Form> all;
  const auto add = [&](const char* shader, bool subgroups, bool texels, DotForm dot) {
    DeviceLimits limits = real;
    if (!subgroups) limits.subgroup_size = 0;
    if (!texels) limits.max_texels = 0;
    limits.dot_signed = dot == DotForm::both_signed;
    limits.dot_mixed = dot == DotForm::mixed;
    if (dot != DotForm::none && !limits.dot_product) return;  // absent on this device
    if (dot == DotForm::none) limits.dot_product = false;
    all.push_back({shader, limits});
  };
  add("", false, false, DotForm::none);
  add("_sdot", false, false, DotForm::both_signed);
  add("_sudot", false, false, DotForm::mixed);
  if (real.subgroup_size < 4) return all;
  if (real.max_texels != 0) add("_tx", true, true, DotForm::none);
  add("_sg", true, false, DotForm::none);
  add("_sdot_sg", true, false, DotForm::both_signed);
  add("_sudot_sg", true, false, DotForm::mixed);
  return all;
}

// Plans, runs on both sides from equal states, and counts the words of the output that differ.
struct Outcome {
  int differing = 0;
  double error = 0;
  std::vector<Dispatch> plan;
};

Outcome run(Fixture& f, int32_t op, TensorId out, const DeviceLimits& limits, int64_t tokens,
            int64_t valid = 0, const KernelConfig* forced = nullptr, float shift = 0) {
  static ComputeContext compute(shared_device());
  const Bindings bindings = {{"tokens", tokens}, {"rows", 1}, {"context", 80}};
  HostState expected = f.random_state(bindings);
  for (float& value : expected.tensors[0]) value += shift;
  expected.record.tokens = static_cast<uint32_t>(valid == 0 ? tokens : valid);
  HostState actual = expected;
  KernelContext context{&f.manifest, limits, bindings, Accumulate::fp32, tokens == 1};
  context.forced = forced;
  Outcome outcome;
  outcome.plan = plan_operator(context, op);
  run_reference(f.manifest, f.source(), op, expected);
  DispatchRunner runner(compute, f.manifest, [&](const Section& s) { return f.section_bytes(s); });
  std::vector<int32_t> ring(4);
  runner.run(outcome.plan, actual, ring);
  const auto& want = expected.tensors[static_cast<size_t>(out)];
  const auto& got = actual.tensors[static_cast<size_t>(out)];
  for (size_t i = 0; i < want.size(); ++i) {
    outcome.differing += std::memcmp(&want[i], &got[i], sizeof(float)) != 0 ? 1 : 0;
  }
  outcome.error = relative_error(want, got);
  return outcome;
}

bool ends_with(const std::string& shader, const std::string& form) {
  return shader == "gemv_w8a8" + form || shader == "gemm_w8a8" + form ||
         shader == "gemv_w8a8_gated" + form || shader == "gemm_w8a8_gated" + form;
}

}  // namespace

TEST_CASE("w8a8: every form of the products equals the reference bit for bit over odd sizes") {
  for (const Form& form : forms()) {
    for (const DType dtype : {DType::f32, DType::f16}) {
      const bool half = dtype == DType::f16;
      int i = 0;
      for (const int64_t columns : {16, 100, 30, 260, 64}) {
        // One row, rows of a last block in part, more than a workgroup's.
        const int64_t rows = std::array<int64_t, 5>{33, 1, 106, 32, 257}[static_cast<size_t>(i)];
        const int64_t many = std::array<int64_t, 5>{2, 5, 33, 65, 8}[static_cast<size_t>(i)];
        for (const int64_t tokens : {int64_t{1}, many}) {
          Fixture f;
          f.random.seed(static_cast<uint32_t>(columns * 1000 + rows * 10 + tokens));
          const TensorId x = f.tensor(Expr::symbol("tokens"), columns, dtype);
          const TensorId out = f.tensor(Expr::symbol("tokens"), rows);
          const WeightId w = f.weight(rows, columns, Encoding::w8a8, 0, i == 4 ? 64 : 0);
          const int32_t op = f.add(OpKind::linear, {x, kNone}, {out}, {w, f.vector(rows)});
          const int64_t valid = tokens == 1 ? 1 : tokens - i % 2;
          const Outcome outcome = run(f, op, out, form.limits, tokens, valid);
          CAPTURE(form.shader, half, columns, rows, tokens, outcome.plan.back().shader);
          CHECK(outcome.differing == 0);
          const bool texels = std::string(form.shader) == "_tx";
          const bool whole = tokens > 1 || columns * (half ? 2 : 4) % 16 == 0;
          if (!texels || whole) CHECK(ends_with(outcome.plan.back().shader, form.shader));
          // One dispatch makes the codes where several workgroups or lanes need them.
          const bool made = outcome.plan.front().shader == "quantise_w8a8";
          CHECK(made == (tokens > 1 || form.limits.subgroup_size == 0));
        }
        ++i;
      }
    }
  }
}

TEST_CASE("w8a8: columns that no vector load fits") {
  for (const Form& form : forms()) {
    for (const int64_t tokens : {1, 3}) {
      for (const int64_t columns : {1, 3, 63, 101}) {
        Fixture f;
        const TensorId x = f.tensor(Expr::symbol("tokens"), columns);
        const TensorId out = f.tensor(Expr::symbol("tokens"), 37);
        const WeightId w = f.weight(37, columns, Encoding::w8a8);
        const int32_t op = f.add(OpKind::linear, {x, kNone}, {out}, {w, kNone});
        CAPTURE(form.shader, columns, tokens);
        CHECK(run(f, op, out, form.limits, tokens).differing == 0);
      }
    }
  }
}

TEST_CASE("w8a8: bias, activation and residual in every type") {
  for (const Form& form : forms()) {
    if (form.limits.dot_product) continue;  // what follows the sums is the same for all
    for (const int64_t tokens : {1, 6}) {
      for (const bool half : {false, true}) {
        Fixture f;
        const DType type = half ? DType::f16 : DType::f32;
        const TensorId x = f.tensor(Expr::symbol("tokens"), 96, type);
        const TensorId residual = f.tensor(Expr::symbol("tokens"), 70, type);
        const TensorId out = f.tensor(Expr::symbol("tokens"), 70, half ? DType::f32 : DType::f16);
        const WeightId w = f.weight(70, 96, Encoding::w8a8);
        const WeightId bias = f.vector(70, half ? Encoding::f16 : Encoding::f32);
        Attributes a;
        a.activation = half ? Activation::relu : Activation::gelu_tanh;
        const int32_t op = f.add(OpKind::linear, {x, residual}, {out}, {w, bias}, a);
        const Outcome outcome = run(f, op, out, form.limits, tokens, (tokens + 1) / 2);
        CAPTURE(form.shader, tokens, half);
        CHECK(outcome.error < 2e-3);  // f16 results may round to the neighbour
        if (half) CHECK(outcome.differing == 0);
      }
    }
  }
}

TEST_CASE("w8a8: a gate and its product in one dispatch, apart, and beside another encoding") {
  for (const Form& form : forms()) {
    for (const int64_t tokens : {1, 7}) {
      for (const int kind : {0, 1, 2}) {  // together, too few bindings, gate of f16
        Fixture f;
        const TensorId x = f.tensor(Expr::symbol("tokens"), 72);
        const TensorId out = f.tensor(Expr::symbol("tokens"), 50);
        const WeightId gate = f.weight(50, 72, kind == 2 ? Encoding::f16 : Encoding::w8a8);
        const WeightId up = f.weight(50, 72, Encoding::w8a8);
        Attributes a;
        a.activation = Activation::relu;
        const int32_t op = f.add(OpKind::gated_linear, {x}, {out},
                                 {gate, up, f.vector(50), f.vector(50, Encoding::f16)}, a);
        DeviceLimits limits = form.limits;
        if (kind == 1) limits.max_storage_buffers = 8;
        const Outcome outcome = run(f, op, out, limits, tokens);
        CAPTURE(form.shader, tokens, kind);
        if (kind == 2) {
          CHECK(outcome.error < 1e-5);
        } else {
          CHECK(outcome.differing == 0);
        }
        const size_t matrices = kind == 0 ? 1 : 2;
        const bool made = tokens > 1 || limits.subgroup_size == 0;
        CHECK(outcome.plan.size() == matrices + (made ? 1 : 0));
      }
    }
  }
}

TEST_CASE("w8a8: sums of the largest codes over many columns do not overflow") {
  for (const Form& form : forms()) {
    for (const int64_t tokens : {1, 2}) {
      Fixture f;
      const int64_t columns = 132000;  // just below what 32 bits hold
      const TensorId x = f.tensor(Expr::symbol("tokens"), columns);
      const TensorId out = f.tensor(Expr::symbol("tokens"), 2);
      f.lowest_codes = true;
      const WeightId w = f.weight(2, columns, Encoding::w8a8);
      const int32_t op = f.add(OpKind::linear, {x, kNone}, {out}, {w, kNone});
      // Every activation lies below the lowest code: all products are 128 * 127.
      const Outcome outcome = run(f, op, out, form.limits, tokens, 0, nullptr, -5.0f);
      CAPTURE(form.shader, tokens);
      CHECK(outcome.differing == 0);
    }
  }
}

TEST_CASE("w8a8: a matrix larger than a binding is cut into ranges that share the codes") {
  Fixture f;
  const TensorId x = f.tensor(Expr::symbol("tokens"), 160);
  const TensorId out = f.tensor(Expr::symbol("tokens"), 500);
  const WeightId w = f.weight(500, 160, Encoding::w8a8);
  const int32_t op = f.add(OpKind::linear, {x, kNone}, {out}, {w, f.vector(500)});
  DeviceLimits limits = shared_device().limits();
  limits.max_binding = 12 * 1024;  // 64 rows of codes
  for (const int64_t tokens : {1, 5}) {
    const Outcome outcome = run(f, op, out, limits, tokens);
    CHECK(outcome.differing == 0);
    size_t quantised = 0;
    for (const Dispatch& d : outcome.plan) quantised += d.shader == "quantise_w8a8" ? 1 : 0;
    CHECK(quantised == (tokens == 1 && limits.subgroup_size >= 4 ? 0 : 1));
    CHECK(outcome.plan.size() >= 8);
  }
}

TEST_CASE("w8a8: every row of the table that is valid here gives the same bits") {
  const DeviceLimits& limits = shared_device().limits();
  int checked = 0;
  for (const KernelConfig& row : kernel_configs()) {
    const bool gemv = row.kernel == Kernel::gemv_w8a8;
    if (!gemv && row.kernel != Kernel::gemm_w8a8) continue;
    const int64_t tokens = gemv ? 1 : 9;
    if (!valid(row, limits, {.rows = 133, .tokens = tokens, .texels = true})) continue;
    Fixture f;
    const TensorId x = f.tensor(Expr::symbol("tokens"), 176, DType::f16);
    const TensorId out = f.tensor(Expr::symbol("tokens"), 133);
    const WeightId w = f.weight(133, 176, Encoding::w8a8);
    const int32_t op = f.add(OpKind::linear, {x, kNone}, {out}, {w, kNone});
    CAPTURE(row.str());
    CHECK(run(f, op, out, limits, tokens, 0, &row).differing == 0);
    ++checked;
  }
  CHECK(checked >= (limits.subgroup_size >= 4 ? 10 : 3));
}

}  // namespace pocket::test
