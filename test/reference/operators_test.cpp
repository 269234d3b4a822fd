// Reference functions with hand-computed numbers, wrong inputs, and the executor itself.
#include "converter/ir/operators.h"

#include <cmath>
#include <limits>

#include "converter/reference/executor.h"
#include "runtime/base/error.h"
#include "test/support/catch.h"

using namespace pocket;
using reference::HostTensor;

namespace {

HostTensor compute(const std::string& op, const std::vector<HostTensor>& inputs,
                   const std::map<std::string, ir::Attribute>& attributes = {},
                   const std::string& domain = "") {
  ir::Node node;
  node.op = op;
  node.domain = domain;
  node.attributes = attributes;
  reference::Call call{node, {}, 18};
  for (const HostTensor& input : inputs) call.inputs.push_back(&input);
  return reference::standard_registry().find(domain, op)(call).at(0);
}

void check_close(const HostTensor& got, const std::vector<float>& want) {
  REQUIRE(got.f.size() == want.size());
  for (size_t k = 0; k < want.size(); ++k) CHECK(got.f[k] == Approx(want[k]).margin(1e-6));
}

HostTensor typed(HostTensor tensor, ir::ElementType type) {
  tensor.type = type;
  return tensor;
}

constexpr float kInf = std::numeric_limits<float>::infinity();

}  // namespace

TEST_CASE("every row of the table has a reference function") {
  for (const ir::OperatorInfo& row : ir::operators()) {
    INFO(row.domain << "." << row.op);
    CHECK(reference::standard_registry().find(row.domain, row.op) != nullptr);
  }
}

TEST_CASE("Cast truncates, saturates, wraps and tests for zero") {
  const auto to = [](int64_t type) { return std::map<std::string, ir::Attribute>{{"to", type}}; };
  const HostTensor x = HostTensor::floats({6}, {1.9f, -1.9f, 0.0f, 300.0f, 1e20f, -kInf});
  CHECK(compute("Cast", {x}, to(7)).i == std::vector<int64_t>{1, -1, 0, 300,
                                                              std::numeric_limits<int64_t>::max(),
                                                              std::numeric_limits<int64_t>::min()});
  CHECK(compute("Cast", {x}, to(9)).i == std::vector<int64_t>{1, 1, 0, 1, 1, 1});
  const HostTensor n = HostTensor::integers({3}, {300, -1, 0});
  CHECK(compute("Cast", {n}, to(2)).i == std::vector<int64_t>{44, 255, 0});
  CHECK(compute("Cast", {n}, to(3)).i == std::vector<int64_t>{44, -1, 0});
  CHECK(compute("Cast", {n}, to(9)).i == std::vector<int64_t>{1, 1, 0});
  check_close(compute("Cast", {n}, to(1)), {300.0f, -1.0f, 0.0f});
  CHECK(compute("Cast", {n}, to(10)).type == ir::ElementType::f16);
  CHECK(compute("CastLike", {x, n}).i[1] == -1);
  CHECK_THROWS_AS(compute("Cast", {x}, to(8)), Error);
}

TEST_CASE("activations equal their formulas") {
  const HostTensor x = HostTensor::floats({3}, {-1.0f, 0.5f, 2.0f});
  check_close(compute("Erf", {x}), {-0.84270079f, 0.52049988f, 0.99532227f});
  const std::vector<float> by_erf{-0.15865525f, 0.34573123f, 1.95449974f};
  const std::vector<float> by_tanh{-0.15880801f, 0.34571401f, 1.95459769f};
  check_close(compute("Gelu", {x}), by_erf);
  check_close(compute("Gelu", {x}, {{"approximate", std::string("tanh")}}), by_tanh);
  check_close(compute("Gelu", {x}, {}, "com.microsoft"), by_erf);
  check_close(compute("FastGelu", {x}, {}, "com.microsoft"), by_tanh);
  check_close(
      compute("FastGelu",
              {HostTensor::floats({3}, {-2.0f, -0.5f, 1.0f}), HostTensor::floats({1}, {1.0f})}, {},
              "com.microsoft"),
      by_tanh);
  check_close(compute("QuickGelu", {x}, {{"alpha", 1.0f}}, "com.microsoft"),
              {-0.26894143f, 0.31122967f, 1.76159416f});  // x * sigmoid(x)
}

