#include "runtime/kernels/selftest.h"

#include <nlohmann/json.hpp>

#include "runtime/bench/commands.h"
#include "runtime/bench/open.h"
#include "runtime/bench/output.h"
#include "runtime/bench/report.h"

namespace pocket::bench {

ExitCode selftest(const SelfTestCommandOptions& options) {
  check_writable(options.json);
  const Package package = open_package(options.model, options.common);
  const Instance instance;
  Device device(instance, device_options(options.common));
  const TunedFile tuned = open_tuned(options.common, device);
  SelftestOptions how = selftest_options(options.common, options.repeats);
  how.tuned = tuned.configs.get();
  const SelftestResult result = pocket::selftest(device, package, how);

  std::string text;
  for (const SelftestEntry& entry : result.entries) {
    text += (entry.ok() ? "pass  " : "FAIL  ") + entry.kernel + "  " + entry.shape + "  error " +
            scientific(entry.error) + " of " + scientific(entry.tolerance) + " in " +
            std::to_string(entry.runs) + " runs  " + entry.label + "  [" + entry.config + "]\n";
  }
  text += std::to_string(result.entries.size()) + " kernels in use on " + device.info().name +
          (result.passed() ? ": passed\n" : ": NOT PASSED, " + result.failure() + "\n");
  if (!options.json.empty()) {
    nlohmann::json document = to_json(result);
    document["schema"] = "pocketformer.selftest";
    document["version"] = 1;
    document["device"] = device.info().name;
    document["driver"] = device.info().driver;
    write_json(options.json, document);
  }
  if (options.json != "-") write_output("-", text);
  return result.passed() ? ExitCode::ok : ExitCode::wrong_result;
}

}  // namespace pocket::bench
