// What the command line of llmbench says, one record per command.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/kernels/plan.h"

namespace pocket::bench {

struct CommonOptions {
  std::string device;                // --device N|NAME
  std::string priority = "default";  // --priority low|medium|high|default
  double max_submit_ms = 0;          // --max-submit-ms, 0: one submission a step
  int64_t chunk = 0;                 // --chunk, 0: the model's default
  int64_t context = 0;               // --context, 0: the model's default
  std::string accumulate = "fp32";   // --accumulate fp32|fp16
  int32_t precision = 0;             // --precision, 0: the most bits that the file holds
  std::string limits_file;           // --limits FILE.json
  bool copy_weights = false;         // --copy-weights: never read them where the file is mapped
  bool no_tuned = false;             // --no-tuned: the table's rows, whatever was tuned
  bool quiet = false;                // --quiet
};

struct RunOptions {
  CommonOptions common;
  std::string model;
  std::vector<int64_t> prompts;  // -p; empty: 64, 256, 1024 as far as they fit
  int64_t generate = 128;        // -n
  int repetitions = 5;           // -r
  int warmup = 1;                // --warmup
  std::string json, csv;         // "-": stdout
};

struct GenerateOptions {
  CommonOptions common;
  std::string model;
  std::string prompt, tokens;  // one of the two
  bool chat = false;
  std::string system;            // with chat: the system turn; empty: none
  std::optional<int64_t> count;  // -n; absent: 128 as far as the context reaches
  double temperature = 0, top_p = 1;
  int top_k = 0;
  uint64_t seed = 0;
  std::string json;
};

struct LogitsOptions {
  CommonOptions common;
  std::string model, tokens;
  int64_t decode_from = -1;
  std::string json;
};

struct PerplexityOptions {
  CommonOptions common;
  std::string model, text, against;
  int64_t window = 0;  // 0: min(context, 256)
  bool per_token = false;
  std::string json;
};

struct SelfTestCommandOptions {
  CommonOptions common;
  std::string model;
  int repeats = 3;
  std::string json;
};

struct TuneCommandOptions {
  CommonOptions common;
  std::string model;
  int cases = 3;   // that a row must pass
  int rounds = 5;  // timings of each row
  std::string only;
  std::string json;
};

struct InspectOptions {
  CommonOptions common;
  std::string model, json;
};

struct DevicesOptions {
  CommonOptions common;
  bool measure = false;  // --measure
  std::string json;
};

Accumulate accumulate_from_name(const std::string&);  // Throws Error(usage).

}  // namespace pocket::bench
