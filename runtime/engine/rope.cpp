#include "runtime/engine/rope.h"

#include <optional>

#include "runtime/base/error.h"
#include "runtime/kernels/reference.h"

namespace pocket {

std::vector<float> compute_rope_table(const RopeTable& table, int64_t context,
                                      const Package* package) {
  std::optional<WeightRows> rows;
  return make_rope_table(table, context, [&](WeightId id) -> const WeightRows& {
    if (package == nullptr) {
      throw Error(ExitCode::bad_input, "A rotary table lies in a weight but there is no file.");
    }
    const Weight& weight = package->manifest().weights.at(static_cast<size_t>(id));
    rows.emplace(weight, package->gather(weight, SectionRole::codes),
                 package->gather(weight, SectionRole::scale));
    return *rows;
  });
}

uint64_t rope_table_bytes(const RopeTable& table, int64_t context) {
  return static_cast<uint64_t>(table.variants() * context * 2 * table.half()) * sizeof(float);
}

}  // namespace pocket
