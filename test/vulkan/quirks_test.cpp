#include "runtime/vulkan/quirks.h"

#include "test/support/catch.h"
#include "test/vulkan/fixture.h"

namespace pocket::test {
namespace {

DeviceLimits quirks_of(const char* name, uint32_t vendor, const char* driver) {
  DeviceLimits limits;
  limits.name = name;
  limits.fp16_arithmetic = true;
  apply_quirks(limits, vendor, driver);
  return limits;
}

constexpr uint32_t kQualcomm = 0x5143, kArm = 0x13B5, kImagination = 0x1010, kMesa = 0x10005;

}  // namespace

TEST_CASE("quirks apply to the devices they were found on") {
  const DeviceLimits a840 = quirks_of("Adreno (TM) 840", kQualcomm, "Qualcomm Driver 512.840");
  CHECK(a840.has_quirk("flat_groups_only"));
  CHECK(a840.has_quirk("no_large_tile"));
  CHECK(a840.has_quirk("no_coopmat"));
  CHECK_FALSE(a840.has_quirk("subgroup_64"));
  CHECK(a840.fp16_arithmetic);

  const DeviceLimits a740 = quirks_of("Adreno (TM) 740", kQualcomm, "Qualcomm Driver 512.744");
  CHECK_FALSE(a740.has_quirk("flat_groups_only"));
  CHECK(quirks_of("Turnip Adreno (TM) 650", kQualcomm, "turnip Mesa driver Mesa 24.1")
            .has_quirk("subgroup_64"));
  CHECK(quirks_of("Adreno (TM) 702", kQualcomm, "").has_quirk("no_coop_gemv"));

  const DeviceLimits a540 = quirks_of("Adreno (TM) 540", kQualcomm, "Qualcomm Driver 512.415");
  CHECK(a540.has_quirk("fp16_storage_only"));
  CHECK_FALSE(a540.fp16_arithmetic);

  CHECK(quirks_of("Mali-G76", kArm, "ARM r26").has_quirk("fp32_accum_strict"));
  CHECK(quirks_of("Mali-G72", kArm, "ARM r26").has_quirk("no_sg_control"));
  CHECK_FALSE(quirks_of("Mali-G720", kArm, "ARM r44").has_quirk("no_sg_control"));
  CHECK(quirks_of("Mali-G715-Immortalis MC10", kArm, "ARM r44").has_quirk("no_coopmat"));
  CHECK(quirks_of("PowerVR D-Series DXT", kImagination, "1.634").has_quirk("no_int_dot"));
  CHECK(quirks_of("llvmpipe (LLVM 15)", kMesa, "llvmpipe Mesa 22.3.6").quirks.empty());
  // The name alone is not enough.
  CHECK(quirks_of("Adreno (TM) 840", kMesa, "").quirks.empty());
}

TEST_CASE("every quirk says why and where it was found") {
  for (const Quirk& quirk : quirk_table()) {
    CHECK(std::string(quirk.why).size() > 10);
    CHECK(std::string(quirk.link).rfind("https://", 0) == 0);
  }
}

}  // namespace pocket::test
