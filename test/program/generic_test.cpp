// Generic operators and the newer attributes in the program: JSON, features, polynomials, and every
// rule that verify() holds them to.
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "runtime/base/error.h"
#include "runtime/program/json.h"
#include "test/engine/generic_model.h"
#include "test/support/catch.h"

using namespace pocket;

namespace {

test::TinyModel generic_model() {
  test::TinyOptions options;
  options.unfused = true;
  return test::generalised(test::make_tiny_model(options));
}

Operator& generic_op(Program& program) {
  for (Operator& op : program.operators) {
    if (op.kind == OpKind::generic) return op;
  }
  throw std::runtime_error("no generic operator");
}

Operator& find_op(Program& program, OpKind kind) {
  for (Operator& op : program.operators) {
    if (op.kind == kind) return op;
  }
  throw std::runtime_error("no such operator");
}

}  // namespace

TEST_CASE("generic steps and newer attributes survive JSON unchanged") {
  test::TinyModel model = generic_model();
  Program& program = model.manifest.program;
  GenericStep step = generic_op(program).steps[0];
  step.function = GenericFunction::clip;
  step.compute = DType::i32;
  GenericOperand number;
  number.source = GenericSource::number;
  for (const double value : {-std::numeric_limits<double>::infinity(), 0.1}) {
    number.number = value;
    step.operands.push_back(number);
  }
  step.operands[0].offset = Expr::symbol("past") * Expr(3) - Expr(1);
  step.inner = 0;
  generic_op(program).steps.push_back(step);
  find_op(program, OpKind::attention).attributes.window = 7;
  find_op(program, OpKind::attention).attributes.soft_cap = 30.0f;
  program.rope_tables[0].long_inv_freq = program.rope_tables[0].inv_freq;
  program.rope_tables[0].long_scale = 1.25;
  program.rope_tables[0].long_from = 100;

  const nlohmann::json json = program_to_json(program);
  const Program again = program_from_json(nlohmann::json::parse(json.dump()));
  CHECK(program_to_json(again) == json);
  CHECK(to_text(again) == to_text(program));
  const GenericStep& read = generic_op(const_cast<Program&>(again)).steps.back();
  CHECK(read.function == GenericFunction::clip);
  CHECK(read.compute == DType::i32);
  CHECK(read.operands[0].offset == step.operands[0].offset);
  CHECK(read.operands[2].number == -std::numeric_limits<double>::infinity());
  CHECK(again.rope_tables[0].long_from == 100);
  const std::vector<std::string> needed = required_features(again);
  for (const char* name : {"attention_window", "generic_operators", "long_rope", "soft_cap"}) {
    CHECK(std::count(needed.begin(), needed.end(), name) == 1);
  }
}

TEST_CASE("a program asks only for the features that it uses") {
  const test::TinyModel model = test::make_tiny_model({});
  for (const std::string& name : required_features(model.manifest.program)) {
    CHECK(name == "stacked_plan");
  }
  CHECK(is_known_feature("generic_operators"));
  CHECK(!is_known_feature("telepathy"));
}

TEST_CASE("sizes of a step are polynomials that equal their expressions") {
  const Expr past = Expr::symbol("past"), tokens = Expr::symbol("tokens");
  const Expr rows = Expr::symbol("rows"), context = Expr::symbol("context");
  const Bindings known = {{"rows", 3}, {"context", 50}, {"tokens", 99}, {"past", 99}};
  for (const Expr& expr :
       {Expr(7), past + tokens, (past + tokens) * tokens * Expr(5) - Expr(2), past * past - tokens,
        tokens * tokens + context, rows * (past + tokens) - context}) {
    const StepPolynomial polynomial = step_polynomial(expr, known);
    for (const auto& [p, t] : {std::pair{0, 1}, {5, 1}, {0, 9}, {17, 4}}) {
      CHECK(polynomial.evaluate(p, t) ==
            expr.evaluate({{"rows", 3}, {"context", 50}, {"past", p}, {"tokens", t}}));
    }
  }
  CHECK_THROWS_AS(step_polynomial(past * past * tokens, known), Error);
  CHECK_THROWS_AS(step_polynomial(Expr::floordiv(past, 2), known), Error);
  CHECK_THROWS_AS(step_polynomial(Expr::max(past, 2), known), Error);
  CHECK_THROWS_AS(step_polynomial(Expr::symbol("batch"), known), Error);
  CHECK_THROWS_AS(step_polynomial(past * Expr(int64_t{1} << 40), known), Error);
}

