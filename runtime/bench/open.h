// From options to a device, a package and an engine, in that order, freed in the other one.
#pragma once

#include <memory>
#include <string>

#include "runtime/bench/options.h"
#include "runtime/bench/tuned_cache.h"
#include "runtime/engine/session.h"
#include "runtime/text/tokenizer.h"
#include "runtime/vulkan/device.h"

namespace pocket::bench {

DeviceOptions device_options(const CommonOptions&);
EngineOptions engine_options(const CommonOptions&);

// The tuned rows for the device, or none with --no-tuned; says when a file was ignored.
TunedFile open_tuned(const CommonOptions&, const Device&);
// The options with these rows.
EngineOptions with_tuned(EngineOptions, const TunedFile&);

// The model at --precision. Throws Error(usage) when the file does not hold it.
Package open_package(const std::string& path, const CommonOptions&);

// Instance, device and one engine on it.
struct Session {
  Session(const CommonOptions&, Package, const EngineOptions&);
  Instance instance;
  Device device;
  TunedFile tuned;
  Engine engine;
};

// Throws Error(bad_input) when the model came without a tokenizer.
Tokenizer open_tokenizer(const Package&);

}  // namespace pocket::bench
