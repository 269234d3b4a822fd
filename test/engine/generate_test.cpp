// Prefill in chunks, decode with steps queued ahead, stops, turns, the end of the context.
#include <algorithm>

#include "runtime/text/sampler.h"
#include "test/engine/fixture.h"

namespace pocket::test {
namespace {

constexpr size_t kVocab = 105;
constexpr double kTolerance = 5e-3;

// Every token from `first` on is the arg-max of the row before it, up to what f16 can tell.
void check_greedy(const std::vector<float>& logits, std::span<const int32_t> sequence,
                  size_t first) {
  for (size_t p = first; p < sequence.size(); ++p) {
    const float* row = logits.data() + (p - 1) * kVocab;
    const float best = *std::max_element(row, row + kVocab);
    INFO("position " << p);
    CHECK(row[sequence[p]] > best - 0.02f);
  }
}

std::vector<float> last_row(const std::vector<float>& rows) {
  return {rows.end() - static_cast<std::ptrdiff_t>(kVocab), rows.end()};
}

}  // namespace

TEST_CASE("prompts around the chunk, then decoding to the last slot, equal one token at a time") {
  const std::string path = tiny_package({});
  const int64_t chunk = 8, context = 40;
  Engine engine(shared_device(), Package::open(path), engine_options(context, chunk));
  for (const int64_t length : {int64_t{1}, chunk - 1, chunk, chunk + 1, 3 * chunk + 7}) {
    INFO("prompt of " << length);
    const auto prompt =
        random_tokens(static_cast<size_t>(length), kVocab, static_cast<uint32_t>(length));
    engine.reset();
    engine.prefill(prompt);
    CHECK(engine.position() == length);
    const std::vector<float> after_prefill = engine.last_logits();
    CHECK(engine.room() == context + 1 - length);
    const auto tokens = decode_all(engine, engine.room());
    CHECK(tokens.size() == static_cast<size_t>(context + 1 - length));
    CHECK(engine.length() == context + 1);
    CHECK(engine.position() == context);  // the last slot is used
    const std::vector<float> at_the_end = engine.last_logits();
    const std::vector<int32_t> sequence(engine.sequence().begin(), engine.sequence().end());

    const Error more = error_of([&] { decode_all(engine, 1); });
    CHECK(more.code == ExitCode::usage);
    CHECK(contains(more.what(), "room for 0 more"));
    CHECK(error_of([&] { engine.prefill({}); }).code == ExitCode::usage);
    CHECK(engine.length() == context + 1);  // a refusal changes nothing

    const std::vector<int32_t> evaluated(sequence.begin(), sequence.end() - 1);
    const std::vector<float> rows = engine.logits(evaluated, 0);  // one token at a time
    const std::vector<float> prompt_row(
        rows.begin() + static_cast<std::ptrdiff_t>(static_cast<size_t>(length - 1) * kVocab),
        rows.begin() + static_cast<std::ptrdiff_t>(static_cast<size_t>(length) * kVocab));
    CHECK(row_distance(after_prefill, prompt_row, kVocab) < kTolerance);
    CHECK(row_distance(at_the_end, last_row(rows), kVocab) < kTolerance);
    check_greedy(rows, sequence, static_cast<size_t>(length));
    CHECK(row_distance(rows, host_logits(path, evaluated), kVocab) < kTolerance);
  }
  const Error longer = error_of([&] {
    engine.reset();
    engine.prefill(random_tokens(static_cast<size_t>(context) + 1));
  });
  CHECK(longer.code == ExitCode::usage);
  CHECK(contains(longer.what(), "41 tokens but the context holds 40"));
  CHECK(engine.length() == 0);
}

TEST_CASE("the number of queued steps changes nothing that is delivered") {
  const std::string path = tiny_package({});
  std::vector<std::vector<int32_t>> results;
  std::vector<uint64_t> hashes;
  for (const int32_t queued : {1, 2, 5}) {
    EngineOptions options = engine_options();
    options.queued_steps = queued;
    Engine engine(shared_device(), Package::open(path), options);
    engine.prefill(random_tokens(11));
    results.push_back(decode_all(engine, 7));
    const auto more = decode_all(engine, 13);
    results.back().insert(results.back().end(), more.begin(), more.end());
    hashes.push_back(engine.last_logits_hash());
    const Statistics& statistics = engine.statistics();
    // The first token was chosen by the prefill; one submission a step, nothing discarded.
    CHECK(statistics.decode.tokens == 19);
    CHECK(statistics.decode.submits == 19);
    CHECK(statistics.prefill.submits == 2);
    CHECK(statistics.discarded_steps == 0);
    CHECK(statistics.decode.dispatches ==
          19 * uint64_t{engine.step_cost(Phase::decode).dispatches});
  }
  CHECK(results[0].size() == 20);
  CHECK(results[1] == results[0]);
  CHECK(results[2] == results[0]);
  CHECK(hashes[1] == hashes[0]);
  CHECK(hashes[2] == hashes[0]);
}

TEST_CASE("after a stop id with steps queued, the next turn equals a fresh run") {
  const std::string path = tiny_package({});
  const auto prompt = random_tokens(11), turn = random_tokens(5, kVocab, 9);
  // A token that appears first at index 4 or later stops the second run there.
  Engine scout(shared_device(), Package::open(path), engine_options());
  scout.prefill(prompt);
  const auto free_run = decode_all(scout, 20);
  size_t at = 4;
  while (at < free_run.size() &&
         std::find(free_run.begin(), free_run.begin() + static_cast<std::ptrdiff_t>(at),
                   free_run[at]) != free_run.begin() + static_cast<std::ptrdiff_t>(at)) {
    ++at;
  }
  REQUIRE(at < free_run.size());
  const std::vector<int32_t> stop = {free_run[at]};

  auto conversation = [&](int32_t queued, std::vector<float>& logits, uint64_t& discarded) {
    EngineOptions options = engine_options();
    options.queued_steps = queued;
    Engine engine(shared_device(), Package::open(path), options);
    engine.prefill(prompt);
    DecodeResult result = engine.decode(
        20, [](int32_t) { return true; }, stop);
    CHECK(result.reason == StopReason::stop_id);
    CHECK(result.stop_id == stop[0]);
    CHECK(result.tokens == static_cast<int64_t>(at));
    CHECK(engine.length() == static_cast<int64_t>(prompt.size() + at));
    CHECK(engine.position() == engine.length());
    engine.prefill(turn);
    auto tokens = decode_all(engine, 9);
    logits = engine.last_logits();
    discarded = engine.statistics().discarded_steps;
    return std::vector<int32_t>(engine.sequence().begin(), engine.sequence().end());
  };
  std::vector<float> alone, queued, fresh;
  uint64_t none = 0, some = 0;
  const auto without_surplus = conversation(1, alone, none);
  const auto with_surplus = conversation(5, queued, some);
  CHECK(none == 0);
  CHECK(some == 4);
  CHECK(with_surplus == without_surplus);
  CHECK(queued == alone);  // to the bit

  // The same text as one prompt of a fresh engine: equal within f16.
  std::vector<int32_t> text(prompt);
  text.insert(text.end(), free_run.begin(), free_run.begin() + static_cast<std::ptrdiff_t>(at));
  text.insert(text.end(), turn.begin(), turn.end());
  Engine engine(shared_device(), Package::open(path), engine_options());
  engine.prefill(text);
  std::vector<int32_t> sequence(text);
  const auto tokens = decode_all(engine, 9);
  sequence.insert(sequence.end(), tokens.begin(), tokens.end());
  if (sequence == with_surplus) {
    CHECK(row_distance(queued, engine.last_logits(), kVocab) < kTolerance);
  } else {  // a near tie decided otherwise
    check_greedy(engine.logits(with_surplus, 0), with_surplus, text.size());
  }
}

TEST_CASE("a callback cancels, a sequence is cut and goes on") {
  const std::string path = tiny_package({});
  EngineOptions options = engine_options();
  options.queued_steps = 3;
  Engine engine(shared_device(), Package::open(path), options);
  const auto prompt = random_tokens(9);
  engine.prefill(prompt);
  const auto all = decode_all(engine, 10);
  const uint64_t hash = engine.last_logits_hash();

  engine.reset();
  engine.prefill(prompt);
  std::vector<int32_t> tokens;
  const DecodeResult result = engine.decode(10, [&](int32_t token) {
    tokens.push_back(token);
    return tokens.size() < 4;
  });
  CHECK(result.reason == StopReason::cancelled);
  CHECK(result.tokens == 4);
  CHECK(engine.length() == 13);
  const auto rest = decode_all(engine, 6);
  tokens.insert(tokens.end(), rest.begin(), rest.end());
  CHECK(tokens == all);
  CHECK(engine.last_logits_hash() == hash);

  engine.rewind(12);
  CHECK(engine.position() == 12);
  const auto again = decode_all(engine, 7);
  CHECK(std::equal(again.begin(), again.end(), all.begin() + 3));

  // A callback that throws leaves an engine that can go on.
  engine.reset();
  engine.prefill(prompt);
  CHECK_THROWS_AS(engine.decode(10, [](int32_t) -> bool { throw std::runtime_error("x"); }),
                  std::runtime_error);
  engine.reset();
  engine.prefill(prompt);
  CHECK(decode_all(engine, 10) == all);
}

TEST_CASE("the sampler on the device draws what the host draws from the same logits") {
  const std::string path = tiny_package({});
  EngineOptions options = engine_options();
  options.sampling = {.temperature = 0.9f, .top_k = 40, .top_p = 0.95f, .seed = 77};
  Engine engine(shared_device(), Package::open(path), options);
  const auto prompt = random_tokens(6);
  engine.prefill(prompt);
  const auto first = decode_all(engine, 40);
  const std::vector<int32_t> sequence(engine.sequence().begin(), engine.sequence().end());
  const std::vector<float> rows = engine.logits(sequence, 6);
  size_t equal = 0;
  for (size_t p = 6; p < sequence.size(); ++p) {
    const std::span<const float> row(rows.data() + (p - 1) * kVocab, kVocab);
    equal += sample(row, options.sampling, p) == sequence[p] ? 1 : 0;
  }
  CHECK(equal >= first.size() - 1);  // a draw may fall between two roundings of exp

  engine.reset();
  engine.prefill(prompt);
  CHECK(decode_all(engine, 40) == first);
  SamplerSettings other = options.sampling;
  other.seed = 78;
  engine.set_sampling(other);
  engine.reset();
  engine.prefill(prompt);
  CHECK(decode_all(engine, 40) != first);
  engine.set_sampling({});
  engine.reset();
  engine.prefill(prompt);
  const auto greedy = decode_all(engine, 20);
  CHECK(greedy.size() == 20);
  const std::vector<int32_t> text(engine.sequence().begin(), engine.sequence().end());
  check_greedy(engine.logits(text, 0), text, prompt.size());
  other.temperature = -1;
  CHECK(error_of([&] { engine.set_sampling(other); }).code == ExitCode::usage);
}

TEST_CASE("wrong arguments are refused with a sentence") {
  Engine engine(shared_device(), Package::open(tiny_package({})), engine_options());
  CHECK(error_of([&] { engine.prefill({}); }).code == ExitCode::usage);
  CHECK(error_of([&] { decode_all(engine, 1); }).code == ExitCode::usage);
  CHECK(error_of([&] { engine.last_logits(); }).code == ExitCode::usage);
  const std::vector<int32_t> outside = {3, 105};
  CHECK(contains(error_of([&] { engine.prefill(outside); }).what(), "Token 105"));
  CHECK(contains(error_of([&] { engine.rewind(1); }).what(), "cannot be cut to 1"));
}

}  // namespace pocket::test
