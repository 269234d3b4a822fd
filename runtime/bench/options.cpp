#include "runtime/bench/options.h"

#include "runtime/base/error.h"

namespace pocket::bench {

Accumulate accumulate_from_name(const std::string& name) {
  if (name == "fp32") return Accumulate::fp32;
  if (name == "fp16") return Accumulate::fp16;
  throw Error(ExitCode::usage, "--accumulate \"" + name + "\" is none of fp32, fp16");
}

}  // namespace pocket::bench
