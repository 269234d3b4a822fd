// rotary_kv and attention against the host reference: GQA, every head size, up to the last slot.
#include "test/kernels/fixture.h"
#include "test/support/catch.h"

namespace pocket::test {
namespace {

const Expr kTokens = Expr::symbol("tokens");

struct Heads {
  int32_t heads, kv_heads, head_dim;
};

}  // namespace

TEST_CASE("rotary_kv rotates q and k and writes only its rows of the states") {
  uint32_t variation = 0;
  const Heads shapes[] = {{1, 1, 8}, {4, 2, 16}, {6, 2, 20}, {8, 1, 64}, {3, 3, 10}, {2, 1, 256}};
  for (const LimitSet& set : limit_sets()) {
    for (const Heads& h : shapes) {
      ++variation;
      Fixture f;
      f.random.seed(variation);
      const DType dtype = variation % 2 == 0 ? DType::f16 : DType::f32;
      const int64_t q_width = int64_t{h.heads} * h.head_dim;
      const int64_t kv_width = int64_t{h.kv_heads} * h.head_dim;
      Attributes a;
      a.heads = h.heads;
      a.kv_heads = h.kv_heads;
      a.head_dim = h.head_dim;
      a.rotary_dim =
          variation % 4 == 0 ? 0 : (variation % 4 == 1 ? h.head_dim : h.head_dim / 4 * 2);
      a.interleaved = variation % 3 == 0;
      if (a.rotary_dim != 0) {
        a.rope_table = 0;
        RopeTable table;
        for (int i = 0; i < a.rotary_dim / 2; ++i) {
          table.inv_freq.push_back(std::pow(100.0, -2.0 * i / a.rotary_dim));
        }
        table.scale = 1.25;
        f.manifest.program.rope_tables.push_back(table);
      }
      const bool merged = variation % 2 == 1;
      TensorId q, k, v;
      if (merged) {
        q = k = v = f.tensor(kTokens, q_width + 2 * kv_width, dtype);
        a.k_column = static_cast<int32_t>(q_width);
        a.v_column = static_cast<int32_t>(q_width + kv_width);
      } else {
        q = f.tensor(kTokens, q_width, dtype);
        k = f.tensor(kTokens, kv_width);
        v = f.tensor(kTokens, kv_width, dtype);
      }
      const DType state_type = variation % 5 == 0 ? DType::f32 : DType::f16;
      const TensorId k_state = f.state(h.kv_heads, h.head_dim, state_type);
      const TensorId v_state = f.state(h.kv_heads, h.head_dim, state_type);
      const TensorId out = f.tensor(kTokens, q_width, dtype);
      const int32_t op = f.add(OpKind::rotary_kv, {q, k, v, k_state, v_state}, {out}, {}, a);
      const Bindings bindings = {{"tokens", 7}, {"rows", 1}, {"context", 24}};
      HostState state = f.random_state(bindings);
      state.record.past = 19;
      state.record.tokens = 5;  // ends at the last slot
      CAPTURE(set.name, h.heads, h.kv_heads, h.head_dim, variation);
      KernelContext context{&f.manifest, set.limits, bindings, Accumulate::fp32, false};
      REQUIRE(compare(f, op, context, state) < 2e-3);
    }
  }
}

TEST_CASE("attention equals the reference, prefill and decode") {
  uint32_t variation = 0;
  const Heads shapes[] = {{1, 1, 8},  {4, 2, 16}, {6, 2, 20}, {8, 1, 64},
                          {3, 3, 10}, {7, 7, 32}, {2, 1, 256}};
  struct Span {
    uint32_t past;
    int64_t tokens;
    uint32_t valid;
  };
  const std::vector<LimitSet> all = limit_sets();
  const Span spans[] = {{0, 1, 1},  {0, 9, 9},     {0, 70, 50}, {5, 6, 1},
                        {63, 1, 1}, {130, 33, 33}, {299, 1, 1}, {280, 20, 20}};
  for (const LimitSet& set : {all.front(), all.back()}) {
    for (const Heads& h : shapes) {
      for (const Span& span : spans) {
        ++variation;
        Fixture f;
        f.random.seed(variation);
        // Types go with the shape: each combination is a pipeline that takes a while to compile.
        const DType dtype = h.heads % 2 == 0 ? DType::f16 : DType::f32;
        const DType state_type = h.head_dim == 10 ? DType::f32 : DType::f16;
        const int64_t width = int64_t{h.heads} * h.head_dim;
        const TensorId q = f.tensor(kTokens, width, dtype);
        const TensorId k_state = f.state(h.kv_heads, h.head_dim, state_type);
        const TensorId v_state = f.state(h.kv_heads, h.head_dim, state_type);
        const TensorId out = f.tensor(kTokens, width, dtype);
        Attributes a;
        a.heads = h.heads;
        a.kv_heads = h.kv_heads;
        a.head_dim = h.head_dim;
        a.scale = 4.0f / std::sqrt(static_cast<float>(h.head_dim));  // a softmax with a shape
        const int32_t op = f.add(OpKind::attention, {q, k_state, v_state}, {out}, {}, a);
        const int64_t row_bytes = int64_t{h.kv_heads} * h.head_dim * 4;
        const int64_t capacity =
            std::min<int64_t>(300, static_cast<int64_t>(set.limits.max_binding) / row_bytes);
        const int64_t q_bytes = span.tokens * h.heads * h.head_dim * 4;
        if (capacity < span.tokens) continue;
        if (q_bytes > static_cast<int64_t>(set.limits.max_binding)) continue;  // a smaller chunk
        const uint32_t past = std::min(span.past, static_cast<uint32_t>(capacity) - span.valid);
        const Bindings bindings = {{"tokens", span.tokens}, {"rows", 1}, {"context", capacity}};
        HostState state = f.random_state(bindings, 2.0f);
        // Rows that no query may see hold what would show at once.
        for (const TensorId id : {k_state, v_state}) {
          auto& values = state.tensors[static_cast<size_t>(id)];
          const auto row = static_cast<size_t>(h.kv_heads * h.head_dim);
          std::fill(values.begin() + static_cast<std::ptrdiff_t>((past + span.valid) * row),
                    values.end(), 1000.0f);
        }
        state.record.past = past;
        state.record.tokens = span.valid;
        KernelContext context{&f.manifest, set.limits, bindings, Accumulate::fp32,
                              span.tokens == 1};
        CAPTURE(set.name, h.heads, h.kv_heads, h.head_dim, past, span.tokens, span.valid);
        REQUIRE(compare(f, op, context, state) < (dtype == DType::f16 ? 4e-3 : 2e-5));
      }
    }
  }
}

TEST_CASE("decode attention over a context in parts equals the reference") {
  const Heads shapes[] = {{1, 1, 64}, {7, 1, 32},   {14, 2, 16},
                          {6, 2, 10}, {16, 1, 128}, {3, 3, 256}};
  struct Kind {
    int32_t window;
    float soft_cap;
    bool slopes;
  };
  const Kind kinds[] = {{0, 0, false}, {700, 0, false}, {0, 3.0f, true}};
  uint32_t variation = 0;
  int in_parts = 0;
  const std::vector<LimitSet> all = limit_sets();
  for (const LimitSet& set : {all[0], all[1], all[4]}) {
    for (const Heads& h : shapes) {
      const Kind& kind = kinds[(variation + variation / 6) % 3];  // every shape meets every kind
      Fixture f;
      f.random.seed(++variation);
      const int64_t width = int64_t{h.heads} * h.head_dim;
      const DType state_type = h.head_dim == 10 ? DType::f32 : DType::f16;
      const int64_t row_bytes = int64_t{h.kv_heads} * h.head_dim * 4;
      const int64_t capacity =
          std::min<int64_t>(1111, static_cast<int64_t>(set.limits.max_binding) / row_bytes);
      const TensorId q = f.tensor(kTokens, width);
      const TensorId k_state = f.state(h.kv_heads, h.head_dim, state_type);
      const TensorId v_state = f.state(h.kv_heads, h.head_dim, state_type);
      const TensorId out = f.tensor(kTokens, width);
      const WeightId slopes = kind.slopes ? f.vector(h.heads) : kNone;
      Attributes a;
      a.heads = h.heads;
      a.kv_heads = h.kv_heads;
      a.head_dim = h.head_dim;
      a.scale = 4.0f / std::sqrt(static_cast<float>(h.head_dim));
      a.window = kind.window;
      a.soft_cap = kind.soft_cap;
      const int32_t op = f.add(OpKind::attention, {q, k_state, v_state}, {out}, {slopes}, a);
      const Bindings bindings = {{"tokens", 1}, {"rows", 1}, {"context", capacity}};
      KernelContext context{&f.manifest, set.limits, bindings, Accumulate::fp32, true};
      in_parts += plan_operator(context, op).size() == 2 ? 1 : 0;
      // The first part alone, one position more, all parts, the last slot.
      for (const int64_t past :
           {int64_t{0}, int64_t{63}, int64_t{64}, int64_t{700}, capacity - 1}) {
        if (past >= capacity) continue;
        HostState state = f.random_state(bindings, 2.0f);
        state.record.past = static_cast<uint32_t>(past);
        state.record.tokens = 1;
        const auto row = static_cast<size_t>(h.kv_heads * h.head_dim);
        for (const TensorId id : {k_state, v_state}) {
          auto& values = state.tensors[static_cast<size_t>(id)];
          const auto at = [&](int64_t position) {
            return values.begin() +
                   static_cast<std::ptrdiff_t>(static_cast<size_t>(position) * row);
          };
          std::fill(at(past + 1), values.end(), NAN);
          if (kind.window != 0 && past >= kind.window) {
            std::fill(values.begin(), at(past + 1 - kind.window), NAN);
          }
        }
        HostState expected = state, actual = state;
        run_reference(f.manifest, f.source(), op, expected);
        static ComputeContext compute(shared_device());
        DispatchRunner runner(compute, f.manifest,
                              [&](const Section& s) { return f.section_bytes(s); });
        std::vector<int32_t> ring(4);
        runner.run(plan_operator(context, op), actual, ring);
        CAPTURE(set.name, h.heads, h.kv_heads, h.head_dim, kind.window, kind.slopes, past);
        const auto result = static_cast<size_t>(out);
        // A slope times the context is rounded to a part in 2^24, and two such exponents meet.
        const double rounding = kind.slopes ? static_cast<double>(capacity) * 0x1p-22 : 0.0;
        const double tolerance = 3e-5 + rounding;
        REQUIRE(relative_error(expected.tensors[result], actual.tensors[result]) < tolerance);
      }
    }
  }
  REQUIRE(in_parts >= 9);
}

TEST_CASE("attention with scores far apart neither overflows nor loses the largest") {
  for (const int64_t tokens : {1, 5}) {
    Fixture f;
    const TensorId q = f.tensor(kTokens, 32);
    const TensorId k_state = f.state(1, 16), v_state = f.state(1, 16);
    const TensorId out = f.tensor(kTokens, 32);
    Attributes a;
    a.heads = 2;
    a.kv_heads = 1;
    a.head_dim = 16;
    a.scale = 100.0f;  // scores of thousands
    const int32_t op = f.add(OpKind::attention, {q, k_state, v_state}, {out}, {}, a);
    const Bindings bindings = {{"tokens", tokens}, {"rows", 1}, {"context", 200}};
    HostState state = f.random_state(bindings, 2.0f);
    state.record.past = 190;
    state.record.tokens = static_cast<uint32_t>(tokens);
    KernelContext context{&f.manifest, shared_device().limits(), bindings, Accumulate::fp32,
                          tokens == 1};
    REQUIRE(compare(f, op, context, state) < 1e-3);
  }
}

}  // namespace pocket::test
