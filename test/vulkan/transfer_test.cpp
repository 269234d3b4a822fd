#include "runtime/vulkan/transfer.h"

#include <random>

#include "test/support/catch.h"
#include "test/vulkan/fixture.h"

namespace pocket::test {
namespace {

std::vector<std::byte> random_bytes(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<std::byte> bytes(count);
  for (std::byte& b : bytes) b = static_cast<std::byte>(random());
  return bytes;
}

}  // namespace

TEST_CASE("bytes survive the way to the device and back, staged in pieces or in place") {
  Device& device = shared_device();
  const auto path = GENERATE(TransferPath::direct_where_mapped, TransferPath::always_staged);
  Transfer transfer(device, 4096, path);
  Buffer buffer(device, 100000, MemoryKind::device_local, MemoryUse::arena);
  transfer.fill(buffer, 0, 100000, 0x11111111);
  const std::vector<std::byte> sent = random_bytes(50001, 1);
  transfer.write(buffer, 10004, sent);
  std::vector<std::byte> all(100000);
  transfer.read(buffer, 0, all);
  bool equal = true;
  for (size_t i = 0; i < all.size(); ++i) {
    const bool inside = i >= 10004 && i < 10004 + sent.size();
    equal = equal && all[i] == (inside ? sent[i - 10004] : std::byte{0x11});
  }
  CHECK(equal);
}

TEST_CASE("staging is bounded and counted") {
  Device device(shared_instance(), no_cache());
  Transfer transfer(device, 1 << 20, TransferPath::always_staged);
  Buffer buffer(device, 5 << 20, MemoryKind::device_local, MemoryUse::weights);
  const std::vector<std::byte> sent = random_bytes(5 << 20, 2);
  transfer.write(buffer, 0, sent);
  CHECK(device.memory().usage(MemoryUse::staging).peak == 1 << 20);
  std::vector<std::byte> back(sent.size());
  transfer.read(buffer, 0, back);
  CHECK(back == sent);
  CHECK(device.memory().usage(MemoryUse::weights).bytes == 5 << 20);
}

TEST_CASE("a transfer that leaves its buffer is refused") {
  Device& device = shared_device();
  Transfer transfer(device);
  Buffer buffer(device, 64, MemoryKind::device_local, MemoryUse::arena);
  std::vector<std::byte> bytes(32);
  CHECK(error_of([&] { transfer.write(buffer, 33, bytes); }).code == ExitCode::device);
  CHECK(error_of([&] { transfer.read(buffer, ~0ull, bytes); }).code == ExitCode::device);
  CHECK(error_of([&] { transfer.fill(buffer, 2, 4, 0); }).code == ExitCode::device);
  CHECK(error_of([&] { transfer.write(buffer, 32, bytes); }).code == ExitCode::ok);
}

}  // namespace pocket::test
