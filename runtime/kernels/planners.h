// One planner per family of operators; plan_operator picks by kind.
#pragma once

#include <vector>

#include "runtime/kernels/plan.h"

namespace pocket::planning {

std::vector<Dispatch> plan_embed(const KernelContext&, int32_t op);
std::vector<Dispatch> plan_norm(const KernelContext&, int32_t op);
std::vector<Dispatch> plan_linear(const KernelContext&, int32_t op);
std::vector<Dispatch> plan_gated_linear(const KernelContext&, int32_t op);
std::vector<Dispatch> plan_rotary_kv(const KernelContext&, int32_t op);
std::vector<Dispatch> plan_attention(const KernelContext&, int32_t op);
std::vector<Dispatch> plan_elementwise(const KernelContext&, int32_t op);
std::vector<Dispatch> plan_generic(const KernelContext&, int32_t op);

}  // namespace pocket::planning
