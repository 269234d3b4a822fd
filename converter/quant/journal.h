// What a calibrated conversion has finished, on disk beside the output: one file a layer, and one
// with the values at the border of the layers that are done. An interrupted conversion of the same
// model with the same options and text goes on behind them; anything else starts anew.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "converter/quant/layer_run.h"
#include "converter/quant/quant_error.h"
#include "converter/quant/w8a8.h"

namespace pocket {

// What calibration made of one weight.
struct WeightOutcome {
  size_t weight = 0;
  std::string method;
  QuantError error;  // of the weights, scaled as the file holds them
  // Squared error of the output on the rows held out, relative to the output; none without such
  // rows.
  std::optional<double> output_error;
  double awq_ratio = 0.0;              // 0: no scales
  double damping = 0.0;                // of GPTQ; 0: another method
  float input_most = 0.0f, input_percentile_999 = 0.0f;  // magnitudes, of the model's own input
  // Of w8a8: how the input becomes codes. The error of the output is that of the codes alone.
  struct Activation {
    float step = 0.0f;
    OutlierStatistics outliers;  // on all rows
    std::optional<double> shadow_error;  // of the output, outliers added; as output_error
  };
  std::optional<Activation> activation;
};

// Scales that were multiplied to a weight.
struct WeightScales {
  size_t weight = 0;
  bool rows = false;
  int64_t first = 0;
  std::vector<float> factors;
};

// One layer that is done.
struct LayerRecord {
  std::vector<WeightScales> scales;  // in the order in which they were applied
  std::vector<WeightOutcome> outcomes;
  // By outcome: packed sections.
  std::vector<std::vector<uint8_t>> codes, pairs;
};

class Journal {
 public:
  // `key` tells conversions apart. Nothing is written before the first save().
  Journal(std::string folder, uint64_t key);

  // Files of records 0, 1, ... as far as they are whole, with the border behind the last of them.
  // Returns how many; `apply` sees each in order.
  int load(const std::function<void(const LayerRecord&)>& apply,
           std::vector<LayerRun::Values>* borders);
  // Record number `index`, which must be the next. Throws Error(usage) when the disk refuses.
  void save(int index, const LayerRecord& record, const std::vector<LayerRun::Values>& borders);
  // Packed sections of a weight that a record holds.
  bool holds(size_t weight) const { return places_.contains(weight); }
  void read(size_t weight, std::vector<uint8_t>* codes, std::vector<uint8_t>* pairs);
  // Takes all files away.
  void remove();

 private:
  struct Place {
    int record = 0;
    size_t outcome = 0;
  };
  std::string record_path(int index) const;
  std::string border_path(int index) const;
  std::optional<LayerRecord> read_record(int index) const;

  std::string folder_;
  uint64_t key_;
  std::map<size_t, Place> places_;
  int cached_ = -1;
  LayerRecord cache_;
};

}  // namespace pocket
