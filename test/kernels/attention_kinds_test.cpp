// Attention with a window, a soft cap and ALiBi slopes, heads normalised before rotation, and every
// kind of rotary table, against the host reference.
#include "test/kernels/fixture.h"
#include "test/support/catch.h"

namespace pocket::test {
namespace {

const Expr kTokens = Expr::symbol("tokens");

}  // namespace

TEST_CASE("attention with a window, a soft cap and slopes equals the reference") {
  struct Span {
    uint32_t past;
    int64_t tokens;
    uint32_t valid;
  };
  const Span spans[] = {{0, 1, 1}, {0, 9, 9}, {130, 33, 31}, {199, 1, 1}, {63, 1, 1}};
  struct Kind {
    int32_t window;
    float soft_cap;
    bool slopes;
  };
  const Kind kinds[] = {{5, 0, false}, {0, 3.0f, false}, {0, 0, true}, {70, 2.0f, true}};
  const std::vector<LimitSet> all = limit_sets();
  uint32_t variation = 0;
  for (const LimitSet& set : {all.front(), all.back()}) {
    for (const Kind& kind : kinds) {
      for (const Span& span : spans) {
        Fixture f;
        f.random.seed(++variation);
        Attributes a;
        a.heads = 6;
        a.kv_heads = 2;
        a.head_dim = 20;
        a.scale = 0.9f;
        a.window = kind.window;
        a.soft_cap = kind.soft_cap;
        const int64_t width = int64_t{a.heads} * a.head_dim;
        const TensorId q = f.tensor(kTokens, width);
        const TensorId k_state = f.state(a.kv_heads, a.head_dim);
        const TensorId v_state = f.state(a.kv_heads, a.head_dim);
        const TensorId out = f.tensor(kTokens, width);
        const WeightId slopes = kind.slopes ? f.vector(a.heads) : kNone;
        const int32_t op = f.add(OpKind::attention, {q, k_state, v_state}, {out}, {slopes}, a);
        const Bindings bindings = {{"tokens", span.tokens}, {"rows", 1}, {"context", 200}};
        HostState state = f.random_state(bindings, 2.0f);
        state.record.past = span.past;
        state.record.tokens = span.valid;
        const auto row = static_cast<size_t>(a.kv_heads * a.head_dim);
        for (const TensorId id : {k_state, v_state}) {
          auto& values = state.tensors[static_cast<size_t>(id)];
          const auto fill = [&](size_t first, size_t last) {
            std::fill(values.begin() + static_cast<std::ptrdiff_t>(first * row),
                      values.begin() + static_cast<std::ptrdiff_t>(last * row), NAN);
          };
          // Nothing before the first row's window and behind the last row may be read.
          fill(span.past + span.valid, 200);
          const auto seen = static_cast<uint32_t>(kind.window);
          if (kind.window != 0 && span.past + 1 > seen) fill(0, span.past + 1 - seen);
        }
        KernelContext context{&f.manifest, set.limits, bindings, Accumulate::fp32,
                              span.tokens == 1};
        CAPTURE(set.name, kind.window, kind.soft_cap, kind.slopes, span.past, span.tokens);
        HostState expected = state, actual = state;
        run_reference(f.manifest, f.source(), op, expected);
        static ComputeContext compute(shared_device());
        DispatchRunner runner(compute, f.manifest,
                              [&](const Section& s) { return f.section_bytes(s); });
        std::vector<int32_t> ring(4);
        runner.run(plan_operator(context, op), actual, ring);
        const auto result = static_cast<size_t>(out);
        REQUIRE(relative_error(expected.tensors[result], actual.tensors[result]) < 2e-5);
      }
    }
  }
}

TEST_CASE("a window bounds the bytes of a decode step") {
  Fixture f;
  Attributes a;
  a.heads = a.kv_heads = 2;
  a.head_dim = 16;
  const TensorId q = f.tensor(kTokens, 32), out = f.tensor(kTokens, 32);
  const TensorId k_state = f.state(2, 16), v_state = f.state(2, 16);
  const int32_t all = f.add(OpKind::attention, {q, k_state, v_state}, {out}, {}, a);
  a.window = 64;
  const int32_t some = f.add(OpKind::attention, {q, k_state, v_state}, {out}, {}, a);
  const Bindings bindings = {{"tokens", 1}, {"rows", 1}, {"context", 4096}};
  const KernelContext context{&f.manifest, shared_device().limits(), bindings, Accumulate::fp32,
                              true};
  const uint64_t whole = plan_operator(context, all)[0].bytes_read;
  const uint64_t window = plan_operator(context, some)[0].bytes_read;
  CHECK(whole > 4096u * 2 * 64);
  CHECK(window < 64u * 2 * 64 + 1024);
}

TEST_CASE("rotary_kv normalises heads, without rotation too") {
  uint32_t variation = 0;
  for (const LimitSet& set : limit_sets()) {
    for (const int norms : {1, 2, 3}) {  // q, k, both
      ++variation;
      Fixture f;
      f.random.seed(variation);
      Attributes a;
      a.heads = 3;
      a.kv_heads = variation % 2 == 0 ? 1 : 3;
      a.head_dim = variation % 3 == 0 ? 10 : 136;
      a.norm = variation % 2 == 0 ? NormKind::layer : NormKind::rms;
      a.epsilon = 1e-3f;
      a.rotary_dim = variation % 4 == 0 ? 0 : a.head_dim / 4 * 2;
      a.interleaved = variation % 3 == 0;
      if (a.rotary_dim != 0) {
        a.rope_table = 0;
        RopeTable table;
        for (int i = 0; i < a.rotary_dim / 2; ++i) table.inv_freq.push_back(1.0 / (1 + i));
        f.manifest.program.rope_tables.push_back(table);
      }
      const int64_t q_width = int64_t{a.heads} * a.head_dim;
      const int64_t kv_width = int64_t{a.kv_heads} * a.head_dim;
      const TensorId q = f.tensor(kTokens, q_width + 2 * kv_width);
      a.k_column = static_cast<int32_t>(q_width);
      a.v_column = static_cast<int32_t>(q_width + kv_width);
      const TensorId k_state = f.state(a.kv_heads, a.head_dim, DType::f32);
      const TensorId v_state = f.state(a.kv_heads, a.head_dim, DType::f32);
      const TensorId out = f.tensor(kTokens, q_width);
      const bool each = variation % 2 == 1;
      const WeightId q_norm =
          (norms & 1) != 0 ? f.vector(each ? q_width : int64_t{a.head_dim}) : kNone;
      const WeightId k_norm = (norms & 2) != 0 ? f.vector(a.head_dim) : kNone;
      const int32_t op =
          f.add(OpKind::rotary_kv, {q, q, q, k_state, v_state}, {out}, {q_norm, k_norm}, a);
      const Bindings bindings = {{"tokens", 7}, {"rows", 1}, {"context", 24}};
      HostState state = f.random_state(bindings);
      state.record.past = 19;
      state.record.tokens = 5;
      CAPTURE(set.name, norms, variation);
      KernelContext context{&f.manifest, set.limits, bindings, Accumulate::fp32, false};
      REQUIRE(compare(f, op, context, state) < 5e-5);
    }
  }
}

TEST_CASE("a rotary table lies in a weight or changes with the length of the sequence") {
  struct Record {
    uint32_t past, tokens, target;
  };
  for (const bool given : {false, true}) {
    for (const Record& record :
         {Record{0, 5, 5}, Record{0, 5, 20}, Record{14, 1, 3}, Record{15, 1, 3}}) {
      Fixture f;
      RopeTable table;
      if (given) {
        table.values = f.weight(32, 8, Encoding::f32);
        table.values_half = 4;
      } else {
        table.inv_freq = {1.0, 0.5, 0.25, 0.125};
        table.long_inv_freq = {0.5, 0.2, 0.1, 0.05};
        table.long_scale = 1.5;
        table.long_from = 16;
      }
      f.manifest.program.rope_tables.push_back(table);
      Attributes a;
      a.heads = a.kv_heads = 2;
      a.head_dim = a.rotary_dim = 8;
      a.rope_table = 0;
      const TensorId q = f.tensor(kTokens, 16), k = f.tensor(kTokens, 16),
                     v = f.tensor(kTokens, 16);
      const TensorId k_state = f.state(2, 8, DType::f32), v_state = f.state(2, 8, DType::f32);
      const TensorId out = f.tensor(kTokens, 16);
      const int32_t op = f.add(OpKind::rotary_kv, {q, k, v, k_state, v_state}, {out}, {}, a);
      const Bindings bindings = {{"tokens", 5}, {"rows", 1}, {"context", 32}};
      HostState state = f.random_state(bindings);
      state.record.past = record.past;
      state.record.tokens = record.tokens;
      state.record.target = record.target;
      CAPTURE(given, record.past, record.target);
      KernelContext context{&f.manifest, shared_device().limits(), bindings, Accumulate::fp32,
                            false};
      REQUIRE(compare(f, op, context, state) < 1e-5);
      // The table that holds is the one that the record asks for.
      HostState expected = state;
      run_reference(f.manifest, f.source(), op, expected);
      if (given) continue;
      const bool is_long = std::max(record.target, record.past + record.tokens) >= 16;
      const double angle = record.past * (is_long ? 0.5 : 1.0), scale = is_long ? 1.5 : 1.0;
      const auto& x = state.tensors[static_cast<size_t>(q)];
      const double wanted = scale * (x[0] * std::cos(angle) - x[4] * std::sin(angle));
      CHECK(expected.tensors[static_cast<size_t>(out)][0] == Approx(wanted).margin(1e-5));
    }
  }
}

TEST_CASE("every activation and every binary function equals the reference") {
  for (int kind = 0; kind <= static_cast<int>(kLastActivation); ++kind) {
    Fixture f;
    const TensorId x = f.tensor(kTokens, 7), out = f.tensor(kTokens, 7);
    Attributes a;
    a.activation = static_cast<Activation>(kind);
    a.scale = 1.5f;
    const int32_t op = f.add(OpKind::unary, {x}, {out}, {}, a);
    const Bindings bindings = {{"tokens", 5}, {"rows", 1}, {"context", 8}};
    HostState state = f.random_state(bindings, 3.0f);
    const bool positive = a.activation == Activation::sqrt || a.activation == Activation::log;
    for (float& value : state.tensors[static_cast<size_t>(x)]) {
      if (positive) value = std::abs(value) + 0.01f;
    }
    state.record.tokens = 4;
    KernelContext context{&f.manifest, shared_device().limits(), bindings, Accumulate::fp32, false};
    CAPTURE(activation_name(a.activation));
    CHECK(compare(f, op, context, state) < 1e-5);
  }
  for (const BinaryKind kind :
       {BinaryKind::add, BinaryKind::mul, BinaryKind::sub, BinaryKind::div}) {
    for (const bool is_row : {false, true}) {
      Fixture f;
      const TensorId x = f.tensor(kTokens, 7), y = f.tensor(kTokens, 7), out = f.tensor(kTokens, 7);
      Attributes a;
      a.binary = kind;
      const int32_t op =
          f.add(OpKind::binary, {x, is_row ? kNone : y}, {out}, {is_row ? f.vector(7) : kNone}, a);
      const Bindings bindings = {{"tokens", 5}, {"rows", 1}, {"context", 8}};
      HostState state = f.random_state(bindings, 3.0f);
      state.record.tokens = 4;
      KernelContext context{&f.manifest, shared_device().limits(), bindings, Accumulate::fp32,
                            false};
      CAPTURE(binary_kind_name(kind), is_row);
      CHECK(compare(f, op, context, state) < 1e-5);
    }
  }
}

}  // namespace pocket::test
