// The one error type of both programs: a sentence for the person and the exit code for the script.
#pragma once

#include <stdexcept>
#include <string>

namespace pocket {

// Exit codes of llmconvert and llmbench.
enum class ExitCode : int {
  ok = 0,
  check_failed = 1,
  usage = 2,
  bad_input = 3,
  wrong_result = 4,
  device = 5,
  out_of_memory = 6,
};

// The message is one sentence: what failed, the limit and the actual value, what to do next.
struct Error : std::runtime_error {
  Error(ExitCode exit_code, const std::string& message)
      : std::runtime_error(message), code(exit_code) {}
  ExitCode code;
};

}  // namespace pocket
