// Logits of all rows against the host's, by prefill chunks and by the decode path, for every
// encoding and structure, and within limits that phones have.
#include "test/engine/fixture.h"

namespace pocket::test {
namespace {

constexpr double kTolerance = 5e-3;  // relative L2 of a row: f16 KV states, other order of sums

struct Variant {
  const char* name;
  TinyOptions options;
};

std::vector<Variant> variants() {
  std::vector<Variant> list;
  for (const Encoding encoding :
       {Encoding::f16, Encoding::int4, Encoding::m0e4, Encoding::any, Encoding::w8a8}) {
    TinyOptions llama;
    llama.encoding = encoding;
    list.push_back({"rms norm, grouped heads, rotary, gated", llama});
    TinyOptions gpt2 = llama;
    gpt2.style = TinyStyle::gpt2;
    list.push_back({"layer norm, biases, learned positions", gpt2});
  }
  TinyOptions odd;
  odd.heads = 4;
  odd.kv_heads = 2;
  odd.head_dim = 12;
  odd.rotary_dim = 8;
  odd.interleaved = true;
  odd.merged_qkv = false;
  odd.tied = false;
  odd.unfused = true;
  odd.activations = DType::f16;
  list.push_back({"partial interleaved rotary, separate projections, f16 activations", odd});
  return list;
}

}  // namespace

TEST_CASE("logits of all rows equal the host's") {
  for (const Variant& variant : variants()) {
    INFO(variant.name << ", " << encoding_name(variant.options.encoding));
    const std::string path = tiny_package(variant.options);
    const std::vector<int32_t> tokens = random_tokens(29);
    const std::vector<float> want = host_logits(path, tokens);
    Engine engine(shared_device(), Package::open(path), engine_options());
    // An activation whose last bits differ may round to the next of its 8-bit codes.
    const double tolerance = variant.options.encoding == Encoding::w8a8 ? 3e-2 : kTolerance;
    CHECK(row_distance(engine.logits(tokens), want, 105) < tolerance);
    CHECK(row_distance(engine.logits(tokens, 19), want, 105) < tolerance);
    CHECK(row_distance(engine.logits(tokens, 0), want, 105) < tolerance);
    CHECK(engine.position() == 29);
    CHECK(engine.length() == 29);
  }
}

TEST_CASE("a run at fewer bits equals the host's at these bits") {
  TinyOptions options;
  options.encoding = Encoding::any;
  const std::string path = tiny_package(options);
  const std::vector<int32_t> tokens = random_tokens(23);
  std::vector<std::vector<float>> by_width;
  for (const int32_t width : {2, 3, 4}) {
    Package host_package = Package::open(path), package = Package::open(path);
    host_package.choose_precision(width);
    package.choose_precision(width);
    const std::vector<float> want = HostExecutor(host_package, {}).append(tokens);
    Engine engine(shared_device(), std::move(package), engine_options());
    by_width.push_back(engine.logits(tokens, 16));
    CHECK(row_distance(by_width.back(), want, 105) < kTolerance);
  }
  CHECK(row_distance(by_width[0], by_width[2], 105) > 10 * kTolerance);
  CHECK(row_distance(by_width[1], by_width[2], 105) > 10 * kTolerance);
}

TEST_CASE("memory that the plan has given away may hold NaN") {
  for (const Variant& variant : variants()) {
    INFO(variant.name << ", " << encoding_name(variant.options.encoding));
    const std::string path = tiny_package(variant.options);
    const std::vector<int32_t> tokens = random_tokens(29);
    EngineOptions options = engine_options();
    const std::vector<float> want =
        Engine(shared_device(), Package::open(path), options).logits(tokens, 19);
    options.poison_freed = true;
    options.log_stream = true;
    Engine engine(shared_device(), Package::open(path), options);
    CHECK(engine.logits(tokens, 19) == want);  // every bit
    size_t fills = 0;
    for (const StreamEvent& event : engine.take_stream()) fills += event.label == "poison";
    CHECK(fills > 13 * 8);  // chunks and steps x tensors
  }
}

TEST_CASE("row tiles of the head: chunk no multiple of the tile") {
  TinyOptions options;
  options.vocab = 150000;  // a row of logits is 600 000 bytes: a tile holds 6
  options.layers = 1;
  options.hidden = 16;
  options.heads = 2;
  const std::string path = tiny_package(options);
  const std::vector<int32_t> tokens = random_tokens(9);
  Engine engine(shared_device(), Package::open(path), engine_options(32, 7));
  CHECK(row_distance(engine.logits(tokens), host_logits(path, tokens), 150000) < kTolerance);
}

TEST_CASE("logits are right within the limits of smaller devices") {
  TinyOptions options;
  options.vocab = 2000;
  options.hidden = 96;
  options.layers = 1;
  options.encoding = Encoding::m0e4;
  const std::string path = tiny_package(options);
  options.encoding = Encoding::f16;  // the embedding is 384 000 bytes: split at 64 KiB bindings
  const std::string wide = tiny_package(options);
  const std::vector<int32_t> tokens = random_tokens(13, 2000);
  const std::vector<float> want = host_logits(path, tokens), want_wide = host_logits(wide, tokens);
  size_t files = 0;
  for (const auto& file :
       std::filesystem::directory_iterator(std::string(POCKET_SOURCE_DIR) + "/test/limits")) {
    INFO(file.path().filename());
    ++files;
    DeviceOptions device_options = no_cache();
    device_options.limits = nlohmann::json::parse(read_file(file.path().string()));
    Device device(shared_instance(), device_options);
    {
      Engine engine(device, Package::open(path), engine_options());
      CHECK(row_distance(engine.logits(tokens, 10), want, 2000) < kTolerance);
    }
    Engine engine(device, Package::open(wide), engine_options());
    CHECK(row_distance(engine.logits(tokens, 10), want_wide, 2000) < kTolerance);
    engine.reset();
    engine.prefill(tokens);
    CHECK(decode_all(engine, 3).size() == 3);
  }
  CHECK(files >= 8);
}

}  // namespace pocket::test
