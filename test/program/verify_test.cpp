#include <functional>

#include "converter/lower/plan_memory.h"
#include "runtime/base/error.h"
#include "test/support/catch.h"
#include "test/support/tiny_model.h"

using namespace pocket;

namespace {

Operator& find_op(Program& program, OpKind kind) {
  for (Operator& op : program.operators) {
    if (op.kind == kind) return op;
  }
  throw std::runtime_error("no such operator");
}

Tensor& output_of(Program& program, OpKind kind) {
  return program.tensors[size_t(find_op(program, kind).outputs[0])];
}

}  // namespace

TEST_CASE("programs of every style are consistent") {
  for (const auto style : {test::TinyStyle::llama, test::TinyStyle::gpt2}) {
    for (const bool variant : {false, true}) {
      test::TinyOptions options;
      options.style = style;
      options.unfused = variant;
      options.merged_qkv = options.tied = !variant;
      options.interleaved = variant;
      options.activations = variant ? DType::f16 : DType::f32;
      const test::TinyModel model = test::make_tiny_model(options);
      CHECK_NOTHROW(verify(model.manifest.program, model.shapes));
    }
  }
}

TEST_CASE("every broken rule is found, naming what broke") {
  using Shapes = std::vector<std::vector<int64_t>>;
  struct Case {
    const char* named;  // part of the message
    std::function<void(Program&, Shapes&)> damage;
    test::TinyStyle style = test::TinyStyle::llama;
    bool unfused = false;
  };
  const auto gpt2 = test::TinyStyle::gpt2;
  const std::vector<Case> cases = {
      {"'other'",
       [](auto& p, auto&) {
         p.symbols["other"] = {1, 2};
       }},
      {"range",
       [](auto& p, auto&) {
         p.symbols["tokens"] = {5, 2};
       }},
      {"vocabulary", [](auto& p, auto&) { p.vocab = 0; }},
      {"context", [](auto& p, auto&) { p.default_context = p.max_context + 1; }},
      {"chunk", [](auto& p, auto&) { p.default_chunk = 0; }},
      {"'embedded'", [](auto& p, auto&) { p.tensors[0].shape[1] = 0; }},
      {"'embedded'", [](auto& p, auto&) { p.tensors[0].shape[0] = Expr::symbol("other"); }},
      {"'embedded'", [](auto& p, auto&) { p.tensors[0].shape.clear(); }},
      {"odd last",
       [](auto& p, auto&) {
         p.tensors[0].dtype = DType::f16;
         p.tensors[0].shape[1] = 41;
       }},
      {"overflow",
       [](auto& p, auto&) {
         p.tensors[0].shape = {Expr::symbol("tokens"), INT32_MAX, INT32_MAX, INT32_MAX};
       }},
      {"weight list", [](auto&, auto& shapes) { shapes.pop_back(); }},
      {"'embedding'", [](auto&, auto& shapes) { shapes[0][0] = -1; }},
      {"'embed'", [](auto& p, auto&) { p.operators[0].outputs[0] = 1000; }},
      {"'embed'", [](auto& p, auto&) { p.operators[0].weights[0] = -2; }},
      {"misses weight 0",
       [](auto& p, auto&) {
         p.operators[0].weights = {kNone, kNone};
       }},
      {"appears twice", [](auto& p, auto&) { p.operators[1].name = p.operators[0].name; }},
      {"finite", [](auto& p, auto&) { p.rope_tables[0].scale = INFINITY; }},
      {"finite", [](auto& p, auto&) { p.operators[1].attributes.epsilon = NAN; }},
      {"hidden", [](auto& p, auto&) { p.hidden = kNone; }},
      {"logits", [](auto& p, auto&) { p.logits = p.hidden; }},
      {"'logits'", [](auto& p, auto&) { p.tensors[size_t(p.logits)].dtype = DType::i32; }},
      {"no f32 logits",
       [](auto& p, auto& shapes) {
         p.tensors[size_t(p.logits)].dtype = DType::f16;  // of an even width
         p.tensors[size_t(p.logits)].shape[1] = p.vocab = shapes[0][0] = 106;
       }},
      {"Segment", [](auto& p, auto&) { p.segments[1].first_op = 0; }},
      {"Segment", [](auto& p, auto&) { p.segments[1].op_count = 1000; }},
      {"Segment", [](auto& p, auto&) { p.segments[1].op_count = -1; }},
      {"segments", [](auto& p, auto&) { p.segments.pop_back(); }},
      {"body after", [](auto& p, auto&) { p.segments[0].part = Part::head; }},
      {"table",
       [](auto&, auto& shapes) {
         shapes[0] = {104, 40};
       }},
      {"positions",
       [](auto&, auto& shapes) {
         shapes[1] = {255, 40};
       },
       gpt2},
      {"position offset", [](auto& p, auto&) { p.operators[0].attributes.position_offset = -1; },
       gpt2},
      {"(norm)", [](auto& p, auto&) { find_op(p, OpKind::norm).inputs.pop_back(); }},
      {"(norm)", [](auto& p, auto&) { output_of(p, OpKind::norm).shape[1] = 48; }},
      {"(norm)", [](auto& p, auto&) { find_op(p, OpKind::norm).attributes.epsilon = -1; }},
      {"(norm)",
       [](auto& p, auto& shapes) { shapes[size_t(find_op(p, OpKind::norm).weights[0])] = {41}; }},
      {"(linear)",
       [](auto& p, auto& shapes) {
         shapes[size_t(find_op(p, OpKind::linear).weights[0])][1] = 41;
       }},
      {"(linear)", [](auto& p, auto&) { find_op(p, OpKind::linear).weights[0] = kNone; }},
      {"(linear)", [](auto& p, auto&) { find_op(p, OpKind::linear).inputs[0] = kNone; }},
      {"(linear)", [](auto& p, auto&) { find_op(p, OpKind::linear).weights[1] = 0; }},
      {"(gated_linear)",
       [](auto& p, auto& shapes) {
         shapes[size_t(find_op(p, OpKind::gated_linear).weights[1])][0] = 71;
       }},
      {"heads", [](auto& p, auto&) { find_op(p, OpKind::rotary_kv).attributes.heads = 0; }},
      {"columns", [](auto& p, auto&) { find_op(p, OpKind::rotary_kv).attributes.v_column = 50; }},
      {"columns", [](auto& p, auto&) { find_op(p, OpKind::rotary_kv).attributes.k_column = -8; }},
      {"rotates", [](auto& p, auto&) { find_op(p, OpKind::rotary_kv).attributes.rotary_dim = 10; }},
      {"rope table",
       [](auto& p, auto&) { find_op(p, OpKind::rotary_kv).attributes.rope_table = 1; }},
      {"rope table", [](auto& p, auto&) { p.rope_tables[0].inv_freq.pop_back(); }},
      {"one state",
       [](auto& p, auto&) {
         Operator& op = find_op(p, OpKind::rotary_kv);
         op.inputs[4] = op.inputs[3];
       }},
      {"state",
       [](auto& p, auto&) {
         Operator& op = find_op(p, OpKind::rotary_kv);
         op.inputs[3] = op.inputs[0];
       }},
      {"nothing has written",
       [](auto& p, auto&) {
         Operator *first = nullptr, *second = nullptr;
         for (Operator& op : p.operators) {
           if (op.kind != OpKind::attention) continue;
           (first == nullptr ? first : second) = &op;
         }
         first->inputs[1] = second->inputs[1];
       }},
      {"(attention)",
       [](auto& p, auto&) { find_op(p, OpKind::attention).attributes.head_dim = 16; }},
      {"(unary)", [](auto& p, auto&) { output_of(p, OpKind::unary).shape[1] = 80; }, gpt2, true},
      {"(binary)", [](auto& p, auto&) { find_op(p, OpKind::binary).weights[0] = 0; }, gpt2, true},
      {"(select_rows)", [](auto& p, auto&) { find_op(p, OpKind::select_rows).inputs[0] = 0; }},
      {"before it is written", [](auto& p, auto&) { std::swap(p.operators[1], p.operators[2]); }},
      {"memory plan", [](auto& p, auto&) { p.plan.order.pop_back(); }},
      {"memory plan", [](auto& p, auto&) { p.plan.last_use[0] = 1; }},
      {"stacks tensor 1000", [](auto& p, auto&) { p.plan.order[0] = 1000; }},
      {"there already", [](auto& p, auto&) { p.plan.order[0] = p.plan.order[1]; }},
      {"which is a state",
       [](auto& p, auto&) { p.plan.order[0] = find_op(p, OpKind::attention).inputs[1]; }},
  };
  for (const Case& one : cases) {
    test::TinyOptions options;
    options.style = one.style;
    options.unfused = one.unfused;
    test::TinyModel model = test::make_tiny_model(options);
    one.damage(model.manifest.program, model.shapes);
    INFO(one.named << " (case " << (&one - cases.data()) << ")");
    try {
      verify(model.manifest.program, model.shapes);
      FAIL("accepted");
    } catch (const Error& error) {
      INFO(error.what());
      CHECK(error.code == ExitCode::bad_input);
      CHECK(std::string(error.what()).find(one.named) != std::string::npos);
    }
  }
}
