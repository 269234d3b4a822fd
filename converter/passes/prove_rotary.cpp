// The angles of a rotary embedding, found from its tables of cosines and sines however the export
// computes them: frequency i turns by atan2(sin, cos) from position 0 to 1; every doubling of the
// position halves the error. A constant of the graph that agrees replaces the estimate.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "converter/passes/match.h"
#include "converter/passes/prove.h"

namespace pocket {

using ir::Graph;
using ir::kAbsent;
using ir::Node;
using ir::ValueId;

namespace {

constexpr int64_t kProbeRows = 1024;
constexpr double kTolerance = 2e-3;          // tables may be stored in half precision
constexpr double kSame = 1e-4;               // two tables for the same position
constexpr int64_t kMostTableRows = 1 << 17;  // of a table that is kept as it stands
constexpr int64_t kRowsAtOnce = 512;         // that are evaluated together
constexpr int64_t kMostRowsAtOnce = 4096;    // where they have to be

// From the turns between the first row and those 1, 2, 4, ... behind it.
double refine_frequency(const RotaryTables& tables, int64_t pair) {
  const auto turn = [&](int64_t row) {
    const double c0 = tables.c(0, pair), s0 = tables.s(0, pair);
    const double c = tables.c(row, pair), s = tables.s(row, pair);
    return std::atan2(s * c0 - c * s0, c * c0 + s * s0);
  };
  double frequency = turn(1);
  for (int64_t row = 2; row < tables.rows; row *= 2) {
    const double turned = turn(row);
    const double expected = frequency * static_cast<double>(row);
    const double turns = std::round((expected - turned) / (2 * std::numbers::pi));
    frequency = (turned + 2 * std::numbers::pi * turns) / static_cast<double>(row);
  }
  return frequency;
}

// A constant among the ancestors that holds the same frequencies, exactly as the model has them.
void prefer_constant(const Graph& graph, std::vector<ValueId> work,
                     std::vector<double>& frequencies) {
  std::vector<bool> seen(graph.value_count(), false);
  while (!work.empty()) {
    const ValueId value = work.back();
    work.pop_back();
    if (value == kAbsent || seen[static_cast<size_t>(value)]) continue;
    seen[static_cast<size_t>(value)] = true;
    const ir::Value& held = graph.value(value);
    if (held.constant && ir::is_float_type(held.constant->type) &&
        held.constant->elements() == static_cast<int64_t>(frequencies.size())) {
      const std::vector<float> exact = held.constant->as_floats();
      bool same = true;
      for (size_t i = 0; i < exact.size(); ++i) {
        same = same && std::abs(static_cast<double>(exact[i]) - frequencies[i]) <=
                           1e-3 * std::abs(frequencies[i]);
      }
      if (same) {
        frequencies.assign(exact.begin(), exact.end());
        return;
      }
    }
    if (const Node* node = graph.producer(value)) {
      work.insert(work.end(), node->inputs.begin(), node->inputs.end());
    }
  }
}

bool row_agrees(const RotaryTables& tables, int64_t row, int64_t position,
                const std::vector<double>& frequencies, double scale) {
  for (int64_t i = 0; i < tables.pairs; ++i) {
    const double angle = static_cast<double>(position) * frequencies[static_cast<size_t>(i)];
    // An angle computed in float is off by a few roundings of its own size.
    const double allowed = (kTolerance + std::abs(angle) * 4e-7) * scale;
    if (!(std::abs(tables.c(row, i) - scale * std::cos(angle)) <= allowed) ||
        !(std::abs(tables.s(row, i) - scale * std::sin(angle)) <= allowed)) {
      return false;
    }
  }
  return true;
}

// The same numbers for position 1.
bool same_turn(const RotaryTables& a, const RotaryTables& b) {
  for (int64_t i = 0; i < a.pairs; ++i) {
    if (std::abs(a.c(1, i) - b.c(1, i)) > kSame || std::abs(a.s(1, i) - b.s(1, i)) > kSame) {
      return false;
    }
  }
  return a.pairs == b.pairs;
}

struct Turning {
  std::vector<double> inv_freq;
  double scale = 1.0;
  bool agrees(const RotaryTables& tables, Step step) const {
    for (int64_t row = 0; row < tables.rows; ++row) {
      if (!row_agrees(tables, row, step.past + row, inv_freq, scale)) return false;
    }
    return true;
  }
};
// From a step of at least two rows.
std::optional<Turning> turning_of(const Graph& graph, const RotaryTables& probe, Step step,
                                  const std::vector<ValueId>& constants) {
  Turning found;
  found.scale = std::hypot(probe.c(0, 0), probe.s(0, 0));
  if (!(found.scale > 0.0) || !std::isfinite(found.scale)) return std::nullopt;
  for (int64_t i = 0; i < probe.pairs; ++i) found.inv_freq.push_back(refine_frequency(probe, i));
  prefer_constant(graph, constants, found.inv_freq);
  if (!found.agrees(probe, step)) return std::nullopt;
  return found;
}

// Where a property of steps changes: it holds at `until` positions in total and not at `from`.
int64_t first_without(int64_t until, int64_t from, const std::function<bool(int64_t)>& holds) {
  while (from - until > 1) {
    const int64_t middle = until + (from - until) / 2;
    (holds(middle) ? until : from) = middle;
  }
  return from;
}

// Frequencies, or two lists of them; none when the tables are no such function.
std::optional<RotaryAngles> find_frequencies(const Graph& graph, const RotaryTablesAt& at,
                                             const std::vector<ValueId>& constants,
                                             const ProofScope& scope) {
  const int64_t most = scope.positions();
  int64_t rows = std::min(most, kProbeRows + 1);
  if (rows < 2) return std::nullopt;
  const auto shortest = at({2, 0});
  auto probe = at({rows, 0});
  if (!shortest || !probe) return std::nullopt;
  if (!same_turn(*probe, *shortest)) {
    rows = first_without(2, rows,
                         [&](int64_t total) {
                           const auto tables = at({total, 0});
                           return tables && same_turn(*tables, *shortest);
                         }) -
           1;
    probe = at({rows, 0});
    if (!probe) return std::nullopt;
  }
  const auto near = turning_of(graph, *probe, {rows, 0}, constants);
  if (!near) return std::nullopt;
  RotaryAngles angles;
  angles.inv_freq = near->inv_freq;
  angles.scale = near->scale;

  const int64_t last_rows = scope.stateless ? std::min(most, kProbeRows + 1)
                                            : std::max<int64_t>(std::min(most / 2, kProbeRows), 2);
  const Step last{last_rows, scope.stateless ? 0 : std::max<int64_t>(most - last_rows, 0)};
  const auto far_probe = at(last);
  if (!far_probe) return std::nullopt;
  if (near->agrees(*far_probe, last)) return angles;
  const auto far = turning_of(graph, *far_probe, last, constants);
  if (!far) return std::nullopt;
  angles.far_inv_freq = far->inv_freq;
  angles.far_scale = far->scale;
  angles.far_from = first_without(2, last.past + last.tokens, [&](int64_t total) {
    const Step step{scope.stateless ? total : 2, scope.stateless ? 0 : total - 2};
    const auto tables = at(step);
    return tables && near->agrees(*tables, step);
  });
  return angles;
}

bool append_rows(const RotaryTables& tables, std::vector<float>& values) {
  for (int64_t row = 0; row < tables.rows; ++row) {
    for (const std::vector<float>* table : {&tables.cosines, &tables.sines}) {
      const auto first = table->begin() + row * tables.pairs;
      if (!std::all_of(first, first + tables.pairs, [](float x) { return std::isfinite(x); })) {
        return false;
      }
      values.insert(values.end(), first, first + tables.pairs);
    }
  }
  return true;
}

// The table of all positions as it stands; it must not depend on the length of the text.
std::optional<RotaryAngles> whole_table(const RotaryTablesAt& at, const ProofScope& scope) {
  const int64_t most = scope.positions();
  const int64_t limit = scope.stateless ? kMostRowsAtOnce : kMostTableRows;
  if (most > limit) return std::nullopt;
  const int64_t piece = scope.stateless ? most : std::min(most, kRowsAtOnce);
  RotaryAngles angles;
  for (int64_t first = 0; first < most; first += piece) {
    const Step step{std::min(piece, most - first), first};
    const auto tables = at(step);
    if (!tables || tables->rows != step.tokens || !append_rows(*tables, angles.values)) {
      return std::nullopt;
    }
  }
  return angles;
}

bool holds(const RotaryTablesAt& at, const RotaryAngles& angles, const ProofScope& scope) {
  std::vector<Step> steps = proof_steps(scope);
  if (angles.far_from > 0) {
    for (const Step step : {Step{1, angles.far_from - 2}, Step{1, angles.far_from - 1},
                            Step{2, angles.far_from - 2}}) {
      if (!scope.stateless || step.past == 0) steps.push_back(step);
    }
  }
  return std::all_of(steps.begin(), steps.end(), [&](Step step) {
    const auto tables = at(step);
    return tables && agrees(*tables, step, angles);
  });
}

}  // namespace

bool agrees(const RotaryTables& tables, Step step, const RotaryAngles& angles) {
  const bool far = !angles.far_inv_freq.empty() && step.past + step.tokens >= angles.far_from;
  const std::vector<double>& frequencies = far ? angles.far_inv_freq : angles.inv_freq;
  for (int64_t row = 0; row < tables.rows; ++row) {
    const int64_t position = step.past + row;
    if (angles.values.empty()) {
      if (static_cast<int64_t>(frequencies.size()) != tables.pairs ||
          !row_agrees(tables, row, position, frequencies, far ? angles.far_scale : angles.scale)) {
        return false;
      }
      continue;
    }
    const auto start = static_cast<size_t>(position * 2 * tables.pairs);
    if (start + static_cast<size_t>(2 * tables.pairs) > angles.values.size()) return false;
    for (int64_t i = 0; i < tables.pairs; ++i) {
      const auto cosine = static_cast<double>(angles.values[start + static_cast<size_t>(i)]);
      const auto sine =
          static_cast<double>(angles.values[start + static_cast<size_t>(tables.pairs + i)]);
      if (!(std::abs(tables.c(row, i) - cosine) <= kSame) ||
          !(std::abs(tables.s(row, i) - sine) <= kSame)) {
        return false;
      }
    }
  }
  return true;
}

std::optional<RotaryAngles> prove_rotary(const Graph& graph, const RotaryTablesAt& at,
                                         const std::vector<ValueId>& constants,
                                         const ProofScope& scope) {
  auto angles = find_frequencies(graph, at, constants, scope);
  if (angles && holds(at, *angles, scope)) return angles;
  angles = whole_table(at, scope);
  if (angles && holds(at, *angles, scope)) return angles;
  return std::nullopt;
}

}  // namespace pocket
