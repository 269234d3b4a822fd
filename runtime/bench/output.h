// Where data goes: "-" is stdout, everything else a file that is written whole or not at all.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace pocket::bench {

// Before the work starts: throws Error(usage) when `path` is neither empty nor "-" and its folder
// takes no new file.
void check_writable(const std::string& path);

// Throws Error(usage) when the file cannot be written.
void write_output(const std::string& path, const std::string& text);
void write_json(const std::string& path, const nlohmann::json& document);

// stderr, with "llmbench: " in front; nothing when quiet.
void progress(bool quiet, const std::string& sentence);

std::string hex16(uint64_t value);  // 16 digits
std::string fixed(double value, int digits);
std::string bytes_text(uint64_t bytes);  // "12.3 MiB"

}  // namespace pocket::bench
