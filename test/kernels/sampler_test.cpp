// The sampler's kernels against the host's sampler: equal ids for equal logits.
#include "runtime/text/sampler.h"

#include <algorithm>
#include <limits>

#include "test/kernels/fixture.h"
#include "test/support/catch.h"

namespace pocket::test {
namespace {

class Sampler {
 public:
  Sampler(int64_t vocab, const DeviceLimits& limits) {
    f_.manifest.program.logits = f_.tensor(Expr::symbol("rows"), vocab);
    f_.manifest.program.vocab = vocab;
    context_ = {&f_.manifest,
                limits,
                {{"tokens", 1}, {"rows", 1}, {"context", 16}},
                Accumulate::fp32,
                true};
    state_ = make_host_state(f_.manifest.program, context_.bindings);
  }

  // The id that the device chooses for the token at `position`, and checks of all that it writes.
  int32_t choose(const std::vector<float>& logits, const SamplerSettings& s, SamplerKind kind,
                 uint32_t position = 5) {
    state_.tensors[0] = logits;
    state_.record = {};
    state_.record.past = position - 3;
    state_.record.tokens = 3;
    state_.record.head_row = 2;
    state_.record.step = 6;
    state_.record.ring_size = 4;
    state_.record.top_k = static_cast<uint32_t>(s.top_k);
    state_.record.temperature = s.temperature;
    state_.record.top_p = s.top_p;
    state_.record.seed_low = static_cast<uint32_t>(s.seed);
    state_.record.seed_high = static_cast<uint32_t>(s.seed >> 32);
    std::fill(state_.token_ids.begin(), state_.token_ids.end(), -7);
    std::vector<int32_t> ring(4, -7);
    DispatchRunner runner(compute_, f_.manifest,
                          [&](const Section& section) { return f_.section_bytes(section); });
    const std::vector<Dispatch> plan = plan_sampler(context_, kind);
    dispatches = plan.size();
    runner.run(plan, state_, ring);
    REQUIRE(state_.record.past == position);
    REQUIRE(state_.record.tokens == 1);
    REQUIRE(state_.record.head_row == 0);
    REQUIRE(state_.record.step == 7);
    REQUIRE(state_.token_ids[position] == ring[6 & 3]);
    REQUIRE(std::count(state_.token_ids.begin(), state_.token_ids.end(), -7) == 16);
    REQUIRE(std::count(ring.begin(), ring.end(), -7) == 3);
    return ring[6 & 3];
  }

  size_t dispatches = 0;
  Fixture f_;

 private:
  ComputeContext compute_{shared_device()};
  KernelContext context_;
  HostState state_;
};

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Kinds of rows: spread, many ties, one value, mostly -inf, NaN among them, +inf among them.
std::vector<float> make_logits(std::mt19937& random, int64_t vocab, uint32_t kind) {
  std::vector<float> logits(static_cast<size_t>(vocab));
  for (float& value : logits) {
    const auto r = static_cast<float>(random() >> 8) * 0x1p-24f;
    switch (kind) {
      case 0:
        value = 12.0f * r * r - 4.0f;
        break;
      case 1:
        value = std::floor(r * 6.0f) - 3.0f;
        break;
      case 2:
        value = -2.5f;
        break;
      case 3:
        value = r < 0.97f ? -kInfinity : 3.0f * r;
        break;
      case 4:
        value = r < 0.3f ? std::nanf("") : (r < 0.6f ? -0.0f : (r < 0.9f ? 0.0f : -1.0f));
        break;
      default:
        value = r < 0.002f ? kInfinity : 5.0f * r;
        break;
    }
  }
  return logits;
}

}  // namespace

TEST_CASE("greedy: the largest logit, the lowest id among ties, any vocabulary") {
  for (const LimitSet& set : limit_sets()) {
    for (const int64_t vocab : {1, 2, 105, 2048, 16384, 16385, 50257, 256000}) {
      Sampler sampler(vocab, set.limits);
      for (uint32_t kind = 0; kind < 6; ++kind) {
        const std::vector<float> logits = make_logits(sampler.f_.random, vocab, kind);
        CAPTURE(set.name, vocab, kind);
        REQUIRE(sampler.choose(logits, {}, SamplerKind::greedy) == sample(logits, {}, 5));
        REQUIRE((sampler.dispatches == 1) == (vocab <= 16384));
      }
    }
  }
}

TEST_CASE("greedy: the last of 256 000 entries is reached") {
  Sampler sampler(256000, shared_device().limits());
  for (const size_t place : {0u, 65535u, 65536u, 131071u, 255999u}) {
    std::vector<float> logits(256000, -1.0f);
    logits[place] = 2.0f;
    REQUIRE(sampler.choose(logits, {}, SamplerKind::greedy) == static_cast<int32_t>(place));
    REQUIRE(sampler.choose(logits, {.temperature = 0.01f, .top_k = 3}, SamplerKind::stochastic) ==
            static_cast<int32_t>(place));
  }
}

TEST_CASE("stochastic: the host's ids over temperatures, top-k, top-p, seeds, ties and NaN") {
  int cases = 0;
  for (const LimitSet& set : limit_sets()) {
    for (const int64_t vocab : {1, 105, 300, 2048, 20000}) {
      Sampler sampler(vocab, set.limits);
      for (uint32_t i = 0; i < 18; ++i) {
        const std::vector<float> logits = make_logits(sampler.f_.random, vocab, i % 6);
        SamplerSettings s;
        const int ks[] = {0, 1, 2, 7, 40, 255, 256};
        const float ps[] = {1.0f, 0.9f, 0.5f, 1e-6f, 0.999f};
        const float temperatures[] = {0.7f, 1.0f, 1.9f, 0.05f, 30.0f};
        s.top_k = ks[sampler.f_.random() % 7];
        s.top_p = ps[sampler.f_.random() % 5];
        s.temperature = temperatures[sampler.f_.random() % 5];
        s.seed = uint64_t{sampler.f_.random()} << 32 | sampler.f_.random();
        const auto position = 3 + static_cast<uint32_t>(sampler.f_.random() % 13);
        CAPTURE(set.name, vocab, i, s.top_k, s.top_p, s.temperature, s.seed, position);
        const int32_t id = sampler.choose(logits, s, SamplerKind::stochastic, position);
        REQUIRE(id == sample(logits, s, position));
        ++cases;
      }
    }
  }
  REQUIRE(cases >= 450);
}

TEST_CASE("stochastic over a large vocabulary") {
  Sampler sampler(256000, shared_device().limits());
  for (uint32_t i = 0; i < 6; ++i) {
    const std::vector<float> logits = make_logits(sampler.f_.random, 256000, i);
    const SamplerSettings s{.temperature = 1.3f, .top_k = i % 2 == 0 ? 256 : 50, .seed = i};
    CAPTURE(i);
    REQUIRE(sampler.choose(logits, s, SamplerKind::stochastic) == sample(logits, s, 5));
  }
}

TEST_CASE("temperature 0 in the stochastic kernel is greedy") {
  Sampler sampler(500, shared_device().limits());
  const std::vector<float> logits = make_logits(sampler.f_.random, 500, 1);
  REQUIRE(sampler.choose(logits, {.temperature = 0, .top_k = 20}, SamplerKind::stochastic) ==
          sample(logits, {}, 5));
}

}  // namespace pocket::test
