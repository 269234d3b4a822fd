// Tensors next to the size of a storage binding: what fits is computed to the last element, what is
// larger is refused in a sentence. A store behind a binding would vanish without a trace.
#include "converter/shape/infer.h"
#include "runtime/base/error.h"
#include "test/lower/generic_run.h"
#include "test/passes/graph_maker.h"
#include "test/support/catch.h"

namespace pocket::test {
namespace {

using ir::ValueId;

// Each is larger than all else that its operators bind.
const char* const kLarge[] = {"input", "output", "weight", "both", "softmax", "gathered table"};

// A graph whose largest tensor has `elements` elements.
GraphMaker graph_with(const std::string& what, int64_t elements) {
  GraphMaker g;
  g.graph.symbols = {{"tokens", {1, 64}}, {"past", {0, 64}}};
  const std::vector<Expr> large{1, elements};
  const auto reduced = [&](ValueId x) { return g.op("ReduceMax", {x, g.integers({1})}); };
  const auto last_of = [&](ValueId x) {
    return g.op("Slice", {x, g.integers({elements - 3}), g.integers({elements}), g.integers({1})});
  };
  if (what == "input") {
    const ValueId x = g.input("x", large);
    g.output(reduced(x));
    g.output(g.op("Neg", {last_of(x)}));
  } else if (what == "output") {
    g.output(g.op("Exp", {g.op("Expand", {g.input("x", {1, 1}), g.integers({1, elements})})}));
  } else if (what == "weight") {
    g.output(reduced(g.op("Mul", {g.random({1, elements}), g.scalar(2.0f)})));
    g.output(g.op("Add", {last_of(g.random({1, elements})), g.input("x", {1, 3})}));
  } else if (what == "both") {
    g.output(g.op("Add", {g.input("x", large), g.input("y", large)}));
  } else if (what == "softmax") {
    g.output(g.op("Softmax", {g.input("x", large)}, {{"axis", int64_t{-1}}}));
  } else {
    const ValueId index = g.input("index", {5}, ir::ElementType::i64);
    const ValueId behind = g.op("Sub", {index, g.integers({3})});  // -3 .. -1: from the end
    g.output(g.op("Gather", {g.input("x", large), behind}, {{"axis", int64_t{1}}}));
  }
  shape::require_resolved(shape::infer_shapes(g.graph));
  return g;
}

}  // namespace

TEST_CASE("generic tensors next to the size of a binding are computed whole or refused") {
  int bounded = 0;
  for (LimitedDevice* limited : limited_devices()) {
    const auto limit = static_cast<int64_t>(limited->device.limits().max_binding);
    if (limit >= int64_t{1} << 24) continue;  // no file about bindings
    ++bounded;
    for (const char* what : kLarge) {
      for (const int64_t elements : {limit / 4 - 1, limit / 4, limit / 4 + 1}) {
        CAPTURE(limited->name, what, elements);
        const GraphMaker g = graph_with(what, elements);
        GenericRun run(g.graph);
        const StepSize step{1, 0};
        if (elements <= limit / 4) {
          const auto expected = run.expected(step, 5);
          CHECK(worst_error(expected, run.on_host(step, 5)) < 2e-5);
          CHECK(worst_error(expected, run.on_device(step, 5, *limited)) < 2e-5);
          continue;
        }
        try {
          run.on_device(step, 5, *limited);
          FAIL("a binding beyond the limit was planned");
        } catch (const Error& error) {
          const std::string sentence = error.what();
          INFO(sentence);
          CHECK(error.code == ExitCode::device);
          CHECK(sentence.find(std::to_string(4 * elements)) != std::string::npos);
          CHECK(sentence.find(std::to_string(limit)) != std::string::npos);
        }
      }
    }
  }
  CHECK(bounded >= 3);  // 64 KiB, 1 MiB, and the smallest device
}

}  // namespace pocket::test
