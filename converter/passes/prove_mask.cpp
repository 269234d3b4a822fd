// Masks: the rule is read off the longest step and then has to hold in every step, element by
// element.
#include <algorithm>
#include <cmath>

#include "converter/passes/prove.h"

namespace pocket {

using ir::Graph;
using ir::ValueId;
using reference::HostTensor;

namespace {

constexpr double kForbidden = -1e4;  // exp(-1e4) is 0 in every float type
// A bias of float numbers is off by a few roundings of its own size.
constexpr double kRounding = 1e-6;

// All masks of one step together.
struct Combined {
  int64_t heads = 1, rows = 0, columns = 0;
  std::vector<double> bias;     // [heads, rows, columns]
  std::vector<char> forbidden;  // likewise
  size_t at(int64_t head, int64_t row, int64_t column) const {
    return static_cast<size_t>((head * rows + row) * columns + column);
  }
};

// Extents of one mask from the right: columns, rows, and all that stands before as heads.
struct Extents {
  int64_t heads = 1, rows = 1, columns = 1;
};
std::optional<Extents> extents_of(const HostTensor& mask, int64_t heads, Step step) {
  const size_t dims = mask.shape.size();
  Extents e;
  if (dims >= 1) e.columns = mask.shape[dims - 1];
  if (dims >= 2) e.rows = mask.shape[dims - 2];
  for (size_t i = 0; i + 2 < dims; ++i) e.heads *= mask.shape[i];
  const bool fits = (e.columns == 1 || e.columns == step.past + step.tokens) &&
                    (e.rows == 1 || e.rows == step.tokens) && (e.heads == 1 || e.heads == heads);
  if (!fits) return std::nullopt;
  return e;
}

bool add_mask(Combined& sum, const MaskTerm& term, const HostTensor& mask, const Extents& e) {
  for (int64_t h = 0; h < sum.heads; ++h) {
    for (int64_t r = 0; r < sum.rows; ++r) {
      for (int64_t c = 0; c < sum.columns; ++c) {
        const int64_t from = ((e.heads == 1 ? 0 : h) * e.rows + (e.rows == 1 ? 0 : r)) * e.columns +
                             (e.columns == 1 ? 0 : c);
        const auto index = static_cast<size_t>(from);
        const double value = mask.is_integer() ? static_cast<double>(mask.i[index])
                                               : static_cast<double>(mask.f[index]) * term.factor;
        const size_t to = sum.at(h, r, c);
        if (term.kind == MaskKind::additive) {
          if (std::isnan(value) || value > -kForbidden) return false;
          if (value <= kForbidden) {
            sum.forbidden[to] = 1;
          } else {
            sum.bias[to] += value;
          }
        } else if ((value != 0.0) != (term.kind == MaskKind::allowed)) {
          sum.forbidden[to] = 1;
        }
      }
    }
  }
  return true;
}

std::optional<Combined> combined_at(const StepEvaluator& evaluator,
                                    const std::vector<MaskTerm>& terms, int64_t heads, Step step) {
  const auto masks = evaluator.at(step);
  if (!masks) return std::nullopt;
  std::vector<Extents> extents;
  Combined sum;
  sum.rows = step.tokens;
  sum.columns = step.past + step.tokens;
  for (const HostTensor& mask : *masks) {
    const auto e = extents_of(mask, heads, step);
    if (!e) return std::nullopt;
    extents.push_back(*e);
    sum.heads = std::max(sum.heads, e->heads);
  }
  const auto size = static_cast<size_t>(sum.heads * sum.rows * sum.columns);
  sum.bias.assign(size, 0.0);
  sum.forbidden.assign(size, 0);
  for (size_t i = 0; i < terms.size(); ++i) {
    if (!add_mask(sum, terms[i], masks->at(i), extents[i])) return std::nullopt;
  }
  return sum;
}

// Keys that the last row of a step is allowed, from the first; none when it sees nothing.
int64_t seen_keys(const Combined& masks) {
  int64_t first = 0;
  while (first < masks.columns && masks.forbidden[masks.at(0, masks.rows - 1, first)] != 0) ++first;
  return masks.columns - first;
}

std::vector<double> slopes_of(const Combined& masks, int64_t window) {
  std::vector<double> slopes;
  const int64_t last = masks.columns - 1;
  const int64_t first = window > 0 ? masks.columns - window : 0;
  for (int64_t h = 0; h < masks.heads; ++h) {
    const double rise = masks.bias[masks.at(h, masks.rows - 1, last)] -
                        masks.bias[masks.at(h, masks.rows - 1, first)];
    slopes.push_back(last > first ? rise / static_cast<double>(last - first) : 0.0);
  }
  return slopes;
}

bool follows(const Combined& masks, const MaskRule& rule, Step step) {
  for (int64_t h = 0; h < masks.heads; ++h) {
    const double slope = rule.slopes.empty() ? 0.0 : rule.slopes[static_cast<size_t>(h)];
    for (int64_t r = 0; r < masks.rows; ++r) {
      const int64_t position = step.past + r;
      const int64_t first = rule.window > 0 ? std::max<int64_t>(position - rule.window + 1, 0) : 0;
      const double own = masks.bias[masks.at(h, r, position)];
      for (int64_t c = 0; c < masks.columns; ++c) {
        const bool allowed = c >= first && c <= position;
        const size_t at = masks.at(h, r, c);
        if (allowed != (masks.forbidden[at] == 0)) return false;
        if (!allowed) continue;
        const double expected = own + slope * static_cast<double>(c - position);
        const double size = std::abs(own) + std::abs(slope) * static_cast<double>(masks.columns);
        if (std::abs(masks.bias[at] - expected) > kRounding * size) return false;
      }
    }
  }
  return true;
}

}  // namespace

std::optional<MaskRule> prove_mask(const Graph& graph, const std::vector<MaskTerm>& terms,
                                   int64_t heads, const ProofScope& scope) {
  std::vector<ValueId> values;
  for (const MaskTerm& term : terms) values.push_back(term.value);
  if (values.empty()) return std::nullopt;
  const auto evaluator = StepEvaluator::create(graph, values);
  std::vector<Step> steps = proof_steps(scope);
  if (!evaluator || steps.empty()) return std::nullopt;

  // The window and the slopes are read where they reach farthest.
  const Step longest = *std::max_element(steps.begin(), steps.end(), [](Step a, Step b) {
    return a.past + a.tokens < b.past + b.tokens;
  });
  const auto far = combined_at(*evaluator, terms, heads, longest);
  if (!far) return std::nullopt;
  const int64_t seen = seen_keys(*far);
  if (seen == 0) return std::nullopt;
  MaskRule rule;
  rule.window = seen < far->columns ? seen : 0;
  std::vector<double> slopes = slopes_of(*far, rule.window);
  if (std::any_of(slopes.begin(), slopes.end(), [](double s) { return s != 0.0; })) {
    slopes.resize(static_cast<size_t>(heads), slopes.front());
    rule.slopes = std::move(slopes);
  }
  if (rule.window > 0) {  // around its edge
    const int64_t w = rule.window;
    for (const Step step : {Step{1, w - 1}, Step{1, w}, Step{2, w - 1}, Step{3, w + 5},
                            Step{std::min<int64_t>(w + 3, 97), 0}}) {
      const bool computable = !scope.stateless || step.past == 0;
      if (computable && step.past + step.tokens <= scope.positions()) steps.push_back(step);
    }
  }
  for (const Step step : steps) {
    const auto masks = combined_at(*evaluator, terms, heads, step);
    if (!masks || !follows(*masks, rule, step)) return std::nullopt;
  }
  return rule;
}

}  // namespace pocket
