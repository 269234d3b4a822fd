// The pipeline behind llmconvert: import -> shapes -> passes -> lower and plan -> quantise ->
// package -> verify. A failure at any stage throws Error and leaves an older output as it was.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "converter/quant/w8a8.h"
#include "runtime/package/weight.h"

namespace pocket {

// How 4-bit codes are chosen.
struct QuantMethod {
  std::string name = "rtn";  // or gptq, awq, awq+gptq; `any` has one of its own, of that name
  bool awq = false, gptq = false;
  bool act_order = false;  // of gptq
  bool clip = true;        // of rtn
};

struct ConvertOptions {
  std::string input;   // .onnx, a folder that holds one, or a .pocket to copy
  std::string output;  // .pocket
  Encoding weights = Encoding::m0e4;
  int64_t group_size = 32;  // of the 4-bit encodings
  std::optional<Encoding> head_weights;  // of embedding and head; empty: see quantise.h
  double target_bits = 0;   // of the whole file, for each weight; 0: one format for all matrices
  uint32_t widths = 0;      // of `any`, as WeightFormat::widths
  QuantMethod method;
  W8a8Options w8a8;
  bool w8a8_shadow = false;        // the held-out text is read with outliers added
  std::string calibration;         // text or token file; empty: none
  std::string sensitivity;         // safetensors file for `any`; empty: none
  int64_t calibration_tokens = 0;  // 0: 32768
  std::string held_out;            // text or token file to measure the result on; empty: none
  int64_t context = 0;      // default of the runtime; 0: the model's own, at most 4096
  int64_t chunk = 0;        // rows of a prefill step; 0: 128
  bool verify = false;
  bool shapes_only = false;
  std::string dump_after;  // stage whose text goes to stdout
  std::string report;      // JSON file; empty: none
  bool quiet = false;
};

// Throws Error(usage) for a stage of --dump-after that does not exist, a context beyond the
// model's, or an output that cannot be written; Error(bad_input) for the model's faults;
// Error(wrong_result) when --verify finds a difference.
void convert(const ConvertOptions&);

// IN.pocket -> OUT.pocket: checks every hash and copies the weights byte for byte.
void copy_package(const ConvertOptions&);

}  // namespace pocket
