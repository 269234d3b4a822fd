#include "runtime/engine/engine_plan.h"

#include <algorithm>
#include <map>

#include "runtime/base/error.h"
#include "runtime/engine/hazards.h"
#include "runtime/engine/resolve.h"
#include "runtime/engine/rope.h"

namespace pocket {
namespace {

constexpr int64_t kLogitsTileBytes = 4 << 20;  // of one row tile of the head
constexpr uint64_t kStagingBytes = 16 << 20;
constexpr int64_t kFallbackContext = 2048;  // never the model's maximum by default
constexpr int64_t kFallbackChunk = 128;

int64_t range_max(const Program& program, std::string_view symbol, int64_t otherwise) {
  const auto found = program.symbols.find(symbol);
  return found == program.symbols.end() ? otherwise : found->second.max;
}

int64_t choose_context(const Program& program, const EngineOptions& options) {
  int64_t most = range_max(program, "context", program.max_context);
  if (program.max_context > 0) most = std::min(most, program.max_context);
  if (options.context == 0) {
    return std::min(most, program.default_context > 0 ? program.default_context : kFallbackContext);
  }
  if (options.context < 1 || options.context > most) {
    throw Error(ExitCode::usage, "The context must lie between 1 and the model's " +
                                     std::to_string(most) + " positions but is " +
                                     std::to_string(options.context) +
                                     "; choose another --context.");
  }
  return options.context;
}

class Planner {
 public:
  Planner(const Manifest& manifest, const DeviceLimits& limits, const EngineOptions& options)
      : manifest_(manifest), program_(manifest.program), limits_(limits), options_(options) {}

  EnginePlan run() {
    if (options_.queued_steps < 1 || options_.queued_steps > 8) {
      throw Error(ExitCode::usage, "Between 1 and 8 steps may be queued but " +
                                       std::to_string(options_.queued_steps) + " were asked for.");
    }
    plan_.context = choose_context(program_, options_);
    choose_chunk();
    plan_slots();
    for (const Phase phase : {Phase::prefill, Phase::decode}) plan_segments(phase);
    place_parameters();
    plan_buffers();
    for (SegmentPlan& segment : plan_.segments) finish(segment);
    sum_memory();
    return std::move(plan_);
  }

 private:
  // The past is known on the device only: sizes are planned for its bound.
  Bindings bindings(int64_t tokens, int64_t rows) const {
    return {
        {"tokens", tokens}, {"rows", rows}, {"context", plan_.context}, {"past", plan_.context}};
  }

  KernelContext kernel_context(int64_t tokens, int64_t rows, bool decode) const {
    KernelContext context;
    context.manifest = &manifest_;
    context.limits = limits_;
    context.bindings = bindings(tokens, rows);
    context.accumulate = options_.accumulate;
    context.decode = decode;
    context.tuned = options_.tuned.get();
    return context;
  }

  void choose_chunk() {
    int64_t wanted = options_.chunk;
    if (wanted < 0) {
      throw Error(ExitCode::usage, "A prefill chunk needs at least 1 row but --chunk is " +
                                       std::to_string(wanted) + ".");
    }
    if (wanted == 0) {
      wanted = program_.default_chunk > 0 ? program_.default_chunk : kFallbackChunk;
    }
    const int64_t most = std::min(plan_.context, range_max(program_, "tokens", plan_.context));
    plan_.chunk = std::min(wanted, most);
    if (plan_.chunk < options_.chunk) {
      plan_.messages.push_back("The chunk was lowered from " + std::to_string(options_.chunk) +
                               " to " + std::to_string(plan_.chunk) +
                               " rows, the most that the context and the program allow.");
    }
    const int64_t fits = largest_chunk(kernel_context(plan_.chunk, 1, false), plan_.chunk);
    if (fits < plan_.chunk) {
      plan_.messages.push_back("The chunk was lowered from " + std::to_string(plan_.chunk) +
                               " to " + std::to_string(fits) +
                               " rows because a storage binding of the device holds at most " +
                               std::to_string(limits_.max_binding) + " bytes.");
      plan_.chunk = fits;
    }
    if (plan_.chunk < 1) {
      throw Error(ExitCode::device,
                  "Not even a chunk of 1 row fits the device's storage bindings of " +
                      std::to_string(limits_.max_binding) + " bytes.");
    }
  }

