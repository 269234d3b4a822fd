// What the expansions of quantised operators share.
#pragma once

#include <optional>
#include <string>

#include "converter/onnx/expand.h"

namespace pocket::onnx_import {

const ir::TensorData* constant(const ir::Graph&, ir::ValueId);  // null for any other value

// One constant per matrix of codes, however many nodes read it.
ir::ValueId quantised_constant(Emitter&, const std::string& name, ir::ElementType,
                               ir::QuantisedMatrix);

// Codes with scales for all, per index of an axis, or per block of an axis.
std::optional<ir::QuantisedMatrix> matrix_of(const ir::TensorData& codes,
                                             const ir::TensorData& scales,
                                             const ir::TensorData* zeros, int64_t axis,
                                             int64_t block);

// DequantizeLinear of codes, or of the rows of codes that a Gather takes, in their place or moved.
// The floats of looked up codes are kept under rows_key, their scale under scale_key.
Replacement dequantise(Emitter&, const ir::Node&);
std::string rows_key(ir::ValueId codes, ir::ValueId zero);
std::string scale_key(ir::ValueId codes, ir::ValueId zero);

}  // namespace pocket::onnx_import
