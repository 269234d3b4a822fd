#include "runtime/package/package.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "runtime/base/checked.h"
#include "runtime/package/file_header.h"

namespace pocket {
namespace {

[[noreturn]] void fail(const std::string& path, const std::string& what) {
  throw Error(ExitCode::bad_input, "'" + path + "' " + what);
}

bool all_zero(std::span<const std::byte> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

FileHeader read_header(const std::string& path, std::span<const std::byte> file) {
  FileHeader header;
  if (file.size() < sizeof header) {
    fail(path, "is no .pocket file: it holds " + std::to_string(file.size()) +
                   " bytes, its header alone has 64; convert the model again.");
  }
  std::memcpy(&header, file.data(), sizeof header);
  if (std::memcmp(header.magic, FileHeader::kMagic, sizeof header.magic) != 0) {
    fail(path, "is no .pocket file: make one with llmconvert.");
  }
  if (header.header_hash != header.compute_hash()) {
    fail(path, "has a damaged header (its hash differs): copy or convert it again.");
  }
  if (header.major != kPocketMajor) {
    fail(path, "has format version " + std::to_string(header.major) + ", this program reads " +
                   std::to_string(kPocketMajor) + ": convert the model again.");
  }
  if (!all_zero(std::as_bytes(std::span(header.zero)))) {
    fail(path, "has a damaged header (unused bytes are set): convert the model again.");
  }
  if (header.file_bytes != file.size()) {
    fail(path, "holds " + std::to_string(file.size()) + " of its " +
                   std::to_string(header.file_bytes) + " bytes: copy or convert it again.");
  }
  if (header.manifest_bytes > file.size() - sizeof header) {
    fail(path, "has a manifest of " + std::to_string(header.manifest_bytes) +
                   " bytes, more than the file holds: convert the model again.");
  }
  return header;
}

}  // namespace

struct Package::State {
  std::string path;
  std::byte* map = nullptr;
  size_t map_bytes = 0;
  uint64_t manifest_bytes = 0;
  Manifest manifest;

  std::span<const std::byte> file() const { return {map, map_bytes}; }
  void map_file();
  void check_padding() const;
  ~State() {
    if (map != nullptr) munmap(map, map_bytes);
  }
};

void Package::State::map_file() {
  struct Descriptor {
    int fd;
    ~Descriptor() {
      if (fd >= 0) close(fd);
    }
  } file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.fd < 0) fail(path, std::string("cannot be opened: ") + std::strerror(errno) + ".");
  struct stat status {};
  if (fstat(file.fd, &status) != 0 || !S_ISREG(status.st_mode)) fail(path, "is no regular file.");
  if (status.st_size == 0) fail(path, "is empty: convert the model again.");
  const auto bytes = static_cast<size_t>(status.st_size);
  void* address = mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, file.fd, 0);
  if (address == MAP_FAILED) {
    fail(path, std::string("cannot be mapped: ") + std::strerror(errno) + ".");
  }
  map = static_cast<std::byte*>(address);
  map_bytes = bytes;
}

// Bytes that belong to nothing are zero: between manifest, shards, and the sections in them.
void Package::State::check_padding() const {
  auto expect_zero = [&](uint64_t begin, uint64_t end) {
    if (!all_zero(file().subspan(begin, end - begin))) {
      fail(path, "has padding that is not zero near byte " + std::to_string(begin) +
                     ": copy or convert it again.");
    }
  };
  std::vector<std::pair<uint64_t, uint64_t>> used = {{0, sizeof(FileHeader) + manifest_bytes}};
  for (const Weight& weight : manifest.weights) {
    for (const Section& section : weight.sections) {
      const Shard& shard = manifest.shards[static_cast<size_t>(section.shard)];
      used.push_back({shard.offset + section.offset, section.bytes});
    }
  }
  std::sort(used.begin() + 1, used.end());
  for (size_t i = 1; i < used.size(); ++i) {
    expect_zero(used[i - 1].first + used[i - 1].second, used[i].first);
  }
  if (used.back().first + used.back().second != map_bytes) {
    fail(path, "holds bytes after its last weight: copy or convert it again.");
  }
}

