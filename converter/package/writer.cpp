#include "converter/package/writer.h"

#include <xxhash.h>

#include <algorithm>
#include <map>

#include "converter/package/temporary_file.h"
#include "runtime/base/checked.h"
#include "runtime/package/file_header.h"

namespace pocket {
namespace {

struct HashState {
  XXH64_state_t* state = XXH64_createState();
  ~HashState() { XXH64_freeState(state); }
};

std::span<const uint8_t> bytes_of(const FileHeader& header) {
  return {reinterpret_cast<const uint8_t*>(&header), sizeof header};
}

}  // namespace

struct PackageWriter::State {
  State(const std::string& path, uint64_t limit) : file(path), shard_limit(limit) {}

  TemporaryFile file;
  uint64_t shard_limit;
  std::vector<Weight> weights;
  std::vector<Shard> shards;      // offsets from the first shard until finish()
  std::map<SectionKind, uint64_t> appended;  // bytes of the current weight

  void place(Weight& weight, SectionKind kind, int64_t first_row, int64_t rows);
  void check_complete() const;
  void hash_shards();
};

PackageWriter::PackageWriter(const std::string& path, uint64_t shard_bytes)
    : state_(std::make_unique<State>(path, shard_bytes)) {}

PackageWriter::~PackageWriter() = default;

// Gives a section its place: in the last shard when it fits, else in a new one.
void PackageWriter::State::place(Weight& weight, SectionKind kind, int64_t first_row,
                                 int64_t rows) {
  Section section;
  section.role = kind.role;
  section.bits = kind.bits;
  section.first_row = first_row;
  section.rows = rows;
  section.bytes = static_cast<uint64_t>(rows) * weight.format.row_bytes(kind);
  const uint64_t offset =
      shards.empty() ? 0 : checked_round_up(shards.back().bytes, kTensorAlignment);
  if (shards.empty() || section.bytes > shard_limit || offset > shard_limit - section.bytes) {
    const uint64_t end = shards.empty() ? 0 : shards.back().offset + shards.back().bytes;
    shards.push_back({checked_round_up(end, kShardAlignment), 0, 0});
  } else {
    section.offset = offset;
  }
  section.shard = static_cast<int32_t>(shards.size()) - 1;
  shards.back().bytes = section.offset + section.bytes;
  weight.sections.push_back(section);
}

void PackageWriter::State::check_complete() const {
  if (weights.empty()) return;
  const WeightFormat& format = weights.back().format;
  uint64_t sum = 0;  // no kind has more than its share
  for (const auto& [kind, bytes] : appended) sum += bytes;
  if (sum != format.stored_bytes()) {
    throw Error(ExitCode::bad_input, "Weight '" + weights.back().name + "' has " +
                                         std::to_string(sum) + " of " +
                                         std::to_string(format.stored_bytes()) +
                                         " bytes: its source ended early.");
  }
}

void PackageWriter::begin_weight(const std::string& name, const std::vector<int64_t>& shape,
                                 const WeightFormat& format) {
  state_->check_complete();
  check_format(format, name);
  const std::vector<SectionKind> kinds = format.section_kinds();
  uint64_t row_bytes = format.code_row_bytes();
  // A table may be wider than a plane.
  if (format.encoding == Encoding::any) {
    row_bytes = std::max(row_bytes, format.row_bytes(kinds.back()));
  }
  const uint64_t all_bytes = checked_mul(static_cast<uint64_t>(format.rows), row_bytes);
  const uint64_t blocks = state_->shard_limit / kBlockRows / row_bytes;
  if (blocks == 0 && all_bytes > state_->shard_limit) {
    throw Error(ExitCode::bad_input, "Weight '" + name + "' has rows of " +
                                         std::to_string(row_bytes) +
                                         " bytes, 32 of which exceed a shard of " +
                                         std::to_string(state_->shard_limit) + " bytes.");
  }
  Weight weight{name, shape, format, {}};
  const int64_t step = all_bytes <= state_->shard_limit
                           ? format.rows
                           : static_cast<int64_t>(blocks) * kBlockRows;
  for (int64_t row = 0; row < format.rows; row += step) {
    const int64_t rows = std::min(step, format.rows - row);
    for (const SectionKind kind : kinds) state_->place(weight, kind, row, rows);
  }
  state_->weights.push_back(std::move(weight));
  state_->appended.clear();
}

void PackageWriter::set_input(float act_scale, std::optional<Outlier> outlier) {
  state_->weights.back().act_scale = act_scale;
  state_->weights.back().outlier = std::move(outlier);
}

void PackageWriter::append(SectionRole role, std::span<const uint8_t> bytes, int32_t bits) {
  const SectionKind kind{role, bits};
  uint64_t& appended = state_->appended[kind];
  uint64_t section_begin = 0;
  for (const Section& section : state_->weights.back().sections) {
    if (section.kind() != kind) continue;
    const uint64_t section_end = section_begin + section.bytes;
    if (appended < section_end && !bytes.empty()) {
      const auto part = bytes.first(std::min<uint64_t>(bytes.size(), section_end - appended));
      const Shard& shard = state_->shards[static_cast<size_t>(section.shard)];
      state_->file.write(shard.offset + section.offset + (appended - section_begin), part);
      appended += part.size();
      bytes = bytes.subspan(part.size());
    }
    section_begin = section_end;
  }
  if (!bytes.empty()) {
    throw Error(ExitCode::bad_input, "Weight '" + state_->weights.back().name + "' has " +
                                         std::to_string(bytes.size()) +
                                         " bytes more than its shape holds.");
  }
}

void PackageWriter::State::hash_shards() {
  HashState hash;
  std::vector<uint8_t> buffer(size_t{1} << 20);
  for (Shard& shard : shards) {
    XXH64_reset(hash.state, 0);
    for (uint64_t at = 0; at < shard.bytes; at += buffer.size()) {
      const std::span<uint8_t> part(buffer.data(),
                                    std::min<uint64_t>(buffer.size(), shard.bytes - at));
      file.read(shard.offset + at, part);
      XXH64_update(hash.state, part.data(), part.size());
    }
    shard.hash = XXH64_digest(hash.state);
  }
}

void PackageWriter::finish(Manifest manifest,
                           const std::function<void(const std::string& path)>& check) {
  State& state = *state_;
  state.check_complete();
  if (state.shards.empty()) {
    throw Error(ExitCode::bad_input, "The model has no weights: nothing is written.");
  }
  const uint64_t weight_bytes = state.shards.back().offset + state.shards.back().bytes;
  state.file.resize(weight_bytes);
  state.hash_shards();
  manifest.weights = state.weights;

  // The manifest holds the shards' offsets, which follow from its own length: a larger offset may
  // need more digits, so the start of the shards only grows until it fits.
  uint64_t start = kShardAlignment;
  std::string text;
  while (true) {
    manifest.shards = state.shards;
    for (Shard& shard : manifest.shards) shard.offset += start;
    text = to_json(manifest).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    const uint64_t needed = checked_round_up(sizeof(FileHeader) + text.size(), kShardAlignment);
    if (needed == start) break;
    start = std::max(start, needed);
  }
  manifest_from_json(nlohmann::json::parse(text));  // what a reader would refuse is not written

  state.file.make_room(start, weight_bytes);
  FileHeader header;
  header.major = kPocketMajor;
  header.minor = kPocketMinor;
  header.manifest_bytes = text.size();
  header.file_bytes = start + weight_bytes;
  header.manifest_hash = XXH64(text.data(), text.size(), 0);
  header.header_hash = header.compute_hash();
  std::vector<uint8_t> front(start, 0);
  std::copy_n(bytes_of(header).begin(), sizeof header, front.begin());
  std::copy(text.begin(), text.end(), front.begin() + sizeof header);
  state.file.write(0, front);
  if (check) check(state.file.name());
  state.file.commit();
}

}  // namespace pocket
