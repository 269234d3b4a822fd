// What the embedded SPIR-V must and must not hold, read from its words.
#include <set>

#include "runtime/kernels/shader_registry.h"
#include "test/support/catch.h"

namespace pocket {
namespace {

constexpr uint32_t kOpConvertSToF = 111, kOpConvertUToF = 112, kOpCapability = 17;
constexpr uint32_t kFloat16 = 9, kInt8 = 39, kInt16 = 22, kInt64 = 11, kStorage16 = 4433,
                   kStorage8 = 4448, kGroupNonUniform = 61, kGroupNonUniformShuffle = 65,
                   kImageBuffer = 47;

// The kernel lab's baseline, the only 4-bit kernels that convert codes.
const std::set<std::string_view> kByConversion = {
    "gemv_int4_convert_sg", "gemv_int4_convert_tx", "gemv_int4_convert_half_sg"};

// Calls visit(opcode, words of the instruction).
template <typename Visit>
void for_each_instruction(std::span<const uint32_t> code, Visit visit) {
  REQUIRE(code.size() > 5);
  REQUIRE(code[0] == 0x07230203);
  for (size_t i = 5; i < code.size();) {
    const size_t length = code[i] >> 16;
    REQUIRE(length > 0);
    REQUIRE(i + length <= code.size());
    visit(code[i] & 0xFFFF, code.subspan(i, length));
    i += length;
  }
}

int count(std::string_view name, std::set<uint32_t> opcodes) {
  int found = 0;
  for_each_instruction(shader_code(name), [&](uint32_t op, std::span<const uint32_t>) {
    found += opcodes.contains(op) ? 1 : 0;
  });
  return found;
}

std::set<uint32_t> capabilities(std::string_view name) {
  std::set<uint32_t> found;
  for_each_instruction(shader_code(name), [&](uint32_t op, std::span<const uint32_t> words) {
    if (op == kOpCapability) found.insert(words[1]);
  });
  return found;
}

}  // namespace

TEST_CASE("no 4-bit matrix kernel converts an integer to float") {
  int kernels = 0;
  for (const std::string_view name : shader_variants()) {
    const bool codes4 = name.find("m0e4") != name.npos || name.find("int4") != name.npos;
    if (!codes4 || kByConversion.contains(name)) continue;
    ++kernels;
    CAPTURE(std::string(name));
    REQUIRE(count(name, {kOpConvertSToF, kOpConvertUToF}) == 0);
  }
  REQUIRE(kernels == 52);
  // The scan does see conversions where there are some.
  for (const std::string_view name : kByConversion) {
    CAPTURE(std::string(name));
    REQUIRE(count(name, {kOpConvertSToF, kOpConvertUToF}) > 0);
  }
}

TEST_CASE("capabilities: fp16 only in _half, subgroups only in _sg, narrow types nowhere") {
  for (const std::string_view name : shader_variants()) {
    const std::set<uint32_t> found = capabilities(name);
    CAPTURE(std::string(name));
    REQUIRE(found.contains(kFloat16) == (name.find("_half") != name.npos));
    const bool texels = name.ends_with("_tx");
    const bool probe = name.starts_with("probe_");  // reads texels, exchanges nothing
    REQUIRE(found.contains(kGroupNonUniform) == (!probe && (texels || name.ends_with("_sg"))));
    const bool one_subgroup = name.find("_lanes") != name.npos;
    REQUIRE(found.contains(kGroupNonUniformShuffle) == (!probe && (texels || one_subgroup)));
    REQUIRE(found.contains(kImageBuffer) == texels);
    for (const uint32_t banned : {kInt8, kInt16, kInt64, kStorage16, kStorage8}) {
      REQUIRE_FALSE(found.contains(banned));
    }
  }
}

// glslang freezes a shared array at one element when it is sized by gl_WorkGroupSize before the
// local size is declared: it overflows silently.
TEST_CASE("shared arrays are sized by specialization, never one element") {
  constexpr uint32_t kOpConstant = 43, kOpTypeArray = 28, kOpTypePointer = 32, kWorkgroup = 4;
  int arrays = 0;
  for (const std::string_view name : shader_variants()) {
    CAPTURE(std::string(name));
    std::set<uint32_t> ones, single_arrays;
    for_each_instruction(shader_code(name), [&](uint32_t op, std::span<const uint32_t> words) {
      if (op == kOpConstant && words.size() == 4 && words[3] == 1) ones.insert(words[2]);
      if (op == kOpTypeArray && ones.contains(words[3])) single_arrays.insert(words[1]);
      if (op == kOpTypePointer && words[2] == kWorkgroup) {
        ++arrays;
        REQUIRE_FALSE(single_arrays.contains(words[3]));
      }
    });
  }
  REQUIRE(arrays > 10);
}

TEST_CASE("an unknown variant is refused by name") {
  REQUIRE_THROWS_WITH(shader_code("gemv_q9"), Catch::Matchers::Contains("gemv_q9"));
}

}  // namespace pocket
