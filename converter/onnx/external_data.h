// Weights outside the protobuf: files beside the model, mapped and never copied.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>

namespace pocket::onnx_import {

// A whole file, mapped for reading.
class MappedFile {
 public:
  static std::shared_ptr<const MappedFile> open(const std::filesystem::path&);  // Error(bad_input)
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::byte* bytes() const { return bytes_; }
  size_t size() const { return size_; }

 private:
  MappedFile() = default;
  const std::byte* bytes_ = nullptr;
  size_t size_ = 0;
};

struct ExternalRange {
  std::shared_ptr<const MappedFile> file;
  const std::byte* bytes = nullptr;
};

// The external files of one model. A location stays inside the model's folder: absolute paths,
// "..", and links that lead out are refused.
class ExternalData {
 public:
  explicit ExternalData(std::filesystem::path folder) : folder_(std::move(folder)) {}

  // `size` bytes at `offset` of the file at `location`, for the tensor called `tensor`. Throws
  // Error(bad_input) when they are not there.
  ExternalRange map(const std::string& location, uint64_t offset, uint64_t size,
                    const std::string& tensor);

  const std::map<std::string, std::shared_ptr<const MappedFile>>& files() const { return files_; }

 private:
  std::filesystem::path folder_;
  std::map<std::string, std::shared_ptr<const MappedFile>> files_;
};

}  // namespace pocket::onnx_import
