#include "converter/quant/journal.h"

#include <xxhash.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "runtime/base/error.h"

namespace pocket {
namespace {

constexpr uint64_t kMagic = 0x33304C4143544B50;  // "PKTCAL03"

class Writer {
 public:
  template <typename T>
  void number(T value) {
    static_assert(std::is_trivially_copyable_v<T>);
    bytes(&value, sizeof value);
  }
  template <typename T>
  void list(const std::vector<T>& values) {
    number(static_cast<uint64_t>(values.size()));
    bytes(values.data(), values.size() * sizeof(T));
  }
  void text(const std::string& value) {
    list(std::vector<char>(value.begin(), value.end()));
  }
  std::vector<char> take() {
    number(static_cast<uint64_t>(XXH64(data_.data(), data_.size(), 0)));
    return std::move(data_);
  }

 private:
  void bytes(const void* from, size_t count) {
    const auto* begin = static_cast<const char*>(from);
    data_.insert(data_.end(), begin, begin + count);
  }
  std::vector<char> data_;
};

// Every read is bounded by what is there; after a failure all values are empty.
class Reader {
 public:
  explicit Reader(std::vector<char> data) : data_(std::move(data)) {
    uint64_t stored = 0;
    if (data_.size() < sizeof stored) {
      good_ = false;
      return;
    }
    end_ = data_.size() - sizeof stored;
    std::memcpy(&stored, data_.data() + end_, sizeof stored);
    good_ = stored == XXH64(data_.data(), end_, 0);
  }
  bool good() const { return good_; }
  template <typename T>
  T number() {
    T value{};
    bytes(&value, sizeof value);
    return value;
  }
  template <typename T>
  std::vector<T> list() {
    const auto count = number<uint64_t>();
    if (!good_ || count > (end_ - at_) / sizeof(T)) {
      good_ = false;
      return {};
    }
    std::vector<T> values(count);
    bytes(values.data(), values.size() * sizeof(T));
    return values;
  }
  std::string text() {
    const std::vector<char> letters = list<char>();
    return {letters.begin(), letters.end()};
  }

 private:
  void bytes(void* to, size_t count) {
    if (!good_ || count > end_ - at_) {
      good_ = false;
      return;
    }
    if (count > 0) std::memcpy(to, data_.data() + at_, count);
    at_ += count;
  }
  std::vector<char> data_;
  size_t at_ = 0, end_ = 0;
  bool good_ = true;
};

// Whole or not at all: a file with the final name is complete.
void write_file(const std::string& path, const std::vector<char>& data) {
  const std::string part = path + ".part";
  std::ofstream file(part, std::ios::binary | std::ios::trunc);
  file.write(data.data(), static_cast<std::streamsize>(data.size()));
  file.close();
  std::error_code error;
  if (file) std::filesystem::rename(part, path, error);
  if (!file || error) {
    throw Error(ExitCode::usage, "The state of the calibration cannot be written to '" + path +
                                     "' (" + std::to_string(data.size()) +
                                     " bytes): make room beside the output file.");
  }
}

std::optional<Reader> read_file(const std::string& path, uint64_t key) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) return {};
  std::vector<char> data(static_cast<size_t>(file.tellg()));
  file.seekg(0);
  file.read(data.data(), static_cast<std::streamsize>(data.size()));
  Reader reader(std::move(data));
  if (!file || !reader.good() || reader.number<uint64_t>() != kMagic ||
      reader.number<uint64_t>() != key) {
    return {};
  }
  return reader;
}

void write_optional(Writer& writer, const std::optional<double>& value) {
  writer.number(static_cast<uint8_t>(value.has_value()));
  writer.number(value.value_or(0.0));
}

std::optional<double> read_optional(Reader& reader) {
  const bool present = reader.number<uint8_t>() != 0;
  const auto value = reader.number<double>();
  return present ? std::optional(value) : std::nullopt;
}

