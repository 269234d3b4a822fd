// Norm, elementwise, row selection, embedding and advance against the host reference.
#include "test/kernels/fixture.h"
#include "test/support/catch.h"

namespace pocket::test {
namespace {

constexpr double kTolerance = 4e-3;  // rounding to f16 may fall to the other side
const Expr kTokens = Expr::symbol("tokens");

KernelContext make_context(const Fixture& f, const DeviceLimits& limits, const Bindings& bindings) {
  return {&f.manifest, limits, bindings, Accumulate::fp32, bindings.at("tokens") == 1};
}

}  // namespace

TEST_CASE("norm equals the reference") {
  uint32_t variation = 0;
  const std::vector<LimitSet> all = limit_sets();
  for (const LimitSet& set : {all.front(), all.back()}) {
    for (const int64_t width : {1, 20, 63, 300, 1026}) {
      for (const int64_t tokens : {1, 5}) {
        ++variation;
        Fixture f;
        f.random.seed(variation);
        const auto dtype = [&](uint32_t bit) {
          return width % 2 == 0 && (variation * 7 & bit) != 0 ? DType::f16 : DType::f32;
        };
        const bool with_residual = variation % 3 != 0;
        const TensorId x = f.tensor(kTokens, width, dtype(1));
        const TensorId r = with_residual ? f.tensor(kTokens, width, dtype(2)) : kNone;
        const TensorId y = f.tensor(kTokens, width, dtype(4));
        const TensorId sum =
            with_residual && variation % 2 == 0 ? f.tensor(kTokens, width, dtype(8)) : kNone;
        const WeightId w = variation % 4 != 0 ? f.vector(width, Encoding::f16) : kNone;
        const WeightId b = variation % 4 == 1 ? f.vector(width) : kNone;
        Attributes a;
        a.norm = variation % 2 == 0 ? NormKind::rms : NormKind::layer;
        a.epsilon = 1e-3f;
        const int32_t op = f.add(OpKind::norm, {x, r}, {y, sum}, {w, b}, a);
        const Bindings bindings = {{"tokens", tokens}, {"rows", 1}, {"context", 8}};
        HostState state = f.random_state(bindings, 3.0f);
        state.record.tokens = static_cast<uint32_t>((tokens + 1) / 2);
        CAPTURE(set.name, width, tokens, variation);
        REQUIRE(compare(f, op, make_context(f, set.limits, bindings), state) < kTolerance);
      }
    }
  }
}

TEST_CASE("a norm in f32 is exact to a few units in the last place") {
  for (const NormKind kind : {NormKind::rms, NormKind::layer}) {
    Fixture f;
    const TensorId x = f.tensor(kTokens, 2048), y = f.tensor(kTokens, 2048);
    Attributes a;
    a.norm = kind;
    const int32_t op = f.add(OpKind::norm, {x, kNone}, {y}, {f.vector(2048), f.vector(2048)}, a);
    const Bindings bindings = {{"tokens", 3}, {"rows", 1}, {"context", 8}};
    HostState state = f.random_state(bindings);
    for (float& value : state.tensors[0]) value += 2.0f;
    state.record.tokens = 3;
    REQUIRE(compare(f, op, make_context(f, shared_device().limits(), bindings), state) < 1e-5);
  }
}

TEST_CASE("unary and binary equal the reference") {
  uint32_t variation = 0;
  for (const int64_t width : {1, 33, 130, 256}) {
    for (uint32_t activation = 0; activation < 7; ++activation) {
      ++variation;
      const auto dtype = [&](uint32_t bit) {
        return width % 2 == 0 && (variation * 5 & bit) != 0 ? DType::f16 : DType::f32;
      };
      Fixture f;
      f.random.seed(variation);
      const TensorId a = f.tensor(kTokens, width, dtype(1)), b = f.tensor(kTokens, width, dtype(2));
      const TensorId y = f.tensor(kTokens, width, dtype(4)), z = f.tensor(kTokens, width, dtype(8));
      const TensorId u = f.tensor(kTokens, width);
      Attributes attributes;
      attributes.activation = static_cast<Activation>(activation);
      attributes.scale = 1.7f;
      const int32_t unary = f.add(OpKind::unary, {a}, {y}, {}, attributes);
      attributes.binary = activation % 2 == 0 ? BinaryKind::add : BinaryKind::mul;
      const int32_t same = f.add(OpKind::binary, {a, b}, {z}, {}, attributes);
      const WeightId row = f.vector(width, variation % 2 == 0 ? Encoding::f32 : Encoding::f16);
      const int32_t broadcast = f.add(OpKind::binary, {a, kNone}, {u}, {row}, attributes);
      const Bindings bindings = {{"tokens", 6}, {"rows", 1}, {"context", 8}};
      HostState state = f.random_state(bindings, 12.0f);
      state.record.tokens = 4;
      CAPTURE(width, activation);
      for (const int32_t op : {unary, same, broadcast}) {
        const KernelContext context = make_context(f, shared_device().limits(), bindings);
        REQUIRE(compare(f, op, context, state) < (width % 2 == 0 ? kTolerance : 1e-5));
      }
    }
  }
}

TEST_CASE("activations stay finite and right at extreme arguments") {
  for (uint32_t activation = 0; activation < 7; ++activation) {
    Fixture f;
    const TensorId a = f.tensor(kTokens, 8), y = f.tensor(kTokens, 8);
    Attributes attributes;
    attributes.activation = static_cast<Activation>(activation);
    const int32_t op = f.add(OpKind::unary, {a}, {y}, {}, attributes);
    const Bindings bindings = {{"tokens", 1}, {"rows", 1}, {"context", 8}};
    HostState state = f.random_state(bindings);
    state.tensors[0] = {-1000.0f, -60.0f, -1e-4f, 0.0f, 1e-4f, 9.0f, 100.0f, 1000.0f};
    state.record.tokens = 1;
    CAPTURE(activation);
    REQUIRE(compare(f, op, make_context(f, shared_device().limits(), bindings), state) < 1e-6);
  }
}

TEST_CASE("select_rows reads from head_row and never beyond the chunk") {
  for (const uint32_t head_row : {0u, 3u, 6u}) {
    Fixture f;
    const TensorId x = f.tensor(kTokens, 18), y = f.tensor(Expr::symbol("rows"), 18, DType::f16);
    const int32_t op = f.add(OpKind::select_rows, {x}, {y}, {}, {}, Part::head);
    const Bindings bindings = {{"tokens", 7}, {"rows", 2}, {"context", 8}};
    HostState state = f.random_state(bindings);
    state.record.tokens = 2;  // the head computes its rows whatever the body's padding
    state.record.head_row = head_row;
    REQUIRE(compare(f, op, make_context(f, shared_device().limits(), bindings), state) < 1e-3);
  }
}

TEST_CASE("embed gathers every encoding, adds positions, and skips other ranges") {
  uint32_t variation = 0;
  for (const uint64_t binding : {uint64_t{128} << 20, uint64_t{16} << 10}) {
    for (const Encoding encoding : {Encoding::f32, Encoding::f16, Encoding::int4, Encoding::m0e4}) {
      for (const int64_t width : {20, 64, 98}) {
        ++variation;
        Fixture f;
        f.random.seed(variation);
        const bool codes4 = encoding == Encoding::int4 || encoding == Encoding::m0e4;
        const int64_t vocab = 211;
        const TensorId out = f.tensor(kTokens, width, variation % 2 == 0 ? DType::f16 : DType::f32);
        const WeightId table =
            f.weight(vocab, width, encoding, codes4 ? 32 : 0, variation % 3 == 0 ? 96 : 0);
        const WeightId positions =
            variation % 3 != 1
                ? f.weight(90, width, variation % 2 == 0 ? Encoding::f16 : Encoding::f32)
                : kNone;
        Attributes a;
        a.scale = 1.5f;
        a.position_offset = 2;
        const bool alone = variation % 6 == 0;  // positions that something else is added to
        const int32_t op = f.add(OpKind::embed, {}, {out}, {alone ? kNone : table, positions}, a);
        const Bindings bindings = {{"tokens", 9}, {"rows", 1}, {"context", 80}};
        HostState state = f.random_state(bindings);
        for (int32_t& id : state.token_ids) id = static_cast<int32_t>(f.random() % 211);
        state.token_ids[11] = 0;
        state.token_ids[12] = 210;
        state.record.past = 10;
        state.record.tokens = 7;
        DeviceLimits limits = shared_device().limits();
        limits.max_binding = binding;
        CAPTURE(binding, encoding_name(encoding), width, variation);
        REQUIRE(compare(f, op, make_context(f, limits, bindings), state) < kTolerance);
      }
    }
  }
}

TEST_CASE("advance moves the record from chunk to chunk and leaves head_row alone") {
  Fixture f;
  f.tensor(kTokens, 8);
  const Bindings bindings = {{"tokens", 8}, {"rows", 1}, {"context", 80}};
  HostState state = f.random_state(bindings);
  state.record.target = 19;
  state.record.chunk = state.record.tokens = 8;
  state.record.head_row = 5;
  ComputeContext compute(shared_device());
  DispatchRunner runner(compute, f.manifest, [&](const Section& s) { return f.section_bytes(s); });
  std::vector<int32_t> ring(4);
  const KernelContext context = make_context(f, shared_device().limits(), bindings);
  const std::vector<Dispatch> advance = {plan_advance(context)};
  const uint32_t past[] = {8, 16, 19, 19}, tokens[] = {8, 3, 0, 0};
  for (size_t i = 0; i < 4; ++i) {
    runner.run(advance, state, ring);
    REQUIRE(state.record.past == past[i]);
    REQUIRE(state.record.tokens == tokens[i]);
    REQUIRE(state.record.head_row == 5);
  }
}

}  // namespace pocket::test
