// A file that is removed unless it is moved to its final name.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace pocket {

class TemporaryFile {
 public:
  // Made in the folder of `target`, from which what killed processes left behind for the same target
  // is removed. Throws Error(usage).
  explicit TemporaryFile(const std::string& target);
  ~TemporaryFile();
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  void write(uint64_t offset, std::span<const uint8_t> bytes);
  void read(uint64_t offset, std::span<uint8_t> bytes) const;
  // Moves the first `bytes` bytes up by `gap`, a multiple of 16 KiB; the gap reads as zeros or old
  // bytes and must be written.
  void make_room(uint64_t gap, uint64_t bytes);
  void resize(uint64_t bytes);
  const std::string& name() const { return name_; }
  // Syncs and renames over the target.
  void commit();

 private:
  [[noreturn]] void fail(const char* what) const;
  std::string target_, name_;
  int fd_ = -1;
};

// From now on SIGINT, SIGTERM and SIGHUP remove the newest temporary file before they end the
// program. For main().
void remove_temporary_file_on_signal();

}  // namespace pocket
