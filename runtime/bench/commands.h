// One function per command: data to stdout, progress to stderr. Returns the exit code of a verdict;
// everything that goes wrong is thrown as Error.
#pragma once

#include "runtime/base/error.h"
#include "runtime/bench/options.h"

namespace pocket::bench {

ExitCode run(const RunOptions&);
ExitCode generate(const GenerateOptions&);
ExitCode logits(const LogitsOptions&);
ExitCode perplexity(const PerplexityOptions&);
ExitCode selftest(const SelfTestCommandOptions&);
ExitCode tune(const TuneCommandOptions&);
ExitCode inspect(const InspectOptions&);
ExitCode devices(const DevicesOptions&);

}  // namespace pocket::bench