  // Rows of the head that are computed at once when all logits are wanted.
  int64_t row_tile() const {
    const int64_t row_bytes = std::max<int64_t>(1, program_.vocab * 4);
    const int64_t bytes =
        std::min(kLogitsTileBytes,
                 static_cast<int64_t>(std::min<uint64_t>(limits_.max_binding, uint64_t{1} << 40)));
    int64_t rows = std::clamp<int64_t>(bytes / row_bytes, 1, plan_.chunk);
    rows = std::min(rows, range_max(program_, "rows", rows));
    return largest_chunk_of_rows(rows);
  }
  // The head's own tensors may be wider than the logits' row: halve until its kernels fit.
  int64_t largest_chunk_of_rows(int64_t rows) const {
    for (; rows > 1; rows /= 2) {
      KernelContext context = kernel_context(plan_.chunk, rows, false);
      if (largest_chunk(context, plan_.chunk) == plan_.chunk) break;
    }
    return rows;
  }

  void plan_slots() {
    for (const Phase phase : {Phase::prefill, Phase::decode}) {
      SlotPlan& slot = plan_.slots[static_cast<size_t>(phase)];
      slot.phase = phase;
      slot.tokens = phase == Phase::prefill ? plan_.chunk : 1;
      slot.rows = phase == Phase::prefill ? row_tile() : 1;
      slot.memory = evaluate_plan(program_, bindings(slot.tokens, slot.rows));
    }
  }

  void add_segment(Phase phase, SegmentRole role, std::string label, int32_t copies,
                   std::vector<Dispatch> dispatches) {
    SegmentPlan segment;
    segment.phase = phase;
    segment.role = role;
    segment.label = std::move(label);
    segment.copies = copies;
    segment.dispatches = std::move(dispatches);
    plan_.segments.push_back(std::move(segment));
  }

  void add_program_segments(Phase phase, Part part, SegmentRole role, int64_t rows, int32_t copies,
                            const std::string& suffix) {
    const int64_t tokens = plan_.slot(phase).tokens;
    const bool decode = part == Part::head ? rows == 1 : tokens == 1;
    const KernelContext context = kernel_context(tokens, rows, decode);
    for (const Segment& segment : program_.segments) {
      if (segment.part != part) continue;
      std::vector<Dispatch> dispatches;
      std::vector<std::pair<size_t, TensorId>> freed;  // behind this many dispatches
      for (int32_t op = segment.first_op; op < segment.first_op + segment.op_count; ++op) {
        std::vector<Dispatch> more = plan_operator(context, op);
        std::move(more.begin(), more.end(), std::back_inserter(dispatches));
        if (options_.poison_freed) add_freed(op, dispatches.size(), freed);
      }
      add_segment(phase, role, segment.name + suffix, copies, std::move(dispatches));
      plan_.segments.back().freed = std::move(freed);
    }
  }

  // What operator `op` is the last to need; hidden and logits are read again outside the program.
  void add_freed(int32_t op, size_t dispatches,
                 std::vector<std::pair<size_t, TensorId>>& freed) const {
    for (const TensorId id : program_.plan.order) {
      if (program_.plan.last_use[static_cast<size_t>(id)] != op) continue;
      if (id != program_.hidden && id != program_.logits) freed.emplace_back(dispatches, id);
    }
  }

  void plan_segments(Phase phase) {
    const bool prefill = phase == Phase::prefill;
    const int32_t queued = options_.queued_steps;
    // A prefill ends with one head and waits for it; its chunks are queued like decode steps.
    const int32_t once = prefill ? 1 : queued;
    const SlotPlan& slot = plan_.slot(phase);
    const KernelContext context = kernel_context(slot.tokens, 1, !prefill);
    add_program_segments(phase, Part::body, SegmentRole::body, 1, queued, "");
    if (prefill) {
      add_segment(phase, SegmentRole::advance, "advance", queued, {plan_advance(context)});
    }
    add_program_segments(phase, Part::head, SegmentRole::head, 1, once, "");
    add_segment(phase, SegmentRole::greedy, "sampler", once,
                plan_sampler(context, SamplerKind::greedy));
    add_segment(phase, SegmentRole::stochastic, "sampler", once,
                plan_sampler(context, SamplerKind::stochastic));
    if (prefill) {
      add_program_segments(phase, Part::head, SegmentRole::head_tile, slot.rows, 1, ", row tile");
    }
    add_segment(phase, SegmentRole::readback, "logits readback", 1, {});
  }

  int32_t add_buffer(BufferKind kind, int32_t index, uint64_t bytes, std::string name) {
    plan_.buffers.push_back({kind, index, bytes, std::move(name)});
    return static_cast<int32_t>(plan_.buffers.size()) - 1;
  }

