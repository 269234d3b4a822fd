#include "runtime/kernels/dispatch_runner.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <tuple>

#include "runtime/base/error.h"
#include "runtime/kernels/shader_registry.h"

namespace pocket {
namespace {

template <typename T>
std::vector<std::byte> bytes_of(const std::vector<T>& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(T));
  if (!bytes.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

std::vector<std::byte> pack(DType dtype, const std::vector<float>& values) {
  if (dtype != DType::f16) return bytes_of(values);
  std::vector<uint16_t> halves(values.size());
  std::transform(values.begin(), values.end(), halves.begin(), float_to_half);
  return bytes_of(halves);
}

void unpack(DType dtype, const std::vector<std::byte>& bytes, std::vector<float>& values) {
  if (dtype != DType::f16) {
    std::memcpy(values.data(), bytes.data(), bytes.size());
    return;
  }
  std::vector<uint16_t> halves(values.size());
  std::memcpy(halves.data(), bytes.data(), bytes.size());
  std::transform(halves.begin(), halves.end(), values.begin(), half_to_float);
}

}  // namespace

uint64_t DispatchRunner::run(std::span<const Dispatch> dispatches, HostState& state,
                             std::vector<int32_t>& ring) {
  const Program& program = manifest_.program;
  using Key = std::tuple<Operand::Kind, int32_t, int32_t>;
  std::map<Key, uint32_t> index;
  std::vector<std::vector<std::byte>> data;
  uint64_t scratch_bytes = 16;
  for (const Dispatch& dispatch : dispatches) {
    for (const Operand& o : dispatch.operands) {
      if (o.kind == Operand::Kind::scratch) {
        scratch_bytes = std::max(scratch_bytes, o.offset + o.bytes);
      }
    }
  }

  const auto rope_table = [&](const RopeTable& table, int64_t context) {
    std::optional<WeightRows> rows;
    return make_rope_table(table, context, [&](WeightId id) -> const WeightRows& {
      const Weight& weight = manifest_.weights.at(static_cast<size_t>(id));
      rows.emplace(weight, join_sections(weight, SectionRole::codes, bytes_),
                   join_sections(weight, SectionRole::scale, bytes_));
      return *rows;
    });
  };
  const auto contents = [&](const Operand& o) -> std::vector<std::byte> {
    const auto id = static_cast<size_t>(o.id);
    switch (o.kind) {
      case Operand::Kind::tensor:
        return pack(program.tensors.at(id).dtype, state.tensors.at(id));
      case Operand::Kind::weight: {
        const Section& section =
            manifest_.weights.at(id).sections.at(static_cast<size_t>(o.section));
        const auto bytes = bytes_(section);
        return {bytes.begin(), bytes.end()};
      }
      case Operand::Kind::rope_table:
        return bytes_of(rope_table(program.rope_tables.at(id), state.bindings.at("context")));
      case Operand::Kind::step_record:
        return bytes_of(std::vector<StepRecord>{state.record});
      case Operand::Kind::token_ids:
        return bytes_of(state.token_ids);
      case Operand::Kind::ring:
        return bytes_of(ring);
      case Operand::Kind::scratch:
        return std::vector<std::byte>(scratch_bytes, std::byte{0xFF});
      case Operand::Kind::parameters:
        return bytes_of(dispatches[id].parameters);
    }
    return {};
  };
  // Parameters are told apart by the number of their dispatch.
  const auto buffer_of = [&](Operand o, size_t dispatch) {
    if (o.kind == Operand::Kind::parameters) o.id = static_cast<int32_t>(dispatch);
    const Key key{o.kind, o.id, o.section};
    const auto [found, added] = index.try_emplace(key, static_cast<uint32_t>(data.size()));
    if (added) data.push_back(contents(o));
    return found->second;
  };

  std::vector<ComputeDispatch> runs;
  for (const Dispatch& dispatch : dispatches) {
    ComputeDispatch run;
    run.shader = dispatch.shader;
    run.code = shader_code(dispatch.shader);
    run.specialization = dispatch.specialization;
    run.push_constants = dispatch.push_constants;
    run.groups = dispatch.groups;
    for (const Operand& o : dispatch.operands) {
      run.bindings.push_back({buffer_of(o, runs.size()), o.offset, o.bytes, o.texel_words});
    }
    runs.push_back(std::move(run));
  }
  std::vector<std::span<std::byte>> buffers(data.begin(), data.end());
  const uint64_t time = context_.run(buffers, runs);

  for (const auto& [key, buffer] : index) {
    const auto [kind, id, section] = key;
    const std::vector<std::byte>& bytes = data[buffer];
    if (kind == Operand::Kind::tensor) {
      const auto tensor = static_cast<size_t>(id);
      unpack(program.tensors[tensor].dtype, bytes, state.tensors[tensor]);
    } else if (kind == Operand::Kind::step_record) {
      std::memcpy(&state.record, bytes.data(), sizeof(StepRecord));
    } else if (kind == Operand::Kind::token_ids) {
      std::memcpy(state.token_ids.data(), bytes.data(), bytes.size());
    } else if (kind == Operand::Kind::ring) {
      std::memcpy(ring.data(), bytes.data(), bytes.size());
    }
  }
  return time;
}

}  // namespace pocket
