#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>

#include "test/support/catch.h"
#include "test/vulkan/fixture.h"

namespace pocket::test {
namespace {

// Puts a function of ours in the place of an instance-level one until the end of the scope.
template <typename Function>
class Replaced {
 public:
  Replaced(Function& slot, Function replacement) : slot_(slot), original_(slot) {
    slot_ = replacement;
  }
  ~Replaced() { slot_ = original_; }
  Replaced(const Replaced&) = delete;
  Replaced& operator=(const Replaced&) = delete;
  Function original() const { return original_; }

 private:
  Function& slot_;
  Function original_;
};

PFN_vkEnumerateDeviceExtensionProperties g_enumerate = nullptr;
PFN_vkCreateDevice g_create = nullptr;
int g_priority_requests = 0;

// The device's extensions and VK_EXT_global_priority.
VKAPI_ATTR VkResult VKAPI_CALL with_priority(VkPhysicalDevice device, const char* layer,
                                             uint32_t* count, VkExtensionProperties* all) {
  if (!all) {
    const VkResult result = g_enumerate(device, layer, count, nullptr);
    ++*count;
    return result;
  }
  uint32_t own = *count - 1;
  const VkResult result = g_enumerate(device, layer, &own, all);
  all[own] = {};
  std::strcpy(all[own].extensionName, VK_EXT_GLOBAL_PRIORITY_EXTENSION_NAME);
  *count = own + 1;
  return result;
}

VKAPI_ATTR VkResult VKAPI_CALL refuse_priority(VkPhysicalDevice device,
                                               const VkDeviceCreateInfo* info,
                                               const VkAllocationCallbacks* callbacks,
                                               VkDevice* out) {
  if (info->pQueueCreateInfos[0].pNext) {
    ++g_priority_requests;
    return VK_ERROR_NOT_PERMITTED_KHR;
  }
  return g_create(device, info, callbacks, out);
}

// Grants the priority by leaving it out: the driver below does not know it.
VKAPI_ATTR VkResult VKAPI_CALL grant_priority(VkPhysicalDevice device,
                                              const VkDeviceCreateInfo* info,
                                              const VkAllocationCallbacks* callbacks,
                                              VkDevice* out) {
  VkDeviceCreateInfo plain = *info;
  VkDeviceQueueCreateInfo queue = info->pQueueCreateInfos[0];
  if (queue.pNext) ++g_priority_requests;
  queue.pNext = nullptr;
  plain.pQueueCreateInfos = &queue;
  plain.enabledExtensionCount = 0;
  return g_create(device, &plain, callbacks, out);
}

}  // namespace

TEST_CASE("devices are listed with limits that a kernel can live with") {
  const std::vector<DeviceInfo> devices = list_devices(shared_instance());
  REQUIRE(!devices.empty());
  const nlohmann::json json = to_json(choose_device(devices, ""));
  CHECK(json.at("usable") == true);
  CHECK(json.at("limits").at("max_invocations").get<uint32_t>() >= 128);
  CHECK(json.at("limits").at("shared_memory").get<uint32_t>() >= 16384);
  CHECK(json.at("limits").at("max_binding").get<uint64_t>() >= 128ull << 20);
  CHECK(!json.at("driver").get<std::string>().empty());
}

TEST_CASE("a device is chosen by index or part of its name in any case") {
  std::vector<DeviceInfo> devices(3);
  devices[0].name = "llvmpipe (LLVM 15)";
  devices[0].type = "cpu";
  devices[1].name = "Adreno (TM) 740";
  devices[1].type = "integrated";
  devices[2].name = "NVIDIA H200";
  devices[2].type = "discrete";
  for (uint32_t i = 0; i < 3; ++i) devices[i].index = i;

  CHECK(&choose_device(devices, "") == &devices[2]);
  CHECK(&choose_device(devices, "1") == &devices[1]);
  CHECK(&choose_device(devices, "LLVMPIPE") == &devices[0]);
  CHECK(&choose_device(devices, "740") == &devices[1]);
  const Error unknown = error_of([&] { choose_device(devices, "mali"); });
  CHECK(unknown.code == ExitCode::usage);
  CHECK(contains(unknown.what(), "Adreno (TM) 740"));
  CHECK(error_of([&] { choose_device(devices, "3"); }).code == ExitCode::usage);

  devices[2].unusable = "it has no queue for compute";
  CHECK(&choose_device(devices, "") == &devices[1]);
  const Error unusable = error_of([&] { choose_device(devices, "2"); });
  CHECK(unusable.code == ExitCode::device);
  CHECK(contains(unusable.what(), "no queue for compute"));
  CHECK(error_of([&] { choose_device({}, ""); }).code == ExitCode::device);
}

TEST_CASE("without a driver the answer is one sentence and the device exit code") {
  const char* before = std::getenv("VK_DRIVER_FILES");
  const std::string saved = before ? before : "";
  setenv("VK_DRIVER_FILES", "/nonexistent/driver.json", 1);
  const Error error = error_of([] {
    const Instance instance;
    choose_device(list_devices(instance), "");
  });
  if (before) {
    setenv("VK_DRIVER_FILES", saved.c_str(), 1);
  } else {
    unsetenv("VK_DRIVER_FILES");
  }
  CHECK(error.code == ExitCode::device);
  CHECK(contains(error.what(), "no Vulkan d"));
}

TEST_CASE("a queue priority that the device does not know is recorded, not fatal") {
  const std::vector<DeviceInfo> devices = list_devices(shared_instance());
  DeviceOptions options = no_cache();
  options.priority = QueuePriority::low;
  if (choose_device(devices, "").has_extension(VK_EXT_GLOBAL_PRIORITY_EXTENSION_NAME)) {
    SKIP("this device has VK_EXT_global_priority");
  }
  const Device device(shared_instance(), options);
  CHECK(device.granted_priority() == QueuePriority::standard);
  CHECK(contains(device.priority_note(), "VK_EXT_global_priority"));
}

TEST_CASE("a refused queue priority falls back to the default") {
  const Instance& instance = shared_instance();  // loads the functions that are replaced now
  const Replaced enumerate(vkEnumerateDeviceExtensionProperties, with_priority);
  const Replaced create(vkCreateDevice, refuse_priority);
  g_enumerate = enumerate.original();
  g_create = create.original();
  g_priority_requests = 0;
  DeviceOptions options = no_cache();
  options.priority = QueuePriority::high;
  const Device device(instance, options);
  CHECK(g_priority_requests == 1);
  CHECK(device.granted_priority() == QueuePriority::standard);
  CHECK(contains(device.priority_note(), "VK_ERROR_NOT_PERMITTED"));
}

TEST_CASE("a granted queue priority is recorded") {
  const Instance& instance = shared_instance();  // loads the functions that are replaced now
  const Replaced enumerate(vkEnumerateDeviceExtensionProperties, with_priority);
  const Replaced create(vkCreateDevice, grant_priority);
  g_enumerate = enumerate.original();
  g_create = create.original();
  g_priority_requests = 0;
  DeviceOptions options = no_cache();
  options.priority = QueuePriority::low;
  const Device device(instance, options);
  CHECK(g_priority_requests == 1);
  CHECK(device.granted_priority() == QueuePriority::low);
  CHECK(device.priority_note().empty());
}

TEST_CASE("priorities have the names of the command line") {
  for (const char* name : {"low", "medium", "high", "default"}) {
    CHECK(queue_priority_name(queue_priority_from_name(name)) == std::string(name));
  }
  CHECK(error_of([] { queue_priority_from_name("realtime"); }).code == ExitCode::usage);
}

TEST_CASE("lowered limits are the device's limits, and a raised one is refused") {
  DeviceOptions options = no_cache();
  options.limits = {{"fp16_arithmetic", false},
                    {"storage_8bit", false},
                    {"storage_16bit", false},
                    {"subgroup_size", 0},
                    {"max_binding", 65536}};
  const Device device(shared_instance(), options);
  CHECK_FALSE(device.limits().fp16_arithmetic);
  CHECK_FALSE(device.limits().storage_8bit);
  CHECK_FALSE(device.limits().storage_16bit);
  CHECK(device.limits().subgroup_size == 0);
  CHECK(device.required_subgroup_size() == 0);
  CHECK(device.limits().max_binding == 65536);
  CHECK(device.limits().max_invocations == device.info().limits.max_invocations);

  options.limits = {{"shared_memory", 1u << 30}};
  CHECK(error_of([&] { const Device raised(shared_instance(), options); }).code == ExitCode::usage);
}

}  // namespace pocket::test
