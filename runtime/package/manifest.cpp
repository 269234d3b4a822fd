// The manifest: JSON to structures and back, and every check that needs no bytes of the weights.
#include <algorithm>
#include <set>

#include "runtime/base/checked.h"
#include "runtime/package/package.h"
#include "runtime/package/w8a8.h"
#include "runtime/program/json.h"
#include "runtime/program/json_view.h"

namespace pocket {
namespace {

using nlohmann::json;

constexpr const char* kLayout = "rows32";

std::string hash_text(uint64_t hash) {
  std::string digits(16, '0');
  for (int i = 15; i >= 0; --i, hash >>= 4) digits[size_t(i)] = "0123456789abcdef"[hash & 15];
  return digits;
}

const char* section_dtype(const WeightFormat& format, SectionRole role) {
  const bool w8a8 = format.encoding == Encoding::w8a8;
  if (role == SectionRole::scale) return w8a8 ? "f32i32" : "f16x2";
  if (role == SectionRole::plane) return "u1";
  if (role == SectionRole::lut) return "f16";
  if (w8a8) return "i8";
  return format.encoding == Encoding::f32 ? "f32" : format.encoding == Encoding::f16 ? "f16" : "u4";
}

bool holds(const Manifest& manifest, Encoding encoding) {
  return std::any_of(manifest.weights.begin(), manifest.weights.end(), [&](const Weight& weight) {
    return weight.format.encoding == encoding;
  });
}

std::vector<std::string> features_of(const Manifest& manifest) {
  std::vector<std::string> used = required_features(manifest.program);
  if (holds(manifest, Encoding::any)) used.push_back("any_precision");
  if (holds(manifest, Encoding::w8a8)) used.push_back("w8a8");
  std::sort(used.begin(), used.end());
  return used;
}

json weight_to_json(const Weight& weight) {
  json out = {{"name", weight.name},
              {"shape", weight.shape},
              {"encoding", encoding_name(weight.format.encoding)}};
  if (weight.format.group != 0) out["group"] = weight.format.group;
  for (int32_t width = kLeastWidth; width <= kMostWidth; ++width) {
    if (weight.format.has_width(width)) out["bits"].push_back(width);
  }
  if (weight.format.encoding == Encoding::w8a8) out["act_scale_in"] = weight.act_scale;
  if (weight.outlier) {
    out["outlier"] = {{"importance", weight.outlier->importance},
                      {"hot_channels", weight.outlier->hot_channels},
                      {"hit_rate", weight.outlier->hit_rate}};
  }
  out["sections"] = json::array();
  for (const Section& section : weight.sections) {
    out["sections"].push_back({{"role", section_role_name(section.role)},
                               {"dtype", section_dtype(weight.format, section.role)},
                               {"layout", kLayout},
                               {"shard", section.shard},
                               {"offset", section.offset},
                               {"bytes", section.bytes},
                               {"first_row", section.first_row},
                               {"rows", section.rows}});
    if (section.bits != 0) out["sections"].back()["bits"] = section.bits;
  }
  return out;
}

Outlier outlier_from_json(const JsonView& in) {
  in.keys({"importance", "hot_channels", "hit_rate"});
  Outlier outlier;
  outlier.importance = in["importance"].real32();
  outlier.hit_rate = in["hit_rate"].real32();
  for (const JsonView& channel : in["hot_channels"].list()) {
    outlier.hot_channels.push_back(channel.integer32(0));
  }
  return outlier;
}

Weight weight_from_json(const JsonView& in) {
  in.keys({"name", "shape", "encoding", "group", "bits", "act_scale_in", "outlier", "sections"});
  Weight weight;
  weight.name = in["name"].text();
  for (const JsonView& extent : in["shape"].list()) {
    weight.shape.push_back(extent.integer(1, INT32_MAX));
  }
  if (weight.shape.empty() || weight.shape.size() > 2) in.fail("must have one or two dimensions");
  WeightFormat& format = weight.format;
  format.encoding = in["encoding"].one_of(encoding_name, kLastEncoding);
  format.rows = weight.shape.size() == 2 ? weight.shape[0] : 1;
  format.columns = weight.shape.back();
  if (in.has("group")) format.group = in["group"].integer(0, 256);
  if (in.has("bits")) {
    for (const JsonView& item : in["bits"].list()) {
      const int32_t width = item.integer32(format.width + 1, kMostWidth);  // ascending
      format.widths |= 1u << width;
      format.width = width;
    }
  }
  if (in.has("act_scale_in")) weight.act_scale = in["act_scale_in"].real32();
  if (in.has("outlier")) weight.outlier = outlier_from_json(in["outlier"]);
  if (weight.shape.size() == 1 && format.encoding != Encoding::f32) in.fail("is a vector, so f32");
  check_format(format, weight.name);
  for (const JsonView& item : in["sections"].list()) {
    item.keys({"role", "bits", "dtype", "layout", "shard", "offset", "bytes", "first_row", "rows"});
    Section section;
    section.role = item["role"].one_of(section_role_name, SectionRole::lut);
    if (item.has("bits")) section.bits = item["bits"].integer32(1, kMostWidth);
    if (item["dtype"].text() != section_dtype(format, section.role)) {
      item["dtype"].fail(std::string("must be ") + section_dtype(format, section.role));
    }
    if (item["layout"].text() != kLayout) item["layout"].fail("is an unknown layout");
    section.shard = item["shard"].integer32(0);
    section.offset = item["offset"].size();
    section.bytes = item["bytes"].size();
    section.first_row = item["first_row"].integer(0, INT32_MAX);
    section.rows = item["rows"].integer(1, INT32_MAX);
    weight.sections.push_back(section);
  }
  return weight;
}

[[noreturn]] void fail(const std::string& where, const std::string& what) {
  throw Error(ExitCode::bad_input, where + " " + what + ": the file is damaged, convert it again.");
}

// The sections of each kind cover the rows in order, each once, with exactly their bytes.
void check_sections(const Weight& weight, const std::vector<Shard>& shards) {
  const std::string where = "Weight '" + weight.name + "'";
  const std::vector<SectionKind> kinds = weight.format.section_kinds();
  for (const Section& section : weight.sections) {
    if (std::find(kinds.begin(), kinds.end(), section.kind()) != kinds.end()) continue;
    fail(where, std::string("has a bad section of role ") + section_role_name(section.role) +
                    " at row " + std::to_string(section.first_row));
  }
  for (const SectionKind kind : kinds) {
    const uint64_t bytes_of_row = weight.format.row_bytes(kind);
    int64_t next_row = 0;
    for (const Section& section : weight.sections) {
      if (section.kind() != kind) continue;
      if (static_cast<size_t>(section.shard) >= shards.size()) fail(where, "names a missing shard");
      const uint64_t end = checked_add(section.offset, section.bytes, "a section");
      if (section.first_row != next_row || section.first_row % kBlockRows != 0 ||
          section.rows > weight.format.rows - next_row ||
          section.bytes != checked_mul(static_cast<uint64_t>(section.rows), bytes_of_row) ||
          section.bytes == 0 || section.offset % kTensorAlignment != 0 ||
          end > shards[static_cast<size_t>(section.shard)].bytes) {
        fail(where, std::string("has a bad section of role ") + section_role_name(kind.role) +
                        " at row " + std::to_string(section.first_row));
      }
      next_row += section.rows;
    }
    if (next_row != weight.format.rows) {
      fail(where, std::string("lacks rows of role ") + section_role_name(kind.role));
    }
  }
}

void check_overlaps(const Manifest& manifest) {
  std::vector<std::vector<std::pair<uint64_t, uint64_t>>> used(manifest.shards.size());
  for (const Weight& weight : manifest.weights) {
    for (const Section& section : weight.sections) {
      used[static_cast<size_t>(section.shard)].push_back({section.offset, section.bytes});
    }
  }
  for (size_t i = 0; i < used.size(); ++i) {
    std::sort(used[i].begin(), used[i].end());
    for (size_t k = 1; k < used[i].size(); ++k) {
      if (used[i][k - 1].first + used[i][k - 1].second > used[i][k].first) {
        fail("Shard " + std::to_string(i), "has sections that overlap");
      }
    }
    if (used[i].empty() ||
        used[i].back().first + used[i].back().second != manifest.shards[i].bytes) {
      fail("Shard " + std::to_string(i), "does not end with its last section");
    }
  }
}

void check_shards(const std::vector<Shard>& shards) {
  uint64_t previous_end = 0;
  for (size_t i = 0; i < shards.size(); ++i) {
    const Shard& shard = shards[i];
    if (shard.bytes == 0 || shard.bytes > kShardBytes || shard.offset % kShardAlignment != 0 ||
        shard.offset < previous_end) {
      fail("Shard " + std::to_string(i), "has a bad place or size");
    }
    previous_end = checked_add(shard.offset, shard.bytes, "a shard");
  }
}

std::vector<int32_t> token_ids(const JsonView& in) {
  std::vector<int32_t> ids;
  for (const JsonView& item : in.list()) ids.push_back(item.integer32(0));
  return ids;
}

}  // namespace

json to_json(const Manifest& manifest) {
  json out = {{"format", "pocketformer"},
              {"requires", features_of(manifest)},
              {"program", program_to_json(manifest.program)},
              {"weights", json::array()},
              {"shards", json::array()}};
  for (const Weight& weight : manifest.weights) out["weights"].push_back(weight_to_json(weight));
  for (const Shard& shard : manifest.shards) {
    out["shards"].push_back(
        {{"offset", shard.offset}, {"bytes", shard.bytes}, {"xxh64", hash_text(shard.hash)}});
  }
  out["generation"] = {{"bos_ids", manifest.generation.bos_ids},
                       {"eos_ids", manifest.generation.eos_ids}};
  if (!manifest.tokenizer_json.empty())
    out["tokenizer"]["tokenizer_json"] = manifest.tokenizer_json;
  if (!manifest.tokenizer_config_json.empty()) {
    out["tokenizer"]["tokenizer_config_json"] = manifest.tokenizer_config_json;
  }
  if (!manifest.chat_template.empty()) {
    out["chat"]["template"] = manifest.chat_template;
    if (!manifest.chat_tokens.empty()) out["chat"]["tokens"] = manifest.chat_tokens;
  }
  if (!manifest.provenance.is_null()) out["provenance"] = manifest.provenance;
  return out;
}

Manifest manifest_from_json(const json& value) {
  const JsonView in(value, "manifest");
  if (!in.has("format") || in["format"].text() != "pocketformer") {
    in.fail("is not a manifest of this program");
  }
  Manifest manifest;
  for (const JsonView& feature : in["requires"].list()) {
    if (is_known_feature(feature.text())) continue;
    throw Error(ExitCode::bad_input, "The file requires the feature '" + feature.text() +
                                         "', which this version does not know: use a newer one.");
  }
  manifest.program = program_from_json(in["program"].value());
  for (const JsonView& item : in["shards"].list()) {
    item.keys({"offset", "bytes", "xxh64"});
    manifest.shards.push_back({item["offset"].size(), item["bytes"].size(), item["xxh64"].hash()});
  }
  check_shards(manifest.shards);
  std::vector<std::vector<int64_t>> shapes;
  for (const JsonView& item : in["weights"].list()) {
    manifest.weights.push_back(weight_from_json(item));
    const Weight& weight = manifest.weights.back();
    check_sections(weight, manifest.shards);
    const size_t index = shapes.size();
    if (index >= manifest.program.weights.size() ||
        manifest.program.weights[index] != weight.name) {
      item.fail("is not the weight that the program lists at this place");
    }
    shapes.push_back(weight.shape);
  }
  check_overlaps(manifest);
  verify(manifest.program, shapes);
  check_w8a8(manifest);
  manifest.required_features = features_of(manifest);
  const JsonView generation = in["generation"];
  generation.keys({"bos_ids", "eos_ids"});
  manifest.generation.bos_ids = token_ids(generation["bos_ids"]);
  manifest.generation.eos_ids = token_ids(generation["eos_ids"]);
  if (in.has("tokenizer")) {
    const JsonView tokenizer = in["tokenizer"];
    if (tokenizer.has("tokenizer_json")) {
      manifest.tokenizer_json = tokenizer["tokenizer_json"].text();
    }
    if (tokenizer.has("tokenizer_config_json")) {
      manifest.tokenizer_config_json = tokenizer["tokenizer_config_json"].text();
    }
  }
  if (in.has("chat")) {
    manifest.chat_template = in["chat"]["template"].text();
    if (in["chat"].has("tokens")) {
      const JsonView tokens = in["chat"]["tokens"];
      if (!tokens.value().is_object()) tokens.fail("is not an object");
      for (const auto& [name, ignored] : tokens.value().items()) {
        manifest.chat_tokens[name] = tokens[name.c_str()].text();
      }
    }
  }
  if (in.has("provenance")) manifest.provenance = in["provenance"].value();
  return manifest;
}

}  // namespace pocket
