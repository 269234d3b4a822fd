#include "converter/package/writer.h"

#include <csignal>
#include <filesystem>

#include "converter/package/temporary_file.h"
#include "runtime/base/error.h"
#include "test/support/catch.h"
#include "test/support/command.h"
#include "test/support/tiny_model.h"

using namespace pocket;

namespace {

size_t files_in(const test::TemporaryFolder& folder) {
  size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    ++count;
  }
  return count;
}

}  // namespace

TEST_CASE("an unfinished file leaves nothing and keeps the old one") {
  const test::TemporaryFolder folder;
  const std::string path = folder / "out.pocket";
  test::write_file(path, "precious");
  const WeightFormat format{Encoding::f32, 1, 8, 0};
  const std::vector<uint8_t> bytes(32, 1);
  {
    PackageWriter writer(path);
    writer.begin_weight("a", {8}, format);
    writer.append(SectionRole::codes, bytes);
    CHECK(files_in(folder) == 2);
  }
  CHECK(files_in(folder) == 1);
  CHECK(test::read_file(path) == "precious");

  SECTION("a weight that ends early") {
    PackageWriter writer(path);
    writer.begin_weight("a", {8}, format);
    writer.append(SectionRole::codes, std::span(bytes).first(16));
    CHECK_THROWS_WITH(writer.begin_weight("b", {8}, format), Catch::Contains("16 of 32 bytes"));
    CHECK_THROWS_AS(writer.finish({}), Error);
  }
  SECTION("a weight that is too long") {
    PackageWriter writer(path);
    writer.begin_weight("a", {8}, format);
    writer.append(SectionRole::codes, bytes);
    CHECK_THROWS_WITH(writer.append(SectionRole::codes, bytes), Catch::Contains("32 bytes more"));
  }
  SECTION("rows that no shard holds") {
    PackageWriter writer(path, 1024);
    CHECK_THROWS_WITH(writer.begin_weight("wide", {64, 64}, {Encoding::f16, 64, 64, 0}),
                      Catch::Contains("'wide'"));
  }
  SECTION("a program that a reader would refuse") {
    test::TinyModel model = test::make_tiny_model({});
    model.manifest.program.operators[2].inputs[0] = 10000;
    CHECK_THROWS_AS(test::write_tiny_model(model, path), Error);
  }
  SECTION("no weights at all") {
    PackageWriter writer(path);
    CHECK_THROWS_AS(writer.finish({}), Error);
  }
  CHECK(files_in(folder) == 1);
  CHECK(test::read_file(path) == "precious");
}

TEST_CASE("a finished file replaces the old one and is readable by others") {
  const test::TemporaryFolder folder;
  const std::string path = folder / "out.pocket";
  test::write_file(path, "old");
  test::write_tiny_model(test::TinyOptions{}, path);
  CHECK(files_in(folder) == 1);
  CHECK_NOTHROW(Package::open(path));
  const auto mode = std::filesystem::status(path).permissions();
  CHECK((mode & std::filesystem::perms::owner_write) != std::filesystem::perms::none);
  test::write_tiny_model(test::TinyOptions{}, folder / "again.pocket");
  CHECK(test::read_file(path) == test::read_file(folder / "again.pocket"));
}

TEST_CASE("bytes may be cut anywhere") {
  const test::TemporaryFolder folder;
  const test::TinyModel model = test::make_tiny_model({});
  const std::string path = folder / "whole.pocket", pieces = folder / "pieces.pocket";
  test::write_tiny_model(model, path);
  const Package package = Package::open(path);
  PackageWriter writer(pieces);
  for (const Weight& weight : package.manifest().weights) {
    writer.begin_weight(weight.name, weight.shape, weight.format);
    for (const SectionRole role : {SectionRole::scale, SectionRole::codes}) {
      const auto bytes = package.gather(weight, role);
      for (size_t at = 0; at < bytes.size(); at += 777) {
        writer.append(role, std::span(bytes).subspan(at, std::min<size_t>(777, bytes.size() - at)));
      }
    }
  }
  writer.finish(model.manifest);
  CHECK(test::read_file(path) == test::read_file(pieces));
}

TEST_CASE("a place that cannot be written is a usage error") {
  const test::TemporaryFolder folder;
  for (const std::string& path :
       {folder / "missing/out.pocket", folder.path().string(), std::string()}) {
    try {
      PackageWriter writer(path);
      FAIL("accepted '" << path << "'");
    } catch (const Error& error) {
      CHECK(error.code == ExitCode::usage);
    }
  }
}

TEST_CASE("a signal leaves no partial file") {
  const test::TemporaryFolder folder;
  const std::string path = folder / "out.pocket";
  test::write_file(path, "precious");
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    remove_temporary_file_on_signal();
    PackageWriter writer(path);
    raise(SIGTERM);
    _exit(0);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFSIGNALED(status));
  CHECK(files_in(folder) == 1);
  CHECK(test::read_file(path) == "precious");
}

TEST_CASE("what a killed process left goes with the next file, what a live one writes stays") {
  const test::TemporaryFolder folder;
  const std::string path = folder / "out.pocket";
  int ready[2];
  REQUIRE(pipe(ready) == 0);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    remove_temporary_file_on_signal();
    PackageWriter writer(path);
    if (write(ready[1], "x", 1) == 1) pause();
    _exit(0);
  }
  char letter = 0;
  REQUIRE(read(ready[0], &letter, 1) == 1);
  close(ready[0]);
  close(ready[1]);
  test::write_file(folder / "out.pocket.partial-notes", "no name of ours: too short");
  test::write_file(folder / "other.pocket.partial-AbCdEf", "of another target");
  std::filesystem::create_directory(folder / "out.pocket.partial-folder");
  std::filesystem::create_symlink("other.pocket.partial-AbCdEf",
                                  folder / "out.pocket.partial-linked");
  {
    const PackageWriter beside(path);
    CHECK(files_in(folder) == 6);  // the child's, this one, and four that are none of ours
  }
  CHECK(files_in(folder) == 5);
  REQUIRE(kill(child, SIGKILL) == 0);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFSIGNALED(status));
  CHECK(files_in(folder) == 5);
  { const PackageWriter next(path); }
  CHECK(files_in(folder) == 4);
}

TEST_CASE("a check that throws keeps the old file") {
  const test::TemporaryFolder folder;
  const test::TinyModel model = test::make_tiny_model({});
  const std::string path = folder / "out.pocket";
  test::write_tiny_model(model, path);
  const std::string before = test::read_file(path);
  {
    const Package package = Package::open(path);
    PackageWriter writer(path);
    for (const Weight& weight : package.manifest().weights) {
      writer.begin_weight(weight.name, weight.shape, weight.format);
      writer.append(SectionRole::codes, package.gather(weight, SectionRole::codes));
    }
    bool seen = false;
    CHECK_THROWS_AS(writer.finish(model.manifest,
                                  [&](const std::string& name) {
                                    seen = test::read_file(name) == before;
                                    throw Error(ExitCode::wrong_result, "no");
                                  }),
                    Error);
    CHECK(seen);
  }
  CHECK(files_in(folder) == 1);
  CHECK(test::read_file(path) == before);
}
