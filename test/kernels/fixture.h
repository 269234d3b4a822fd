// Small programs of one or a few operators with random weights, for tests of single kernels.
#pragma once

#include <cmath>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "runtime/kernels/dispatch_runner.h"
#include "runtime/kernels/plan.h"
#include "runtime/kernels/reference.h"
#include "runtime/package/w8a8.h"
#include "runtime/vulkan/compute_context.h"
#include "runtime/vulkan/device.h"

namespace pocket::test {

class Fixture {
 public:
  // Of the inputs of w8a8 weights: random activations of -1 to 1 leave the codes on both sides.
  static constexpr float kActScale = 1.0f / 150;
  bool lowest_codes = false;  // w8a8: all weights are the lowest code, else random

  Manifest manifest;
  std::mt19937 random{7};

  float uniform(float low, float high) {
    return low + (high - low) * static_cast<float>(random() >> 8) * 0x1p-24f;
  }

  TensorId tensor(const Expr& rows, int64_t width, DType dtype = DType::f32) {
    Tensor t;
    t.name = "t" + std::to_string(manifest.program.tensors.size());
    t.dtype = dtype;
    t.shape = {rows, Expr(width)};
    manifest.program.tensors.push_back(t);
    return static_cast<TensorId>(manifest.program.tensors.size()) - 1;
  }

  TensorId state(int64_t kv_heads, int64_t head_dim, DType dtype = DType::f16) {
    const TensorId id = tensor(Expr::symbol("context"), head_dim, dtype);
    Tensor& t = manifest.program.tensors.back();
    t.role = TensorRole::state;
    t.shape = {Expr::symbol("context"), Expr(kv_heads), Expr(head_dim)};
    return id;
  }

  // Sections of at most `section_rows` rows (a multiple of 32; 0: one section).
  WeightId weight(int64_t rows, int64_t columns, Encoding encoding, int64_t group = 0,
                  int64_t section_rows = 0) {
    Weight w;
    w.name = "w" + std::to_string(manifest.weights.size());
    w.shape = {rows, columns};
    w.format = {encoding, rows, columns, group};
    const bool codes4 = encoding == Encoding::int4 || encoding == Encoding::m0e4;
    std::vector<uint8_t> codes, pairs;
    if (encoding == Encoding::w8a8) {
      w.act_scale = kActScale;
      std::vector<int8_t> q(static_cast<size_t>(rows * columns));
      for (int8_t& code : q) {
        code = static_cast<int8_t>(lowest_codes ? -127 : static_cast<int>(random() % 255) - 127);
      }
      std::vector<float> scales(static_cast<size_t>(rows));
      for (float& scale : scales) {
        scale = uniform(0.5f, 1.0f) / (64.0f * std::sqrt(static_cast<float>(columns)));
      }
      codes = pack_w8a8_codes(w.format, q.data());
      pairs = pack_w8a8_scales(w.format, scales.data(), q.data());
    } else if (codes4) {
      const auto padded = static_cast<size_t>(w.format.padded_columns());
      std::vector<uint8_t> q(static_cast<size_t>(rows) * padded);
      for (uint8_t& code : q) code = static_cast<uint8_t>(random() & 15u);
      std::vector<uint32_t> p(static_cast<size_t>(rows * w.format.groups()));
      const float size = 1.0f / std::sqrt(static_cast<float>(columns));
      for (uint32_t& pair : p) {
        float scale = uniform(0.1f, 0.5f) * size, bias = static_cast<float>(random() & 15u);
        if (encoding == Encoding::m0e4) {
          scale *= 16;
          bias = -scale * uniform(1.2f, 1.7f);
        }
        pair = uint32_t{float_to_half(scale)} | uint32_t{float_to_half(bias)} << 16;
      }
      codes = pack_codes(w.format, q.data());
      pairs = pack_pairs(w.format, p.data());
    } else {
      std::vector<float> values(static_cast<size_t>(rows * columns));
      const float size = rows == 1 ? 1.0f : 2.0f / std::sqrt(static_cast<float>(columns));
      for (float& value : values) value = uniform(-size, size);
      codes = pack_float(w.format, values.data());
    }
    const int64_t step = section_rows == 0 ? rows : section_rows;
    for (const SectionRole role : {SectionRole::codes, SectionRole::scale}) {
      const std::vector<uint8_t>& whole = role == SectionRole::codes ? codes : pairs;
      const size_t row_bytes = whole.size() / static_cast<size_t>(rows);
      if (whole.empty()) continue;
      for (int64_t row = 0; row < rows; row += step) {
        Section s;
        s.role = role;
        s.shard = static_cast<int32_t>(sections_.size());
        s.first_row = row;
        s.rows = std::min(step, rows - row);
        const auto first =
            whole.begin() + static_cast<std::ptrdiff_t>(static_cast<size_t>(row) * row_bytes);
        sections_.emplace_back(
            first, first + static_cast<std::ptrdiff_t>(static_cast<size_t>(s.rows) * row_bytes));
        s.bytes = sections_.back().size();
        w.sections.push_back(s);
      }
    }
    rows_.emplace(static_cast<WeightId>(manifest.weights.size()),
                  WeightRows(w, std::move(codes), std::move(pairs)));
    manifest.weights.push_back(w);
    manifest.program.weights.push_back(w.name);
    return static_cast<WeightId>(manifest.weights.size()) - 1;
  }

