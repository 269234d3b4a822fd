// Dimensions get their roles, whatever the exporter called them.
#include "converter/onnx/symbols.h"

#include "converter/onnx/import.h"
#include "runtime/base/error.h"
#include "test/onnx/model_builder.h"
#include "test/support/catch.h"

using namespace pocket;
using test::ModelBuilder;

namespace {

struct Names {
  std::string batch, ids, past, total;
};

ModelBuilder decoder(const Names& n) {
  ModelBuilder m;
  m.input("input_ids", {n.batch, n.ids}, 7);
  m.input("attention_mask", {n.batch, n.total}, 7);
  m.input("position_ids", {n.batch, n.ids}, 7);
  m.input("past_key_values.0.key", {n.batch, "2", n.past, "8"});
  m.input("past_key_values.0.value", {n.batch, "2", n.past, "8"});
  m.node("Identity", {"past_key_values.0.key"}, {"present.0.key"});
  m.node("Identity", {"past_key_values.0.value"}, {"present.0.value"});
  m.node("Identity", {"input_ids"}, {"logits"});
  m.output("logits");
  m.output("present.0.key");
  m.output("present.0.value");
  return m;
}

ir::Graph imported(const ModelBuilder& m, const std::string& config = "",
                   onnx_import::ImportReport* report = nullptr) {
  test::TemporaryFolder folder;
  m.write(folder / "model.onnx");
  if (!config.empty()) ModelBuilder::write_bytes(folder / "config.json", config);
  return onnx_import::import_model(folder.path().string(), report);
}

std::string shape_of(const ir::Graph& graph, const std::string& name) {
  return ir::shape_text(*graph.value(graph.find(name)).shape);
}

}  // namespace

TEST_CASE("every exporter's names become tokens, past and their sum") {
  const Names forms[] = {
      {"batch_size", "sequence_length", "past_sequence_length",
       "past_sequence_length + sequence_length"},
      {"batch", "sequence", "past_sequence", "past_sequence+sequence"},
      {"1", "s72", "s70", "s70 + s72"},
      {"batch_size", "sequence_length", "past_sequence_length", "total_sequence_length"},
      {"batch size", "tokens", "past", "attention mask length"},
      {"b", "past", "tokens", "both"},  // the exporter's words in other places
      {"", "", "p", ""},                // unnamed dimensions
  };
  for (const Names& names : forms) {
    INFO(names.total);
    const ir::Graph graph = imported(decoder(names));
    CHECK(shape_of(graph, "input_ids") == "[1, tokens]");
    CHECK(shape_of(graph, "position_ids") == "[1, tokens]");
    CHECK(shape_of(graph, "attention_mask") == "[1, past + tokens]");
    CHECK(shape_of(graph, "past_key_values.0.key") == "[1, 2, past, 8]");
    CHECK(shape_of(graph, "past_key_values.0.value") == "[1, 2, past, 8]");
    REQUIRE(graph.states.size() == 2);
    for (const ir::StatePair& state : graph.states) {
      const std::string past = graph.value(state.past).name;
      CHECK(graph.value(state.present).name == "present" + past.substr(past.find('.')));
    }
  }
}

TEST_CASE("ranges follow the configuration") {
  const Names names{"b", "s", "p", "p + s"};
  onnx_import::ImportReport report;
  const ir::Graph graph = imported(decoder(names), R"({"max_position_embeddings": 160})", &report);
  CHECK(graph.symbols.size() == 2);
  CHECK(graph.symbols.at("tokens").min == 1);
  CHECK(graph.symbols.at("tokens").max == 160);
  CHECK(graph.symbols.at("past").min == 0);
  CHECK(graph.symbols.at("past").max == 160);
  CHECK_FALSE(report.context_is_default);
  imported(decoder(names), "", &report);
  CHECK(report.context == 4096);
  CHECK(report.context_is_default);
}

TEST_CASE("a batch other than 1 is refused") {
  CHECK_THROWS_WITH(imported(decoder({"4", "s", "p", "p + s"})), Catch::Contains("batch size 4"));
}

TEST_CASE("declared names are hints: a contradiction is resolved with a note") {
  // Phi-3.5's export calls the length of the ids that of everything; others forget the past.
  const Names forms[] = {
      {"b", "c + s", "c", "c + s"}, {"b", "s", "p", "p + 1"}, {"b", "s", "p", "s"}};
  for (const Names& names : forms) {
    INFO(names.total);
    onnx_import::ImportReport report;
    const ir::Graph graph = imported(decoder(names), "", &report);
    CHECK(shape_of(graph, "input_ids") == "[1, tokens]");
    CHECK(shape_of(graph, "position_ids") == "[1, tokens]");
    CHECK(shape_of(graph, "attention_mask") == "[1, past + tokens]");
    CHECK(shape_of(graph, "past_key_values.0.key") == "[1, 2, past, 8]");
    REQUIRE_FALSE(report.notes.empty());
    CHECK_THAT(report.notes.back(), Catch::Contains("is taken as"));
  }
}

TEST_CASE("an empty past is a past, and the batch may stand anywhere") {
  const ir::Graph empty = imported(decoder({"b", "s", "0", "t"}));
  CHECK(shape_of(empty, "past_key_values.0.key") == "[1, 2, past, 8]");
  ModelBuilder m;  // sequence first
  m.input("input_ids", {"batch", "s"}, 7);
  m.input("past_key_values.0.key", {"past_length", "batch", "2", "8"});
  m.node("Identity", {"past_key_values.0.key"}, {"present.0.key"});
  m.node("Identity", {"input_ids"}, {"logits"});
  m.output("logits");
  m.output("present.0.key");
  CHECK(shape_of(imported(m), "past_key_values.0.key") == "[past, 1, 2, 8]");
}

TEST_CASE("names that are no expressions become plain symbols") {
  using onnx_import::dimension_expression;
  CHECK(dimension_expression("past_sequence_length + 1") ==
        Expr::symbol("past_sequence_length") + Expr(1));
  CHECK(dimension_expression("2*heads") == Expr::symbol("heads") * Expr(2));
  CHECK(dimension_expression("batch size") == Expr::symbol("batch_size"));
  CHECK(dimension_expression("7 dwarfs").symbols().size() == 1);
  CHECK(dimension_expression("").symbols().size() == 1);
  CHECK(dimension_expression(std::string(5000, '(')).symbols().size() == 1);
}
