#include "test/kernels/bench/lab.h"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <map>
#include <memory>

#include "runtime/base/error.h"
#include "runtime/bench/statistics.h"
#include "runtime/kernels/shader_registry.h"
#include "runtime/vulkan/command.h"
#include "runtime/vulkan/pipeline.h"
#include "runtime/vulkan/sync.h"
#include "runtime/vulkan/transfer.h"
#include "test/kernels/fixture.h"

namespace pocket::lab {
namespace {

constexpr double kTolerance = 1e-3;        // f32 sums of a few thousand products
constexpr double kStoredTolerance = 5e-3;  // results in f16
constexpr double kHalfTolerance = 0.05;    // products in fp16
constexpr int64_t kCheckedColumns = 96;    // output columns that the host computes
constexpr double kLeastSeconds = 0.02;     // of one submission that is timed

double tolerance(const Work& work) {
  if (work.accumulate == Accumulate::fp16) return kHalfTolerance;
  const bool stored = work.subject != Subject::matrix && work.activations == DType::f16;
  return stored ? kStoredTolerance : kTolerance;
}

// Largest difference over the checked columns.
double error_of(int64_t rows, const std::vector<float>& expected,
                const std::vector<float>& actual, const std::vector<int64_t>& columns) {
  std::vector<float> a, b;
  const auto width = static_cast<int64_t>(expected.size()) / rows;
  for (int64_t row = 0; row < rows; ++row) {
    for (const int64_t column : columns) {
      const auto i = static_cast<size_t>(row * width + column);
      a.push_back(expected[i]);
      b.push_back(actual[i]);
    }
  }
  return test::relative_error(a, b);
}

// The dispatches of one configuration on buffers of its own, recorded so often that a submission
// takes long enough to be timed.
class Timed {
 public:
  Timed(Device& device, const Program& program, std::vector<Dispatch> dispatches)
      : device_(device), dispatches_(std::move(dispatches)), pool_(device), fence_(device) {
    Transfer transfer(device);
    uint32_t bindings = 0;
    for (const Dispatch& d : dispatches_) {
      for (const Operand& o : d.operands) {
        ++bindings;
        const Key key{o.kind, o.id, o.section};
        if (buffers_.contains(key)) continue;
        const std::vector<std::byte> bytes = contents(program, o);
        Buffer buffer(device, bytes.size(), MemoryKind::device_local, MemoryUse::arena);
        transfer.write(buffer, 0, bytes);
        buffers_.emplace(key, std::move(buffer));
      }
    }
    descriptors_ = std::make_unique<DescriptorPool>(
        device, static_cast<uint32_t>(dispatches_.size()), bindings);
    for (const Dispatch& d : dispatches_) {
      std::vector<BufferRange> ranges;
      for (const Operand& o : d.operands) {
        const Buffer& buffer = buffers_.at({o.kind, o.id, o.section});
        ranges.push_back({buffer.handle(), o.offset, o.bytes ? o.bytes : buffer.bytes(),
                          o.texel_words});
      }
      const Pipeline& pipeline = device.pipelines().get(
          {.shader = d.shader,
           .specialization = d.specialization,
           .bindings = binding_kinds(ranges),
           .push_constant_bytes = static_cast<uint32_t>(4 * d.push_constants.size())},
          shader_code(d.shader));
      bound_.push_back({&pipeline, descriptors_->allocate(pipeline.set_layout(), ranges)});
    }
    record(1);
    run();  // compiles
    const double once = run().second;
    record(static_cast<int>(std::clamp(kLeastSeconds / once, 1.0, 1000.0)));
  }

  // CPU and wall seconds of one pass over the dispatches.
  std::pair<double, double> run() {
    const double cpu = cpu_seconds();
    const auto wall = std::chrono::steady_clock::now();
    const VkCommandBuffer handle = commands_.handle();
    fence_.reset();
    device_.queue().submit({.commands = {&handle, 1}, .label = "kernel lab", .fence = &fence_});
    fence_.wait();
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - wall;
    return {(cpu_seconds() - cpu) / passes_, passed.count() / passes_};
  }

 private:
  using Key = std::tuple<Operand::Kind, int32_t, int32_t>;
  struct Bound {
    const Pipeline* pipeline;
    VkDescriptorSet set;
  };

