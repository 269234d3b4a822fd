#include <cmath>
#include <limits>

#include "converter/ir/float8.h"
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

TEST_CASE("8-bit floats are read from our own table") {
  const auto value = [](ElementType type, unsigned bits) {
    return bytes(type, {1}, {bits}).as_floats()[0];
  };
  // Largest, smallest and special values as ONNX documents them.
  CHECK(value(ElementType::f8e4m3fn, 0x7E) == 448.0f);
  CHECK(value(ElementType::f8e4m3fn, 0x01) == 0.001953125f);
  CHECK(std::isnan(value(ElementType::f8e4m3fn, 0xFF)));
  CHECK(value(ElementType::f8e4m3fnuz, 0x7F) == 240.0f);
  CHECK(value(ElementType::f8e4m3fnuz, 0x01) == 0.0009765625f);
  CHECK(std::isnan(value(ElementType::f8e4m3fnuz, 0x80)));
  CHECK(value(ElementType::f8e5m2, 0x7B) == 57344.0f);
  CHECK(std::isinf(value(ElementType::f8e5m2, 0x7C)));
  CHECK(std::isnan(value(ElementType::f8e5m2, 0x7D)));
  CHECK(value(ElementType::f8e5m2fnuz, 0x7F) == 57344.0f);
  CHECK(value(ElementType::f8e5m2fnuz, 0xBC) == -0.5f);
  CHECK(value(ElementType::f8e4m3fn, 0xB8) == -1.0f);
  for (const ElementType type : {ElementType::f8e4m3fn, ElementType::f8e4m3fnuz,
                                 ElementType::f8e5m2, ElementType::f8e5m2fnuz}) {
    for (unsigned bits = 0; bits < 256; ++bits) {  // every value finds its own bits
      const float x = ir::float8_value(type, static_cast<uint8_t>(bits));
      if (std::isfinite(x)) CHECK(ir::float8_bits(type, x) == bits);
    }
    CHECK(ir::element_bits(type) == 8);
    CHECK(ir::is_float_type(type));
  }
}

TEST_CASE("a quantised matrix is read without being expanded") {
  ir::QuantisedMatrix matrix;
  matrix.rows = 2;
  matrix.columns = 3;
  matrix.code_stride = 4;  // padded to a whole block
  matrix.column_block = 2;
  matrix.codes = bytes(ElementType::u4, {8}, {0x21, 0x03, 0x54, 0x06});
  matrix.scales = TensorData::from_floats({2, 2}, {1.0f, 10.0f, 100.0f, 1000.0f});
  matrix.zeros = bytes(ElementType::u4, {4}, {0x10, 0x32});
  matrix.zero_stride = 2;
  const TensorData data = TensorData::from_quantised(ElementType::f16, matrix);
  CHECK(data.bytes == nullptr);
  CHECK(data.shape == std::vector<int64_t>{2, 3});
  CHECK(data.as_floats() == std::vector<float>{1, 2, 20, 200, 300, 3000});
  float middle[3] = {};
  data.read_floats(2, 3, middle);
  CHECK(std::vector<float>(middle, middle + 3) == std::vector<float>{20, 200, 300});
  CHECK_THROWS_AS(data.read_floats(4, 3, middle), Error);

  const auto refused = [&](auto change) {
    ir::QuantisedMatrix wrong = matrix;
    change(wrong);
    CHECK_THROWS_AS(TensorData::from_quantised(ElementType::f16, wrong), Error);
  };
  refused([](ir::QuantisedMatrix& m) { m.rows = 3; });         // too few codes
  refused([](ir::QuantisedMatrix& m) { m.code_stride = 2; });  // rows overlap
  refused([](ir::QuantisedMatrix& m) { m.column_block = 0; });
  refused([](ir::QuantisedMatrix& m) { m.column_block = 1; });  // too few scales
  refused([](ir::QuantisedMatrix& m) { m.rows = int64_t{1} << 40; });
  refused([](ir::QuantisedMatrix& m) { m.codes = m.scales; });
  refused([](ir::QuantisedMatrix& m) { m.scales = m.codes; });
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
