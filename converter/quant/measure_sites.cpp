#include "converter/quant/measure_sites.h"

namespace pocket {

std::vector<InputStatistics> measure_sites(const std::vector<const Site*>& sites,
                                           const std::vector<QuantWeight>& weights,
                                           const LayerRun& run, size_t first_held_out,
                                           int threads) {
  std::vector<InputStatistics> statistics;
  if (sites.empty()) return statistics;
  std::vector<MomentsCollector> collectors;
  std::vector<ir::ValueId> inputs;
  for (const Site* site : sites) {
    collectors.emplace_back(weights[site->weights.front()].name, site->columns);
    inputs.push_back(site->input);
  }
  run.evaluate(inputs, [&](size_t window, LayerRun::Values values) {
    for (size_t i = 0; i < sites.size(); ++i) {
      const reference::HostTensor& x = values.at(inputs[i]);
      const int64_t columns = sites[i]->columns;
      collectors[i].add(Eigen::Map<const MomentsCollector::Rows>(x.f.data(),
                                                                 x.elements() / columns, columns),
                        window >= first_held_out, threads);
    }
  });
  for (MomentsCollector& collector : collectors) statistics.push_back(collector.finish());
  return statistics;
}

}  // namespace pocket
