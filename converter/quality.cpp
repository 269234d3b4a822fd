#include "converter/quality.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "converter/quant/parallel.h"
#include "converter/reference/executor.h"
#include "runtime/base/error.h"

namespace pocket {
namespace {

// log(sum(exp(row))).
double log_sum(std::span<const float> row) {
  const float most = *std::max_element(row.begin(), row.end());
  double sum = 0.0;
  for (const float value : row) sum += double{std::exp(value - most)};
  return double{most} + std::log(sum);
}

int64_t arg_max(std::span<const float> row) {
  return std::max_element(row.begin(), row.end()) - row.begin();
}

// A graph whose weights are read once for all windows.
struct Model {
  const ir::Graph& graph;
  reference::ConstantCache constants{};

  std::vector<float> logits(const std::vector<int64_t>& tokens) {
    reference::RunOptions options;
    options.constants = &constants;
    return reference::logits(graph, tokens, options).f;
  }
};

Quality::Window measure(Model& model, Model& file, const std::vector<int64_t>& window) {
  Quality::Window out;
  if (window.size() < 2) return out;
  // The last token predicts nothing inside its window.
  const std::vector<int64_t> inputs(window.begin(), window.end() - 1);
  const std::vector<float> expected = model.logits(inputs);
  const std::vector<float> actual = file.logits(inputs);
  const size_t vocab = expected.size() / inputs.size();
  for (size_t i = 0; i < inputs.size(); ++i) {
    const std::span<const float> p(expected.data() + i * vocab, vocab);
    const std::span<const float> q(actual.data() + i * vocab, vocab);
    const double p_sum = log_sum(p), q_sum = log_sum(q);
    const auto next = static_cast<size_t>(window[i + 1]);
    ++out.tokens;
    out.agreed += arg_max(p) == arg_max(q);
    out.model_nll += p_sum - double{p[next]};
    out.nll += q_sum - double{q[next]};
    for (size_t id = 0; id < vocab; ++id) {
      const double log_p = double{p[id]} - p_sum;
      out.kl += double{std::exp(static_cast<float>(log_p))} * (log_p - (double{q[id]} - q_sum));
    }
  }
  return out;
}

}  // namespace

Quality::Window Quality::sum() const {
  Window sum;
  for (const Window& window : windows) {
    sum.tokens += window.tokens;
    sum.agreed += window.agreed;
    sum.model_nll += window.model_nll;
    sum.nll += window.nll;
    sum.kl += window.kl;
  }
  return sum;
}

Quality measure_quality(const ir::Graph& model_graph, const ir::Graph& file_graph,
                        const std::vector<std::vector<int64_t>>& windows, int threads,
                        const std::function<void(size_t done)>& after_window) {
  Model model{model_graph}, file{file_graph};
  Quality out;
  out.windows.resize(windows.size());
  const auto batch = static_cast<size_t>(std::max(threads, 1));
  for (size_t first = 0; first < windows.size(); first += batch) {
    const size_t count = std::min(batch, windows.size() - first);
    parallel_for(static_cast<int64_t>(count), threads, [&](int64_t i) {
      const size_t at = first + static_cast<size_t>(i);
      out.windows[at] = measure(model, file, windows[at]);
    });
    after_window(first + count);
  }
  const Quality::Window sum = out.sum();
  if (sum.tokens == 0) {
    throw Error(ExitCode::bad_input,
                "The held-out text has no two tokens in a window: give a longer one.");
  }
  if (!std::isfinite(sum.nll) || !std::isfinite(sum.kl)) {
    throw Error(ExitCode::wrong_result,
                "On the held-out text the quantised model computes numbers that are not finite: "
                "convert with --verify and report this model.");
  }
  return out;
}

}  // namespace pocket
