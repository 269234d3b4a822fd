#include "test/passes/decoder_run.h"

#include <cmath>
#include <limits>

#include "converter/onnx/import.h"
#include "converter/shape/infer.h"

namespace pocket::test {

Model load_model(const std::string& folder, const std::function<void(ir::Graph&)>& change) {
  Model model;
  onnx_import::ImportReport report;
  model.graph =
      onnx_import::import_model(std::string(POCKET_SOURCE_DIR "/models/") + folder, &report);
  model.context = report.context;
  if (change) change(model.graph);
  shape::require_resolved(shape::infer_shapes(model.graph));
  return model;
}

const std::vector<std::string>& model_names() {
  static const std::vector<std::string> kNames = {"folktale-2m", "tiny-gpt2", "tiny-qwen2",
                                                  "tiny-qwen2-fp16-external"};
  return kNames;
}

std::vector<reference::HostTensor> two_steps(const ir::Graph& graph) {
  const std::vector<int64_t> prompt{1, 5, 9, 2, 77, 30};
  const std::vector<int64_t> more{11, 3, 42};
  std::vector<reference::HostTensor> results;
  auto first = reference::run(graph, reference::decoder_feeds(graph, prompt));
  std::map<ir::ValueId, reference::HostTensor> states;
  for (const ir::StatePair& state : graph.states) states[state.past] = first.at(state.present);
  for (const ir::ValueId output : graph.outputs) results.push_back(first.at(output));
  auto second = reference::run(
      graph, reference::decoder_feeds(graph, more, states, static_cast<int64_t>(prompt.size())));
  for (const ir::ValueId output : graph.outputs) results.push_back(second.at(output));
  return results;
}

double worst_distance(const std::vector<reference::HostTensor>& a,
                      const std::vector<reference::HostTensor>& b) {
  constexpr double kDiffers = std::numeric_limits<double>::infinity();
  if (a.size() != b.size()) return kDiffers;
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].shape != b[i].shape || a[i].f.size() != b[i].f.size()) return kDiffers;
    double difference = 0, size = 0;
    for (size_t j = 0; j < a[i].f.size(); ++j) {
      const double x = static_cast<double>(a[i].f[j]);
      const double y = static_cast<double>(b[i].f[j]);
      if (!std::isfinite(x) || !std::isfinite(y)) return kDiffers;
      difference += (x - y) * (x - y);
      size += x * x;
    }
    worst = std::max(worst, size > 0 ? std::sqrt(difference / size) : std::sqrt(difference));
  }
  return worst;
}

}  // namespace pocket::test
