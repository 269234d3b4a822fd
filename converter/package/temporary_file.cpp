#include "converter/package/temporary_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <vector>

#include "runtime/base/error.h"

namespace pocket {
namespace {

// What the signal handler removes: a plain array, because a handler may not touch a std::string.
char pending_name[4096] = "";

constexpr char kPartial[] = ".partial-";
constexpr size_t kRandomLetters = 6;  // of mkostemp

// The lock says that the file is in use, and ends with the process, however that ends.
bool lock(int fd) { return flock(fd, LOCK_EX | LOCK_NB) == 0; }

bool has_name(int fd, const std::string& name) {
  struct stat by_fd{}, by_name{};
  return fstat(fd, &by_fd) == 0 && lstat(name.c_str(), &by_name) == 0 &&
         by_fd.st_ino == by_name.st_ino && by_fd.st_dev == by_name.st_dev;
}

// Unfinished files of the same target whose process was killed: nobody holds their lock.
void remove_abandoned(const std::string& target) {
  const std::filesystem::path path(target);
  const std::string begin = path.filename().string() + kPartial;
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  std::vector<std::string> found;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (name.starts_with(begin) && name.size() == begin.size() + kRandomLetters) {
      found.push_back(entry->path().string());
    }
  }
  for (const std::string& name : found) {
    const int fd = open(name.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) continue;
    struct stat status{};
    const bool regular = fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
    if (regular && lock(fd) && has_name(fd, name)) unlink(name.c_str());
    close(fd);
  }
}

void forget_pending() { pending_name[0] = '\0'; }

void remember_pending(const std::string& name) {
  if (name.size() >= sizeof pending_name) return;
  std::memcpy(pending_name + 1, name.data() + 1, name.size());
  pending_name[0] = name[0];
}

void on_signal(int number) {
  if (pending_name[0] != '\0') unlink(pending_name);
  signal(number, SIG_DFL);
  raise(number);
}

}  // namespace

void remove_temporary_file_on_signal() {
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) signal(number, on_signal);
}

TemporaryFile::TemporaryFile(const std::string& target) : target_(target) {
  std::error_code ignored;
  if (target.empty() || std::filesystem::is_directory(target, ignored)) {
    throw Error(ExitCode::usage, "The output '" + target + "' must name a file, not a folder.");
  }
  remove_abandoned(target);
  while (fd_ < 0) {
    name_ = target + kPartial + std::string(kRandomLetters, 'X');
    fd_ = mkostemp(name_.data(), O_CLOEXEC);
    if (fd_ < 0) fail("cannot be created");
    // A file system without locks is fine: nobody takes files for abandoned there.
    if (lock(fd_) ? has_name(fd_, name_) : errno != EWOULDBLOCK) break;
    // Another conversion to this target took it for abandoned before it was locked.
    close(fd_);
    fd_ = -1;
  }
  remember_pending(name_);
  const mode_t mask = umask(0);
  umask(mask);
  fchmod(fd_, 0666 & ~mask);  // as any new file; mkostemp makes private ones
}

TemporaryFile::~TemporaryFile() {
  if (fd_ >= 0) {
    close(fd_);
    unlink(name_.c_str());
    forget_pending();
  }
}

void TemporaryFile::fail(const char* what) const {
  const int reason = errno;
  throw Error(ExitCode::usage, "The output '" + target_ + "' " + what + ": " +
                                   std::strerror(reason) + "; choose another place with -o.");
}

void TemporaryFile::write(uint64_t offset, std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t done = pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) fail("cannot be written");
    bytes = bytes.subspan(static_cast<size_t>(done));
    offset += static_cast<uint64_t>(done);
  }
}

void TemporaryFile::read(uint64_t offset, std::span<uint8_t> bytes) const {
  while (!bytes.empty()) {
    const ssize_t done = pread(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) fail("cannot be read back");
    bytes = bytes.subspan(static_cast<size_t>(done));
    offset += static_cast<uint64_t>(done);
  }
}

void TemporaryFile::make_room(uint64_t gap, uint64_t bytes) {
#ifdef FALLOC_FL_INSERT_RANGE
  // Some file systems insert whole blocks without copying anything.
  if (fallocate(fd_, FALLOC_FL_INSERT_RANGE, 0, static_cast<off_t>(gap)) == 0) return;
#endif
  std::vector<uint8_t> buffer(size_t{4} << 20);
  for (uint64_t end = bytes; end > 0;) {  // from the end, so that nothing is overwritten unread
    const uint64_t step = end < buffer.size() ? end : buffer.size();
    end -= step;
    const std::span<uint8_t> part(buffer.data(), step);
    read(end, part);
    write(end + gap, part);
  }
}

void TemporaryFile::resize(uint64_t bytes) {
  if (ftruncate(fd_, static_cast<off_t>(bytes)) != 0) fail("cannot be resized");
}

void TemporaryFile::commit() {
  if (fsync(fd_) != 0) fail("cannot be written");
  if (rename(name_.c_str(), target_.c_str()) != 0) fail("cannot be replaced");
  forget_pending();
  close(fd_);
  fd_ = -1;
  // The new name is durable once the folder is; a folder that cannot be synced still holds it.
  const std::string folder = std::filesystem::absolute(target_).parent_path().string();
  const int folder_fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder_fd >= 0) {
    fsync(folder_fd);
    close(folder_fd);
  }
}

}  // namespace pocket
