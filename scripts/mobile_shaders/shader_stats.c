// Compiles compute shaders with whatever Vulkan driver answers first and prints what the driver says of
// the result (VK_KHR_pipeline_executable_properties). Stays up: a driver that runs under qemu starts once
// for many shaders. Starts no work on the device.
//
// One job a line on stdin:  FILE SUBGROUP_SIZE PUSH_BYTES BINDINGS CONSTANTS
//   a.spv 64 56 0=0,1=1 0=256,1=128      bindings of set 0 (0 a storage buffer, 1 storage texels); specialization
//                                        constants; 0 or - is none
// Answers on stdout:  first "device\tNAME\tDRIVER INFO", then for each job
//   stat\tNAME\tVALUE             any number of times
//   text\tNAME\tBYTES\n...\n      intermediate representations and machine code
//   done\tVkResult
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vulkan/vulkan.h>

enum { MOST_ITEMS = 64, MOST_LINE = 4096 };

static VkInstance instance;
static VkPhysicalDevice gpu;
static VkDevice device;
static PFN_vkGetPipelineExecutablePropertiesKHR get_executables;
static PFN_vkGetPipelineExecutableStatisticsKHR get_statistics;
static PFN_vkGetPipelineExecutableInternalRepresentationsKHR get_texts;

static void need(VkResult result, const char* what) {
  if (result >= 0) return;
  fprintf(stderr, "shader_stats: %s failed with VkResult %d\n", what, result);
  exit(5);
}

static VkExtensionProperties* extensions;
static uint32_t extension_count;
static int has(const char* name) {
  for (uint32_t i = 0; i < extension_count; ++i) {
    if (strcmp(extensions[i].extensionName, name) == 0) return 1;
  }
  return 0;
}

// Every feature that the device has is switched on: what a module may use is the planner's affair.
static void open_device(void) {
  const VkApplicationInfo application = {.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
                                         .apiVersion = VK_API_VERSION_1_3};
  const VkInstanceCreateInfo instance_info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
                                              .pApplicationInfo = &application};
  need(vkCreateInstance(&instance_info, NULL, &instance), "vkCreateInstance");
  uint32_t count = 1;
  need(vkEnumeratePhysicalDevices(instance, &count, &gpu), "vkEnumeratePhysicalDevices");
  if (count == 0) need(VK_ERROR_INITIALIZATION_FAILED, "looking for a device");
  vkEnumerateDeviceExtensionProperties(gpu, NULL, &extension_count, NULL);
  extensions = calloc(extension_count + 1, sizeof *extensions);
  vkEnumerateDeviceExtensionProperties(gpu, NULL, &extension_count, extensions);

  VkPhysicalDeviceDriverProperties driver = {
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES};
  VkPhysicalDeviceProperties2 properties = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2,
                                            .pNext = &driver};
  vkGetPhysicalDeviceProperties2(gpu, &properties);
  printf("device\t%s\t%s\n", properties.properties.deviceName, driver.driverInfo);

  VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR executables = {
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR};
  VkPhysicalDeviceSubgroupSizeControlFeatures sizes = {
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES,
      .pNext = &executables};
  VkPhysicalDeviceShaderIntegerDotProductFeatures dots = {
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES,
      .pNext = &sizes};
  VkPhysicalDeviceShaderFloat16Int8Features narrow = {
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_FLOAT16_INT8_FEATURES, .pNext = &dots};
  VkPhysicalDevice8BitStorageFeatures bytes = {
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_8BIT_STORAGE_FEATURES, .pNext = &narrow};
  VkPhysicalDevice16BitStorageFeatures halves = {
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_16BIT_STORAGE_FEATURES, .pNext = &bytes};
  VkPhysicalDeviceFeatures2 features = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
                                        .pNext = &halves};
  vkGetPhysicalDeviceFeatures2(gpu, &features);
  if (!executables.pipelineExecutableInfo) {
    need(VK_ERROR_FEATURE_NOT_PRESENT, "asking for the statistics of pipelines");
  }

  static const char* const wanted[] = {
      "VK_KHR_pipeline_executable_properties", "VK_KHR_shader_float16_int8",
      "VK_KHR_8bit_storage",                   "VK_KHR_16bit_storage",
      "VK_KHR_shader_integer_dot_product",     "VK_EXT_subgroup_size_control",
      "VK_KHR_storage_buffer_storage_class",
  };
  const char* enabled[8];
  uint32_t enabled_count = 0;
  for (size_t i = 0; i < sizeof wanted / sizeof *wanted; ++i) {
    if (has(wanted[i])) enabled[enabled_count++] = wanted[i];
  }
  const float priority = 1.0f;
  const VkDeviceQueueCreateInfo queue = {.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
                                         .queueCount = 1,
                                         .pQueuePriorities = &priority};
  const VkDeviceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
                                   .pNext = &features,
                                   .queueCreateInfoCount = 1,
                                   .pQueueCreateInfos = &queue,
                                   .enabledExtensionCount = enabled_count,
                                   .ppEnabledExtensionNames = enabled};
  need(vkCreateDevice(gpu, &info, NULL, &device), "vkCreateDevice");