TEST_CASE("a generic program is consistent, and every broken rule is found") {
  {
    const test::TinyModel model = generic_model();
    CHECK_NOTHROW(verify(model.manifest.program, model.shapes));
  }
  struct Case {
    const char* named;
    std::function<void(Program&, Operator&)> damage;
  };
  const std::vector<Case> cases = {
      {"steps", [](auto&, auto& op) { op.steps.clear(); }},
      {"has steps of a generic operator",
       [](auto& p, auto& op) { find_op(p, OpKind::norm).steps = op.steps; }},
      {"more than 8 dimensions", [](auto&, auto& op) { op.steps[0].domain.resize(9, Expr(1)); }},
      {"inner", [](auto&, auto& op) { op.steps[0].inner = 3; }},
      {"inner", [](auto&, auto& op) { op.steps[0].inner = 1; }},
      {"operands", [](auto&, auto& op) { op.steps[0].operands.pop_back(); }},
      {"another rank", [](auto&, auto& op) { op.steps[0].out.strides.pop_back(); }},
      {"operand that does not exist", [](auto&, auto& op) { op.steps[0].operands[0].index = 2; }},
      {"operand that does not exist", [](auto&, auto& op) { op.steps[0].out.index = 1; }},
      {"reads its own output",
       [](auto&, auto& op) { op.steps[0].operands[0].source = GenericSource::output; }},
      {"writes to no tensor",
       [](auto&, auto& op) { op.steps[0].out.source = GenericSource::index; }},
      {"no f32 state", [](auto&, auto& op) { op.steps[0].out.source = GenericSource::input; }},
      {"computes in f16", [](auto&, auto& op) { op.steps[0].compute = DType::f16; }},
      {"scalars", [](auto&, auto& op) { op.steps[0].scalars = {Expr(1)}; }},
      {"components", [](auto&, auto& op) { op.steps[0].function = GenericFunction::gather; }},
      {"degree",
       [](auto&, auto& op) {
         const Expr past = Expr::symbol("past");
         op.steps[0].domain[0] = past * past * past;
       }},
      {"polynomial", [](auto&, auto& op) { op.steps[0].out.offset = Expr::symbol("rows"); }},
      {"f32 or i32",
       [](auto& p, auto& op) {
         Tensor& out = p.tensors[size_t(op.outputs[0])];
         out.dtype = DType::f16;
       }},
  };
  for (const Case& broken : cases) {
    test::TinyModel model = generic_model();
    Program& program = model.manifest.program;
    broken.damage(program, generic_op(program));
    CAPTURE(broken.named);
    try {
      verify(program, model.shapes);
      FAIL("accepted");
    } catch (const Error& error) {
      CHECK(error.code == ExitCode::bad_input);
      CHECK(std::string(error.what()).find(broken.named) != std::string::npos);
    }
  }
}

TEST_CASE("the newer attributes of fused operators are checked") {
  struct Case {
    const char* named;
    std::function<void(Program&)> damage;
  };
  const std::vector<Case> cases = {
      {"window", [](auto& p) { find_op(p, OpKind::attention).attributes.window = -1; }},
      {"soft cap", [](auto& p) { find_op(p, OpKind::attention).attributes.soft_cap = -1.0f; }},
      {"weights",
       [](auto& p) {
         find_op(p, OpKind::attention).weights = {kNone, kNone};
       }},
      {"weights", [](auto& p) { find_op(p, OpKind::rotary_kv).weights = {kNone}; }},
      {"norm weight",
       [](auto& p) {
         find_op(p, OpKind::rotary_kv).weights = {0, kNone};
       }},
      {"second list", [](auto& p) { p.rope_tables[0].long_inv_freq = {1.0}; }},
      {"finite", [](auto& p) { p.rope_tables[0].long_scale = NAN; }},
      {"positions", [](auto& p) { p.rope_tables[0].values = 0; }},
      {"extent",
       [](auto& p) {
         Tensor& out = p.tensors[size_t(p.operators[0].outputs[0])];
         out.shape[0] = Expr(100) - Expr::symbol("past");
       }},
  };
  for (const Case& broken : cases) {
    test::TinyModel model = test::make_tiny_model({});
    broken.damage(model.manifest.program);
    CAPTURE(broken.named);
    try {
      verify(model.manifest.program, model.shapes);
      FAIL("accepted");
    } catch (const Error& error) {
      CHECK(std::string(error.what()).find(broken.named) != std::string::npos);
    }
  }
}
