#include "converter/quant/sensitivity.h"

#include <cstring>

#include "runtime/base/error.h"
#include "test/support/catch.h"
#include "test/support/command.h"

using namespace pocket;

namespace {

std::string safetensors(const std::string& header, const std::vector<float>& data) {
  std::string out(8, '\0');
  const uint64_t size = header.size();
  std::memcpy(out.data(), &size, 8);
  out += header;
  out.append(reinterpret_cast<const char*>(data.data()), data.size() * sizeof(float));
  return out;
}

// Two constants [2, 3] and [3, 4] (which lies transposed) of a model.
struct Constants {
  ir::TensorData a = ir::TensorData::from_floats({2, 3}, std::vector<float>(6, 1.0f));
  ir::TensorData b = ir::TensorData::from_floats({3, 4}, std::vector<float>(12, 1.0f));
  std::map<const void*, std::string> names = {{a.bytes, "a"}, {b.bytes, "b"}};
  // As merged projections: a, then rows 1 and 2 of the transposed b.
  WeightSource both{{{a, false, 0, 2, 1.0f}, {b, true, 1, 2, 0.5f}}};
};

std::vector<float> counted(size_t count) {
  std::vector<float> values;
  for (size_t i = 0; i < count; ++i) values.push_back(static_cast<float>(i));
  return values;
}

const char* const kHeader =
    R"({"__metadata__":{"tokens":"4"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
    R"("b":{"dtype":"F32","shape":[3,4],"data_offsets":[24,72]}} )";

}  // namespace

TEST_CASE("sensitivities come in the order of a weight's rows, transposed and merged as its parts") {
  const test::TemporaryFolder folder;
  const std::string path = folder / "s.safetensors";
  test::write_file(path, safetensors(kHeader, counted(18)));
  const Constants model;
  const WeightSource source = Sensitivity(path).of("w", model.both, model.names);
  REQUIRE(source.rows() == 4);
  std::vector<float> rows(12);
  source.read_rows(0, 4, rows.data());
  CHECK(rows == std::vector<float>{0, 1, 2, 3, 4, 5, 7, 11, 15, 8, 12, 16});
}

TEST_CASE("damaged sensitivities are refused with what is wrong and what to do") {
  const test::TemporaryFolder folder;
  const std::string path = folder / "s.safetensors";
  const Constants model;
  const auto fails = [&](const std::string& content, const std::string& named) {
    test::write_file(path, content);
    try {
      (void)Sensitivity(path).of("w", model.both, model.names);
      FAIL("accepted, and " << named << " was to be refused");
    } catch (const Error& error) {
      INFO(error.what());
      CHECK(error.code == ExitCode::bad_input);
      CHECK(std::string(error.what()).find(named) != std::string::npos);
      CHECK(std::string(error.what()).find("scripts/sensitivity.py") != std::string::npos);
    }
  };
  const std::string header = kHeader;
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string changed = header;
    return changed.replace(changed.find(from), from.size(), to);
  };
  const std::vector<float> data = counted(18);
  fails("abc", "end before their header");
  fails(std::string(8, '\xff'), "header of");
  fails(safetensors("{]", data), "no JSON");
  fails(safetensors("[1]", data), "no JSON object");
  fails(safetensors(with("F32", "F16"), data), "F32");
  fails(safetensors(with("[24,72]", "[24,76]"), data), "'b'");
  fails(safetensors(with("[24,72]", "[24]"), data), "'b'");
  fails(safetensors(with("[3,4]", "[-3,4]"), data), "shape");
  fails(safetensors(with("[3,4]", "[4,3]"), data), "4 x 3");
  fails(safetensors(with(R"("shape":[3,4],)", ""), data), "shape");
  fails(safetensors(with("\"b\"", "\"c\""), data), "'b'");
  fails(safetensors(header, counted(17)), "'b'");
  std::vector<float> bad = data;
  bad[7] = -1.0f;
  fails(safetensors(header, bad), "-1.0");
  bad[7] = std::numeric_limits<float>::quiet_NaN();
  fails(safetensors(header, bad), "nan");
}

TEST_CASE("a weight that is no constant of the file has no sensitivities") {
  const test::TemporaryFolder folder;
  const std::string path = folder / "s.safetensors";
  test::write_file(path, safetensors(kHeader, counted(18)));
  const Constants model;
  CHECK_THROWS_AS(Sensitivity(path).of("w", model.both, {}), Error);
}