#define GET(name) (PFN_##name) vkGetDeviceProcAddr(device, #name)
  get_executables = GET(vkGetPipelineExecutablePropertiesKHR);
  get_statistics = GET(vkGetPipelineExecutableStatisticsKHR);
  get_texts = GET(vkGetPipelineExecutableInternalRepresentationsKHR);
}

static void print_executable(VkPipeline pipeline, uint32_t index) {
  const VkPipelineExecutableInfoKHR info = {.sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INFO_KHR,
                                            .pipeline = pipeline,
                                            .executableIndex = index};
  VkPipelineExecutableStatisticKHR statistics[MOST_ITEMS];
  memset(statistics, 0, sizeof statistics);
  for (int i = 0; i < MOST_ITEMS; ++i) {
    statistics[i].sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_STATISTIC_KHR;
  }
  uint32_t count = MOST_ITEMS;
  need(get_statistics(device, &info, &count, statistics), "reading statistics");
  for (uint32_t i = 0; i < count; ++i) {
    const VkPipelineExecutableStatisticKHR* s = &statistics[i];
    printf("stat\t%s\t", s->name);
    if (s->format == VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_FLOAT64_KHR) {
      printf("%.6g\n", s->value.f64);
    } else if (s->format == VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_BOOL32_KHR) {
      printf("%u\n", s->value.b32);
    } else {
      printf("%" PRIu64 "\n", s->value.u64);
    }
  }

  VkPipelineExecutableInternalRepresentationKHR texts[MOST_ITEMS];
  memset(texts, 0, sizeof texts);
  for (int i = 0; i < MOST_ITEMS; ++i) {
    texts[i].sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INTERNAL_REPRESENTATION_KHR;
  }
  count = MOST_ITEMS;
  need(get_texts(device, &info, &count, texts), "sizing the machine code");
  for (uint32_t i = 0; i < count; ++i) texts[i].pData = calloc(1, texts[i].dataSize + 1);
  need(get_texts(device, &info, &count, texts), "reading the machine code");
  for (uint32_t i = 0; i < count; ++i) {
    const size_t bytes = strlen(texts[i].pData);
    printf("text\t%s\t%zu\n%s\n", texts[i].name, bytes, (const char*)texts[i].pData);
    free(texts[i].pData);
  }
}

// "3=1,4=64" into pairs; a missing value is 0.
static uint32_t read_list(char* text, uint32_t (*pairs)[2]) {
  uint32_t count = 0;
  if (strcmp(text, "-") == 0) return 0;
  for (char* item = strtok(text, ","); item && count < MOST_ITEMS; item = strtok(NULL, ",")) {
    char* equals = strchr(item, '=');
    pairs[count][0] = (uint32_t)strtoul(item, NULL, 10);
    pairs[count++][1] = equals ? (uint32_t)strtoul(equals + 1, NULL, 10) : 0;
  }
  return count;
}

