// One .pocket file: a validated view over the mapped bytes. Format in DESIGN, Contracts.
//   header, 64 bytes: magic "POCKETF\0", u32 major, u32 minor, u64 manifest bytes, u64 file bytes,
//     u64 XXH64(manifest), 16 zero bytes, u64 XXH64(the 56 bytes before)
//   manifest (JSON), zero padding to 16 KiB, shards (16 KiB aligned, at most 128 MiB each)
// open() checks everything but the shards' hashes; verify_shard() checks one before its upload.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/package/weight.h"
#include "runtime/program/program.h"

namespace pocket {

inline constexpr uint32_t kPocketMajor = 1;
inline constexpr uint32_t kPocketMinor = 0;
inline constexpr uint64_t kShardAlignment = 16 * 1024;
inline constexpr uint64_t kShardBytes = 128ull * 1024 * 1024;
inline constexpr uint64_t kTensorAlignment = 256;

struct Shard {
  uint64_t offset = 0;  // from the file's start
  uint64_t bytes = 0;
  uint64_t hash = 0;  // XXH64 of the bytes
};

struct Generation {
  std::vector<int32_t> bos_ids, eos_ids;  // stop ids = eos_ids
};

struct Manifest {
  Program program;
  std::vector<Weight> weights;  // parallel to program.weights
  std::vector<Shard> shards;
  Generation generation;
  std::string tokenizer_json, tokenizer_config_json;  // empty when the model came without
  std::string chat_template;                          // empty when the model came without
  std::map<std::string, std::string> chat_tokens;     // texts of "bos_token", "eos_token", ...
  nlohmann::json provenance;                          // source, versions, options
  std::vector<std::string> required_features;
};

nlohmann::json to_json(const Manifest&);
Manifest manifest_from_json(const nlohmann::json&);  // validates everything; Error(bad_input)

class Package {
 public:
  // Maps and validates. Throws Error(bad_input) with one sentence; never trusts a length.
  static Package open(const std::string& path);
  Package(Package&&) noexcept;
  Package& operator=(Package&&) noexcept;
  ~Package();

  const Manifest& manifest() const;
  const std::string& path() const;
  uint64_t file_bytes() const;
  uint64_t manifest_bytes() const;
  uint64_t tokenizer_bytes() const;  // of the manifest, the tokenizer's share (itemised by inspect)
  std::span<const std::byte> shard(size_t index) const;
  std::span<const std::byte> section(const Section&) const;
  // The mapped memory that holds the shard, in whole multiples of `alignment`; empty when the shard
  // does not begin at one or the mapping ends before the last.
  std::span<const std::byte> shard_pages(size_t index, uint64_t alignment) const;
  void verify_shard(size_t index) const;  // Throws Error(bad_input) on a hash mismatch.
  void drop_pages(size_t shard) const;    // tells the system that the pages may go

  // The bits that every weight of any precision is read with from now on; until then the most that
  // it holds. Throws Error(usage) when one does not hold them, or none of the file is of any
  // precision.
  void choose_precision(int32_t bits);

  // join_sections() of this file; the references and tests use it (copies).
  std::vector<uint8_t> gather(const Weight&, SectionRole) const;

 private:
  struct State;
  explicit Package(std::unique_ptr<State>);
  std::unique_ptr<State> state_;
};

}  // namespace pocket
