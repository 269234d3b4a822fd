#include "runtime/engine/memory_sums.h"

#include <cstdio>

#include "runtime/base/error.h"

namespace pocket {
namespace {

std::string mebibytes(uint64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f MiB", static_cast<double>(bytes) / (1024.0 * 1024.0));
  return text;
}

}  // namespace

std::string memory_text(const MemorySums& sums) {
  return "weights " + mebibytes(sums.weights) + " + rotary tables " + mebibytes(sums.rope) +
         " + KV " + mebibytes(sums.kv) + " + activations " + mebibytes(sums.arena) + " + scratch " +
         mebibytes(sums.scratch) + " + control " + mebibytes(sums.control) + " + readback " +
         mebibytes(sums.readback) + " + staging " + mebibytes(sums.staging) + " = " +
         mebibytes(sums.total());
}

void require_fit(const MemorySums& sums, uint64_t available) {
  if (sums.total() <= available) return;
  throw Error(ExitCode::out_of_memory,
              "The model needs " + memory_text(sums) + " of device memory but only " +
                  mebibytes(available) +
                  " are available; use a smaller --context or --chunk, or weights of fewer bits.");
}

}  // namespace pocket
