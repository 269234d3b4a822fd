// The memory plan of every export at hand, under a thousand bindings each: what lives together lies
// apart, what shares bytes never lives together, and the arena is near the least possible.
// POCKET_ZOO names a folder of scripts/make_zoo.py whose exports are checked too.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <random>

#include "converter/lower/lower.h"
#include "converter/onnx/import.h"
#include "converter/passes/passes.h"
#include "converter/shape/infer.h"
#include "test/support/catch.h"

namespace pocket {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> exports() {
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(POCKET_SOURCE_DIR "/models")) {
    if (fs::exists(entry.path() / "model.onnx")) found.push_back(entry.path());
  }
  if (const char* zoo = std::getenv("POCKET_ZOO")) {
    for (const auto& entry : fs::directory_iterator(zoo)) {
      if (fs::exists(entry.path() / "a" / "model.onnx")) found.push_back(entry.path() / "a");
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

Program program_of(const fs::path& folder) {
  onnx_import::ImportReport report;
  ir::Graph graph = onnx_import::import_model(folder.string(), &report);
  shape::infer_shapes(graph);
  PassOptions options;
  options.max_context = report.context;
  run_passes(graph, options);
  LowerOptions lowering;
  lowering.max_context = report.context;
  return lower(graph, lowering).program;
}

using Pair = std::pair<size_t, size_t>;

// Pairs of activations that some operator needs both of, by the operators' own lists.
std::vector<Pair> alive_together(const Program& program) {
  const size_t count = program.tensors.size();
  std::vector<int32_t> first(count, -1), last(count, -1);
  const auto end = static_cast<int32_t>(program.operators.size()) - 1;
  for (int32_t op = 0; op <= end; ++op) {
    const Operator& one = program.operators[static_cast<size_t>(op)];
    for (const auto& list : {one.inputs, one.outputs}) {
      for (const TensorId id : list) {
        if (id == kNone) continue;
        const auto tensor = static_cast<size_t>(id);
        if (first[tensor] < 0) first[tensor] = op;
        last[tensor] = op;
      }
    }
  }
  last[static_cast<size_t>(program.hidden)] = last[static_cast<size_t>(program.logits)] = end;
  std::vector<Pair> pairs;
  for (size_t i = 0; i < count; ++i) {
    for (size_t k = 0; k < i; ++k) {
      if (program.tensors[i].role == TensorRole::state ||
          program.tensors[k].role == TensorRole::state) {
        continue;
      }
      if (first[i] <= last[k] && first[k] <= last[i]) pairs.emplace_back(i, k);
    }
  }
  return pairs;
}

bool overlap(const EvaluatedPlan& plan, const Pair& pair) {
  const auto [a, b] = pair;
  return plan.offset[a] < plan.offset[b] + plan.bytes[b] &&
         plan.offset[b] < plan.offset[a] + plan.bytes[a];
}

}  // namespace

TEST_CASE("plans of all exports under a thousand bindings") {
  constexpr int kBindings = 1000;
  std::mt19937 random(31);
  for (const fs::path& folder : exports()) {
    const std::string name = folder.filename() == "a" ? folder.parent_path().filename().string()
                                                      : folder.filename().string();
    INFO(name);
    const Program program = program_of(folder);
    const std::vector<Pair> together = alive_together(program);
    REQUIRE(!together.empty());
    const int64_t most = program.max_context;
    size_t overlaps = 0;
    for (int i = 0; i < kBindings; ++i) {
      const int64_t tokens = 1 + static_cast<int64_t>(random() % static_cast<uint64_t>(most));
      const int64_t past =
          static_cast<int64_t>(random() % static_cast<uint64_t>(most - tokens + 1));
      const int64_t rows = 1 + static_cast<int64_t>(random() % static_cast<uint64_t>(tokens));
      const EvaluatedPlan plan = evaluate_plan(
          program, {{"tokens", tokens}, {"past", past}, {"rows", rows}, {"context", most}});
      for (const Pair& pair : together) overlaps += overlap(plan, pair);
      for (const TensorId id : program.plan.order) {
        const auto tensor = static_cast<size_t>(id);
        overlaps += plan.offset[tensor] + plan.bytes[tensor] > plan.arena_bytes;
      }
    }
    CHECK(overlaps == 0);
    for (const int64_t tokens : {int64_t{1}, program.default_chunk, most}) {
      const Bindings bindings = {
          {"tokens", tokens}, {"past", most}, {"rows", 1}, {"context", most}};
      const EvaluatedPlan plan = evaluate_plan(program, bindings);
      const uint64_t bound = largest_live_set(program, bindings);
      uint64_t sum = 0;
      for (const TensorId id : program.plan.order) sum += plan.bytes[static_cast<size_t>(id)];
      std::printf("%s, %lld tokens: arena %llu bytes, %.3f of the bound, %.3f of all tensors\n",
                  name.c_str(), static_cast<long long>(tokens),
                  static_cast<unsigned long long>(plan.arena_bytes),
                  static_cast<double>(plan.arena_bytes) / static_cast<double>(bound),
                  static_cast<double>(plan.arena_bytes) / static_cast<double>(sum));
      CHECK(static_cast<double>(plan.arena_bytes) <= 1.1 * static_cast<double>(bound));
    }
  }
}

}  // namespace pocket
