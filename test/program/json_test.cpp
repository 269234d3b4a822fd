#include "runtime/program/json.h"

#include "runtime/base/error.h"
#include "test/support/catch.h"
#include "test/support/tiny_model.h"

using namespace pocket;

TEST_CASE("a program survives JSON unchanged") {
  for (const auto style : {test::TinyStyle::llama, test::TinyStyle::gpt2}) {
    test::TinyOptions options;
    options.style = style;
    options.unfused = style == test::TinyStyle::gpt2;
    options.interleaved = true;
    test::TinyModel model = test::make_tiny_model(options);
    Program& program = model.manifest.program;
    program.operators[0].attributes.scale = 0.1f;
    program.operators[0].attributes.position_offset = 2;
    const nlohmann::json json = program_to_json(program);
    const Program again = program_from_json(nlohmann::json::parse(json.dump()));
    CHECK(program_to_json(again) == json);
    CHECK(to_text(again) == to_text(program));
    CHECK(again.operators[0].attributes.scale == 0.1f);
    CHECK(again.symbols.at("past").max == 256);
    for (size_t i = 0; i < program.rope_tables.size(); ++i) {
      CHECK(again.rope_tables[i].inv_freq == program.rope_tables[i].inv_freq);
    }
  }
}

TEST_CASE("wrong types, names and ranges are refused with their place") {
  const nlohmann::json good = program_to_json(test::make_tiny_model({}).manifest.program);
  struct Case {
    const char* pointer;
    nlohmann::json value;
    const char* named;
  };
  const Case cases[] = {
      {"/symbols", 3, "program.symbols"},
      {"/symbols/tokens", {1, 2, 3}, "pairs"},
      {"/symbols/tokens", {-1, 2}, "program.symbols.tokens[0]"},
      {"/tensors", "x", "program.tensors"},
      {"/tensors/1/dtype", "f64", "program.tensors[1].dtype"},
      {"/tensors/1/shape/0", "tokens +", "program.tensors[1].shape[0]"},
      {"/tensors/1/shape/0", -5, "program.tensors[1].shape[0]"},
      {"/tensors/1/role", "weight", "program.tensors[1].role"},
      {"/tensors/1/name", 7, "must be a text"},
      {"/operators/2/kind", "convolution", "'convolution'"},
      {"/operators/2/inputs/0", 1e20, "must be an integer"},
      {"/operators/2/inputs/0", 4294967296, "4294967296"},
      {"/operators/2/inputs/0", UINT64_MAX, "18446744073709551615"},
      {"/operators/2/attributes/activation", "swish", "'swish'"},
      {"/operators/2/attributes/surprise", 1, "'surprise'"},
      {"/operators/2/attributes/scale", 1e300, "does not fit"},
      {"/operators/2/attributes/interleaved", 1, "true or false"},
      {"/segments/0/part", "tail", "'tail'"},
      {"/rope_tables/0/inv_freq/0", "x", "must be a number"},
      {"/vocab", 5000000000, "program.vocab"},
      {"/tensors/1/shape/0", "pow(2,3)", "program.tensors[1].shape[0]"},
      {"/plan/order/0", -2, "program.plan.order[0]"},
      {"/new_section", 1, "'new_section'"},
  };
  for (const Case& one : cases) {
    nlohmann::json bad = good;
    bad[nlohmann::json::json_pointer(one.pointer)] = one.value;
    INFO(one.pointer << " = " << one.value);
    CHECK_THROWS_WITH(program_from_json(bad), Catch::Contains(one.named));
  }
  for (const auto& item : good.items()) {  // every key is needed, but the symbols
    if (item.key() == "symbols") continue;
    nlohmann::json bad = good;
    bad.erase(item.key());
    CHECK_THROWS_AS(program_from_json(bad), Error);
  }
  CHECK_THROWS_AS(program_from_json(nlohmann::json(5)), Error);
}

TEST_CASE("a plan of blocks, as the first version of the format wrote it, becomes an order") {
  const Program program = test::make_tiny_model({}).manifest.program;
  nlohmann::json json = program_to_json(program);
  std::vector<int32_t> block_of;
  for (size_t i = 0; i < program.tensors.size(); ++i) {
    const bool state = program.tensors[i].role == TensorRole::state;
    block_of.push_back(state ? kNone : static_cast<int32_t>(i * 7 % 5));
  }
  json["plan"].erase("order");
  json["plan"]["block_bytes"] = {1, 2, 3, 4, 5};
  json["plan"]["block_of"] = block_of;
  const Program again = program_from_json(json);
  REQUIRE(again.plan.order.size() == program.plan.order.size());
  for (size_t i = 1; i < again.plan.order.size(); ++i) {
    CHECK(block_of[size_t(again.plan.order[i - 1])] <= block_of[size_t(again.plan.order[i])]);
  }
}
