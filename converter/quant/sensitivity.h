// Mean squared gradients of the loss by each number of the model's constants, made by
// scripts/sensitivity.py: a safetensors file (an 8-byte length, a JSON header, the data) with an
// F32 tensor for each constant, of its name and shape. Any precision weighs its clusters by them.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "converter/ir/graph.h"
#include "converter/lower/weight_source.h"

namespace pocket {

class Sensitivity {
 public:
  // Throws Error(bad_input) when the file is no such file. The numbers are looked at when they are
  // asked for.
  explicit Sensitivity(const std::string& path);

  // The gradients of a weight in the order of its rows. `names` is constant_names(). Throws
  // Error(bad_input) naming the constant when it is missing or has another shape, or when a number
  // is negative or not finite.
  WeightSource of(const std::string& weight, const WeightSource& source,
                  const std::map<const void*, std::string>& names) const;

 private:
  std::string path_;
  std::map<std::string, ir::TensorData> tensors_;
};

// By the place of the bytes.
std::map<const void*, std::string> constant_names(const ir::Graph&);

}  // namespace pocket
