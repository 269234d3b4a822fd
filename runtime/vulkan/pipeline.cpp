#include "runtime/vulkan/pipeline.h"

#include <chrono>

#include "runtime/base/error.h"
#include "runtime/vulkan/device.h"
#include "runtime/vulkan/pipeline_cache.h"
#include "runtime/vulkan/result.h"
#include "runtime/vulkan/shader_module.h"

namespace pocket {

Pipeline::Pipeline(Device& device, const PipelineKey& key, std::span<const uint32_t> code,
                   const DescriptorSetLayout& set_layout, VkPipelineLayout layout,
                   VkPipelineCache cache)
    : device_(device),
      set_layout_(set_layout),
      layout_(layout),
      push_constant_bytes_(key.push_constant_bytes) {
  const ShaderModule module(device, code, key.shader);
  std::vector<VkSpecializationMapEntry> entries(key.specialization.size());
  for (uint32_t i = 0; i < entries.size(); ++i) entries[i] = {i, 4 * i, 4};
  VkSpecializationInfo specialization{};
  specialization.mapEntryCount = static_cast<uint32_t>(entries.size());
  specialization.pMapEntries = entries.data();
  specialization.dataSize = 4 * entries.size();
  specialization.pData = key.specialization.data();

  VkPipelineShaderStageRequiredSubgroupSizeCreateInfo subgroup{
      VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO};
  subgroup.requiredSubgroupSize = device.required_subgroup_size();

  VkComputePipelineCreateInfo info{VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO};
  info.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
  info.stage.pNext = subgroup.requiredSubgroupSize ? &subgroup : nullptr;
  info.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
  info.stage.module = module.handle();
  info.stage.pName = "main";
  info.stage.pSpecializationInfo = &specialization;
  info.layout = layout;
  const VkResult result =
      device.table().vkCreateComputePipelines(device.handle(), cache, 1, &info, nullptr, &handle_);
  if (result != VK_SUCCESS) {
    std::string constants;
    for (uint32_t word : key.specialization) constants += " " + std::to_string(word);
    check(result, "building the kernel \"" + key.shader + "\" with constants [" +
                      (constants.empty() ? "" : constants.substr(1)) + "] by the driver \"" +
                      device.info().driver + "\"");
  }
}

Pipeline::~Pipeline() {
  if (handle_) device_.table().vkDestroyPipeline(device_.handle(), handle_, nullptr);
}

PipelineStore::PipelineStore(Device& device, const std::string& cache_folder)
    : device_(device), cache_(std::make_unique<PipelineCache>(device, cache_folder)) {}

PipelineStore::~PipelineStore() {
  pipelines_.clear();
  for (const auto& [key, layout] : layouts_) {
    device_.table().vkDestroyPipelineLayout(device_.handle(), layout, nullptr);
  }
}

const Pipeline& PipelineStore::get(const PipelineKey& key, std::span<const uint32_t> code) {
  const auto found = pipelines_.find(key);
  if (found != pipelines_.end()) return *found->second;
  if (key.push_constant_bytes % 4 != 0 ||
      key.push_constant_bytes > device_.limits().max_push_constants) {
    throw Error(ExitCode::device,
                "the kernel \"" + key.shader + "\" has " + std::to_string(key.push_constant_bytes) +
                    " bytes of push constants but the device allows " +
                    std::to_string(device_.limits().max_push_constants) + " in steps of 4");
  }
  const DescriptorSetLayout& set = set_layout(key.bindings);
  const VkPipelineLayout layout = pipeline_layout(set, key.push_constant_bytes);
  const auto begin = std::chrono::steady_clock::now();
  auto pipeline = std::make_unique<Pipeline>(device_, key, code, set, layout, cache_->handle());
  create_ns_ += static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - begin)
          .count());
  unsaved_ = true;
  return *pipelines_.emplace(key, std::move(pipeline)).first->second;
}

void PipelineStore::save_cache() {
  if (!unsaved_) return;
  cache_->save();
  unsaved_ = false;
}

bool PipelineStore::cache_was_loaded() const { return cache_->loaded(); }
std::string PipelineStore::cache_path() const { return cache_->path(); }

const DescriptorSetLayout& PipelineStore::set_layout(const BindingKinds& kinds) {
  const auto found = set_layouts_.find(kinds);
  if (found != set_layouts_.end()) return found->second;
  return set_layouts_.emplace(kinds, DescriptorSetLayout(device_, kinds)).first->second;
}

VkPipelineLayout PipelineStore::pipeline_layout(const DescriptorSetLayout& set,
                                                uint32_t push_constant_bytes) {
  const std::pair<BindingKinds, uint32_t> key = {set.kinds(), push_constant_bytes};
  const auto found = layouts_.find(key);
  if (found != layouts_.end()) return found->second;
  const VkDescriptorSetLayout handle = set.handle();
  VkPushConstantRange range{VK_SHADER_STAGE_COMPUTE_BIT, 0, push_constant_bytes};
  VkPipelineLayoutCreateInfo info{VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO};
  info.setLayoutCount = 1;
  info.pSetLayouts = &handle;
  info.pushConstantRangeCount = push_constant_bytes ? 1 : 0;
  info.pPushConstantRanges = &range;
  VkPipelineLayout layout = VK_NULL_HANDLE;
  check(device_.table().vkCreatePipelineLayout(device_.handle(), &info, nullptr, &layout),
        "creating a pipeline layout");
  layouts_.emplace(key, layout);
  return layout;
}

}  // namespace pocket