  // Random codes of the largest of `widths`, read with `width` bits.
  WeightId any_weight(int64_t rows, int64_t columns, uint32_t widths, int32_t width,
                      int64_t section_rows = 0) {
    Weight w;
    w.name = "w" + std::to_string(manifest.weights.size());
    w.shape = {rows, columns};
    w.format = {Encoding::any, rows, columns, 0, widths, 0};
    while (widths >> (w.format.width + 1) != 0) ++w.format.width;
    std::vector<uint8_t> codes(static_cast<size_t>(rows * columns));
    const uint32_t largest = 255u >> (8 - w.format.width);
    for (uint8_t& code : codes) code = static_cast<uint8_t>(random() & largest);
    const float size = 2.0f / std::sqrt(static_cast<float>(columns));
    const int64_t step = section_rows == 0 ? rows : section_rows;
    for (const SectionKind kind : w.format.section_kinds()) {
      const size_t row_bytes = w.format.row_bytes(kind);
      std::vector<uint8_t> whole(static_cast<size_t>(rows) * row_bytes);
      if (kind.role == SectionRole::plane) whole = pack_plane(w.format, codes.data(), kind.bits);
      for (size_t i = 0; kind.role == SectionRole::lut && i < whole.size(); i += 2) {
        const uint16_t half = float_to_half(uniform(-size, size));
        whole[i] = static_cast<uint8_t>(half & 255u);
        whole[i + 1] = static_cast<uint8_t>(half >> 8);
      }
      for (int64_t row = 0; row < rows; row += step) {
        Section s;
        s.role = kind.role;
        s.bits = kind.bits;
        s.shard = static_cast<int32_t>(sections_.size());
        s.first_row = row;
        s.rows = std::min(step, rows - row);
        const uint8_t* first = whole.data() + static_cast<size_t>(row) * row_bytes;
        sections_.emplace_back(first, first + static_cast<size_t>(s.rows) * row_bytes);
        s.bytes = sections_.back().size();
        w.sections.push_back(s);
      }
    }
    w.format.width = width;
    const SectionBytes bytes = [this](const Section& s) { return section_bytes(s); };
    rows_.emplace(static_cast<WeightId>(manifest.weights.size()),
                  WeightRows(w, join_sections(w, SectionRole::codes, bytes),
                             join_sections(w, SectionRole::scale, bytes)));
    manifest.weights.push_back(w);
    manifest.program.weights.push_back(w.name);
    return static_cast<WeightId>(manifest.weights.size()) - 1;
  }

  WeightId vector(int64_t columns, Encoding encoding = Encoding::f32) {
    const WeightId id = weight(1, columns, encoding);
    manifest.weights.back().shape = {columns};
    return id;
  }

