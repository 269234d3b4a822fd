#include "converter/onnx/external_data.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "runtime/base/error.h"

namespace pocket::onnx_import {

namespace fs = std::filesystem;

namespace {

[[noreturn]] void fail(const std::string& message) { throw Error(ExitCode::bad_input, message); }

// The file that a location names, with every link resolved and proven to lie inside the folder.
fs::path confined(const fs::path& folder, const std::string& location, const std::string& tensor) {
  const fs::path relative(location);
  const bool climbs = std::find(relative.begin(), relative.end(), "..") != relative.end();
  if (location.empty() || relative.is_absolute() || climbs ||
      location.find('\0') != std::string::npos) {
    fail("the external data of tensor \"" + tensor + "\" would lie at \"" + location +
         "\", outside the model's folder; put the file beside the model and export again.");
  }
  std::error_code error;
  const fs::path root = fs::canonical(folder, error);
  const fs::path file = error ? fs::path() : fs::canonical(root / relative, error);
  if (error) {
    fail("the external data file \"" + location + "\" of tensor \"" + tensor +
         "\" is missing; put it beside the model.");
  }
  if (std::mismatch(root.begin(), root.end(), file.begin(), file.end()).first != root.end()) {
    fail("the external data file \"" + location + "\" of tensor \"" + tensor +
         "\" is a link to outside the model's folder; copy the file itself beside the model.");
  }
  return file;
}

}  // namespace

std::shared_ptr<const MappedFile> MappedFile::open(const fs::path& path) {
  const std::string name = "\"" + path.string() + "\"";
  struct Descriptor {
    int fd;
    ~Descriptor() {
      if (fd >= 0) ::close(fd);
    }
  } const file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  struct stat status {};
  if (file.fd < 0 || ::fstat(file.fd, &status) != 0) {
    fail(name + " cannot be opened (" + std::strerror(errno) + "); check the path and its rights.");
  }
  if (!S_ISREG(status.st_mode)) fail(name + " is not a regular file; give the file itself.");
  std::shared_ptr<MappedFile> mapped(new MappedFile());
  mapped->size_ = static_cast<size_t>(status.st_size);
  if (mapped->size_ == 0) return mapped;
  void* bytes = ::mmap(nullptr, mapped->size_, PROT_READ, MAP_PRIVATE, file.fd, 0);
  if (bytes == MAP_FAILED) {
    throw Error(ExitCode::out_of_memory, name + " with " + std::to_string(mapped->size_) +
                                             " bytes cannot be mapped (" + std::strerror(errno) +
                                             "); free memory or address space.");
  }
  mapped->bytes_ = static_cast<const std::byte*>(bytes);
  return mapped;
}

MappedFile::~MappedFile() {
  if (bytes_ != nullptr) ::munmap(const_cast<std::byte*>(bytes_), size_);
}

ExternalRange ExternalData::map(const std::string& location, uint64_t offset, uint64_t size,
                                const std::string& tensor) {
  auto it = files_.find(location);
  if (it == files_.end()) {
    it = files_.emplace(location, MappedFile::open(confined(folder_, location, tensor))).first;
  }
  const std::shared_ptr<const MappedFile>& file = it->second;
  if (offset > file->size() || size > file->size() - offset) {
    fail("tensor \"" + tensor + "\" needs bytes " + std::to_string(offset) + " to " +
         std::to_string(offset) + "+" + std::to_string(size) + " of \"" + location +
         "\" but the file has " + std::to_string(file->size()) +
         "; download or export the model again.");
  }
  return {file, file->bytes() + offset};
}

}  // namespace pocket::onnx_import
