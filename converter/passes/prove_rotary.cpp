// The angles of a rotary embedding, found from its tables of cosines and sines however the export
// computes them: frequency i turns by atan2(sin, cos) from position 0 to 1; every doubling of the
// position halves the error. A constant of the graph that agrees replaces the estimate.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "converter/passes/prove.h"

namespace pocket {

using ir::Graph;
using ir::kAbsent;
using ir::Node;
using ir::ValueId;
using reference::HostTensor;

namespace {

constexpr int64_t kProbeRows = 1024;
constexpr double kTolerance = 2e-3;  // tables may be stored in half precision

// cos and sin of all rows of one step, [rows, columns].
struct Tables {
  std::vector<float> cosines, sines;
  int64_t rows = 0, columns = 0;
  double c(int64_t row, int64_t column) const { return at(cosines, row, column); }
  double s(int64_t row, int64_t column) const { return at(sines, row, column); }

 private:
  double at(const std::vector<float>& table, int64_t row, int64_t column) const {
    return static_cast<double>(table[static_cast<size_t>(row * columns + column)]);
  }
};

std::optional<Tables> tables_at(const StepEvaluator& evaluator, Step step) {
  auto results = evaluator.at(step);
  if (!results) return std::nullopt;
  Tables tables;
  HostTensor& cosines = results->at(0);
  HostTensor& sines = results->at(1);
  if (cosines.is_integer() || sines.is_integer() || cosines.shape.empty() ||
      cosines.elements() != sines.elements() || cosines.elements() % step.tokens != 0) {
    return std::nullopt;
  }
  tables.rows = step.tokens;
  tables.columns = cosines.shape.back();
  if (tables.columns * step.tokens != cosines.elements()) return std::nullopt;
  tables.cosines = std::move(cosines.f);
  tables.sines = std::move(sines.f);
  return tables;
}

int64_t source_column(const RotaryAngles& angles, int64_t i) {
  return angles.layout == RotaryAngles::Layout::interleaved ? 2 * i : i;
}

RotaryAngles::Layout find_layout(const Tables& tables) {
  const int64_t half = tables.columns / 2;
  bool halves = tables.columns % 2 == 0;
  bool interleaved = halves;
  for (int64_t row = 0; row < std::min<int64_t>(tables.rows, 8); ++row) {
    for (int64_t i = 0; i < half; ++i) {
      halves = halves && tables.s(row, i) == tables.s(row, i + half);
      interleaved = interleaved && tables.s(row, 2 * i) == tables.s(row, 2 * i + 1);
    }
  }
  if (halves) return RotaryAngles::Layout::halves;
  return interleaved ? RotaryAngles::Layout::interleaved : RotaryAngles::Layout::single;
}

double refine_frequency(const Tables& tables, int64_t column) {
  double frequency = std::atan2(tables.s(1, column), tables.c(1, column));
  for (int64_t position = 2; position < tables.rows; position *= 2) {
    const double turned = std::atan2(tables.s(position, column), tables.c(position, column));
    const double expected = frequency * static_cast<double>(position);
    const double turns = std::round((expected - turned) / (2 * std::numbers::pi));
    frequency = (turned + 2 * std::numbers::pi * turns) / static_cast<double>(position);
  }
  return frequency;
}

// A constant among the ancestors that holds the same frequencies, exactly as the model has them.
void prefer_constant(const Graph& graph, ValueId from, RotaryAngles& angles) {
  std::vector<ValueId> work{from};
  std::vector<bool> seen(graph.value_count(), false);
  while (!work.empty()) {
    const ValueId value = work.back();
    work.pop_back();
    if (value == kAbsent || seen[static_cast<size_t>(value)]) continue;
    seen[static_cast<size_t>(value)] = true;
    const ir::Value& held = graph.value(value);
    if (held.constant && ir::is_float_type(held.constant->type) &&
        held.constant->elements() == static_cast<int64_t>(angles.inv_freq.size())) {
      const std::vector<float> exact = held.constant->as_floats();
      bool same = true;
      for (size_t i = 0; i < exact.size(); ++i) {
        const double estimate = angles.inv_freq[i];
        same =
            same && std::abs(static_cast<double>(exact[i]) - estimate) <= 1e-3 * std::abs(estimate);
      }
      if (same) {
        angles.inv_freq.assign(exact.begin(), exact.end());
        return;
      }
    }
    if (const Node* node = graph.producer(value)) {
      work.insert(work.end(), node->inputs.begin(), node->inputs.end());
    }
  }
}

bool agrees(const Tables& tables, int64_t past, const RotaryAngles& angles) {
  const auto count = static_cast<int64_t>(angles.inv_freq.size());
  for (int64_t row = 0; row < tables.rows; ++row) {
    const auto position = static_cast<double>(past + row);
    for (int64_t column = 0; column < tables.columns; ++column) {
      const int64_t i =
          angles.layout == RotaryAngles::Layout::interleaved ? column / 2 : column % count;
      const double angle = position * angles.inv_freq[static_cast<size_t>(i)];
      // An angle computed in float is off by a few roundings of its own size.
      const double allowed = (kTolerance + std::abs(angle) * 4e-7) * angles.scale;
      if (std::abs(tables.c(row, column) - angles.scale * std::cos(angle)) > allowed ||
          std::abs(tables.s(row, column) - angles.scale * std::sin(angle)) > allowed) {
        return false;
      }
    }
  }
  return true;
}

}  // namespace

std::optional<RotaryAngles> prove_rotary(const Graph& graph, ValueId cosines, ValueId sines,
                                         int64_t max_context) {
  const auto evaluator = StepEvaluator::create(graph, {cosines, sines});
  if (!evaluator) return std::nullopt;
  const int64_t most = max_context > 0 ? max_context : 4 * kProbeRows;
  const int64_t rows = std::min(most, kProbeRows + 1);
  const auto probe = tables_at(*evaluator, {rows, 0});
  if (!probe || rows < 2 || probe->columns < 1) return std::nullopt;

  RotaryAngles angles;
  angles.layout = find_layout(*probe);
  angles.scale = probe->c(0, 0);
  if (!(angles.scale > 0.0) || !std::isfinite(angles.scale)) return std::nullopt;
  const int64_t count =
      angles.layout == RotaryAngles::Layout::single ? probe->columns : probe->columns / 2;
  for (int64_t i = 0; i < count; ++i) {
    angles.inv_freq.push_back(refine_frequency(*probe, source_column(angles, i)));
  }
  prefer_constant(graph, cosines, angles);
  if (!agrees(*probe, 0, angles)) return std::nullopt;
  // Tables that change with the length of the text differ here.
  for (const Step step : proof_steps(max_context)) {
    const auto tables = tables_at(*evaluator, step);
    if (!tables || !agrees(*tables, step.past, angles)) return std::nullopt;
  }
  return angles;
}

}  // namespace pocket