  // Adds the operator as a segment of its own.
  int32_t add(OpKind kind, std::vector<TensorId> inputs, std::vector<TensorId> outputs,
              std::vector<WeightId> weights, const Attributes& attributes = {},
              Part part = Part::body) {
    Program& program = manifest.program;
    const auto op = static_cast<int32_t>(program.operators.size());
    program.operators.push_back({kind, std::string(op_kind_name(kind)) + std::to_string(op),
                                 std::move(inputs), std::move(outputs), std::move(weights),
                                 attributes});
    program.segments.push_back({program.operators.back().name, part, op, 1});
    return op;
  }

  std::span<const std::byte> section_bytes(const Section& s) const {
    return std::as_bytes(std::span(sections_.at(static_cast<size_t>(s.shard))));
  }
  WeightLookup source() const {
    return [this](WeightId id) -> const WeightRows& { return rows_.at(id); };
  }

  // Every tensor random, f16 ones rounded.
  HostState random_state(const Bindings& bindings, float size = 1.0f) {
    HostState state = make_host_state(manifest.program, bindings);
    for (size_t i = 0; i < state.tensors.size(); ++i) {
      const bool half = manifest.program.tensors[i].dtype == DType::f16;
      for (float& value : state.tensors[i]) {
        value = uniform(-size, size);
        if (half) value = half_to_float(float_to_half(value));
      }
    }
    return state;
  }

 private:
  std::vector<std::vector<uint8_t>> sections_;
  std::map<WeightId, WeightRows> rows_;
};

// One device for all test cases of a program.
inline Device& shared_device() {
  static Instance instance;
  static Device device(instance, DeviceOptions{.cache_folder = "-"});
  return device;
}

// The limits that the issue names: each set is planned for, and run on the real device.
struct LimitSet {
  const char* name;
  DeviceLimits limits;
};
inline std::vector<LimitSet> limit_sets() {
  const DeviceLimits real = shared_device().limits();
  std::vector<LimitSet> sets = {{"device", real}};
  const auto lowered = [&](const char* name, const nlohmann::json& overrides) {
    sets.push_back({name, lower_limits(real, overrides)});
  };
  lowered("no subgroups", {{"subgroup_size", 0}});
  lowered("128 invocations, 16 KiB, no texels",
          {{"max_invocations", 128}, {"shared_memory", 16384}, {"max_texels", 0}});
  lowered("64 KiB bindings", {{"max_binding", 65536}});
  lowered("all at once", {{"subgroup_size", 0},
                          {"max_invocations", 128},
                          {"shared_memory", 16384},
                          {"max_binding", 65536},
                          {"fp16_arithmetic", false}});
  return sets;
}

// Largest difference, relative to the root mean square of what is expected.
inline double relative_error(const std::vector<float>& expected, const std::vector<float>& actual) {
  double squares = 0, worst = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    squares += double{expected[i]} * expected[i];
    const double difference = std::abs(double{expected[i]} - actual[i]);
    if (!(difference <= worst)) worst = std::isnan(difference) ? INFINITY : difference;
  }
  return worst / (std::sqrt(squares / static_cast<double>(expected.size())) + 1e-20);
}

// Plans and runs `op` on the device and on the host from equal states; the worst error over all
// tensors, rows of padding included (neither side may touch them).
inline double compare(Fixture& f, int32_t op, const KernelContext& context,
                      const HostState& start) {
  static ComputeContext compute(shared_device());
  HostState expected = start, actual = start;
  run_reference(f.manifest, f.source(), op, expected);
  DispatchRunner runner(compute, f.manifest, [&](const Section& s) { return f.section_bytes(s); });
  std::vector<int32_t> ring(4);
  runner.run(plan_operator(context, op), actual, ring);
  double worst = 0;
  for (size_t i = 0; i < expected.tensors.size(); ++i) {
    if (expected.tensors[i].empty()) continue;
    worst = std::max(worst, relative_error(expected.tensors[i], actual.tensors[i]));
  }
  return worst;
}

}  // namespace pocket::test
