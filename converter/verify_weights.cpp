#include "converter/verify_weights.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "converter/lower/lower.h"
#include "converter/quant/sites.h"
#include "runtime/base/error.h"
#include "runtime/package/w8a8.h"

namespace pocket {
namespace {

// Values of a weight that the file holds, row-major.
std::vector<float> decode(const Package& package, const Weight& weight) {
  const std::vector<uint8_t> codes = package.gather(weight, SectionRole::codes);
  const std::vector<uint8_t> pairs = package.gather(weight, SectionRole::scale);
  const auto columns = static_cast<size_t>(weight.format.columns);
  std::vector<float> values(static_cast<size_t>(weight.format.rows) * columns);
  for (int64_t row = 0; row < weight.format.rows; ++row) {
    unpack_row(weight.format, codes.data(), pairs.data(), row,
               values.data() + static_cast<size_t>(row) * columns);
  }
  return values;
}

// Writes rows of `values` where the part took them from the constant.
void put_part(const WeightPart& part, const float* values, int64_t columns,
              std::vector<float>* constant) {
  const int64_t stride = part.transposed ? part.data.shape[1] : columns;
  for (int64_t row = 0; row < part.rows; ++row) {
    for (int64_t column = 0; column < columns; ++column) {
      const int64_t n = part.first_row + row;
      const int64_t at = part.transposed ? column * stride + n : n * stride + column;
      (*constant)[static_cast<size_t>(at)] = *values++ / part.factor;
    }
  }
}

// Two constants are the same when they lie in the same place of the file.
const void* identity(const ir::TensorData& data) {
  if (data.quantised != nullptr) return data.quantised.get();
  return data.bytes;
}

CodedWeight codes_of(const Package& package, const Weight& weight) {
  const std::vector<uint8_t> codes = package.gather(weight, SectionRole::codes);
  const std::vector<uint8_t> scales = package.gather(weight, SectionRole::scale);
  CodedWeight out;
  out.act_scale = weight.act_scale;
  for (int64_t row = 0; row < weight.format.rows; ++row) {
    out.scales.push_back(w8a8_row(scales.data(), row).scale);
    for (int64_t k = 0; k < weight.format.columns; ++k) {
      out.codes.push_back(static_cast<float>(w8a8_code(weight.format, codes.data(), row, k)));
    }
  }
  return out;
}

// The linears that multiply by w8a8 weights of the file.
void put_w8a8(const std::vector<LoweredWeight>& weights, const Package& package, bool shadow,
              ir::Graph* graph) {
  std::vector<WeightSource> sources;
  for (const LoweredWeight& weight : weights) sources.push_back(weight.source);
  std::vector<QuantWeight> all;
  for (size_t i = 0; i < weights.size(); ++i) {
    all.push_back({weights[i].name, &sources[i], package.manifest().weights.at(i).format, false});
  }
  const auto uses = find_uses(*graph, all);
  for (size_t i = 0; i < all.size(); ++i) {
    if (all[i].format.encoding != Encoding::w8a8) continue;
    for (const WeightUse& use : uses[i]) {
      CodedWeight codes = codes_of(package, package.manifest().weights[i]);
      codes.shadow = shadow;
      put_codes(*graph, use, std::move(codes));
    }
    if (uses[i].empty()) {
      throw Error(ExitCode::wrong_result, "Weight '" + all[i].name +
                                              "' is read by no linear of the model, so its codes "
                                              "cannot be compared: report this model.");
    }
  }
}

// Rounding explains a relative L2 distance of about 3e-4 in f16, 0.1 in 4 bits, 0.35 in 2, and in 8
// bits what the largest number under a scale leaves for the others; another tensor's values are at
// a distance of more than 1.
void check_distance(const LoweredWeight& weight, const WeightFormat& format,
                    const std::vector<float>& values) {
  const bool coarse = format.four_bit() || format.encoding == Encoding::any ||
                      format.encoding == Encoding::w8a8;
  const double allowed = coarse ? 0.5 : 2e-3;
  const int64_t step = 256;
  std::vector<float> rows(static_cast<size_t>(std::min(step, format.rows) * format.columns));
  double distance = 0.0, norm = 0.0;
  for (int64_t first = 0; first < format.rows; first += step) {
    const int64_t count = std::min(step, format.rows - first);
    weight.source.read_rows(first, count, rows.data());
    const float* decoded = values.data() + first * format.columns;
    for (int64_t i = 0; i < count * format.columns; ++i) {
      const double original = double{rows[static_cast<size_t>(i)]};
      distance += (double{decoded[i]} - original) * (double{decoded[i]} - original);
      norm += original * original;
    }
  }
  if (distance <= allowed * allowed * norm) return;
  throw Error(ExitCode::wrong_result,
              "Weight '" + weight.name + "' in the file has a relative distance of " +
                  std::to_string(std::sqrt(distance / std::max(norm, 1e-30))) +
                  " from the model's, at most " + std::to_string(allowed) +
                  " is explained by its encoding: report this model.");
}

}  // namespace

ir::Graph with_file_weights(const ir::Graph& rewritten, const std::vector<LoweredWeight>& weights,
                            const Package& package, bool shadow) {
  ir::Graph graph = rewritten;
  put_w8a8(weights, package, shadow, &graph);
  // A constant is known by its bytes: parts of several weights may lie in one.
  std::map<const void*, std::vector<ir::ValueId>> owners;
  for (size_t i = 0; i < graph.value_count(); ++i) {
    const auto id = static_cast<ir::ValueId>(i);
    if (graph.value(id).constant) owners[identity(*graph.value(id).constant)].push_back(id);
  }
  std::map<const void*, std::vector<float>> contents;
  for (size_t i = 0; i < weights.size(); ++i) {
    const std::vector<float> values = decode(package, package.manifest().weights.at(i));
    const WeightFormat& format = package.manifest().weights[i].format;
    check_distance(weights[i], format, values);
    if (format.encoding == Encoding::w8a8) continue;
    const float* next = values.data();
    for (const WeightPart& part : weights[i].source.parts()) {
      const void* key = identity(part.data);
      if (!owners.contains(key)) {
        throw Error(ExitCode::wrong_result, "Weight '" + weights[i].name +
                                                "' is no constant of the model, so --verify "
                                                "cannot compare it.");
      }
      auto [found, fresh] = contents.try_emplace(key);
      if (fresh) found->second = part.data.as_floats();
      put_part(part, next, weights[i].source.columns(), &found->second);
      next += part.rows * weights[i].source.columns();
    }
  }
  for (auto& [key, values] : contents) {
    for (const ir::ValueId id : owners[key]) {
      ir::Value& value = graph.value(id);
      value.constant = ir::TensorData::from_floats(value.constant->shape, values);
      value.type = ir::ElementType::f32;
    }
  }
  return graph;
}

}  // namespace pocket
