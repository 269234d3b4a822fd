#include "runtime/bench/output.h"

#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <system_error>

#include "runtime/base/error.h"

namespace pocket::bench {

void check_writable(const std::string& path) {
  if (path.empty() || path == "-") return;
  const std::filesystem::path folder = std::filesystem::absolute(path).parent_path();
  if (::access(folder.c_str(), W_OK) != 0) {
    throw Error(ExitCode::usage, "the file " + path + " cannot be written; choose another place");
  }
}

void write_output(const std::string& path, const std::string& text) {
  if (path == "-") {
    std::cout << text;
    return;
  }
  const std::string temporary = path + "." + std::to_string(::getpid()) + ".tmp";
  std::error_code error;
  {
    std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
    file << text;
    file.flush();
    if (!file) error = std::make_error_code(std::errc::io_error);
  }
  if (!error) std::filesystem::rename(temporary, path, error);
  if (error) {
    std::error_code ignored;
    std::filesystem::remove(temporary, ignored);
    throw Error(ExitCode::usage, "the file " + path + " cannot be written; choose another place");
  }
}

void write_json(const std::string& path, const nlohmann::json& document) {
  write_output(path, document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

void progress(bool quiet, const std::string& sentence) {
  if (!quiet) std::cerr << "llmbench: " << sentence << "\n";
}

std::string hex16(uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof(text), "%016llx", static_cast<unsigned long long>(value));
  return text;
}

std::string fixed(double value, int digits) {
  char text[64];
  std::snprintf(text, sizeof(text), "%.*f", digits, value);
  return text;
}

std::string bytes_text(uint64_t bytes) {
  if (bytes < 1024) return std::to_string(bytes) + " B";
  const double kib = static_cast<double>(bytes) / 1024;
  return kib < 1024 ? fixed(kib, 1) + " KiB" : fixed(kib / 1024, 1) + " MiB";
}

}  // namespace pocket::bench