static VkResult compile(const char* path, uint32_t subgroup_size, uint32_t push_bytes,
                        char* bindings, char* constants) {
  FILE* file = fopen(path, "rb");
  if (!file) return VK_ERROR_INITIALIZATION_FAILED;
  static uint32_t code[1 << 20];
  const size_t bytes = fread(code, 1, sizeof code, file);
  fclose(file);

  uint32_t pairs[MOST_ITEMS][2];
  VkDescriptorSetLayoutBinding buffers[MOST_ITEMS];
  const uint32_t buffer_count = read_list(bindings, pairs);
  for (uint32_t i = 0; i < buffer_count; ++i) {
    buffers[i] = (VkDescriptorSetLayoutBinding){.binding = pairs[i][0],
                                                .descriptorType = pairs[i][1] ? VK_DESCRIPTOR_TYPE_STORAGE_TEXEL_BUFFER
                                                                              : VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                                .descriptorCount = 1,
                                                .stageFlags = VK_SHADER_STAGE_COMPUTE_BIT};
  }
  const VkDescriptorSetLayoutCreateInfo set_info = {
      .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
      .bindingCount = buffer_count,
      .pBindings = buffers};
  VkDescriptorSetLayout set;
  need(vkCreateDescriptorSetLayout(device, &set_info, NULL, &set), "vkCreateDescriptorSetLayout");
  const VkPushConstantRange range = {VK_SHADER_STAGE_COMPUTE_BIT, 0, push_bytes};
  const VkPipelineLayoutCreateInfo layout_info = {
      .sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
      .setLayoutCount = 1,
      .pSetLayouts = &set,
      .pushConstantRangeCount = push_bytes != 0,
      .pPushConstantRanges = &range};
  VkPipelineLayout layout;
  need(vkCreatePipelineLayout(device, &layout_info, NULL, &layout), "vkCreatePipelineLayout");

  VkSpecializationMapEntry entries[MOST_ITEMS];
  uint32_t values[MOST_ITEMS];
  const uint32_t constant_count = read_list(constants, pairs);
  for (uint32_t i = 0; i < constant_count; ++i) {
    entries[i] = (VkSpecializationMapEntry){pairs[i][0], 4 * i, 4};
    values[i] = pairs[i][1];
  }
  const VkSpecializationInfo specialization = {constant_count, entries, 4 * constant_count, values};
  const VkShaderModuleCreateInfo module_info = {.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
                                                .codeSize = bytes,
                                                .pCode = code};
  VkShaderModule module;
  need(vkCreateShaderModule(device, &module_info, NULL, &module), "vkCreateShaderModule");
  const VkPipelineShaderStageRequiredSubgroupSizeCreateInfo size = {
      .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO,
      .requiredSubgroupSize = subgroup_size};
  const VkComputePipelineCreateInfo info = {
      .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
      .flags = VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR |
               VK_PIPELINE_CREATE_CAPTURE_INTERNAL_REPRESENTATIONS_BIT_KHR,
      .stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                .pNext = subgroup_size ? &size : NULL,
                .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                .module = module,
                .pName = "main",
                .pSpecializationInfo = &specialization},
      .layout = layout};
  VkPipeline pipeline = VK_NULL_HANDLE;
  const VkResult result =
      vkCreateComputePipelines(device, VK_NULL_HANDLE, 1, &info, NULL, &pipeline);
  if (result == VK_SUCCESS) {
    const VkPipelineInfoKHR which = {.sType = VK_STRUCTURE_TYPE_PIPELINE_INFO_KHR,
                                     .pipeline = pipeline};
    uint32_t count = 0;
    need(get_executables(device, &which, &count, NULL), "counting executables");
    for (uint32_t i = 0; i < count; ++i) print_executable(pipeline, i);
    vkDestroyPipeline(device, pipeline, NULL);
  }
  vkDestroyShaderModule(device, module, NULL);
  vkDestroyPipelineLayout(device, layout, NULL);
  vkDestroyDescriptorSetLayout(device, set, NULL);
  return result;
}

int main(void) {
  open_device();
  fflush(stdout);
  static char line[MOST_LINE], path[MOST_LINE], bindings[MOST_LINE], constants[MOST_LINE];
  while (fgets(line, sizeof line, stdin)) {
    uint32_t subgroup_size, push_bytes;
    if (sscanf(line, "%4095s %u %u %4095s %4095s", path, &subgroup_size, &push_bytes, bindings,
               constants) != 5) {
      fprintf(stderr, "shader_stats: not a job: %s", line);
      return 2;
    }
    const VkResult result = compile(path, subgroup_size, push_bytes, bindings, constants);
    printf("done\t%d\n", result);
    fflush(stdout);
  }
  return 0;
}