  // Parameter blocks one behind another, each at an aligned offset; equal blocks share a place.
  void place_parameters() {
    constexpr size_t kWords = MemoryPlan::kAlignment / 4;
    std::map<std::vector<uint32_t>, uint64_t> places;
    for (SegmentPlan& segment : plan_.segments) {
      for (Dispatch& dispatch : segment.dispatches) {
        if (dispatch.parameters.empty()) continue;
        const auto [place, is_new] =
            places.try_emplace(dispatch.parameters, plan_.parameters.size() * 4);
        if (is_new) {
          plan_.parameters.insert(plan_.parameters.end(), dispatch.parameters.begin(),
                                  dispatch.parameters.end());
          plan_.parameters.resize((plan_.parameters.size() + kWords - 1) / kWords * kWords);
        }
        for (Operand& operand : dispatch.operands) {
          if (operand.kind == Operand::Kind::parameters) operand.offset = place->second;
        }
      }
    }
  }

  void plan_buffers() {
    if (!plan_.parameters.empty()) {
      add_buffer(BufferKind::parameters, 0, plan_.parameters.size() * 4, "operator parameters");
    }
    for (size_t i = 0; i < manifest_.shards.size(); ++i) {
      add_buffer(BufferKind::weights, static_cast<int32_t>(i), manifest_.shards[i].bytes,
                 "shard " + std::to_string(i));
    }
    for (size_t i = 0; i < program_.rope_tables.size(); ++i) {
      add_buffer(BufferKind::rope, static_cast<int32_t>(i),
                 rope_table_bytes(program_.rope_tables[i], plan_.context),
                 "rotary table " + std::to_string(i));
    }
    for (size_t i = 0; i < program_.tensors.size(); ++i) {
      const Tensor& tensor = program_.tensors[i];
      if (tensor.role != TensorRole::state) continue;
      add_buffer(BufferKind::state, static_cast<int32_t>(i),
                 static_cast<uint64_t>(tensor.bytes().evaluate(bindings(1, 1))), tensor.name);
    }
    for (SlotPlan& slot : plan_.slots) {
      const std::string name = slot.phase == Phase::prefill ? "prefill" : "decode";
      const auto index = static_cast<int32_t>(slot.phase);
      slot.arena = add_buffer(BufferKind::arena, index, slot.memory.arena_bytes, name + " arena");
      slot.scratch =
          add_buffer(BufferKind::scratch, index, scratch_bytes(slot.phase), name + " scratch");
      slot.record =
          add_buffer(BufferKind::record, index, sizeof(StepRecord), name + " step record");
    }
    add_buffer(BufferKind::token_ids, 0, static_cast<uint64_t>(plan_.context + 1) * 4, "token ids");
    add_buffer(BufferKind::ring, 0, plan_.ring_size * 4ull, "token ring");
    add_buffer(BufferKind::readback, 0,
               static_cast<uint64_t>(plan_.slot(Phase::prefill).rows * program_.vocab) * 4,
               "logits on the host");
  }

  uint64_t scratch_bytes(Phase phase) const {
    uint64_t end = 0;
    for (const SegmentPlan& segment : plan_.segments) {
      if (segment.phase != phase) continue;
      for (const Dispatch& dispatch : segment.dispatches) {
        for (const Operand& operand : dispatch.operands) {
          if (operand.kind != Operand::Kind::scratch) continue;
          end = std::max(end, operand.offset + operand.bytes);
        }
      }
    }
    return end;
  }

  // Resolves operands to ranges, derives the barriers, applies the test hook, sums the cost.
  void finish(SegmentPlan& segment) {
    const Resolver resolver(manifest_, limits_, plan_);
    std::vector<StreamEvent> work;
    size_t freed = 0;
    for (const Dispatch& dispatch : segment.dispatches) {
      segment.bindings.push_back(resolver.resolve(dispatch, segment.phase));
      StreamEvent event;
      event.label = dispatch.label;
      event.touches = segment.bindings.back();
      work.push_back(std::move(event));
      segment.cost.bytes_read += dispatch.bytes_read;
      segment.cost.bytes_written += dispatch.bytes_written;
      segment.cost.flops += dispatch.flops;
      for (; freed < segment.freed.size() && segment.freed[freed].first == work_dispatches(work);
           ++freed) {
        work.push_back(plan_fill(segment, segment.freed[freed].second));
      }
    }
    if (segment.role == SegmentRole::readback) work.push_back(plan_readback(segment));
    const bool host_reads = segment.role == SegmentRole::readback ||
                            segment.role == SegmentRole::greedy ||
                            segment.role == SegmentRole::stochastic;
    segment.stream = insert_barriers(std::move(work), host_reads);
    if (!options_.omit.segment.empty()) omit(segment);
    segment.cost.segments = 1;
    segment.cost.dispatches = static_cast<uint32_t>(segment.dispatches.size());
    segment.cost.barriers = static_cast<uint32_t>(
        std::count_if(segment.stream.begin(), segment.stream.end(),
                      [](const StreamEvent& e) { return e.kind == StreamEvent::Kind::barrier; }));
  }

