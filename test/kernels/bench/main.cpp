// pocket_kernel_lab: times a kernel for shapes, encodings and configurations.
//
//   pocket_kernel_lab --rows 5632 --columns 2048 --tokens 1,64,512            what the table chooses
//   pocket_kernel_lab --rows 5632 --columns 2048 --tokens 64 --all            every row of the table
//   pocket_kernel_lab ... --lanes 8 --tile-rows 4 --tile-tokens 8 --texels    this one, or with --all this one too
//   pocket_kernel_lab ... --peaks             with shares of the measured bandwidth and fp32 peak
//   pocket_kernel_lab --encoding m0e4,int4,int4-convert --interleave          one round of each in turn
//   pocket_kernel_lab --kernel attention --heads 32 --kv-heads 4 --context 512,4096 --tokens 1,64 --sweep
//   pocket_kernel_lab --kernel norm --columns 2048 --tokens 1,64 --sweep
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iostream>

#include "runtime/base/error.h"
#include "runtime/bench/peaks.h"
#include "runtime/vulkan/instance.h"
#include "test/kernels/bench/lab.h"

namespace pocket::lab {
namespace {

struct Options {
  Work work;
  std::vector<int64_t> tokens = {1}, contexts = {2048};
  std::vector<std::string> encodings = {"m0e4"};
  std::string kernel = "matrix", device, limits, json;
  bool half_activations = false, fp16 = false, all = false, sweep = false, peaks = false;
  bool interleave = false;
  KernelConfig config{Kernel::gemv, "", 0};
  int repetitions = 5;
};

// Of the work: its encoding, and whether by the baseline.
void set_encoding(const std::string& text, Work& work) {
  work.convert = text == "int4-convert";
  for (const Encoding e :
       {Encoding::f32, Encoding::f16, Encoding::int4, Encoding::m0e4, Encoding::w8a8}) {
    work.encoding = e;
    if (text == encoding_text(work)) return;
  }
  throw Error(ExitCode::usage, "--encoding \"" + text +
                                   "\" is none of f32, f16, int4, int4-convert, m0e4, w8a8");
}

Subject subject_from(const std::string& text) {
  for (const Subject s : {Subject::matrix, Subject::attention, Subject::norm}) {
    if (text == subject_name(s)) return s;
  }
  throw Error(ExitCode::usage, "--kernel \"" + text + "\" is none of matrix, attention, norm");
}

void add_options(CLI::App& app, Options& o) {
  app.add_option("--kernel", o.kernel, "matrix, attention, norm");
  app.add_option("--rows", o.work.rows, "weight rows")->check(CLI::PositiveNumber);
  app.add_option("--columns", o.work.columns, "length of a row")->check(CLI::PositiveNumber);
  app.add_option("--tokens", o.tokens, "activation rows")->delimiter(',');
  app.add_option("--encoding", o.encodings,
                 "f32, f16, int4, m0e4, w8a8; int4-convert: int4 as it is usually written")
      ->delimiter(',');
  app.add_option("--group", o.work.group, "weights of a quantisation group");
  app.add_flag("--gated", o.work.gated, "two matrices in one dispatch");
  app.add_option("--heads", o.work.heads, "of attention")->check(CLI::PositiveNumber);
  app.add_option("--kv-heads", o.work.kv_heads, "of attention")->check(CLI::PositiveNumber);
  app.add_option("--head-dim", o.work.head_dim, "of attention, even")->check(CLI::PositiveNumber);
  app.add_option("--context", o.contexts, "positions of attention, all filled")->delimiter(',');
  app.add_flag("--f16-activations", o.half_activations, "activations in f16");
  app.add_flag("--fp16", o.fp16, "products in fp16 arithmetic");
  app.add_option("--device", o.device, "number or part of the name");
  app.add_option("--limits", o.limits, "file of limits to lower");
  app.add_flag("--all", o.all, "every valid row of the table");
  app.add_flag("--sweep", o.sweep, "a grid of tiles as well");
  app.add_flag("--interleave", o.interleave, "times all works in turn, not one after the other");
  app.add_flag("--peaks", o.peaks, "measure read bandwidth and the fp32 peak too, print shares");
  app.add_option("--lanes", o.config.lanes, "of one configuration");
  app.add_option("--tile-rows", o.config.rows, "weight rows of a lane");
  app.add_option("--tile-tokens", o.config.tokens, "activation rows of a lane; attention: queries");
  app.add_option("--splits", o.config.splits, "parts of a workgroup over the columns; attention: workgroups");
  app.add_flag("--subgroup", o.config.subgroup, "with subgroup operations");
  app.add_flag("--texels", o.config.texels, "with texel buffers and shuffles");
  app.add_option("-r,--repetitions", o.repetitions, "timings of each configuration")
      ->check(CLI::PositiveNumber);
  app.add_option("--json", o.json, "file, or - for stdout");
}

std::vector<KernelConfig> configs_for(const Options& o, const Work& work,
                                      const DeviceLimits& limits) {
  std::vector<KernelConfig> rows;
  if (o.all || o.sweep) rows = candidates(work, limits, o.sweep);
  if (o.config.lanes == 0) return rows.empty() ? std::vector{chosen(work, limits)} : rows;
  KernelConfig config = o.config;
  config.kernel = kernel_of(work);
  config.subgroup = config.subgroup || config.texels;
  if (work.subject == Subject::matrix && work.tokens == 1) config.tokens = 1;
  config.origin = "command line";
  const bool known = std::any_of(rows.begin(), rows.end(), [&](const KernelConfig& row) {
    return same_numbers(row, config);
  });
  if (!known) rows.push_back(config);
  return rows;
}

// Before and after the kernels, so that a slow spell of the machine does not flatter the shares.
void add_peaks(Device& device, Peaks& peaks) {
  peaks.read_bytes_per_second =
      std::max(peaks.read_bytes_per_second, bench::probe_read(device).per_second);
  peaks.fp32_per_second =
      std::max(peaks.fp32_per_second,
               bench::probe_arithmetic(device, bench::Arithmetic::fp32, 0.02).per_second);
}

void print(FILE* to, const Work& work, const std::vector<Result>& results, const Peaks& peaks) {
  std::fprintf(to, "%s\n", name(work).c_str());
  for (const Result& r : results) {
    std::fprintf(to, "  %-62s ", r.config.str().c_str());
    if (!r.refused.empty()) {
      std::fprintf(to, "refused: %s\n", r.refused.c_str());
    } else if (!r.correct) {
      std::fprintf(to, "WRONG: differs by %.2e\n", r.error);
    } else {
      std::fprintf(to, "%9.3f ms CPU %9.3f ms wall %7.2f GB/s %7.2f GFLOP/s of CPU time",
                   1e3 * r.cpu_seconds, 1e3 * r.wall_seconds,
                   1e-9 * static_cast<double>(r.bytes) / r.cpu_seconds,
                   1e-9 * static_cast<double>(r.flops) / r.cpu_seconds);
      if (peaks.fp32_per_second > 0) {
        const Shares of = shares(r, peaks);
        std::fprintf(to, "  %5.1f %% of the read bandwidth %5.1f %% of the fp32 peak",
                     100 * of.read, 100 * of.fp32);
      }
      std::fprintf(to, "\n");
    }
  }
}

// Every kind of work that the options name.
std::vector<Work> works(const Options& o) {
  Work work = o.work;
  work.subject = subject_from(o.kernel);
  work.activations = o.half_activations ? DType::f16 : DType::f32;
  work.accumulate = o.fp16 ? Accumulate::fp16 : Accumulate::fp32;
  const bool matrix = work.subject == Subject::matrix;
  const bool attention = work.subject == Subject::attention;
  if (attention && (work.heads % work.kv_heads != 0 || work.head_dim % 2 != 0)) {
    throw Error(ExitCode::usage, "--heads " + std::to_string(work.heads) +
                                     " must be a multiple of --kv-heads " +
                                     std::to_string(work.kv_heads) + ", and --head-dim even");
  }
  std::vector<Work> all;
  for (const std::string& encoding : matrix ? o.encodings : std::vector<std::string>{"f32"}) {
    for (const int64_t context : attention ? o.contexts : std::vector<int64_t>{0}) {
      for (const int64_t tokens : o.tokens) {
        if (tokens < 1) throw Error(ExitCode::usage, "--tokens must be at least 1");
        set_encoding(encoding, work);
        work.group = work.encoding == Encoding::int4 || work.encoding == Encoding::m0e4
                         ? o.work.group : 0;
        work.tokens = tokens;
        work.context = context;
        if (attention && context < tokens) {
          throw Error(ExitCode::usage, "--context " + std::to_string(context) +
                                           " must hold at least the --tokens " +
                                           std::to_string(tokens));
        }
        if (work.convert && (tokens != 1 || work.gated)) {
          throw Error(ExitCode::usage,
                      "--encoding int4-convert is a baseline of decode alone; give it --tokens 1 "
                      "and no --gated");
        }
        all.push_back(work);
      }
    }
  }
  return all;
}

int run(Options& o) {
  DeviceOptions device_options;
  device_options.device = o.device;
  device_options.cache_folder = "-";
  if (!o.limits.empty()) {
    std::ifstream file(o.limits);
    device_options.limits = nlohmann::json::parse(file, nullptr, false);
    if (device_options.limits.is_discarded()) {
      throw Error(ExitCode::bad_input, "the limits in \"" + o.limits + "\" cannot be read as JSON");
    }
  }
  Instance instance;
  Device device(instance, device_options);
  std::vector<Job> jobs;
  for (const Work& work : works(o)) jobs.push_back({work, configs_for(o, work, device.limits())});
  Peaks peaks;
  if (o.peaks) add_peaks(device, peaks);
  std::vector<std::vector<Result>> measured;
  if (o.interleave) {
    measured = measure(device, jobs, o.repetitions);
  } else {
    for (const Job& job : jobs) measured.push_back(measure(device, {job}, o.repetitions).at(0));
  }
  if (o.peaks) add_peaks(device, peaks);
  nlohmann::json runs = nlohmann::json::array();
  bool wrong = false;
  for (size_t i = 0; i < jobs.size(); ++i) {
    print(o.json == "-" ? stderr : stdout, jobs[i].work, measured[i], peaks);
    runs.push_back(to_json(device, jobs[i].work, measured[i], peaks));
    for (const Result& r : measured[i]) wrong = wrong || (!r.correct && r.refused.empty());
  }
  const nlohmann::json document = {
      {"schema", "pocketformer.kernel_lab"},
      {"version", 1},
      {"peaks",
       {{"read_bytes_per_second", peaks.read_bytes_per_second},
        {"fp32_operations_per_second", peaks.fp32_per_second}}},
      {"runs", runs}};
  if (o.json == "-") {
    std::cout << document.dump(2) << "\n";
  } else if (!o.json.empty()) {
    std::ofstream(o.json) << document.dump(2) << "\n";
  }
  return static_cast<int>(wrong ? ExitCode::wrong_result : ExitCode::ok);
}

}  // namespace
}  // namespace pocket::lab

int main(int argc, char** argv) {
  CLI::App app{"Times a kernel alone, after checking it against the host reference."};
  pocket::lab::Options options;
  pocket::lab::add_options(app, options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return error.get_exit_code() == 0 ? app.exit(error)
                                      : (app.exit(error), static_cast<int>(pocket::ExitCode::usage));
  }
  try {
    return pocket::lab::run(options);
  } catch (const pocket::Error& error) {
    std::cerr << "pocket_kernel_lab: " << error.what() << "\n";
    return static_cast<int>(error.code);
  }
}