void write_activation(Writer& writer, const WeightOutcome::Activation& activation) {
  const OutlierStatistics& outliers = activation.outliers;
  writer.number(activation.step);
  for (const int64_t count :
       {outliers.rows, outliers.columns, outliers.outliers, outliers.channels}) {
    writer.number(count);
  }
  writer.list(outliers.hot_channels);
  writer.list(outliers.frequencies);
  writer.number(outliers.hit_rate);
  write_optional(writer, activation.shadow_error);
}

WeightOutcome::Activation read_activation(Reader& reader) {
  WeightOutcome::Activation activation;
  OutlierStatistics& outliers = activation.outliers;
  activation.step = reader.number<float>();
  for (int64_t* count :
       {&outliers.rows, &outliers.columns, &outliers.outliers, &outliers.channels}) {
    *count = reader.number<int64_t>();
  }
  outliers.hot_channels = reader.list<int32_t>();
  outliers.frequencies = reader.list<double>();
  outliers.hit_rate = reader.number<double>();
  activation.shadow_error = read_optional(reader);
  return activation;
}

void write_outcome(Writer& writer, const WeightOutcome& outcome) {
  writer.number(static_cast<uint64_t>(outcome.weight));
  writer.text(outcome.method);
  writer.number(outcome.error);
  write_optional(writer, outcome.output_error);
  writer.number(outcome.awq_ratio);
  writer.number(outcome.damping);
  writer.number(outcome.input_most);
  writer.number(outcome.input_percentile_999);
  writer.number(static_cast<uint8_t>(outcome.activation.has_value()));
  if (outcome.activation) write_activation(writer, *outcome.activation);
}

WeightOutcome read_outcome(Reader& reader) {
  WeightOutcome outcome;
  outcome.weight = reader.number<uint64_t>();
  outcome.method = reader.text();
  outcome.error = reader.number<QuantError>();
  outcome.output_error = read_optional(reader);
  outcome.awq_ratio = reader.number<double>();
  outcome.damping = reader.number<double>();
  outcome.input_most = reader.number<float>();
  outcome.input_percentile_999 = reader.number<float>();
  if (reader.number<uint8_t>() != 0) outcome.activation = read_activation(reader);
  return outcome;
}

std::vector<char> border_bytes(uint64_t key, const std::vector<LayerRun::Values>& borders) {
  Writer writer;
  writer.number(kMagic);
  writer.number(key);
  writer.number(static_cast<uint64_t>(borders.size()));
  for (const LayerRun::Values& values : borders) {
    writer.number(static_cast<uint64_t>(values.size()));
    for (const auto& [value, tensor] : values) {
      writer.number(value);
      writer.number(tensor.type);
      writer.list(tensor.shape);
      writer.list(tensor.f);
      writer.list(tensor.i);
    }
  }
  return writer.take();
}

std::optional<std::vector<LayerRun::Values>> read_borders(const std::string& path, uint64_t key,
                                                          size_t windows) {
  std::optional<Reader> reader = read_file(path, key);
  if (!reader || reader->number<uint64_t>() != windows) return {};
  std::vector<LayerRun::Values> borders(windows);
  for (LayerRun::Values& values : borders) {
    const auto count = reader->number<uint64_t>();
    for (uint64_t i = 0; i < count && reader->good(); ++i) {
      const auto value = reader->number<ir::ValueId>();
      reference::HostTensor tensor;
      tensor.type = reader->number<ir::ElementType>();
      tensor.shape = reader->list<int64_t>();
      tensor.f = reader->list<float>();
      tensor.i = reader->list<int64_t>();
      values.emplace(value, std::move(tensor));
    }
  }
  if (!reader->good()) return {};
  return borders;
}

}  // namespace

Journal::Journal(std::string folder, uint64_t key) : folder_(std::move(folder)), key_(key) {}

std::string Journal::record_path(int index) const {
  return folder_ + "/layer-" + std::to_string(index);
}
std::string Journal::border_path(int index) const {
  return folder_ + "/border-" + std::to_string(index);
}