TEST_CASE("norms equal numbers computed by hand") {
  const HostTensor x = HostTensor::floats({2, 2}, {3.0f, 4.0f, 0.0f, 0.0f});
  const HostTensor scale = HostTensor::floats({2}, {1.0f, 2.0f});
  const float r = 1.0f / std::sqrt(12.5f);
  check_close(compute("SimplifiedLayerNormalization", {x, scale}, {{"epsilon", 0.0f + 1e-12f}}),
              {3.0f * r, 8.0f * r, 0.0f, 0.0f});
  check_close(compute("LayerNormalization", {x, scale, HostTensor::floats({2}, {5.0f, 6.0f})},
                      {{"epsilon", 1e-12f}}),
              {4.0f, 8.0f, 5.0f, 6.0f});
}

TEST_CASE("heads that are normalised one by one may have weights of their own") {
  const HostTensor x = HostTensor::floats({1, 2, 2}, {3.0f, 4.0f, 6.0f, 8.0f});
  const HostTensor scale = HostTensor::floats({2, 2}, {1.0f, 2.0f, 3.0f, 4.0f});
  const float r = 1.0f / std::sqrt(12.5f);
  check_close(compute("RMSNormalization", {x, scale}, {{"epsilon", 1e-12f}}),
              {3.0f * r, 8.0f * r, 9.0f * r, 16.0f * r});
  const HostTensor wide = HostTensor::floats({3, 2, 2}, std::vector<float>(12, 1.0f));
  CHECK_THROWS_WITH(compute("RMSNormalization", {x, wide}),
                    Catch::Contains("larger than what it normalises"));
}

TEST_CASE("a choice of tables is as long as the longer one, without rows it lacks") {
  const HostTensor a = HostTensor::floats({3, 1}, {1.0f, 2.0f, 3.0f});
  const HostTensor b = HostTensor::floats({1, 1}, {9.0f});
  const auto chosen = [&](int64_t condition) {
    return compute("Choose",
                   {typed(HostTensor::integers({}, {condition}), ir::ElementType::boolean), a, b},
                   {}, "pocket");
  };
  CHECK(chosen(1).f == a.f);
  const HostTensor y = chosen(0);
  CHECK(y.shape == a.shape);
  CHECK(y.f[0] == 9.0f);
  CHECK(std::isnan(y.f[1]));
  CHECK(std::isnan(y.f[2]));
}

TEST_CASE("a masked row of only -infinity gives NaN, as IsNaN guards expect") {
  const HostTensor y = compute("Softmax", {HostTensor::floats({1, 2}, {-kInf, -kInf})});
  CHECK(std::isnan(y.f[0]));
  CHECK(compute("IsNaN", {y}).i == std::vector<int64_t>{1, 1});
}

TEST_CASE("half precision survives the way to data and back") {
  const HostTensor x =
      typed(HostTensor::floats({4}, {1.0f, -2.5f, 65504.0f, 0.1f}), ir::ElementType::f16);
  const ir::TensorData data = x.to_data();
  CHECK(data.byte_size == 8);
  const HostTensor back = HostTensor::from(data);
  CHECK(back.f[0] == 1.0f);
  CHECK(back.f[2] == 65504.0f);
  CHECK(back.f[3] == Approx(0.1f).epsilon(5e-4));
  const HostTensor b = typed(HostTensor::floats({2}, {1.0f, 3.0e38f}), ir::ElementType::bf16);
  CHECK(HostTensor::from(b.to_data()).f[1] == Approx(3.0e38f).epsilon(4e-3));
  const HostTensor n = typed(HostTensor::integers({3}, {-8, 7, -1}), ir::ElementType::i4);
  CHECK(n.to_data().byte_size == 2);
  CHECK(HostTensor::from(n.to_data()).i == n.i);
}

