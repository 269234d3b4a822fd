// Any precision (papers.md 3.3): the codes of a row at b bits are the leading bits of its codes at
// b + 1, so one set of bit planes serves every width. The lowest width is a weighted 1-D k-means of
// the row, solved exactly; each further bit cuts every cluster in two where the weighted squared
// error falls most. A row has a table of cluster means, in fp16, for each stored width.
//
// A weight counts by its sensitivity: the mean squared gradient of the loss by it (sensitivity.h), or
// in its place the mean square of its input, which calibration saw. (The gradient is the product of
// the input and of what comes back to the row. Were these independent, the row's factor would be
// the same for all its weights, and fall out.)
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "converter/quant/quant_error.h"
#include "runtime/package/weight.h"

namespace pocket {

struct AnyCodes {
  std::vector<uint8_t> codes;                 // [rows, columns], of the largest width
  std::vector<std::vector<uint16_t>> tables;  // by stored width, rising: f16 [rows, 2^width]
  QuantError error;                           // at the largest width
};

// Encodes `format.rows` rows. `sensitivity` has a number of at least 0 per weight, or per column, or
// is empty: all weights of a row count alike. What has none counts next to nothing. `name` is the
// tensor that an Error(bad_input) names when a value is not finite or too large for fp16.
AnyCodes any_precision(const WeightFormat& format, const std::string& name, const float* values,
                       std::span<const float> sensitivity);

// Receives the bytes of each kind of section in the order of the layout; called from one thread.
using KindSink = std::function<void(SectionKind, std::span<const uint8_t>)>;

// A whole weight, tile by tile. `read_rows` as in encode.h; `read_sensitivity` gives the numbers of
// each weight in the same way, or is empty: `sensitivity` has those of the columns, if any.
QuantError encode_any(const std::string& name, const WeightFormat& format,
                      const std::function<void(int64_t first, int64_t count, float* out)>& read_rows,
                      std::span<const float> sensitivity, const KindSink& sink, int threads,
                      const std::function<void(int64_t first, int64_t count, float* out)>&
                          read_sensitivity = {});

}  // namespace pocket
