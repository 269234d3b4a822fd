#include "runtime/vulkan/device_info.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <nlohmann/json.hpp>

#include "runtime/base/error.h"
#include "runtime/vulkan/quirks.h"
#include "runtime/vulkan/result.h"

namespace pocket {
namespace {

constexpr const char* kPriorityNames[] = {"low", "medium", "high", "default"};

const char* type_name(VkPhysicalDeviceType type) {
  switch (type) {
    case VK_PHYSICAL_DEVICE_TYPE_CPU:
      return "cpu";
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
      return "integrated";
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
      return "discrete";
    case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU:
      return "virtual";
    default:
      return "other";
  }
}

std::string version_text(uint32_t version) {
  return std::to_string(VK_API_VERSION_MAJOR(version)) + "." +
         std::to_string(VK_API_VERSION_MINOR(version)) + "." +
         std::to_string(VK_API_VERSION_PATCH(version));
}

void read_extensions(DeviceInfo& info) {
  uint32_t count = 0;
  check(vkEnumerateDeviceExtensionProperties(info.handle, nullptr, &count, nullptr),
        "listing the device's extensions");
  std::vector<VkExtensionProperties> all(count);
  check(vkEnumerateDeviceExtensionProperties(info.handle, nullptr, &count, all.data()),
        "listing the device's extensions");
  for (const VkExtensionProperties& extension : all) {
    info.extensions.emplace_back(extension.extensionName);
  }
  std::sort(info.extensions.begin(), info.extensions.end());
}

// Chains `next` behind `head`, in front of what hangs there already.
template <typename Head, typename Next>
void chain(Head& head, Next& next) {
  next.pNext = head.pNext;
  head.pNext = &next;
}

void read_properties(DeviceInfo& info, uint32_t api) {
  VkPhysicalDeviceProperties2 properties{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2};
  VkPhysicalDeviceSubgroupProperties subgroup{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES};
  VkPhysicalDeviceMaintenance3Properties maintenance{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_3_PROPERTIES};
  VkPhysicalDeviceDriverProperties driver{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES};
  VkPhysicalDeviceSubgroupSizeControlProperties control{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_PROPERTIES};
  VkPhysicalDeviceExternalMemoryHostPropertiesEXT host{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_MEMORY_HOST_PROPERTIES_EXT};
  VkPhysicalDeviceShaderIntegerDotProductProperties dot{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_PROPERTIES};
  chain(properties, subgroup);
  chain(properties, maintenance);
  if (api >= VK_API_VERSION_1_3 ||
      info.has_extension(VK_KHR_SHADER_INTEGER_DOT_PRODUCT_EXTENSION_NAME)) {
    chain(properties, dot);
  }
  if (info.has_extension(VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME)) chain(properties, host);
  const bool has_driver =
      api >= VK_API_VERSION_1_2 || info.has_extension(VK_KHR_DRIVER_PROPERTIES_EXTENSION_NAME);
  const bool has_control =
      api >= VK_API_VERSION_1_3 || info.has_extension(VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME);
  if (has_driver) chain(properties, driver);
  if (has_control) chain(properties, control);
  vkGetPhysicalDeviceProperties2(info.handle, &properties);

  const VkPhysicalDeviceLimits& limits = properties.properties.limits;
  info.driver = has_driver ? std::string(driver.driverName) + " " + driver.driverInfo
                           : "driver " + std::to_string(info.driver_version);
  info.timestamp_period = limits.timestampPeriod;
  info.non_coherent_atom = limits.nonCoherentAtomSize;
  info.max_allocation = maintenance.maxMemoryAllocationSize;
  info.host_import_alignment = host.minImportedHostPointerAlignment;
  if (has_control && (control.requiredSubgroupSizeStages & VK_SHADER_STAGE_COMPUTE_BIT)) {
    info.subgroup_min = control.minSubgroupSize;
    info.subgroup_max = control.maxSubgroupSize;
  }

  DeviceLimits& out = info.limits;
  out.name = info.name;
  out.max_invocations = limits.maxComputeWorkGroupInvocations;
  for (size_t i = 0; i < 3; ++i) {
    out.max_group_size[i] = limits.maxComputeWorkGroupSize[i];
    out.max_group_count[i] = limits.maxComputeWorkGroupCount[i];
  }
  out.shared_memory = limits.maxComputeSharedMemorySize;
  out.max_binding = limits.maxStorageBufferRange;
  out.max_storage_buffers =
      std::min({limits.maxPerStageDescriptorStorageBuffers, limits.maxDescriptorSetStorageBuffers,
                limits.maxPerStageResources});
  out.max_push_constants = limits.maxPushConstantsSize;
  out.offset_alignment =
      std::max(4u, static_cast<uint32_t>(std::max(limits.minStorageBufferOffsetAlignment,
                                                  limits.minTexelBufferOffsetAlignment)));
  // Activations, codes and pairs of two matrices; their formats are mandatory.
  constexpr uint32_t kMostTexelBuffers = 5;
  const bool texels = limits.maxPerStageDescriptorStorageImages >= kMostTexelBuffers &&
                      limits.maxDescriptorSetStorageImages >= kMostTexelBuffers;
  out.max_texels = texels ? limits.maxTexelBufferElements : 0;
  // What "subgroup operations" means to the kernels.
  constexpr VkSubgroupFeatureFlags kNeeded =
      VK_SUBGROUP_FEATURE_BASIC_BIT | VK_SUBGROUP_FEATURE_ARITHMETIC_BIT |
      VK_SUBGROUP_FEATURE_BALLOT_BIT | VK_SUBGROUP_FEATURE_SHUFFLE_BIT;
  const bool subgroups = (subgroup.supportedStages & VK_SHADER_STAGE_COMPUTE_BIT) != 0 &&
                         (subgroup.supportedOperations & kNeeded) == kNeeded &&
                         subgroup.subgroupSize > 1;
  out.subgroup_size = subgroups ? subgroup.subgroupSize : 0;
  out.dot_signed = dot.integerDotProduct4x8BitPackedSignedAccelerated;
  out.dot_mixed = dot.integerDotProduct4x8BitPackedMixedSignednessAccelerated;
}

void read_features(DeviceInfo& info, uint32_t api) {
  VkPhysicalDeviceFeatures2 features{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2};
  VkPhysicalDevice16BitStorageFeatures storage16{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_16BIT_STORAGE_FEATURES};
  VkPhysicalDevice8BitStorageFeatures storage8{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_8BIT_STORAGE_FEATURES};
  VkPhysicalDeviceShaderFloat16Int8Features float16{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_FLOAT16_INT8_FEATURES};
  VkPhysicalDeviceTimelineSemaphoreFeatures timeline{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_TIMELINE_SEMAPHORE_FEATURES};
  VkPhysicalDeviceSubgroupSizeControlFeatures control{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES};
  VkPhysicalDeviceShaderIntegerDotProductFeatures dot{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES};
  chain(features, storage16);
  const bool v12 = api >= VK_API_VERSION_1_2, v13 = api >= VK_API_VERSION_1_3;
  if (v12 || info.has_extension(VK_KHR_8BIT_STORAGE_EXTENSION_NAME)) chain(features, storage8);
  if (v12 || info.has_extension(VK_KHR_SHADER_FLOAT16_INT8_EXTENSION_NAME)) {
    chain(features, float16);
  }
  if (v12 || info.has_extension(VK_KHR_TIMELINE_SEMAPHORE_EXTENSION_NAME)) {
    chain(features, timeline);
  }
  if (v13 || info.has_extension(VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME)) {
    chain(features, control);
  }
  if (v13 || info.has_extension(VK_KHR_SHADER_INTEGER_DOT_PRODUCT_EXTENSION_NAME)) {
    chain(features, dot);
  }
  vkGetPhysicalDeviceFeatures2(info.handle, &features);
  info.limits.storage_16bit = storage16.storageBuffer16BitAccess;
  info.limits.storage_8bit = storage8.storageBuffer8BitAccess;
  info.limits.fp16_arithmetic = float16.shaderFloat16;
  info.timeline_semaphore = timeline.timelineSemaphore;
  info.subgroup_size_control = control.subgroupSizeControl && info.subgroup_max != 0;
  info.integer_dot_product = dot.shaderIntegerDotProduct;
  info.limits.dot_product = dot.shaderIntegerDotProduct;
}

QueuePriority from_vulkan(VkQueueGlobalPriorityKHR priority) {
  if (priority == VK_QUEUE_GLOBAL_PRIORITY_LOW_KHR) return QueuePriority::low;
  if (priority == VK_QUEUE_GLOBAL_PRIORITY_MEDIUM_KHR) return QueuePriority::medium;
  return QueuePriority::high;
}

// A family for compute alone leaves the graphics queue to the screen; else the first with compute.
void read_queues(DeviceInfo& info) {
  const bool query = info.has_extension(VK_KHR_GLOBAL_PRIORITY_EXTENSION_NAME) ||
                     info.has_extension(VK_EXT_GLOBAL_PRIORITY_QUERY_EXTENSION_NAME);
  uint32_t count = 0;
  vkGetPhysicalDeviceQueueFamilyProperties2(info.handle, &count, nullptr);
  std::vector<VkQueueFamilyProperties2> families(
      count, {VK_STRUCTURE_TYPE_QUEUE_FAMILY_PROPERTIES_2, nullptr, {}});
  std::vector<VkQueueFamilyGlobalPriorityPropertiesKHR> priorities(
      count, {VK_STRUCTURE_TYPE_QUEUE_FAMILY_GLOBAL_PRIORITY_PROPERTIES_KHR, nullptr, 0, {}});
  for (uint32_t i = 0; query && i < count; ++i) families[i].pNext = &priorities[i];
  vkGetPhysicalDeviceQueueFamilyProperties2(info.handle, &count, families.data());

  uint32_t chosen = count;
  for (uint32_t i = 0; i < count; ++i) {
    const VkQueueFlags flags = families[i].queueFamilyProperties.queueFlags;
    if (!(flags & VK_QUEUE_COMPUTE_BIT)) continue;
    if (!(flags & VK_QUEUE_GRAPHICS_BIT)) {
      chosen = i;
      break;
    }
    if (chosen == count) chosen = i;
  }
  if (chosen == count) {
    info.unusable = "it has no queue for compute";
    return;
  }
  info.queue_family = chosen;
  info.timestamp_bits = families[chosen].queueFamilyProperties.timestampValidBits;
  for (uint32_t i = 0;
       i < std::min<uint32_t>(priorities[chosen].priorityCount, VK_MAX_GLOBAL_PRIORITY_SIZE_KHR);
       ++i) {
    const VkQueueGlobalPriorityKHR priority = priorities[chosen].priorities[i];
    if (priority != VK_QUEUE_GLOBAL_PRIORITY_REALTIME_KHR) {
      info.priorities.push_back(from_vulkan(priority));
    }
  }
}

DeviceInfo read_device(VkPhysicalDevice handle, uint32_t index, uint32_t instance_version) {
  DeviceInfo info;
  info.handle = handle;
  info.index = index;
  VkPhysicalDeviceProperties properties{};
  vkGetPhysicalDeviceProperties(handle, &properties);
  info.name = properties.deviceName;
  info.limits.name = info.name;
  info.type = type_name(properties.deviceType);
  info.vendor_id = properties.vendorID;
  info.device_id = properties.deviceID;
  info.driver_version = properties.driverVersion;
  info.api_version = properties.apiVersion;
  std::copy_n(properties.pipelineCacheUUID, VK_UUID_SIZE, info.pipeline_cache_uuid);
  if (properties.apiVersion < VK_API_VERSION_1_1) {
    info.unusable =
        "it offers Vulkan " + version_text(properties.apiVersion) + " and 1.1 is needed";
    return info;
  }
  const uint32_t api = std::min(properties.apiVersion, instance_version);
  read_extensions(info);
  read_properties(info, api);
  read_features(info, api);
  read_queues(info);
  info.shares_host_memory = info.type == "cpu" || info.type == "integrated";
  info.cooperative_matrix = info.has_extension("VK_KHR_cooperative_matrix");
  VkPhysicalDeviceMemoryProperties memory{};
  vkGetPhysicalDeviceMemoryProperties(handle, &memory);
  for (uint32_t i = 0; i < memory.memoryHeapCount; ++i) {
    if (memory.memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) {
      info.device_heap_bytes += memory.memoryHeaps[i].size;
    }
  }
  return info;
}

std::string lower_case(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

// Names for messages: "0 llvmpipe, 1 Adreno 740".
std::string names_of(const std::vector<DeviceInfo>& devices) {
  std::string text;
  for (const DeviceInfo& info : devices) {
    if (!text.empty()) text += ", ";
    text += std::to_string(info.index) + " \"" + info.name + "\"";
  }
  return text.empty() ? "none" : text;
}

const DeviceInfo& usable_or_throw(const DeviceInfo& info) {
  if (!info.unusable.empty()) {
    throw Error(ExitCode::device,
                "the device \"" + info.name + "\" cannot be used: " + info.unusable);
  }
  return info;
}

}  // namespace

const char* queue_priority_name(QueuePriority priority) {
  return kPriorityNames[static_cast<size_t>(priority)];
}

QueuePriority queue_priority_from_name(std::string_view name) {
  for (size_t i = 0; i < std::size(kPriorityNames); ++i) {
    if (name == kPriorityNames[i]) return static_cast<QueuePriority>(i);
  }
  throw Error(ExitCode::usage,
              "the priority \"" + std::string(name) + "\" is none of low, medium, high, default");
}

bool DeviceInfo::has_extension(std::string_view extension) const {
  return std::binary_search(extensions.begin(), extensions.end(), extension);
}

std::vector<DeviceInfo> list_devices(const Instance& instance) {
  std::vector<DeviceInfo> devices;
  for (VkPhysicalDevice handle : instance.physical_devices()) {
    devices.push_back(
        read_device(handle, static_cast<uint32_t>(devices.size()), instance.api_version()));
  }
  return devices;
}

nlohmann::json to_json(const DeviceInfo& info) {
  nlohmann::json priorities = nlohmann::json::array();
  for (QueuePriority priority : info.priorities) {
    priorities.push_back(queue_priority_name(priority));
  }
  DeviceLimits limits = info.limits;
  apply_quirks(limits, info.vendor_id, info.driver);
  nlohmann::json quirks = nlohmann::json::array();
  for (const Quirk& quirk : quirk_table()) {
    if (limits.has_quirk(quirk.flag) &&
        std::none_of(quirks.begin(), quirks.end(),
                     [&](const nlohmann::json& row) { return row["flag"] == quirk.flag; })) {
      quirks.push_back({{"flag", quirk.flag}, {"why", quirk.why}, {"link", quirk.link}});
    }
  }
  return {
      {"index", info.index},
      {"name", info.name},
      {"type", info.type},
      {"driver", info.driver},
      {"vendor_id", info.vendor_id},
      {"device_id", info.device_id},
      {"driver_version", info.driver_version},
      {"api_version", version_text(info.api_version)},
      {"usable", info.unusable.empty()},
      {"unusable_because", info.unusable},
      {"limits", to_json(info.limits)},
      {"features",
       {{"timeline_semaphore", info.timeline_semaphore},
        {"subgroup_size_control", info.subgroup_size_control},
        {"subgroup_min", info.subgroup_min},
        {"subgroup_max", info.subgroup_max},
        {"integer_dot_product", info.integer_dot_product},
        {"cooperative_matrix", info.cooperative_matrix},
        {"timestamp_bits", info.timestamp_bits},
        {"global_priority", info.has_extension(VK_KHR_GLOBAL_PRIORITY_EXTENSION_NAME) ||
                                info.has_extension(VK_EXT_GLOBAL_PRIORITY_EXTENSION_NAME)}}},
      {"max_allocation_bytes", info.max_allocation},
      {"device_heap_bytes", info.device_heap_bytes},
      {"shares_host_memory", info.shares_host_memory},
      {"host_import_alignment", info.host_import_alignment},
      {"quirks", quirks},
      {"priorities_advertised", priorities},
  };
}

const DeviceInfo& choose_device(const std::vector<DeviceInfo>& devices, const std::string& choice) {
  if (devices.empty()) {
    throw Error(ExitCode::device,
                "no Vulkan device was found; install a driver (Debian: mesa-vulkan-drivers)");
  }
  if (choice.empty()) {
    for (const char* type : {"discrete", "integrated", ""}) {
      for (const DeviceInfo& info : devices) {
        if (info.unusable.empty() && (*type == 0 || info.type == type)) return info;
      }
    }
    return usable_or_throw(devices.front());
  }
  uint32_t index = 0;
  const auto [end, error] = std::from_chars(choice.data(), choice.data() + choice.size(), index);
  if (error == std::errc() && end == choice.data() + choice.size() && index < devices.size()) {
    return usable_or_throw(devices[index]);
  }
  for (const DeviceInfo& info : devices) {  // "740" is a name where there is no device 740
    if (lower_case(info.name).find(lower_case(choice)) != std::string::npos) {
      return usable_or_throw(info);
    }
  }
  throw Error(ExitCode::usage,
              "--device \"" + choice + "\" is none of the devices here: " + names_of(devices));
}

}  // namespace pocket
