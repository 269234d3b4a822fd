// Protocol: ids = tokenizer.encode(text), cut into consecutive windows of W tokens that do not
// overlap; each window starts an empty sequence and predicts its tokens 1..W-1; nll is the mean
// over all of them. A TOKENS.json with arrays inside names its windows itself.
#include <algorithm>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "runtime/bench/commands.h"
#include "runtime/bench/cut_outliers.h"
#include "runtime/bench/open.h"
#include "runtime/bench/output.h"
#include "runtime/bench/tokens.h"

namespace pocket::bench {
namespace {

constexpr int64_t kDefaultWindow = 256;

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

// log(sum(exp(row))) in double.
double log_sum(std::span<const float> row) {
  const double most = static_cast<double>(*std::max_element(row.begin(), row.end()));
  double sum = 0;
  for (const float value : row) sum += std::exp(static_cast<double>(value) - most);
  return most + std::log(sum);
}

size_t arg_max(std::span<const float> row) {
  return static_cast<size_t>(std::max_element(row.begin(), row.end()) - row.begin());
}

// sum p_reference * (log p_reference - log p)
double divergence(std::span<const float> reference, std::span<const float> row) {
  const double reference_sum = log_sum(reference), sum = log_sum(row);
  double total = 0;
  for (size_t i = 0; i < row.size(); ++i) {
    const double log_p = static_cast<double>(reference[i]) - reference_sum;
    total += std::exp(log_p) * (log_p - (static_cast<double>(row[i]) - sum));
  }
  return total;
}

std::vector<std::vector<int32_t>> make_windows(const PerplexityOptions& options,
                                               const Package& package) {
  const Program& program = package.manifest().program;
  TokenWindows given;
  if (ends_with(options.text, ".json")) {
    given = read_token_windows(options.text, program.vocab);
    if (given.windowed) return given.lists;
  } else {
    given.lists.push_back(open_tokenizer(package).encode(read_text_file(options.text)));
  }
  int64_t window = options.window;
  if (window == 0) {
    const int64_t context = options.common.context ? options.common.context : program.max_context;
    window = std::min(context > 0 ? context : kDefaultWindow, kDefaultWindow);
  }
  std::vector<std::vector<int32_t>> windows;
  const std::vector<int32_t>& ids = given.lists.front();
  for (size_t first = 0; first < ids.size(); first += static_cast<size_t>(window)) {
    const size_t last = std::min(first + static_cast<size_t>(window), ids.size());
    windows.emplace_back(ids.begin() + static_cast<ptrdiff_t>(first),
                         ids.begin() + static_cast<ptrdiff_t>(last));
  }
  return windows;
}

}  // namespace

ExitCode perplexity(const PerplexityOptions& options) {
  check_writable(options.json);
  if (options.per_token && options.json.empty()) {
    throw Error(ExitCode::usage, "--per-token adds to --json FILE or --json -: give one");
  }
  Package package = open_package(options.model, options.common);
  const std::vector<std::vector<int32_t>> windows = make_windows(options, package);
  size_t longest = 0;
  int64_t predicted = 0;
  for (const auto& window : windows) {
    longest = std::max(longest, window.size());
    predicted += std::max<int64_t>(0, static_cast<int64_t>(window.size()) - 1);
  }
  if (predicted == 0) {
    throw Error(ExitCode::bad_input,
                "the text " + options.text + " has no two tokens in a window; give a longer one");
  }

  const CutOutliers cut = cut_outliers(package.manifest());
  if (cut.linears > 0) progress(options.common.quiet, warning(cut));
  EngineOptions settings = engine_options(options.common);
  if (settings.context == 0) settings.context = static_cast<int64_t>(longest);
  std::optional<Package> reference_package;
  if (!options.against.empty()) {
    reference_package = Package::open(options.against);
    if (reference_package->manifest().program.vocab != package.manifest().program.vocab) {
      throw Error(ExitCode::bad_input,
                  "the vocabulary of " + options.against + " has " +
                      std::to_string(reference_package->manifest().program.vocab) +
                      " tokens and the model's " +
                      std::to_string(package.manifest().program.vocab) +
                      "; compare models of one vocabulary");
    }
  }
  Session session(options.common, std::move(package), settings);
  std::unique_ptr<Engine> reference;  // on the session's device, so gone before it
  if (reference_package) {
    reference = std::make_unique<Engine>(session.device, std::move(*reference_package), settings);
  }

  double nll = 0, kl = 0;
  int64_t agreed = 0;
  nlohmann::json token_nll = nlohmann::json::array(), token_kl = nlohmann::json::array();
  for (size_t i = 0; i < windows.size(); ++i) {
    const std::vector<int32_t>& window = windows[i];
    if (window.size() < 2) continue;
    // The last token predicts nothing inside its window.
    const std::span<const int32_t> inputs(window.data(), window.size() - 1);
    token_nll.push_back(nlohmann::json::array());
    token_kl.push_back(nlohmann::json::array());
    std::vector<float> expected;
    if (reference) expected = reference->logits(inputs);
    session.engine.score(inputs, -1, [&](int64_t row, std::span<const float> values) {
      const auto next = static_cast<size_t>(window[static_cast<size_t>(row) + 1]);
      const double lost = log_sum(values) - static_cast<double>(values[next]);
      nll += lost;
      if (options.per_token) token_nll.back().push_back(lost);
      if (reference) {
        const std::span<const float> other(
            expected.data() + static_cast<size_t>(row) * values.size(), values.size());
        const double distance = divergence(other, values);
        kl += distance;
        if (options.per_token) token_kl.back().push_back(distance);
        agreed += arg_max(other) == arg_max(values);
      }
    });
    if ((i + 1) % 8 == 0 || i + 1 == windows.size()) {
      progress(options.common.quiet,
               "window " + std::to_string(i + 1) + " of " + std::to_string(windows.size()));
    }
  }
  const auto count = static_cast<double>(predicted);
  nll /= count;
  if (!std::isfinite(nll)) {
    throw Error(ExitCode::wrong_result,
                "the mean log likelihood is not finite; run llmbench selftest");
  }
  nlohmann::json document = {{"schema", "pocketformer.perplexity"},
                             {"version", 1},
                             {"tokens", predicted},
                             {"windows", windows.size()},
                             {"longest_window", longest},
                             {"nll", nll},
                             {"perplexity", std::exp(nll)},
                             {"cut_outliers", to_json(cut)}};
  std::string text = "tokens " + std::to_string(predicted) + "\nnll " + fixed(nll, 6) +
                     "\nperplexity " + fixed(std::exp(nll), 4) + "\n";
  if (reference) {
    document["kl"] = kl / count;
    document["top1"] = static_cast<double>(agreed) / count;
    text += "kl " + fixed(kl / count, 6) + "\ntop1 " +
            fixed(static_cast<double>(agreed) / count, 4) + "\n";
  }
  if (options.per_token) {
    document["token_nll"] = std::move(token_nll);
    if (reference) document["token_kl"] = std::move(token_kl);
  }
  if (!options.json.empty()) write_json(options.json, document);
  if (options.json != "-") write_output("-", text);
  return ExitCode::ok;
}

}  // namespace pocket::bench
