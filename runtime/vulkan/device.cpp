#include "runtime/vulkan/device.h"

#include <algorithm>

#include "runtime/base/error.h"
#include "runtime/vulkan/memory.h"
#include "runtime/vulkan/pipeline.h"
#include "runtime/vulkan/quirks.h"
#include "runtime/vulkan/result.h"

namespace pocket {
namespace {

VkQueueGlobalPriorityKHR to_vulkan(QueuePriority priority) {
  switch (priority) {
    case QueuePriority::low:
      return VK_QUEUE_GLOBAL_PRIORITY_LOW_KHR;
    case QueuePriority::high:
      return VK_QUEUE_GLOBAL_PRIORITY_HIGH_KHR;
    default:
      return VK_QUEUE_GLOBAL_PRIORITY_MEDIUM_KHR;
  }
}

// Features and extensions to enable: only what the limits still allow, so that a hidden feature is
// really absent and the validation layers name a shader that uses it nevertheless.
struct Enabled {
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
  std::vector<const char*> extensions;

  Enabled(const DeviceInfo& info, const DeviceLimits& limits, bool subgroup_control, uint32_t api) {
    const bool v12 = api >= VK_API_VERSION_1_2, v13 = api >= VK_API_VERSION_1_3;
    if (limits.storage_16bit) {
      storage16.storageBuffer16BitAccess = VK_TRUE;
      add(storage16, nullptr);
    }
    if (limits.storage_8bit) {
      storage8.storageBuffer8BitAccess = VK_TRUE;
      add(storage8, v12 ? nullptr : VK_KHR_8BIT_STORAGE_EXTENSION_NAME);
    }
    if (limits.fp16_arithmetic) {
      float16.shaderFloat16 = VK_TRUE;
      add(float16, v12 ? nullptr : VK_KHR_SHADER_FLOAT16_INT8_EXTENSION_NAME);
    }
    if (info.timeline_semaphore) {
      timeline.timelineSemaphore = VK_TRUE;
      add(timeline, v12 ? nullptr : VK_KHR_TIMELINE_SEMAPHORE_EXTENSION_NAME);
    }
    if (subgroup_control) {
      control.subgroupSizeControl = VK_TRUE;
      add(control, v13 ? nullptr : VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME);
    }
    if (limits.dot_product) {
      dot.shaderIntegerDotProduct = VK_TRUE;
      add(dot, v13 ? nullptr : VK_KHR_SHADER_INTEGER_DOT_PRODUCT_EXTENSION_NAME);
    }
  }
  Enabled(const Enabled&) = delete;

  template <typename Feature>
  void add(Feature& feature, const char* extension) {
    feature.pNext = features.pNext;
    features.pNext = &feature;
    if (extension) extensions.push_back(extension);
  }
};

}  // namespace

Device::Device(const Instance& instance, const DeviceOptions& options) {
  const std::vector<DeviceInfo> devices = list_devices(instance);
  info_ = choose_device(devices, options.device);

  DeviceLimits limits = info_.limits;
  apply_quirks(limits, info_.vendor_id, info_.driver);
  bool control = info_.subgroup_size_control && !limits.has_quirk("no_sg_control");
  if (limits.has_quirk("subgroup_64") && limits.subgroup_size > 64) {
    const bool reachable = control && info_.subgroup_min <= 64 && info_.subgroup_max >= 64;
    limits.subgroup_size = reachable ? 64 : 0;
  }
  limits_ = lower_limits(limits, options.limits);
  if (limits_.has_quirk("no_int_dot")) limits_.dot_product = false;
  control = control && info_.subgroup_min < info_.subgroup_max && limits_.subgroup_size != 0;
  required_subgroup_size_ = control ? limits_.subgroup_size : 0;
  timeline_semaphore_ = info_.timeline_semaphore;
  integer_dot_ = limits_.dot_product;

  const uint32_t api = std::min(info_.api_version, instance.api_version());
  const Enabled enabled(info_, limits_, control, api);
  std::vector<const char*> extensions = enabled.extensions;
  if (info_.host_import_alignment != 0) {
    extensions.push_back(VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME);
  }
  create(options, enabled.features.pNext ? &enabled.features : nullptr, std::move(extensions));

  volkLoadDeviceTable(&table_, handle_);
  // The promoted names are absent below Vulkan 1.2.
  if (!table_.vkWaitSemaphores) table_.vkWaitSemaphores = table_.vkWaitSemaphoresKHR;
  if (!table_.vkSignalSemaphore) table_.vkSignalSemaphore = table_.vkSignalSemaphoreKHR;
  if (!table_.vkGetSemaphoreCounterValue) {
    table_.vkGetSemaphoreCounterValue = table_.vkGetSemaphoreCounterValueKHR;
  }
  try {
    VkQueue queue = VK_NULL_HANDLE;
    table_.vkGetDeviceQueue(handle_, info_.queue_family, 0, &queue);
    queue_ = std::make_unique<Queue>(*this, queue);
    memory_ = std::make_unique<Memory>(*this);
    pipelines_ = std::make_unique<PipelineStore>(*this, options.cache_folder);
  } catch (...) {
    destroy();
    throw;
  }
}

void Device::create(const DeviceOptions& options, const void* features,
                    std::vector<const char*> extensions) {
  const float relative_priority = 1.0f;
  VkDeviceQueueGlobalPriorityCreateInfoKHR global{
      VK_STRUCTURE_TYPE_DEVICE_QUEUE_GLOBAL_PRIORITY_CREATE_INFO_KHR};
  VkDeviceQueueCreateInfo queue{VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO};
  queue.queueFamilyIndex = info_.queue_family;
  queue.queueCount = 1;
  queue.pQueuePriorities = &relative_priority;
  VkDeviceCreateInfo create{VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO};
  create.pNext = features;
  create.queueCreateInfoCount = 1;
  create.pQueueCreateInfos = &queue;

  const auto attempt = [&] {
    create.enabledExtensionCount = static_cast<uint32_t>(extensions.size());
    create.ppEnabledExtensionNames = extensions.data();
    return vkCreateDevice(info_.handle, &create, nullptr, &handle_);
  };

  if (options.priority != QueuePriority::standard) {
    const char* extension = nullptr;
    for (const char* name :
         {VK_KHR_GLOBAL_PRIORITY_EXTENSION_NAME, VK_EXT_GLOBAL_PRIORITY_EXTENSION_NAME}) {
      if (!extension && info_.has_extension(name)) extension = name;
    }
    if (extension) {
      global.globalPriority = to_vulkan(options.priority);
      queue.pNext = &global;
      extensions.push_back(extension);
      const VkResult result = attempt();
      if (result == VK_SUCCESS) {
        granted_priority_ = options.priority;
        return;
      }
      priority_note_ = std::string("the driver refused the priority ") +
                       queue_priority_name(options.priority) + ": " + result_text(result);
      queue.pNext = nullptr;
      extensions.pop_back();
    } else {
      priority_note_ = "the device has no VK_KHR_global_priority or VK_EXT_global_priority";
    }
  }
  const VkResult result = attempt();
  if (result != VK_SUCCESS) check(result, "creating the device \"" + info_.name + "\"");
}

void Device::destroy() {
  // Whatever still runs uses memory that is about to go; a lost device reports that elsewhere.
  if (handle_) table_.vkDeviceWaitIdle(handle_);
  pipelines_.reset();
  memory_.reset();
  queue_.reset();
  if (handle_) table_.vkDestroyDevice(handle_, nullptr);
  handle_ = VK_NULL_HANDLE;
}

Device::~Device() { destroy(); }

}  // namespace pocket
