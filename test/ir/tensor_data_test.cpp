#include <limits>

#include "converter/ir/graph.h"
#include "runtime/base/error.h"
#include "test/support/catch.h"

using namespace pocket;
using ir::ElementType;
using ir::TensorData;

namespace {

TensorData bytes(ElementType type, std::vector<int64_t> shape, std::vector<unsigned> values) {
  std::vector<std::byte> data;
  for (const unsigned value : values) data.push_back(static_cast<std::byte>(value));
  return TensorData::from_bytes(type, std::move(shape), std::move(data));
}

}  // namespace

TEST_CASE("every element type is read little-endian") {
  CHECK(bytes(ElementType::f16, {2}, {0x00, 0x3C, 0x00, 0xC1}).as_floats() ==
        std::vector<float>{1.0f, -2.5f});
  CHECK(bytes(ElementType::bf16, {1}, {0x40, 0x40}).as_floats() == std::vector<float>{3.0f});
  CHECK(bytes(ElementType::f64, {1}, {0, 0, 0, 0, 0, 0, 0xF0, 0x3F}).as_floats()[0] == 1.0f);
  CHECK(bytes(ElementType::i8, {2}, {0xFF, 0x7F}).as_integers() == std::vector<int64_t>{-1, 127});
  CHECK(bytes(ElementType::u8, {1}, {0xFF}).as_integers() == std::vector<int64_t>{255});
  CHECK(bytes(ElementType::i16, {1}, {0xFE, 0xFF}).as_integers() == std::vector<int64_t>{-2});
  CHECK(bytes(ElementType::i32, {1}, {0, 0, 0, 0x80}).as_integers()[0] == -2147483648LL);
  CHECK(bytes(ElementType::boolean, {3}, {0, 1, 7}).as_integers() == std::vector<int64_t>{0, 1, 1});
  CHECK(bytes(ElementType::i4, {3}, {0x7F, 0x08}).as_integers() == std::vector<int64_t>{-1, 7, -8});
  CHECK(bytes(ElementType::u4, {3}, {0x7F, 0x08}).as_integers() == std::vector<int64_t>{15, 7, 8});
  CHECK(TensorData::from_integers({2}, {5, -6}).as_floats() == std::vector<float>{5.0f, -6.0f});
}

TEST_CASE("sizes that contradict the shape are refused") {
  CHECK_THROWS_AS(bytes(ElementType::f16, {2}, {0, 0, 0}), Error);
  CHECK_THROWS_AS(TensorData::from_floats({3}, {1.0f}), Error);
  CHECK_THROWS_AS(TensorData::from_floats({-1}, {}), Error);
  const auto most = std::numeric_limits<int64_t>::max();
  CHECK_THROWS_AS(TensorData::from_floats({most, most}, {}), Error);
  CHECK(TensorData::from_floats({1 << 20, 0}, {}).elements() == 0);
  TensorData absent;
  absent.shape = {4};
  absent.byte_size = 16;
  CHECK_THROWS_AS(absent.as_floats(), Error);
  CHECK_THROWS_AS(TensorData::from_floats({1}, {1.5f}).as_integers(), Error);
}