Package Package::open(const std::string& path) {
  auto state = std::make_unique<State>();
  state->path = path;
  state->map_file();
  const std::span<const std::byte> file = state->file();
  const FileHeader header = read_header(path, file);
  state->manifest_bytes = header.manifest_bytes;
  const auto text = file.subspan(sizeof header, header.manifest_bytes);
  if (XXH64(text.data(), text.size(), 0) != header.manifest_hash) {
    fail(path, "has a damaged manifest (its hash differs): copy or convert it again.");
  }
  const char* begin = reinterpret_cast<const char*>(text.data());
  const auto json = nlohmann::json::parse(begin, begin + text.size(), nullptr, false);
  if (json.is_discarded()) fail(path, "has a manifest that is no JSON: convert the model again.");
  try {
    state->manifest = manifest_from_json(json);
  } catch (const Error& error) {
    fail(path, std::string("is refused: ") + error.what());
  }
  const auto& shards = state->manifest.shards;
  if (shards.empty()) fail(path, "holds no weights: convert the model again.");
  const uint64_t first = checked_round_up(sizeof header + header.manifest_bytes, kShardAlignment);
  if (shards.front().offset != first || shards.back().offset + shards.back().bytes != file.size()) {
    fail(path, "has shards outside the file or away from the manifest: convert the model again.");
  }
  state->check_padding();
  return Package(std::move(state));
}

Package::Package(std::unique_ptr<State> state) : state_(std::move(state)) {}
Package::Package(Package&&) noexcept = default;
Package& Package::operator=(Package&&) noexcept = default;
Package::~Package() = default;

const Manifest& Package::manifest() const { return state_->manifest; }
const std::string& Package::path() const { return state_->path; }
uint64_t Package::file_bytes() const { return state_->map_bytes; }
uint64_t Package::manifest_bytes() const { return state_->manifest_bytes; }

uint64_t Package::tokenizer_bytes() const {
  const Manifest& manifest = state_->manifest;
  uint64_t bytes = 0;
  for (const std::string* text :
       {&manifest.tokenizer_json, &manifest.tokenizer_config_json, &manifest.chat_template}) {
    if (!text->empty()) bytes += nlohmann::json(*text).dump().size();
  }
  return bytes;
}

std::span<const std::byte> Package::shard(size_t index) const {
  const Shard& shard = state_->manifest.shards.at(index);
  return state_->file().subspan(shard.offset, shard.bytes);
}

std::span<const std::byte> Package::shard_pages(size_t index, uint64_t alignment) const {
  const std::span<const std::byte> bytes = shard(index);
  if (alignment == 0 || reinterpret_cast<uintptr_t>(bytes.data()) % alignment != 0) return {};
  const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  const uint64_t mapped = checked_round_up(state_->map_bytes, page);
  const uint64_t size = checked_round_up(bytes.size(), alignment);
  if (size > mapped - state_->manifest.shards.at(index).offset) return {};
  return {bytes.data(), size};
}

std::span<const std::byte> Package::section(const Section& section) const {
  return shard(static_cast<size_t>(section.shard)).subspan(section.offset, section.bytes);
}

void Package::verify_shard(size_t index) const {
  const auto bytes = shard(index);
  if (XXH64(bytes.data(), bytes.size(), 0) != state_->manifest.shards[index].hash) {
    fail(path(), "has damaged weights (the hash of shard " + std::to_string(index) +
                     " differs): copy or convert it again.");
  }
}

void Package::drop_pages(size_t index) const {
  const Shard& shard = state_->manifest.shards.at(index);
  const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  const uint64_t begin = checked_round_up(shard.offset, page);
  const uint64_t end = (shard.offset + shard.bytes) / page * page;
  if (begin < end) madvise(state_->map + begin, end - begin, MADV_DONTNEED);
}

void Package::choose_precision(int32_t bits) {
  size_t chosen = 0;
  for (const Weight& weight : state_->manifest.weights) {
    if (weight.format.encoding != Encoding::any) continue;
    ++chosen;
    if (weight.format.has_width(bits)) continue;
    std::string held;
    for (int32_t width = kLeastWidth; width <= kMostWidth; ++width) {
      if (weight.format.has_width(width)) held += (held.empty() ? "" : ", ") + std::to_string(width);
    }
    throw Error(ExitCode::usage, "A precision of " + std::to_string(bits) +
                                     " bits is not in the model " + path() + ", which holds " +
                                     held + ": choose one of these.");
  }
  if (chosen == 0) {
    throw Error(ExitCode::usage, "A precision of " + std::to_string(bits) +
                                     " bits cannot be chosen because the model " + path() +
                                     " has one precision: convert it with --weights any.");
  }
  for (Weight& weight : state_->manifest.weights) {
    if (weight.format.encoding == Encoding::any) weight.format.width = bits;
  }
}

std::vector<uint8_t> Package::gather(const Weight& weight, SectionRole role) const {
  return join_sections(weight, role, [this](const Section& one) { return section(one); });
}

}  // namespace pocket
