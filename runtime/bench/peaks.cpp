#include "runtime/bench/peaks.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>
#include <vector>

#include "runtime/base/error.h"
#include "runtime/bench/output.h"
#include "runtime/bench/statistics.h"
#include "runtime/kernels/shader_registry.h"
#include "runtime/vulkan/command.h"
#include "runtime/vulkan/descriptor.h"
#include "runtime/vulkan/memory.h"
#include "runtime/vulkan/pipeline.h"
#include "runtime/vulkan/transfer.h"

namespace pocket::bench {
namespace {

constexpr uint32_t kPattern = 0x9E3779B1;  // odd: sums of fewer words differ
constexpr uint32_t kReadGroups = 256;
constexpr uint64_t kLeastReadBytes = 4ull << 20;
constexpr uint32_t kSteps = 1024;  // of a chain in a round, as in probe_flops.comp
constexpr uint32_t kMostRounds = 1 << 15;

// Local sizes to try: a subgroup, and what desktop and phone GPUs like.
std::vector<uint32_t> local_sizes(const DeviceLimits& limits) {
  std::vector<uint32_t> sizes = {64, 128, 256};
  if (limits.subgroup_size != 0 && limits.subgroup_size < 64) {
    sizes.insert(sizes.begin(), limits.subgroup_size);
  }
  std::erase_if(sizes, [&](uint32_t size) {
    return size > limits.max_invocations || size > limits.max_group_size[0];
  });
  return sizes;
}

void require_work(const char* probe, uint64_t expected, uint64_t found) {
  if (expected == found) return;
  throw Error(ExitCode::wrong_result,
              std::string("the ") + probe + " probe counted " + std::to_string(found) + " where " +
                  std::to_string(expected) + " is right, so no peak of this device can be told");
}

Buffer filled(Device& device, Transfer& transfer, uint64_t bytes, uint32_t word) {
  Buffer buffer(device, bytes, MemoryKind::device_local, MemoryUse::arena);
  transfer.fill(buffer, 0, bytes, word);
  return buffer;
}

std::vector<uint32_t> read_words(Transfer& transfer, const Buffer& buffer, size_t count) {
  std::vector<uint32_t> words(count);
  transfer.read(buffer, 0, std::as_writable_bytes(std::span(words)));
  return words;
}

// Half of what was asked for until the device has it.
Buffer largest(Device& device, Transfer& transfer, uint64_t& bytes) {
  while (true) {
    try {
      return filled(device, transfer, bytes, kPattern);
    } catch (const Error& error) {
      if (error.code != ExitCode::out_of_memory || bytes / 2 < kLeastReadBytes) throw;
      bytes /= 2;
    }
  }
}

// One local size over the whole buffer, in dispatches whose bindings respect the limits.
PeakProbe read_once(Device& device, Transfer& transfer, const Buffer& buffer, uint64_t bytes,
                    uint32_t local, bool texels, int repetitions) {
  // A workgroup reads whole turns of 4 x local words of 16 bytes.
  const uint64_t turn = uint64_t{64} * local;
  const DeviceLimits& limits = device.limits();
  uint64_t binding = std::min(bytes, limits.max_binding);
  if (texels) binding = std::min(binding, uint64_t{16} * limits.max_texels);
  const auto groups = static_cast<uint32_t>(std::min<uint64_t>(kReadGroups, binding / turn));
  const uint64_t unit = std::lcm<uint64_t>(turn * groups, 256);
  const uint64_t range = binding / unit * unit;
  if (groups == 0 || range == 0) return {.skipped = "a binding is too small to read from"};
  const uint64_t ranges = std::max<uint64_t>(1, bytes / range);
  const char* const shader = texels ? "probe_read_tx" : "probe_read";
  const Pipeline& pipeline = device.pipelines().get({.shader = shader,
                                                     .specialization = {local},
                                                     .bindings = {2, texels ? 1u : 0u},
                                                     .push_constant_bytes = 4},
                                                    shader_code(shader));
  const Buffer sums = filled(device, transfer, uint64_t{4} * local * groups, 0);
  DescriptorPool descriptors(device, static_cast<uint32_t>(ranges),
                             static_cast<uint32_t>(2 * ranges));
  CommandPool pool(device);
  CommandBuffer commands = pool.allocate();
  commands.begin();
  for (uint64_t i = 0; i < ranges; ++i) {
    commands.barrier(scope::shader | scope::copy, scope::shader);
    const std::array both = {BufferRange{buffer.handle(), i * range, range, texels ? 4u : 0u},
                             BufferRange{sums.handle(), 0, sums.bytes()}};
    commands.bind(pipeline, descriptors.allocate(pipeline.set_layout(), both));
    const uint32_t push[] = {static_cast<uint32_t>(range / 16)};
    commands.push(pipeline, push);
    commands.dispatch({groups, 1, 1});
  }
  commands.end();
  Fence fence(device);
  std::vector<double> rates;
  for (int i = -1; i < repetitions; ++i) {  // the first one warms up and compiles
    const double seconds = timed_submission(device, commands, fence, "read probe");
    if (i >= 0) rates.push_back(static_cast<double>(ranges * range) / seconds);
  }
  const std::vector<uint32_t> found = read_words(transfer, sums, size_t{local} * groups);
  const uint32_t runs = static_cast<uint32_t>(repetitions + 1);
  const auto expected = static_cast<uint32_t>(ranges * range / 4) * runs * kPattern;
  require_work("read", expected, std::accumulate(found.begin(), found.end(), uint32_t{0}));
  return {median(rates), ranges * range, repetitions,
          "local size " + std::to_string(local) + (texels ? ", texels" : ""), ""};
}

// What an invocation of probe_dot.comp counts in so many rounds.
uint32_t dot_total(uint32_t chains, uint32_t rounds) {
  int32_t total = 0;
  for (uint32_t round = 0; round < rounds; ++round) {
    const int32_t begin = total & 3;
    for (uint32_t c = 0; c < chains; ++c) {
      int32_t x = begin + static_cast<int32_t>(c);
      for (uint32_t i = 0; i < kSteps; ++i) x = static_cast<int8_t>(x & 0xFF) + 1;
      total += x;
    }
  }
  return static_cast<uint32_t>(total);
}

PeakProbe arithmetic_once(Device& device, Arithmetic kind, uint32_t local, uint32_t chains,
                          double least_seconds, int repetitions) {
  const char* const shader = kind == Arithmetic::fp32   ? "probe_flops"
                             : kind == Arithmetic::fp16 ? "probe_flops_half"
                                                        : "probe_dot";
  // Enough to fill a phone's GPU many times over.
  const uint32_t groups = std::max(1u, 16384u / local);
  const Pipeline& pipeline = device.pipelines().get({.shader = shader,
                                                     .specialization = {local, chains},
                                                     .bindings = {1, 0},
                                                     .push_constant_bytes = 12},
                                                    shader_code(shader));
  Transfer transfer(device, 1 << 20);
  const Buffer counts = filled(device, transfer, uint64_t{4} * local * groups, 0);
  DescriptorPool descriptors(device, 1, 1);
  const std::array one = {BufferRange{counts.handle(), 0, counts.bytes()}};
  const VkDescriptorSet set = descriptors.allocate(pipeline.set_layout(), one);
  CommandPool pool(device);
  Fence fence(device);
  const auto record = [&](uint32_t rounds) {
    CommandBuffer commands = pool.allocate();
    commands.begin();
    commands.barrier(scope::shader | scope::copy, scope::shader);
    commands.bind(pipeline, set);
    const uint32_t unity = kind == Arithmetic::int8_dot ? 1u : 0x3F800000u;
    const uint32_t push[] = {rounds, unity, unity};
    commands.push(pipeline, push);
    commands.dispatch({groups, 1, 1});
    commands.end();
    return commands;
  };
  uint32_t rounds = 1;
  CommandBuffer commands = record(rounds);
  timed_submission(device, commands, fence, shader);  // compiles
  while (rounds < kMostRounds &&
         timed_submission(device, commands, fence, shader) < least_seconds) {
    rounds *= 2;
    commands = record(rounds);
  }
  const uint64_t each = kind == Arithmetic::int8_dot ? 8 : 2 * 4;  // operations of a chain's step
  const uint64_t operations = each * chains * kSteps * rounds * local * groups;
  std::vector<double> rates;
  for (int i = 0; i < repetitions; ++i) {
    const double seconds = timed_submission(device, commands, fence, shader);
    rates.push_back(static_cast<double>(operations) / seconds);
  }
  const uint32_t expected =
      kind == Arithmetic::int8_dot ? dot_total(chains, rounds) : rounds * chains * 4 * kSteps;
  for (const uint32_t found : read_words(transfer, counts, size_t{local} * groups)) {
    require_work(shader, expected, found);
  }
  return {median(rates), operations, repetitions,
          "local size " + std::to_string(local) + ", " + std::to_string(chains) + " chains", ""};
}

nlohmann::json peak_json(const PeakProbe& probe, const char* unit) {
  return {{std::string(unit) + "_per_second", probe.per_second},
          {unit, probe.work},
          {"repetitions", probe.repetitions},
          {"shape", probe.shape},
          {"skipped", probe.skipped}};
}

std::string peak_text(const char* name, const PeakProbe& probe, const char* unit) {
  return std::string(name) +
         (probe.skipped.empty()
              ? fixed(probe.per_second / 1e9, 2) + " " + unit + " (" + probe.shape + ")"
              : "skipped: " + probe.skipped) +
         "\n";
}

}  // namespace

PeakProbe probe_read(Device& device, uint64_t bytes, int repetitions) {
  PeakProbe best;
  try {
    Transfer transfer(device, 1 << 20);
    bytes = bytes / 256 * 256;
    const Buffer buffer = largest(device, transfer, bytes);
    for (const uint32_t local : local_sizes(device.limits())) {
      for (const bool texels : {false, true}) {
        if (texels && device.limits().max_texels == 0) continue;
        const PeakProbe probe =
            read_once(device, transfer, buffer, bytes, local, texels, repetitions);
        if (best.shape.empty() || probe.per_second > best.per_second) best = probe;
      }
    }
  } catch (const Error& error) {
    if (error.code != ExitCode::out_of_memory) throw;
    best.skipped = error.what();
  }
  return best;
}

PeakProbe probe_arithmetic(Device& device, Arithmetic kind, double least_seconds, int repetitions) {
  PeakProbe best;
  if (kind == Arithmetic::fp16 && !device.limits().fp16_arithmetic) {
    best.skipped = "the device has no fp16 arithmetic";
  } else if (kind == Arithmetic::int8_dot && !device.has_integer_dot()) {
    best.skipped = "the device has no integer dot product";
  } else {
    for (const uint32_t local : local_sizes(device.limits())) {
      for (const uint32_t chains : {2u, 8u}) {
        const PeakProbe probe =
            arithmetic_once(device, kind, local, chains, least_seconds, repetitions);
        if (probe.per_second > best.per_second) best = probe;
      }
    }
  }
  return best;
}

Peaks measure_peaks(Device& device, PeakChoice choice) {
  Peaks peaks;
  peaks.copy = probe_copy(device);
  peaks.read = probe_read(device);
  if (choice == PeakChoice::all) {
    peaks.fp32 = probe_arithmetic(device, Arithmetic::fp32);
    peaks.fp16 = probe_arithmetic(device, Arithmetic::fp16);
    peaks.int8_dot = probe_arithmetic(device, Arithmetic::int8_dot);
  } else {
    peaks.fp32 = probe_arithmetic(device, Arithmetic::fp32, 0.005);
    peaks.fp16.skipped = peaks.int8_dot.skipped = "only llmbench devices --measure measures it";
  }
  peaks.empty_dispatch = probe_empty_dispatch(device);
  return peaks;
}

nlohmann::json to_json(const Peaks& peaks) {
  return {{"copy",
           {{"bytes", peaks.copy.bytes},
            {"bytes_per_second", peaks.copy.bytes_per_second},
            {"repetitions", peaks.copy.repetitions},
            {"skipped", peaks.copy.skipped}}},
          {"read", peak_json(peaks.read, "bytes")},
          {"fp32", peak_json(peaks.fp32, "operations")},
          {"fp16", peak_json(peaks.fp16, "operations")},
          {"int8_dot", peak_json(peaks.int8_dot, "operations")},
          {"empty_dispatch",
           {{"nanoseconds", peaks.empty_dispatch.nanoseconds},
            {"dispatches", peaks.empty_dispatch.dispatches}}}};
}

std::string to_text(const Peaks& peaks) {
  const CopyProbe& copy = peaks.copy;
  return std::string("copy            ") +
         (copy.skipped.empty() ? fixed(copy.bytes_per_second / 1e9, 2) +
                                     " GB/s, read and written (" + bytes_text(copy.bytes) + ")"
                               : "skipped: " + copy.skipped) +
         "\n" + peak_text("read            ", peaks.read, "GB/s") +
         peak_text("fp32            ", peaks.fp32, "GFLOP/s") +
         peak_text("fp16            ", peaks.fp16, "GFLOP/s") +
         peak_text("int8 dot        ", peaks.int8_dot, "GOP/s") + "empty dispatch  " +
         fixed(peaks.empty_dispatch.nanoseconds / 1e3, 1) + " us\n";
}

}  // namespace pocket::bench
