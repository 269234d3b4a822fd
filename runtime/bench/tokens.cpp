#include "runtime/bench/tokens.h"

#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>

#include "runtime/base/error.h"

namespace pocket::bench {
namespace {

void check_id(int64_t id, int64_t vocab, ExitCode code) {
  if (id >= 0 && id < vocab) return;
  throw Error(code, "the token id " + std::to_string(id) + " is outside of the vocabulary, 0 to " +
                        std::to_string(vocab - 1));
}

std::vector<int32_t> ids_from_json(const nlohmann::json& array, int64_t vocab,
                                   const std::string& path) {
  std::vector<int32_t> ids;
  if (!array.is_array()) {
    throw Error(ExitCode::bad_input, "the file " + path + " holds no array of token ids");
  }
  for (const nlohmann::json& id : array) {
    if (!id.is_number_integer()) {
      throw Error(ExitCode::bad_input,
                  "the file " + path + " holds " +
                      id.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) +
                      " where a token id belongs");
    }
    const int64_t value = id.get<int64_t>();
    check_id(value, vocab, ExitCode::bad_input);
    ids.push_back(static_cast<int32_t>(value));
  }
  return ids;
}

nlohmann::json read_json(const std::string& path) {
  try {
    return nlohmann::json::parse(read_text_file(path));
  } catch (const nlohmann::json::exception& error) {
    throw Error(ExitCode::bad_input, "the file " + path + " is no JSON: " + error.what());
  }
}

}  // namespace

std::string read_text_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  const bool empty = file.is_open() && file.peek() == std::ifstream::traits_type::eof();
  if (!empty) text << file.rdbuf();
  if (!file.is_open() || file.bad() || (!empty && !text)) {
    throw Error(ExitCode::bad_input,
                "the file " + path + " cannot be read: " + std::strerror(errno));
  }
  return std::move(text).str();
}

std::vector<int32_t> read_tokens(const std::string& list_or_file, int64_t vocab) {
  if (list_or_file.find_first_not_of("0123456789, ") != std::string::npos) {
    const nlohmann::json json = read_json(list_or_file);
    const bool named = json.is_object() && json.contains("tokens");
    return ids_from_json(named ? json.at("tokens") : json, vocab, list_or_file);
  }
  std::vector<int32_t> ids;
  const char* at = list_or_file.data();
  const char* end = at + list_or_file.size();
  while (at != end) {
    if (*at == ',' || *at == ' ') {
      ++at;
      continue;
    }
    int64_t id = 0;
    const auto [next, error] = std::from_chars(at, end, id);
    if (error != std::errc()) {
      throw Error(ExitCode::usage, "\"" + list_or_file + "\" is no list of token ids like 1,2,3");
    }
    check_id(id, vocab, ExitCode::usage);
    ids.push_back(static_cast<int32_t>(id));
    at = next;
  }
  return ids;
}

TokenWindows read_token_windows(const std::string& path, int64_t vocab) {
  nlohmann::json json = read_json(path);
  if (json.is_object() && json.contains("tokens")) json = nlohmann::json(json.at("tokens"));
  TokenWindows windows;
  windows.windowed = json.is_array() && !json.empty() && json.front().is_array();
  if (!windows.windowed) {
    windows.lists.push_back(ids_from_json(json, vocab, path));
    return windows;
  }
  for (const nlohmann::json& window : json) {
    windows.lists.push_back(ids_from_json(window, vocab, path));
  }
  return windows;
}

std::vector<int32_t> measuring_tokens(int64_t count, int64_t vocab) {
  std::vector<int32_t> ids(static_cast<size_t>(count));
  uint64_t state = 1;
  for (int32_t& id : ids) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    id = static_cast<int32_t>((state >> 33) % static_cast<uint64_t>(vocab));
  }
  return ids;
}

}  // namespace pocket::bench
