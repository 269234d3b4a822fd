// One linear and its inputs through the library's quantisers, for scripts/public_comparison.py:
//   quant_one_linear METHOD GROUP ROWS COLUMNS INPUTS.f32 WEIGHT.f32 OUT.f32
// INPUTS is [any, COLUMNS], WEIGHT and OUT are [ROWS, COLUMNS], little-endian floats. OUT gets the
// numbers that int4 codes stand for, the scales of AWQ divided out. METHOD is gptq, gptq-plain,
// gptq-order, awq or awq-plain; `plain` is without the clip search.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "converter/quant/awq.h"
#include "converter/quant/gptq.h"
#include "converter/quant/moments.h"
#include "converter/quant/rtn.h"

using namespace pocket;

namespace {

constexpr int kThreads = 2;

std::vector<float> read_floats(const char* path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) throw std::runtime_error(std::string(path) + " cannot be read");
  std::vector<float> values(static_cast<size_t>(file.tellg()) / sizeof(float));
  file.seekg(0);
  file.read(reinterpret_cast<char*>(values.data()),
            static_cast<std::streamsize>(values.size() * sizeof(float)));
  return values;
}

struct Coded {
  std::vector<uint8_t> codes;
  std::vector<uint32_t> pairs;
};

std::vector<float> decode(const WeightFormat& format, const Coded& made,
                          const std::vector<float>& scales) {
  std::vector<float> out(static_cast<size_t>(format.rows * format.columns));
  for (int64_t i = 0; i < format.rows * format.columns; ++i) {
    const int64_t row = i / format.columns, k = i % format.columns;
    const uint32_t pair = made.pairs[static_cast<size_t>(row * format.groups() + k / format.group)];
    const uint8_t code = made.codes[static_cast<size_t>(row * format.padded_columns() + k)];
    out[static_cast<size_t>(i)] =
        decode_code(format.encoding, code, pair) / scales[static_cast<size_t>(k)];
  }
  return out;
}

std::vector<float> quantise(const std::string& method, const WeightFormat& format,
                            const InputStatistics& statistics, std::vector<float> values) {
  Coded made{std::vector<uint8_t>(static_cast<size_t>(format.rows * format.padded_columns())),
             std::vector<uint32_t>(static_cast<size_t>(format.rows * format.groups()))};
  std::vector<float> scales(static_cast<size_t>(format.columns), 1.0f);
  const bool plain = method.ends_with("-plain");
  if (method.starts_with("gptq")) {
    GptqOptions options;
    options.act_order = method == "gptq-order";
    options.clip = !plain;
    options.threads = kThreads;
    const GptqFactor factor("weight", statistics.second, options);
    gptq(format, "weight", factor, values.data(), made.codes.data(), made.pairs.data());
    return decode(format, made, scales);
  }
  AwqProblem problem;
  problem.encoding = format.encoding;
  problem.group = format.group;
  problem.moments = &statistics.second;
  problem.magnitudes = statistics.mean_magnitude;
  problem.scales = format.columns;
  for (int64_t k = 0; k < format.columns; ++k) problem.sources.push_back(k);
  problem.rows = Eigen::Map<const AwqProblem::Rows>(values.data(), format.rows, format.columns);
  scales = awq_search(problem, kThreads).scales;
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] *= scales[i % static_cast<size_t>(format.columns)];
  }
  const Eigen::Map<const Eigen::VectorXf> s(scales.data(), format.columns);
  const Eigen::VectorXf inverse = s.cwiseInverse();
  const Eigen::MatrixXf moments = inverse.asDiagonal() * statistics.second * inverse.asDiagonal();
  if (plain) {
    rtn(format, "weight", values.data(), made.codes.data(), made.pairs.data(), false);
  } else {
    awq_clip(format, "weight", moments, values.data(), made.codes.data(), made.pairs.data());
  }
  return decode(format, made, scales);
}

void run(char** arguments) {
  const std::string method = arguments[1];
  WeightFormat format;
  format.encoding = Encoding::int4;
  format.group = std::atoll(arguments[2]);
  format.rows = std::atoll(arguments[3]);
  format.columns = std::atoll(arguments[4]);
  if (format.group < 1 || format.group > kMaxGroup || format.rows < 1 || format.columns < 1) {
    throw std::runtime_error("GROUP, ROWS or COLUMNS is out of range");
  }
  const std::vector<float> inputs = read_floats(arguments[5]), values = read_floats(arguments[6]);
  if (values.size() != static_cast<size_t>(format.rows * format.columns) || inputs.empty() ||
      inputs.size() % static_cast<size_t>(format.columns) != 0) {
    throw std::runtime_error("the files are not of the sizes that ROWS and COLUMNS say");
  }
  MomentsCollector collector("weight", format.columns);
  collector.add(Eigen::Map<const MomentsCollector::Rows>(
                    inputs.data(), static_cast<Eigen::Index>(inputs.size()) / format.columns,
                    format.columns),
                false, kThreads);
  const std::vector<float> out = quantise(method, format, collector.finish(), values);
  std::ofstream file(arguments[7], std::ios::binary);
  file.write(reinterpret_cast<const char*>(out.data()),
             static_cast<std::streamsize>(out.size() * sizeof(float)));
  if (!file) throw std::runtime_error(std::string(arguments[7]) + " cannot be written");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 8) {
    std::fprintf(stderr, "quant_one_linear METHOD GROUP ROWS COLUMNS INPUTS WEIGHT OUT\n");
    return 2;
  }
  try {
    run(argv);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "quant_one_linear: %s\n", error.what());
    return 1;
  }
}
