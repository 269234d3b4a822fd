#include <iostream>
#include <nlohmann/json.hpp>

#include "runtime/bench/commands.h"
#include "runtime/bench/open.h"
#include "runtime/bench/output.h"
#include "runtime/bench/peaks.h"
#include "runtime/vulkan/pipeline.h"

namespace pocket::bench {
namespace {

// Asked for, one by one, on a device of its own each: advertised and granted differ on phones.
nlohmann::json granted_priorities(const Instance& instance, const DeviceInfo& info) {
  nlohmann::json granted = nlohmann::json::object();
  for (QueuePriority priority : {QueuePriority::low, QueuePriority::medium, QueuePriority::high}) {
    DeviceOptions options;
    options.device = std::to_string(info.index);
    options.priority = priority;
    options.cache_folder = "-";
    const Device device(instance, options);
    const bool given = device.granted_priority() == priority;
    granted[queue_priority_name(priority)] = {{"granted", given}, {"note", device.priority_note()}};
  }
  return granted;
}

void print(const nlohmann::json& device) {
  std::cout << device.at("index").get<uint32_t>() << "  " << device.at("name").get<std::string>()
            << "\n   type " << device.at("type").get<std::string>() << ", driver "
            << device.at("driver").get<std::string>() << ", Vulkan "
            << device.at("api_version").get<std::string>() << "\n";
  if (!device.at("usable").get<bool>()) {
    std::cout << "   not usable: " << device.at("unusable_because").get<std::string>() << "\n";
    return;
  }
  std::cout << "   heap " << bytes_text(device.at("device_heap_bytes").get<uint64_t>()) << "\n";
  for (const char* section : {"limits", "features"}) {
    std::cout << "   " << section << "\n";
    for (const auto& [key, value] : device.at(section).items()) {
      if (key != "name" && key != "quirks") {
        std::cout << "     " << key << " " << value.dump() << "\n";
      }
    }
  }
  for (const nlohmann::json& quirk : device.at("quirks")) {
    std::cout << "   quirk " << quirk.at("flag").get<std::string>() << ": "
              << quirk.at("why").get<std::string>() << " (" << quirk.at("link").get<std::string>()
              << ")\n";
  }
  for (const auto& [name, entry] : device.at("priorities").items()) {
    std::cout << "   priority " << name << ": "
              << (entry.at("granted").get<bool>() ? "granted" : entry.at("note").get<std::string>())
              << "\n";
  }
}

std::string indented(const std::string& lines) {
  std::string text = "     ";
  for (const char c : lines.substr(0, lines.size() - 1)) {
    text += c;
    if (c == '\n') text += "     ";
  }
  return text + "\n";
}

Peaks measure(const Instance& instance, const DeviceInfo& info) {
  progress(false, "measuring " + info.name);
  DeviceOptions options;
  options.device = std::to_string(info.index);
  Device device(instance, options);
  const Peaks peaks = measure_peaks(device, PeakChoice::all);
  device.pipelines().save_cache();
  return peaks;
}

}  // namespace

ExitCode devices(const DevicesOptions& options) {
  check_writable(options.json);
  const Instance instance;
  nlohmann::json list = nlohmann::json::array();
  std::vector<std::string> measured;  // by device
  for (const DeviceInfo& info : list_devices(instance)) {
    nlohmann::json device = to_json(info);
    device["priorities"] =
        info.unusable.empty() ? granted_priorities(instance, info) : nlohmann::json::object();
    std::string text;
    if (options.measure && info.unusable.empty()) {
      const Peaks peaks = measure(instance, info);
      device["measured"] = to_json(peaks);
      text = to_text(peaks);
    }
    measured.push_back(text);
    list.push_back(std::move(device));
  }
  if (list.empty()) {
    throw Error(ExitCode::device,
                "no Vulkan device was found; install a driver (Debian: mesa-vulkan-drivers)");
  }
  if (!options.json.empty()) {
    write_json(options.json,
               {{"schema", "pocketformer.devices"}, {"version", 1}, {"devices", list}});
  }
  if (options.json != "-") {
    for (size_t i = 0; i < list.size(); ++i) {
      print(list[i]);
      if (!measured[i].empty()) std::cout << "   measured\n" << indented(measured[i]);
    }
  }
  return ExitCode::ok;
}

}  // namespace pocket::bench
