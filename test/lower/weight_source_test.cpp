#include "converter/lower/weight_source.h"

#include <cstring>

#include "runtime/base/error.h"
#include "test/support/catch.h"

namespace pocket {
namespace {

ir::TensorData matrix(int64_t rows, int64_t columns, float first) {
  std::vector<float> values;
  for (int64_t i = 0; i < rows * columns; ++i) values.push_back(first + static_cast<float>(i));
  return ir::TensorData::from_floats({rows, columns}, values);
}

std::vector<float> read(const WeightSource& source, int64_t first, int64_t count) {
  std::vector<float> out(static_cast<size_t>(count * source.columns()));
  source.read_rows(first, count, out.data());
  return out;
}

TEST_CASE("parts lie one below the other, transposed ones turned") {
  const WeightSource source({{matrix(4, 2, 0), false, 1, 2}, {matrix(2, 3, 100), true, 0, 3}});
  CHECK(source.rows() == 5);
  CHECK(source.columns() == 2);
  CHECK(read(source, 0, 5) == std::vector<float>{2, 3, 4, 5, 100, 103, 101, 104, 102, 105});
  CHECK(read(source, 1, 2) == std::vector<float>{4, 5, 100, 103});
  CHECK(read(source, 4, 1) == std::vector<float>{102, 105});
  CHECK(read(source, 5, 0).empty());
}

TEST_CASE("half precision is widened") {
  const auto half = [](std::vector<uint16_t> bits, ir::ElementType type) {
    std::vector<std::byte> bytes(bits.size() * 2);
    std::memcpy(bytes.data(), bits.data(), bytes.size());
    return ir::TensorData::from_bytes(type, {1, static_cast<int64_t>(bits.size())}, bytes);
  };
  const WeightSource f16({{half({0x3C00, 0xC000, 0x0001}, ir::ElementType::f16), false, 0, 1}});
  CHECK(read(f16, 0, 1) == std::vector<float>{1.0f, -2.0f, 0x1p-24f});
  const WeightSource bf16({{half({0x3F80, 0xC000}, ir::ElementType::bf16), true, 0, 2}});
  CHECK(read(bf16, 0, 2) == std::vector<float>{1.0f, -2.0f});
}

TEST_CASE("equal values are found by content, whatever their layout") {
  const WeightSource a({{ir::TensorData::from_floats({2, 2}, {1, 2, 3, 4}), false, 0, 2}});
  const WeightSource b({{ir::TensorData::from_floats({2, 2}, {1, 3, 2, 4}), true, 0, 2}});
  const WeightSource c({{ir::TensorData::from_floats({2, 2}, {1, 3, 2, 5}), true, 0, 2}});
  CHECK(a.same_values(a));
  CHECK(a.same_values(b));
  CHECK(!a.same_values(c));
  CHECK(!a.same_values(WeightSource({{matrix(4, 1, 1), false, 0, 4}})));
}

TEST_CASE("impossible weights are refused") {
  CHECK_THROWS_AS(WeightSource(std::vector<WeightPart>{}), Error);
  CHECK_THROWS_AS(WeightSource({{matrix(2, 2, 0), false, 1, 2}}), Error);
  CHECK_THROWS_AS(WeightSource({{matrix(2, 2, 0), false, -1, 1}}), Error);
  CHECK_THROWS_AS(WeightSource({{matrix(2, 2, 0), false, 0, 2}, {matrix(2, 3, 0), false, 0, 2}}),
                  Error);
  CHECK_THROWS_AS(
      WeightSource({{ir::TensorData::from_integers({2, 2}, {1, 2, 3, 4}), false, 0, 2}}), Error);
  ir::TensorData absent = matrix(2, 2, 0);
  absent.bytes = nullptr;
  CHECK_THROWS_AS(WeightSource({{absent, false, 0, 2}}), Error);
  const WeightSource source({{matrix(2, 2, 0), false, 0, 2}});
  float out[4];
  CHECK_THROWS_AS(source.read_rows(1, 2, out), Error);
  CHECK_THROWS_AS(source.read_rows(-1, 1, out), Error);
}

}  // namespace
}  // namespace pocket