std::optional<LayerRecord> Journal::read_record(int index) const {
  std::optional<Reader> reader = read_file(record_path(index), key_);
  if (!reader) return {};
  LayerRecord record;
  const auto scales = reader->number<uint64_t>();
  for (uint64_t i = 0; i < scales && reader->good(); ++i) {
    WeightScales one;
    one.weight = reader->number<uint64_t>();
    one.rows = reader->number<uint8_t>() != 0;
    one.first = reader->number<int64_t>();
    one.factors = reader->list<float>();
    record.scales.push_back(std::move(one));
  }
  const auto outcomes = reader->number<uint64_t>();
  for (uint64_t i = 0; i < outcomes && reader->good(); ++i) {
    record.outcomes.push_back(read_outcome(*reader));
    record.codes.push_back(reader->list<uint8_t>());
    record.pairs.push_back(reader->list<uint8_t>());
  }
  if (!reader->good()) return {};
  return record;
}

int Journal::load(const std::function<void(const LayerRecord&)>& apply,
                  std::vector<LayerRun::Values>* borders) {
  int last = -1;  // record whose border is there
  std::optional<std::vector<LayerRun::Values>> found;
  for (int index = 0; std::filesystem::exists(record_path(index)); ++index) {
    if (!std::filesystem::exists(border_path(index))) continue;
    auto values = read_borders(border_path(index), key_, borders->size());
    if (!values) continue;
    last = index;
    found = std::move(values);
  }
  for (int index = 0; index <= last; ++index) {
    const std::optional<LayerRecord> record = read_record(index);
    if (!record) {
      places_.clear();
      return 0;
    }
    for (size_t i = 0; i < record->outcomes.size(); ++i) {
      places_[record->outcomes[i].weight] = {index, i};
    }
  }
  for (int index = 0; index <= last; ++index) apply(read_record(index).value());
  if (found) *borders = std::move(*found);
  return last + 1;
}

void Journal::save(int index, const LayerRecord& record,
                   const std::vector<LayerRun::Values>& borders) {
  std::error_code ignored;
  std::filesystem::create_directories(folder_, ignored);  // write_file says when there is none
  Writer writer;
  writer.number(kMagic);
  writer.number(key_);
  writer.number(static_cast<uint64_t>(record.scales.size()));
  for (const WeightScales& one : record.scales) {
    writer.number(static_cast<uint64_t>(one.weight));
    writer.number(static_cast<uint8_t>(one.rows));
    writer.number(one.first);
    writer.list(one.factors);
  }
  writer.number(static_cast<uint64_t>(record.outcomes.size()));
  for (size_t i = 0; i < record.outcomes.size(); ++i) {
    write_outcome(writer, record.outcomes[i]);
    writer.list(record.codes[i]);
    writer.list(record.pairs[i]);
    places_[record.outcomes[i].weight] = {index, i};
  }
  write_file(record_path(index), writer.take());
  write_file(border_path(index), border_bytes(key_, borders));
  std::filesystem::remove(border_path(index - 1), ignored);
}

void Journal::read(size_t weight, std::vector<uint8_t>* codes, std::vector<uint8_t>* pairs) {
  const Place place = places_.at(weight);
  if (place.record != cached_) {
    std::optional<LayerRecord> record = read_record(place.record);
    if (!record) {
      throw Error(ExitCode::bad_input, "The state of the calibration '" +
                                           record_path(place.record) +
                                           "' was damaged meanwhile: convert again.");
    }
    cache_ = std::move(*record);
    cached_ = place.record;
  }
  *codes = cache_.codes[place.outcome];
  *pairs = cache_.pairs[place.outcome];
}

void Journal::remove() {
  std::error_code ignored;
  std::vector<std::filesystem::path> own;
  for (const auto& entry : std::filesystem::directory_iterator(folder_, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("layer-") || name.starts_with("border-")) own.push_back(entry.path());
  }
  for (const std::filesystem::path& path : own) std::filesystem::remove(path, ignored);
  std::filesystem::remove(folder_, ignored);  // stays when somebody else's files lie there
}

}  // namespace pocket