TEST_CASE("impossible inputs are refused with the node's name") {
  const HostTensor x = HostTensor::floats({2, 3}, {1, 2, 3, 4, 5, 6});
  const HostTensor ids = HostTensor::integers({1}, {7});
  using Attributes = std::map<std::string, ir::Attribute>;
  const auto refused = [](const std::string& op, const std::vector<HostTensor>& inputs,
                          const Attributes& attributes = {}) {
    INFO(op);
    CHECK_THROWS_AS(compute(op, inputs, attributes), Error);
  };
  refused("MatMul", {x, x});
  refused("Gemm", {x, x});
  refused("Add", {x, HostTensor::floats({2}, {1, 2})});
  refused("Add", {x, ids});
  refused("Gather", {x, ids});
  refused("GatherElements",
          {
              x,
              HostTensor::integers({1, 1}, {5}),
          },
          {{"axis", int64_t{1}}});
  refused("Reshape", {x, HostTensor::integers({1}, {7})});
  refused("Reshape", {x, HostTensor::integers({2}, {-1, -1})});
  refused("Reshape", {x, HostTensor::integers({2}, {4, -1})});
  refused("Transpose", {x}, {{"perm", std::vector<int64_t>{0, 0}}});
  refused("Concat", {x, ids}, {{"axis", int64_t{0}}});
  refused("Softmax", {x}, {{"axis", int64_t{2}}});
  refused("Expand", {x, HostTensor::integers({2}, {2, 4})});
  refused("ConstantOfShape", {HostTensor::integers({2}, {int64_t{1} << 40, 8})});
  refused("Div", {ids, HostTensor::integers({1}, {0})});
  refused("Mod", {ids, HostTensor::integers({1}, {0})});
  refused("Range", {HostTensor::integers({}, {0}), HostTensor::integers({}, {int64_t{1} << 60}),
                    HostTensor::integers({}, {1})});
  refused("ScatterND",
          {x, HostTensor::integers({1, 1}, {-3}), HostTensor::floats({1, 3}, {0, 0, 0})});
  refused("Split", {x, HostTensor::integers({1}, {5})});
  refused("Split", {x, HostTensor::integers({2}, {INT64_MAX, INT64_MAX})});
  refused("Cos", {ids});
  refused("Einsum", {x}, {{"equation", std::string("ij,jk->ik")}});
}

TEST_CASE("integer arithmetic wraps instead of overflowing") {
  const auto least = std::numeric_limits<int64_t>::min();
  const auto most = std::numeric_limits<int64_t>::max();
  const HostTensor a = HostTensor::integers({1}, {least}), one = HostTensor::integers({1}, {1});
  const HostTensor minus = HostTensor::integers({1}, {-1});
  CHECK(compute("Div", {a, minus}).i[0] == least);
  CHECK(compute("Mod", {a, minus}).i[0] == 0);
  CHECK(compute("Sub", {a, one}).i[0] == most);
  CHECK(compute("Neg", {a}).i[0] == least);
  CHECK(compute("Abs", {a}).i[0] == least);
  const HostTensor small = typed(HostTensor::integers({1}, {2147483647}), ir::ElementType::i32);
  CHECK(compute("Add", {small, typed(one, ir::ElementType::i32)}).i[0] == -2147483648LL);
}

TEST_CASE("Slice takes extreme positions and steps") {
  const HostTensor x = HostTensor::integers({5}, {0, 1, 2, 3, 4});
  const auto most = std::numeric_limits<int64_t>::max(),
             least = std::numeric_limits<int64_t>::min();
  const auto slice = [&](int64_t start, int64_t end, int64_t step) {
    const auto at = [](int64_t v) { return HostTensor::integers({1}, {v}); };
    return compute("Slice", {x, at(start), at(end), at(0), at(step)}).i;
  };
  CHECK(slice(0, most, 1) == x.i);
  CHECK(slice(least, most, most) == std::vector<int64_t>{0});
  CHECK(slice(-1, least, -1) == std::vector<int64_t>{4, 3, 2, 1, 0});
  CHECK(slice(most, least, least) == std::vector<int64_t>{4});
  CHECK(slice(3, 1, 1).empty());
  CHECK(slice(-2, most, 1) == std::vector<int64_t>{3, 4});
}
