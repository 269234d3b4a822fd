// llmconvert: an ONNX export becomes one .pocket file.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include "converter/convert.h"
#include "converter/package/temporary_file.h"
#include "runtime/base/error.h"

namespace {

using pocket::ConvertOptions;
using pocket::Encoding;
using pocket::Error;
using pocket::ExitCode;
using pocket::QuantMethod;

// Options whose features are not in this version: each is refused with what there is instead.
struct Absent {
  const char* option;
  const char* instead;
};
constexpr Absent kAbsent[] = {
    {"--precision-schedule", "one precision a run, set with llmbench --precision"},
    {"--learned-scheduler", "one precision a run, set with llmbench --precision"},
};

Encoding weights_of(const std::string& name) {
  if (name == "f16") return Encoding::f16;
  if (name == "int4") return Encoding::int4;
  if (name == "m0e4" || name == "e0m4") return Encoding::m0e4;
  if (name == "any") return Encoding::any;
  if (name == "w8a8") return Encoding::w8a8;
  throw Error(ExitCode::usage,
              "--weights " + name + " is not available: choose f16, int4, m0e4, w8a8 or any.");
}

// What --head-weights says; nothing when it is not given.
std::optional<Encoding> head_weights_of(const std::string& name, const ConvertOptions& options) {
  if (name.empty()) return {};
  if (name == "any" || name == "w8a8") {
    throw Error(ExitCode::usage, "--head-weights " + name + " is not available: choose f16, m0e4 or "
                                 "int4.");
  }
  const Encoding head = weights_of(name);
  if (options.weights == Encoding::f16 && head != Encoding::f16) {
    throw Error(ExitCode::usage, "--head-weights " + name + " makes the head smaller than --weights "
                                 "f16 leaves the matrices: choose 4-bit --weights.");
  }
  return head;
}

// The widths of --bits as WeightFormat::widths.
uint32_t widths_of(const std::vector<int>& bits, Encoding encoding) {
  if (encoding != Encoding::any) {
    if (bits.empty()) return 0;
    throw Error(ExitCode::usage, std::string("--bits serves --weights any and not ") +
                                     pocket::encoding_name(encoding) + ": leave it out.");
  }
  uint32_t widths = bits.empty() ? 1u << 2 | 1u << 3 | 1u << 4 : 0;
  for (const int width : bits) widths |= 1u << width;
  return widths;
}

// The method of the name, or the default when it is empty.
QuantMethod method_of(std::string name, const ConvertOptions& options) {
  const bool calibrated = !options.calibration.empty();
  if (options.weights == Encoding::any) {
    if (!name.empty()) {
      throw Error(ExitCode::usage, "--method " + name +
                                       " rounds to a grid and --weights any has clusters of its "
                                       "own: leave --method out.");
    }
    return {"any", false, false, false};
  }
  if (options.weights == Encoding::w8a8) {
    if (!name.empty()) {
      throw Error(ExitCode::usage, "--method " + name +
                                       " chooses codes of 4 bits and --weights w8a8 rounds to the "
                                       "nearest of 8: leave --method out.");
    }
    if (!calibrated) {
      throw Error(ExitCode::usage,
                  "--weights w8a8 has scales of activations, which are measured: give a text or a "
                  "token file with --calibration.");
    }
    return {options.w8a8.per_channel ? "per-channel" : "per-tensor", false, false, false};
  }
  if (name.empty()) name = calibrated ? "awq+gptq" : "rtn";
  QuantMethod method;
  method.name = name;
  method.awq = name == "awq" || name == "awq+gptq";
  method.gptq = name == "gptq" || name == "awq+gptq";
  if (!method.awq && !method.gptq && name != "rtn") {
    throw Error(ExitCode::usage,
                "--method " + name + " is not available: choose rtn, gptq, awq or awq+gptq.");
  }
  if ((method.awq || method.gptq) && !calibrated) {
    throw Error(ExitCode::usage, "--method " + name +
                                     " measures activations: give a text or a token file with "
                                     "--calibration, or use --method rtn.");
  }
  return method;
}

// The options --w8a8-*: `given` names the first of them that the command line has, or is empty.
void set_w8a8(const std::string& given, const std::string& weights, const std::string& outliers,
              ConvertOptions* options) {
  if (!given.empty() && options->weights != Encoding::w8a8) {
    throw Error(ExitCode::usage, given + " serves --weights w8a8 and not " +
                                     pocket::encoding_name(options->weights) + ": leave it out.");
  }
  options->w8a8.per_channel = weights == "per-channel";
  options->w8a8_shadow = outliers == "shadow";
  if (options->w8a8_shadow && options->held_out.empty()) {
    throw Error(ExitCode::usage,
                "--w8a8-outliers shadow is a way to read the --held-out text, and none is given.");
  }
}

// Options of quantisation that fit together; each would otherwise do nothing.
void check_quantisation(const ConvertOptions& options, bool tokens_given, bool group_given) {
  const bool calibrated = !options.calibration.empty();
  if (calibrated && options.weights == Encoding::f16) {
    throw Error(ExitCode::usage,
                "--calibration serves codes of few bits and --weights f16 has none: leave it out.");
  }
  if (tokens_given && !calibrated) {
    throw Error(ExitCode::usage,
                "--calibration-tokens says how much of the --calibration file is read, and none "
                "is given.");
  }
  if (!options.sensitivity.empty()) {
    if (options.weights != Encoding::any) {
      throw Error(ExitCode::usage,
                  std::string("--sensitivity weighs the clusters of --weights any and not ") +
                      pocket::encoding_name(options.weights) + ": leave it out.");
    }
    if (calibrated) {
      throw Error(ExitCode::usage, "--sensitivity stands in place of what --calibration measures "
                                   "for --weights any: give one of them.");
    }
  }
  if (options.target_bits > 0) {
    if (options.weights != Encoding::int4 && options.weights != Encoding::m0e4) {
      throw Error(ExitCode::usage, std::string("--target-bits chooses among group sizes and --weights ") +
                                       pocket::encoding_name(options.weights) +
                                       " has no groups: choose m0e4 or int4.");
    }
    if (group_given) {
      throw Error(ExitCode::usage, "--target-bits chooses each weight's group size, so --group-size "
                                   "cannot stand beside it: leave one out.");
    }
  }
  if (options.method.act_order && !options.method.gptq) {
    throw Error(ExitCode::usage, "--act-order is an order of GPTQ and --method " +
                                     options.method.name + " does not use it: choose gptq or "
                                     "awq+gptq.");
  }
  if (!options.method.clip && options.method.name != "rtn") {
    throw Error(ExitCode::usage, "--no-clip is a way of --method rtn, and --method " +
                                     options.method.name + " always clips: choose rtn.");
  }
}

int run(int argc, char** argv) {
  ConvertOptions options;
  std::string weights = "m0e4", head_weights, method;
  std::string w8a8_weights = "per-tensor", w8a8_outliers = "none";
  bool act_order = false, no_clip = false;
  std::vector<int> bits;
  std::vector<std::string> absent(std::size(kAbsent));
  CLI::App app("Packs a decoder-only language model, exported to ONNX, into one .pocket file.");
  app.add_option("input", options.input, "MODEL.onnx, a folder that holds one, or IN.pocket")
      ->required();
  app.add_option("-o,--output", options.output, "OUT.pocket");
  app.add_option("--weights", weights, "f16, int4, w8a8, any, or m0e4 (alias e0m4), the default");
  app.add_option("--head-weights", head_weights,
                 "f16, m0e4 or int4 for embedding and head; default as --weights, but f16 with any, w8a8 and "
                 "where it adds at most 0.25 bits a weight");
  app.add_option("--target-bits", options.target_bits,
                 "bits a weight of the whole file, chosen by measured error: group sizes and f16 "
                 "may differ")
      ->check(CLI::Range(1.0, 32.0));
  app.add_option("--sensitivity", options.sensitivity,
                 "squared gradients for --weights any, made by scripts/sensitivity.py");
  app.add_option("--bits", bits, "precisions kept by --weights any, 2 to 8; default 4,3,2")
      ->delimiter(',')
      ->check(CLI::Range(pocket::kLeastWidth, pocket::kMostWidth));
  app.add_option("--method", method,
                 "how 4-bit codes are chosen: rtn, gptq, awq, awq+gptq (the default with "
                 "--calibration)");
  app.add_option("--calibration", options.calibration,
                 "text or TOKENS.json on which activations are measured");
  CLI::Option* tokens = app.add_option("--calibration-tokens", options.calibration_tokens,
                                       "how many of its tokens are used, default 32768");
  tokens->check(CLI::Range(int64_t{1}, int64_t{1} << 30));
  app.add_option("--held-out", options.held_out,
                 "text or TOKENS.json on which the result is compared with the model");
  app.add_flag("--act-order", act_order, "gptq: columns with the largest inputs first");
  app.add_flag("--no-clip", no_clip, "rtn: codes span the whole range of a group, no part of it");
  CLI::Option* group = app.add_option("--group-size", options.group_size,
                                      "weights per scale: 16, or 32 to 256 in steps of 32; default 32");
  group->check(CLI::IsMember({16, 32, 64, 96, 128, 160, 192, 224, 256}));
  app.add_option("--w8a8-weights", w8a8_weights, "a scale per-tensor (the default) or per-channel")
      ->check(CLI::IsMember({"per-tensor", "per-channel"}));
  app.add_option("--w8a8-clip-threshold", options.w8a8.clip_threshold,
                 "w8a8: an input whose maximum reaches this many times its 99.9th percentile has "
                 "outliers; default 64")
      ->check(CLI::Range(1.0f, 1e30f));
  app.add_option("--w8a8-outliers", w8a8_outliers,
                 "how --held-out reads outliers: none (cut off, the default) or shadow (added)")
      ->check(CLI::IsMember({"none", "shadow"}));
  app.add_option("--context", options.context, "default context of the runtime")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30));
  app.add_option("--chunk", options.chunk, "default prefill chunk of the runtime")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30));
  app.add_flag("--verify", options.verify, "compare the finished file with the model");
  app.add_flag("--shapes-only", options.shapes_only, "print symbolic shapes, write nothing");
  app.add_option("--dump-after", options.dump_after, "print the model after this stage");
  app.add_option("--report", options.report, "write a JSON report to this file");
  app.add_flag("--quiet", options.quiet, "no progress and no summary");
  for (size_t i = 0; i < std::size(kAbsent); ++i) {
    app.add_option(kAbsent[i].option, absent[i])->group("");
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help
    throw Error(ExitCode::usage, std::string(error.what()) + " (see llmconvert --help).");
  }
  for (size_t i = 0; i < std::size(kAbsent); ++i) {
    if (app.count(kAbsent[i].option) == 0) continue;
    throw Error(ExitCode::usage, std::string(kAbsent[i].option) + " is not available: there is " +
                                     kAbsent[i].instead + ".");
  }
  options.weights = weights_of(weights);
  options.head_weights = head_weights_of(head_weights, options);
  options.widths = widths_of(bits, options.weights);
  std::string given;
  for (const char* name : {"--w8a8-weights", "--w8a8-clip-threshold", "--w8a8-outliers"}) {
    if (given.empty() && app.count(name) > 0) given = name;
  }
  set_w8a8(given, w8a8_weights, w8a8_outliers, &options);
  options.method = method_of(method, options);
  options.method.act_order = act_order;
  options.method.clip = !no_clip;
  check_quantisation(options, tokens->count() > 0, group->count() > 0);
  if (options.output.empty() && !options.shapes_only) {
    throw Error(ExitCode::usage, "-o OUT.pocket is missing: say where the file shall go.");
  }
  if (options.input.ends_with(".pocket")) {
    pocket::copy_package(options);
  } else {
    pocket::convert(options);
  }
  return static_cast<int>(ExitCode::ok);
}

}  // namespace

int main(int argc, char** argv) {
  pocket::remove_temporary_file_on_signal();
  try {
    return run(argc, argv);
  } catch (const Error& error) {
    std::fprintf(stderr, "llmconvert: %s\n", error.what());
    return static_cast<int>(error.code);
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "llmconvert: Out of memory: convert on a machine with more.\n");
    return static_cast<int>(ExitCode::out_of_memory);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "llmconvert: %s\n", error.what());
    return static_cast<int>(ExitCode::bad_input);
  }
}
