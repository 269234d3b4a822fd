// The rows that `llmbench tune` chose, on disk beside the pipeline cache: one JSON file per device,
// driver, binary and set of limits. A file that is damaged or belongs to another is ignored with a
// sentence, and every row is checked by the self-test before a speed is printed.
#pragma once

#include <memory>
#include <string>

#include "runtime/kernels/tuned.h"
#include "runtime/vulkan/device.h"

namespace pocket::bench {

struct TunedFile {
  std::string path;                             // empty: no cache folder
  std::shared_ptr<const TunedConfigs> configs;  // never null
  std::string note;                             // why the file was ignored, or empty
};

TunedFile read_tuned(const Device&);
// Adds the rows to the file, in place of rows for the same work. Throws Error(check_failed) when it
// cannot be written.
TunedFile write_tuned(const Device&, const TunedConfigs&);

}  // namespace pocket::bench
