#include "converter/onnx/decoder_check.h"

#include <algorithm>
#include <string>

#include "runtime/base/error.h"

namespace pocket::onnx_import {

namespace {

constexpr const char* kUse = "; export the language model alone (task text-generation-with-past).";

[[noreturn]] void fail(const std::string& message) { throw Error(ExitCode::bad_input, message); }

bool is_state(const ir::Graph& graph, ir::ValueId id) {
  return std::any_of(graph.states.begin(), graph.states.end(),
                     [id](const ir::StatePair& state) { return state.past == id; });
}

bool has_ids(const ir::Graph& graph) {
  return std::any_of(graph.inputs.begin(), graph.inputs.end(), [&](ir::ValueId id) {
    const ir::Value& input = graph.value(id);
    const bool other_role = input.name.find("mask") != std::string::npos ||
                            input.name.find("position") != std::string::npos;
    return ir::is_integer_type(input.type) && input.shape && input.shape->size() == 2 &&
           (input.name == "input_ids" || !other_role);
  });
}

}  // namespace

void refuse_training_graph(const ir::Graph& graph) {
  std::string first;
  int weights = 0;
  for (const ir::ValueId id : graph.inputs) {
    const ir::Value& input = graph.value(id);
    if (is_state(graph, id) || !input.shape || input.shape->empty()) continue;
    const bool fixed = std::all_of(input.shape->begin(), input.shape->end(),
                                   [](const Expr& dim) { return dim.is_constant(); });
    if (!ir::is_float_type(input.type) || input.shape->size() > 2 || !fixed) continue;
    if (weights++ == 0) first = input.name;
  }
  if (weights <= 2) return;
  fail("the model takes " + std::to_string(weights) + " weights as inputs (\"" + first +
       "\", ...): it is a training graph" + kUse);
}

void require_language_model(const ir::Graph& graph) {
  refuse_training_graph(graph);
  for (const ir::ValueId id : graph.inputs) {
    const ir::Value& input = graph.value(id);
    if (is_state(graph, id) || !input.shape) continue;
    if (input.name.find("encoder") != std::string::npos) {
      fail("the model reads the states of an encoder (\"" + input.name +
           "\"): it is half of an encoder-decoder" + kUse);
    }
    if (input.name.find("pixel") != std::string::npos ||
        input.name.find("image") != std::string::npos ||
        input.name.find("input_features") != std::string::npos ||
        input.name.find("audio") != std::string::npos) {
      fail("the model takes \"" + input.name + "\": it sees pictures or hears sound" + kUse);
    }
  }
  if (!has_ids(graph)) fail(std::string("the model has no input of token ids") + kUse);
}

void require_decoder(const ir::Graph& graph) {
  require_language_model(graph);
  if (!graph.symbols.contains("tokens")) {
    fail(
        "the model has a fixed number of tokens; export it with a dynamic sequence length (task "
        "text-generation-with-past).");
  }
  if (!graph.states.empty() && !graph.symbols.contains("past")) {
    fail("the model's past has a fixed length; export it with a dynamic past sequence length.");
  }
}

void require_recognised_states(size_t unfused) {
  if (unfused == 0) return;
  fail("the model has no inputs and outputs for past keys and values and " +
       std::to_string(unfused) +
       " of its operators were not recognised, so it is no decoder or nothing says what it "
       "remembers; export it with --task text-generation-with-past.");
}

}  // namespace pocket::onnx_import
