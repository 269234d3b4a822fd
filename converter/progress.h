// Progress of long stages on stderr: one line per stage, counts within it. Silent when asked.
#pragma once

#include <cstdint>
#include <string>

namespace pocket {

class Progress {
 public:
  explicit Progress(bool quiet);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void stage(const std::string& name);
  // `done` of `total` steps of the stage. On a terminal the line is rewritten at every call; in a
  // log a line appears at each tenth of the way.
  void count(int64_t done, int64_t total, const std::string& what);
  void note(const std::string& sentence);

 private:
  void end_line();

  bool quiet_, terminal_;
  bool line_open_ = false;
  int64_t tenths_ = 0;
};

}  // namespace pocket
