#include "converter/progress.h"

#include <unistd.h>

#include <cstdio>

namespace pocket {

Progress::Progress(bool quiet) : quiet_(quiet), terminal_(isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() { end_line(); }

void Progress::end_line() {
  if (line_open_) std::fputc('\n', stderr);
  line_open_ = false;
}

void Progress::stage(const std::string& name) {
  if (quiet_) return;
  end_line();
  tenths_ = 0;
  std::fprintf(stderr, "%s\n", name.c_str());
}

void Progress::count(int64_t done, int64_t total, const std::string& what) {
  if (quiet_ || total <= 0) return;
  if (terminal_) {
    std::fprintf(stderr, "\r\033[K  %lld/%lld %s", static_cast<long long>(done),
                 static_cast<long long>(total), what.c_str());
    std::fflush(stderr);
    line_open_ = true;
    return;
  }
  const int64_t tenths = done * 10 / total;
  if (tenths == tenths_) return;
  tenths_ = tenths;
  std::fprintf(stderr, "  %lld/%lld %s\n", static_cast<long long>(done),
               static_cast<long long>(total), what.c_str());
}

void Progress::note(const std::string& sentence) {
  if (quiet_) return;
  end_line();
  std::fprintf(stderr, "  note: %s\n", sentence.c_str());
}

}  // namespace pocket
