// Logits of all rows: prefill chunks with the head in row tiles, then the decode path.
#include <xxhash.h>

#include <algorithm>

#include "runtime/base/error.h"
#include "runtime/engine/state.h"

namespace pocket {

void Engine::score(std::span<const int32_t> tokens, int64_t decode_from,
                   const std::function<void(int64_t, std::span<const float>)>& on_row) {
  State& s = *state_;
  s.check_tokens(tokens);
  const auto count = static_cast<int64_t>(tokens.size());
  s.require_room(count);
  reset();
  s.sequence.assign(tokens.begin(), tokens.end());
  const bool decodes = decode_from >= 0 && decode_from < count;
  const int64_t prefilled = decodes ? decode_from : count;
  PhaseStatistics& statistics = s.statistics.score;
  const auto vocab = static_cast<uint64_t>(s.vocab());
  s.control.write_tokens(0, s.sequence);
  auto run = [&](StepKind kind) {
    s.submit(statistics, 0, kind, 0, s.sampled);
    s.flights.wait(0);
  };

  if (prefilled > 0) {
    s.steps.prepare(StepKind::chunk_body, s.stochastic());
    s.steps.prepare(StepKind::tile, s.stochastic());
  }
  const int64_t tile = s.plan.slot(Phase::prefill).rows;
  while (s.position < prefilled) {
    const int64_t valid = std::min(s.plan.chunk, prefilled - s.position);
    StepRecord record = s.record();
    record.tokens = static_cast<uint32_t>(valid);
    record.chunk = static_cast<uint32_t>(s.plan.chunk);
    record.target = static_cast<uint32_t>(prefilled);
    s.control.write_record(Phase::prefill, record);
    run(StepKind::chunk_body);
    for (int64_t row = 0; row < valid; row += tile) {
      // The last tile of a chunk may begin earlier, so that it never leaves the chunk.
      const int64_t begin = std::min(row, s.plan.chunk - tile);
      record.head_row = static_cast<uint32_t>(begin);
      s.control.write_record(Phase::prefill, record);
      run(StepKind::tile);
      const int64_t end = std::min(row + tile, valid);
      for (int64_t r = row; r < end; ++r) {
        s.last_row = r - begin;
        on_row(s.position + r, s.control.logits(static_cast<uint64_t>(s.last_row) * vocab, vocab));
      }
    }
    s.position += valid;
    s.last_slot = Phase::prefill;
  }

  if (decodes) s.steps.prepare(StepKind::token_logits, s.stochastic());
  while (s.position < count) {
    s.control.write_record(Phase::decode, s.record());
    run(StepKind::token_logits);
    on_row(s.position, s.control.logits(0, vocab));
    ++s.position;
    s.last_slot = Phase::decode;
    s.last_row = 0;
  }
  statistics.tokens += static_cast<uint64_t>(count);
  s.ran = s.ran || count > 0;
}

std::vector<float> Engine::logits(std::span<const int32_t> tokens, int64_t decode_from) {
  std::vector<float> rows;
  rows.reserve(tokens.size() * static_cast<size_t>(state_->vocab()));
  score(tokens, decode_from, [&](int64_t, std::span<const float> row) {
    rows.insert(rows.end(), row.begin(), row.end());
  });
  return rows;
}

std::vector<float> Engine::last_logits() {
  State& s = *state_;
  if (!s.ran) throw Error(ExitCode::usage, "No step has run yet, so there are no logits.");
  const StepKind kind =
      s.last_slot == Phase::prefill ? StepKind::prefill_logits : StepKind::decode_logits;
  s.steps.prepare(kind, s.stochastic());
  PhaseStatistics ignored;  // a readback is no step
  s.submit(ignored, 0, kind, 0, s.sampled);
  s.flights.wait(0);
  const auto vocab = static_cast<uint64_t>(s.vocab());
  const auto row = s.control.logits(static_cast<uint64_t>(s.last_row) * vocab, vocab);
  return {row.begin(), row.end()};
}

uint64_t Engine::last_logits_hash() {
  const std::vector<float> row = last_logits();
  return XXH64(row.data(), row.size() * sizeof(float), 0);
}

}  // namespace pocket