  static double cpu_seconds() {
    timespec t{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
  }

  static std::vector<std::byte> contents(const Program& p, const Operand& o) {
    const auto bytes = [](const auto& data) {
      const auto view = std::as_bytes(std::span(data));
      return std::vector<std::byte>(view.begin(), view.end());
    };
    if (o.kind == Operand::Kind::step_record) return bytes(std::vector{p.start.record});
    if (o.kind == Operand::Kind::weight) {
      const Weight& weight = p.fixture.manifest.weights.at(static_cast<size_t>(o.id));
      return bytes(p.fixture.section_bytes(weight.sections.at(static_cast<size_t>(o.section))));
    }
    if (o.kind != Operand::Kind::tensor) return std::vector<std::byte>(o.offset + o.bytes);
    const auto id = static_cast<size_t>(o.id);
    const std::vector<float>& values = p.start.tensors.at(id);
    if (p.fixture.manifest.program.tensors.at(id).dtype != DType::f16) return bytes(values);
    std::vector<uint16_t> halves(values.size());
    std::transform(values.begin(), values.end(), halves.begin(), float_to_half);
    return bytes(halves);
  }

  void record(int passes) {
    passes_ = passes;
    commands_ = pool_.allocate();
    commands_.begin();
    for (int pass = 0; pass < passes; ++pass) {
      for (size_t i = 0; i < dispatches_.size(); ++i) {
        commands_.bind(*bound_[i].pipeline, bound_[i].set);
        commands_.push(*bound_[i].pipeline, dispatches_[i].push_constants);
        commands_.dispatch(dispatches_[i].groups);
        // What a dispatch leaves in scratch is for the next.
        const std::vector<Operand>& operands = dispatches_[i].operands;
        if (std::any_of(operands.begin(), operands.end(), [](const Operand& o) {
              return o.kind == Operand::Kind::scratch && o.access == Access::write;
            })) {
          commands_.barrier(scope::shader, scope::shader);
        }
      }
      commands_.barrier(scope::shader, scope::shader);
    }
    commands_.end();
  }

  Device& device_;
  std::vector<Dispatch> dispatches_;
  std::map<Key, Buffer> buffers_;
  std::unique_ptr<DescriptorPool> descriptors_;
  std::vector<Bound> bound_;
  CommandPool pool_;
  CommandBuffer commands_;
  Fence fence_;
  int passes_ = 1;
};

// A grid of tiles for a sweep.
std::vector<KernelConfig> tiles(const Work& work) {
  const Kernel kernel = kernel_of(work);
  std::vector<KernelConfig> grid;
  const auto add = [&](uint32_t lanes, uint32_t rows, uint32_t tokens, uint32_t splits,
                       bool texels) {
    KernelConfig row{kernel, "", lanes, rows, tokens, splits};
    row.subgroup = true;
    row.texels = texels;
    row.origin = "sweep";
    grid.push_back(row);
  };
  for (const bool texels : {true, false}) {
    for (const uint32_t lanes : {8u, 16u, 32u, 64u}) {
      switch (kernel) {
        case Kernel::norm:
          if (!texels) add(lanes, 1, 1, 1, false);
          break;
        case Kernel::attention_decode:
          for (const uint32_t tokens : {1u, 4u, 8u}) {
            for (const uint32_t splits : {1u, 4u, 16u}) add(lanes, 1, tokens, splits, texels);
          }
          break;
        case Kernel::attention_prefill:
          for (const uint32_t tokens : {8u, 16u, 32u}) add(lanes, 1, tokens, 1, texels);
          break;
        default:
          for (const uint32_t rows : {2u, 4u, 8u}) {
            for (const uint32_t tile : {1u, 2u, 4u, 8u, 16u}) {
              const uint32_t tokens = work.tokens == 1 ? 1 : tile;
              // Larger tiles compile for minutes on the software device.
              if (rows * tokens <= 32) add(lanes, rows, tokens, work.tokens == 1 ? tile : 1, texels);
            }
          }
      }
    }
  }
  return grid;
}

// A job whose configurations are checked and can be timed.
struct Prepared {
  std::vector<Result> results;
  std::vector<std::unique_ptr<Timed>> timed;  // null: refused or wrong
};

Prepared prepare(Device& device, ComputeContext& compute, const Job& job) {
  const Work& work = job.work;
  const Program program(work, device.limits());
  const auto out = static_cast<size_t>(program.out);
  const auto width = static_cast<int64_t>(program.start.tensors[out].size()) / work.tokens;
  std::vector<int64_t> columns;
  const int64_t step = std::max<int64_t>(1, width / kCheckedColumns);
  for (int64_t i = 0; i < width; i += step) columns.push_back(i);
  columns.push_back(width - 1);
  HostState expected = program.start;
  run_reference(program.fixture.manifest, program.fixture.source(), program.op, expected,
                {.columns = columns});

  DispatchRunner runner(compute, program.fixture.manifest,
                        [&](const Section& s) { return program.fixture.section_bytes(s); });
  Prepared prepared;
  for (const KernelConfig& config : job.configs) {
    Result result;
    result.config = config;
    result.bytes = program.bytes();
    std::unique_ptr<Timed> run;
    try {
      std::vector<Dispatch> dispatches = program.plan(config);
      // Beside it may stand what makes its codes, or joins its parts.
      result.shader = dispatches.at(work.subject == Subject::matrix ? dispatches.size() - 1 : 0).shader;
      result.flops = program.flops(dispatches);
      HostState actual = program.start;
      std::vector<int32_t> ring(4);
      runner.run(dispatches, actual, ring);
      result.error =
          error_of(work.tokens, expected.tensors[out], actual.tensors[out], columns);
      result.correct = result.error < tolerance(work);
      if (result.correct) run = std::make_unique<Timed>(device, program, std::move(dispatches));
    } catch (const Error& error) {
      if (job.configs.size() == 1) throw;  // nothing else to measure
      result.refused = error.what();
    }
    prepared.results.push_back(std::move(result));
    prepared.timed.push_back(std::move(run));
  }
  return prepared;
}

}  // namespace

std::vector<KernelConfig> candidates(const Work& work, const DeviceLimits& limits, bool sweep) {
  const ConfigRequest request = Program(work, limits).request();
  std::vector<KernelConfig> all;
  for (const KernelConfig& row : kernel_configs()) {
    if (row.kernel == request.kernel) all.push_back(row);
  }
  if (sweep) {
    const std::vector<KernelConfig> grid = tiles(work);
    all.insert(all.end(), grid.begin(), grid.end());
  }
  std::vector<KernelConfig> result;
  for (const KernelConfig& row : all) {
    const bool known = std::any_of(result.begin(), result.end(), [&](const KernelConfig& other) {
      return same_numbers(row, other);
    });
    if (!known && valid(row, limits, request.shape)) result.push_back(row);
  }
  return result;
}

KernelConfig chosen(const Work& work, const DeviceLimits& limits) {
  const ConfigRequest request = Program(work, limits).request();
  return choose_config(request.kernel, limits, request.shape);
}

std::vector<std::vector<Result>> measure(Device& device, const std::vector<Job>& jobs,
                                         int repetitions) {
  ComputeContext compute(device);
  std::vector<Prepared> prepared;
  for (const Job& job : jobs) prepared.push_back(prepare(device, compute, job));
  std::map<const Timed*, std::pair<std::vector<double>, std::vector<double>>> times;  // CPU, wall
  for (int round = 0; round < repetitions; ++round) {
    for (const Prepared& p : prepared) {
      for (const auto& timed : p.timed) {
        if (!timed) continue;
        const auto [cpu, wall] = timed->run();
        times[timed.get()].first.push_back(cpu);
        times[timed.get()].second.push_back(wall);
      }
    }
  }
  std::vector<std::vector<Result>> all;
  for (Prepared& p : prepared) {
    for (size_t i = 0; i < p.results.size(); ++i) {
      if (!p.timed[i]) continue;
      const auto& [cpu, wall] = times.at(p.timed[i].get());
      p.results[i].cpu_seconds = bench::median(cpu);
      p.results[i].wall_seconds = bench::median(wall);
    }
    all.push_back(std::move(p.results));
  }
  return all;
}

Shares shares(const Result& r, const Peaks& peaks) {
  if (r.wall_seconds <= 0) return {};
  const auto of = [&](uint64_t work, double peak) {
    return peak > 0 ? static_cast<double>(work) / r.wall_seconds / peak : 0;
  };
  return {of(r.bytes, peaks.read_bytes_per_second), of(r.flops, peaks.fp32_per_second)};
}

nlohmann::json to_json(const Device& device, const Work& work, const std::vector<Result>& results,
                       const Peaks& peaks) {
  const KernelConfig table = chosen(work, device.limits());
  nlohmann::json list = nlohmann::json::array();
  for (const Result& r : results) {
    nlohmann::json entry = {{"config", r.config.str()},     {"lanes", r.config.lanes},
                            {"chosen", same_numbers(r.config, table)},
                            {"rows", r.config.rows},        {"tokens", r.config.tokens},
                            {"splits", r.config.splits},    {"subgroup", r.config.subgroup},
                            {"texels", r.config.texels},    {"shader", r.shader},
                            {"error", r.error},             {"correct", r.correct},
                            {"refused", r.refused}};
    if (r.cpu_seconds > 0) {
      entry["cpu_seconds"] = r.cpu_seconds;
      entry["wall_seconds"] = r.wall_seconds;
      entry["bytes_per_cpu_second"] = static_cast<double>(r.bytes) / r.cpu_seconds;
      entry["flops_per_cpu_second"] = static_cast<double>(r.flops) / r.cpu_seconds;
      entry["share_of_read_bandwidth"] = shares(r, peaks).read;
      entry["share_of_fp32_peak"] = shares(r, peaks).fp32;
    }
    list.push_back(std::move(entry));
  }
  nlohmann::json run = {{"device", device.info().name},
                        {"driver", device.info().driver},
                        {"subject", subject_name(work.subject)},
                        {"work", name(work)},
                        {"tokens", work.tokens},
                        {"results", list}};
  switch (work.subject) {
    case Subject::matrix:
      run.update({{"rows", work.rows},
                  {"columns", work.columns},
                  {"encoding", encoding_text(work)},
                  {"group", work.group},
                  {"gated", work.gated}});
      break;
    case Subject::attention:
      run.update({{"heads", work.heads},
                  {"kv_heads", work.kv_heads},
                  {"head_dim", work.head_dim},
                  {"context", work.context}});
      break;
    case Subject::norm:
      run["columns"] = work.columns;
      break;
  }
  return run;
}

}  // namespace pocket::lab
