#include <algorithm>

#include "runtime/base/error.h"
#include "runtime/kernels/plan_support.h"
#include "runtime/kernels/planners.h"

namespace pocket {
namespace {

// Logits that one workgroup reduces. Up to twice as many are left to a single workgroup: a second
// dispatch costs more.
constexpr int64_t kSlice = 8192;
constexpr int64_t kSingle = 16384;
constexpr uint64_t kCandidates = 256;  // cells of a slice in the top-k scratch

struct Stage {
  const KernelContext* context;
  const KernelConfig* config;
  std::string shader;
  planning::View logits;  // row 0
  Operand scratch;        // bytes 0: a single stage
  bool top_k = false;
};

Dispatch make_dispatch(const Stage& stage, const Operand& source, const Operand& scratch,
                       bool from_candidates, bool last, int64_t count, int64_t slice,
                       int64_t first_id, uint32_t source_base, int64_t scratch_base) {
  const KernelContext& context = *stage.context;
  Dispatch d;
  d.shader = stage.shader;
  d.specialization = {stage.config->lanes, from_candidates ? 1u : 0u, last ? 1u : 0u};
  Operand ids = planning::unused();
  Operand ring = planning::unused();
  if (last) {
    ids = planning::token_ids(context, Access::write);
    ring.kind = Operand::Kind::ring;
    ring.bytes = 0;  // the whole ring: its size is the engine's
    ring.access = Access::write;
  }
  d.operands = {planning::step_record(last ? Access::read_write : Access::read), source, ids, ring,
                scratch};
  d.push_constants = {
      planning::u32(count),        planning::u32(slice),
      planning::u32(first_id),     source_base,
      planning::u32(scratch_base), planning::u32(context.bindings.at("context") + 1)};
  d.groups = {planning::groups_for(count, slice), 1, 1};
  d.label = last ? "sampler" : "sampler slices";
  d.config = stage.config->str();
  return planning::finish(context, std::move(d));
}

}  // namespace

std::vector<Dispatch> plan_sampler(const KernelContext& context, SamplerKind kind) {
  const Program& program = context.manifest->program;
  Stage stage;
  stage.context = &context;
  stage.config = &choose_config(Kernel::sampler, context.limits, {});
  stage.top_k = kind == SamplerKind::stochastic;
  stage.shader = stage.top_k ? "sampler_topk" : "sampler_argmax";
  stage.logits = planning::unchecked_view(context, program.logits, Access::read);
  if (stage.logits.dtype != DType::f32) {
    throw Error(ExitCode::bad_input, "the logits are not f32; convert the model again");
  }
  const int64_t vocab = stage.logits.width;
  stage.logits.rows = 1;
  stage.logits.operand.bytes = static_cast<uint64_t>(4 * vocab);

  const auto per_binding = static_cast<int64_t>(context.limits.max_binding / 4);
  if (vocab <= kSingle && vocab <= per_binding) {
    return {make_dispatch(stage, stage.logits.operand, planning::unused(), false, true, vocab,
                          vocab, 0, 0, 0)};
  }
  const int64_t slice = std::min(kSlice, per_binding / 64 * 64);
  const int64_t range = std::max(slice, per_binding / slice * slice);
  const int64_t slices = (vocab + slice - 1) / slice;
  const auto cells = static_cast<uint64_t>(slices) * (stage.top_k ? kCandidates : 1);
  Operand scratch;
  scratch.kind = Operand::Kind::scratch;
  scratch.bytes = 8 * cells;
  scratch.access = Access::write;

  std::vector<Dispatch> dispatches;
  for (int64_t first = 0; first < vocab; first += range) {
    const int64_t count = std::min(range, vocab - first);
    const planning::Window part = planning::window(context, stage.logits, first, count);
    dispatches.push_back(make_dispatch(stage, part.operand, scratch, false, false, count, slice,
                                       first, part.base, first / slice));
  }
  scratch.access = Access::read;
  dispatches.push_back(make_dispatch(stage, planning::unused(), scratch, true, true,
                                     static_cast<int64_t>(cells), static_cast<int64_t>(cells), 0, 0,
                                     0));
  return dispatches;
}

}  // namespace pocket