  static size_t work_dispatches(const std::vector<StreamEvent>& work) {
    return static_cast<size_t>(std::count_if(
        work.begin(), work.end(), [](const StreamEvent& e) { return e.stage == kStageCompute; }));
  }

  StreamEvent plan_fill(const SegmentPlan& segment, TensorId tensor) const {
    const SlotPlan& slot = plan_.slot(segment.phase);
    const uint64_t begin = slot.memory.offset[static_cast<size_t>(tensor)];
    const uint64_t bytes = (slot.memory.bytes[static_cast<size_t>(tensor)] + 3) / 4 * 4;
    StreamEvent event;
    event.stage = kStageTransfer;
    event.label = "poison";
    event.touches = {{slot.arena, begin, begin + bytes, Access::write}};
    return event;
  }

  StreamEvent plan_readback(SegmentPlan& segment) const {
    const SlotPlan& slot = plan_.slot(segment.phase);
    const auto logits = static_cast<size_t>(program_.logits);
    const uint64_t begin = slot.memory.offset[logits];
    const uint64_t bytes = static_cast<uint64_t>(slot.rows * program_.vocab) * 4;
    segment.copy_from = {slot.arena, begin, begin + bytes, Access::read};
    segment.copy_to = {plan_.buffer(BufferKind::readback), 0, bytes, Access::write};
    StreamEvent event;
    event.stage = kStageTransfer;
    event.label = segment.label;
    event.touches = {segment.copy_from, segment.copy_to};
    return event;
  }

  void omit(SegmentPlan& segment) const {
    if (options_.omit.phase != segment.phase || options_.omit.segment != segment.label) return;
    int32_t index = 0;
    for (auto event = segment.stream.begin(); event != segment.stream.end(); ++event) {
      if (event->kind != StreamEvent::Kind::barrier) continue;
      if (index++ != options_.omit.index) continue;
      segment.stream.erase(event);
      return;
    }
  }

  void sum_memory() {
    MemorySums& sums = plan_.memory;
    uint64_t largest_upload = 0;
    for (const BufferSpec& buffer : plan_.buffers) {
      switch (buffer.kind) {
        case BufferKind::weights:
          sums.weights += buffer.bytes;
          largest_upload = std::max(largest_upload, buffer.bytes);
          break;
        case BufferKind::rope:
          sums.rope += buffer.bytes;
          largest_upload = std::max(largest_upload, buffer.bytes);
          break;
        case BufferKind::state:
          sums.kv += buffer.bytes;
          break;
        case BufferKind::arena:
          sums.arena += buffer.bytes;
          break;
        case BufferKind::scratch:
          sums.scratch += buffer.bytes;
          break;
        case BufferKind::record:
        case BufferKind::token_ids:
        case BufferKind::ring:
        case BufferKind::parameters:
          sums.control += buffer.bytes;
          break;
        case BufferKind::readback:
          sums.readback += buffer.bytes;
          break;
      }
    }
    sums.staging = std::min(kStagingBytes, largest_upload);
  }

  const Manifest& manifest_;
  const Program& program_;
  const DeviceLimits& limits_;
  const EngineOptions& options_;
  EnginePlan plan_;
};

}  // namespace

int32_t EnginePlan::buffer(BufferKind kind, int32_t index) const {
  for (size_t i = 0; i < buffers.size(); ++i) {
    if (buffers[i].kind == kind && buffers[i].index == index) return static_cast<int32_t>(i);
  }
  return kNone;
}

std::vector<int32_t> EnginePlan::find(Phase phase, SegmentRole role) const {
  std::vector<int32_t> found;
  for (size_t i = 0; i < segments.size(); ++i) {
    if (segments[i].phase == phase && segments[i].role == role) {
      found.push_back(static_cast<int32_t>(i));
    }
  }
  return found;
}

EnginePlan plan_engine(const Manifest& manifest, const DeviceLimits& limits,
                       const EngineOptions& options) {
  return Planner(manifest, limits, options).run();
}

}  // namespace pocket
