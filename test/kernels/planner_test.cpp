// Plans without a device: every phone of test/devices, model shapes up to 7 B parameters.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "runtime/base/error.h"
#include "runtime/kernels/config.h"
#include "runtime/kernels/plan.h"
#include "runtime/kernels/shader_registry.h"
#include "test/support/catch.h"

namespace pocket {
namespace {

std::vector<DeviceLimits> phones() {
  std::vector<DeviceLimits> all;
  for (const auto& entry : std::filesystem::directory_iterator(POCKET_SOURCE_DIR "/test/devices")) {
    if (entry.path().extension() != ".json") continue;
    std::ifstream file(entry.path());
    all.push_back(limits_from_json(nlohmann::json::parse(file)));
  }
  return all;
}

// Bindings that a gated 4-bit matrix kernel needs at most; one that has fewer goes through scratch.
constexpr uint32_t kMostBindings = 8;

// A decoder layer with embedding and head: shapes only, no bytes.
struct Model {
  Manifest manifest;
  int64_t hidden, inner, vocab, group;

  Model(int64_t width, int64_t ffn, int32_t heads, int32_t kv_heads, int32_t head_dim,
        int64_t words, Encoding encoding, int64_t group_size = 32)
      : hidden(width), inner(ffn), vocab(words), group(group_size) {
    const Expr tokens = Expr::symbol("tokens"), rows = Expr::symbol("rows");
    const int64_t q = int64_t{heads} * head_dim, kv = int64_t{kv_heads} * head_dim;
    const TensorId x = tensor(tokens, hidden), y = tensor(tokens, hidden, DType::f16);
    const TensorId qkv = tensor(tokens, q + 2 * kv, DType::f16);
    const TensorId k = state(kv_heads, head_dim), v = state(kv_heads, head_dim);
    const TensorId queries = tensor(tokens, q, DType::f16);
    const TensorId mixed = tensor(tokens, q, DType::f16), sum = tensor(tokens, hidden);
    const TensorId gated = tensor(tokens, inner, DType::f16);
    const TensorId last = tensor(rows, hidden), logits = tensor(rows, vocab);
    Attributes a;
    a.heads = heads;
    a.kv_heads = kv_heads;
    a.head_dim = a.rotary_dim = head_dim;
    a.rope_table = 0;
    manifest.program.rope_tables.push_back(
        {std::vector<double>(static_cast<size_t>(head_dim / 2)), 1});
    const bool w8a8 = encoding == Encoding::w8a8;  // tables and the head that reads one stay f16
    const WeightId table = weight(vocab, hidden, w8a8 ? Encoding::f16 : encoding);
    add(OpKind::embed, {}, {x}, {table}, a);
    add(OpKind::norm, {x, kNone}, {y, kNone}, {weight(1, hidden, Encoding::f32), kNone}, a);
    add(OpKind::linear, {y, kNone}, {qkv},
        {weight(q + 2 * kv, hidden, encoding), weight(1, q + 2 * kv, Encoding::f32)}, a);
    Attributes rotary = a;
    rotary.k_column = static_cast<int32_t>(q);
    rotary.v_column = static_cast<int32_t>(q + kv);
    add(OpKind::rotary_kv, {qkv, qkv, qkv, k, v}, {queries}, {}, rotary);
    add(OpKind::attention, {queries, k, v}, {mixed}, {}, a);
    add(OpKind::linear, {mixed, x}, {sum}, {weight(hidden, q, encoding), kNone}, a);
    add(OpKind::gated_linear, {y}, {gated},
        {weight(inner, hidden, encoding), weight(inner, hidden, encoding), kNone, kNone}, a);
    add(OpKind::unary, {gated}, {gated}, {}, a);
    add(OpKind::binary, {sum, x}, {sum}, {}, a);
    add(OpKind::select_rows, {sum}, {last}, {}, a, Part::head);
    add(OpKind::linear, {last, kNone}, {logits}, {table, kNone}, a, Part::head);
    manifest.program.logits = logits;
    manifest.program.vocab = vocab;
  }

  TensorId tensor(const Expr& rows, int64_t width, DType dtype = DType::f32) {
    Tensor t;
    t.name = "t" + std::to_string(manifest.program.tensors.size());
    t.dtype = dtype;
    t.shape = {rows, Expr(width)};
    manifest.program.tensors.push_back(t);
    return static_cast<TensorId>(manifest.program.tensors.size()) - 1;
  }
  TensorId state(int64_t kv_heads, int64_t head_dim) {
    const TensorId id = tensor(Expr::symbol("context"), head_dim, DType::f16);
    manifest.program.tensors.back().role = TensorRole::state;
    manifest.program.tensors.back().shape = {Expr::symbol("context"), Expr(kv_heads),
                                             Expr(head_dim)};
    return id;
  }
  WeightId weight(int64_t rows, int64_t columns, Encoding encoding) {
    Weight w;
    w.name = "w" + std::to_string(manifest.weights.size());
    w.shape = {rows, columns};
    const bool codes4 = encoding == Encoding::int4 || encoding == Encoding::m0e4;
    w.format = {encoding, rows, columns, codes4 ? group : 0};
    if (encoding == Encoding::w8a8) w.act_scale = 0.05f;
    for (const SectionRole role : {SectionRole::codes, SectionRole::scale}) {
      const uint64_t row_bytes =
          role == SectionRole::codes ? w.format.code_row_bytes() : w.format.pair_row_bytes();
      if (row_bytes == 0) continue;
      const auto step = static_cast<int64_t>(kShardBytes / row_bytes) / kBlockRows * kBlockRows;
      for (int64_t row = 0; row < rows; row += step) {
        Section s;
        s.role = role;
        s.first_row = row;
        s.rows = std::min(step, rows - row);
        s.bytes = static_cast<uint64_t>(s.rows) * row_bytes;
        w.sections.push_back(s);
      }
    }
    manifest.weights.push_back(w);
    manifest.program.weights.push_back(w.name);
    return static_cast<WeightId>(manifest.weights.size()) - 1;
  }
  void add(OpKind kind, std::vector<TensorId> in, std::vector<TensorId> out,
           std::vector<WeightId> w, const Attributes& a, Part part = Part::body) {
    const auto op = static_cast<int32_t>(manifest.program.operators.size());
    manifest.program.operators.push_back({kind, "op" + std::to_string(op), in, out, w, a});
    manifest.program.segments.push_back({"s", part, op, 1});
  }

  KernelContext context(const DeviceLimits& limits, int64_t tokens, int64_t rows = 1) const {
    return {&manifest,
            limits,
            {{"tokens", tokens}, {"rows", rows}, {"context", 4096}},
            Accumulate::fp32,
            tokens == 1};
  }
};

std::vector<Model> models() {
  std::vector<Model> all;
  for (const Encoding encoding : {Encoding::f16, Encoding::m0e4}) {
    all.emplace_back(192, 448, 6, 2, 32, 2048, encoding);
    all.emplace_back(768, 2048, 12, 12, 64, 32000, encoding);
    all.emplace_back(2048, 8192, 32, 8, 64, 128256, encoding);
    all.emplace_back(2048, 16384, 8, 1, 256, 256000, encoding);
    all.emplace_back(4096, 14336, 32, 8, 128, 151936, encoding);
  }
  all.emplace_back(2048, 8192, 32, 8, 64, 128256, Encoding::int4, 16);
  all.emplace_back(192, 448, 6, 2, 32, 2048, Encoding::w8a8);
  all.emplace_back(4096, 14336, 32, 8, 128, 151936, Encoding::w8a8);
  return all;
}

// Every operand lies inside its thing, aligned, within the limits; the code exists.
void check(const Model& model, const DeviceLimits& limits, const Dispatch& d) {
  REQUIRE_NOTHROW(shader_code(d.shader));
  REQUIRE(d.operands.size() <= limits.max_storage_buffers);
  REQUIRE(d.specialization.at(0) <= limits.max_invocations);
  REQUIRE(d.push_constants.size() * 4 <= limits.max_push_constants);
  for (size_t i = 0; i < 3; ++i) {
    REQUIRE(d.groups[i] >= 1);
    REQUIRE(d.groups[i] <= limits.max_group_count[i]);
  }
  for (const Operand& o : d.operands) {
    REQUIRE(o.offset % limits.offset_alignment == 0);
    REQUIRE(o.bytes <= limits.max_binding);
    if (o.kind != Operand::Kind::weight) continue;
    const Weight& w = model.manifest.weights.at(static_cast<size_t>(o.id));
    const Section& s = w.sections.at(static_cast<size_t>(o.section));
    REQUIRE(o.bytes > 0);
    REQUIRE(o.offset + o.bytes <= s.bytes);
  }
  const std::string_view shader = d.shader;
  if (limits.subgroup_size == 0) REQUIRE_FALSE(shader.ends_with("_sg"));
  const bool dots = shader.find("_sdot") != shader.npos || shader.find("_sudot") != shader.npos;
  if (!limits.dot_product) REQUIRE_FALSE(dots);
}

}  // namespace

TEST_CASE("every phone can run every kernel at every shape") {
  const std::vector<DeviceLimits> devices = phones();
  REQUIRE(devices.size() >= 14);
  for (const Model& model : models()) {
    for (const DeviceLimits& limits : devices) {
      if (limits.max_storage_buffers < kMostBindings) continue;
      for (const int64_t tokens : {1, 2, 64, 512}) {
        const KernelContext context = model.context(limits, tokens);
        CAPTURE(limits.name, model.hidden, tokens);
        const auto count = static_cast<int32_t>(model.manifest.program.operators.size());
        for (int32_t op = 0; op < count; ++op) {
          for (const Dispatch& d : plan_operator(context, op)) check(model, limits, d);
        }
        for (const SamplerKind kind : {SamplerKind::greedy, SamplerKind::stochastic}) {
          for (const Dispatch& d : plan_sampler(context, kind)) check(model, limits, d);
        }
        check(model, limits, plan_advance(context));
      }
    }
  }
}

TEST_CASE("a device with four bindings is refused in a sentence that says so") {
  const Model model(192, 448, 6, 2, 32, 2048, Encoding::m0e4);
  DeviceLimits limits;
  try {
    plan_operator(model.context(limits, 1), 2);
    FAIL("planned");
  } catch (const Error& error) {
    REQUIRE(error.code == ExitCode::device);
    const std::string text = error.what();
    REQUIRE(text.find("binds 7 buffers and the device allows 4") != text.npos);
  }
}

TEST_CASE("weight ranges cover every row once and fit the binding") {
  const Model model(2048, 8192, 32, 8, 64, 128256, Encoding::m0e4);
  const auto head = static_cast<int32_t>(model.manifest.program.operators.size()) - 1;
  DeviceLimits limits = phones().front();
  limits.max_storage_buffers = 16;
  for (const uint64_t binding :
       {uint64_t{128} << 20, uint64_t{100'000'000}, uint64_t{1} << 20, uint64_t{256} << 10}) {
    limits.max_binding = binding;
    uint64_t rows = 0, codes = 0;
    const std::vector<Dispatch> plan = plan_operator(model.context(limits, 1), head);
    for (size_t i = 0; i < plan.size(); ++i) {
      check(model, limits, plan[i]);
      rows += plan[i].push_constants[1];
      codes += plan[i].operands[2].bytes;
      if (i + 1 < plan.size()) REQUIRE(plan[i].push_constants[1] % 32 == 0);
    }
    REQUIRE(rows == 128256);
    REQUIRE(codes == 128256ull * 2048 / 2);
  }
}

TEST_CASE("a block of 32 rows that exceeds a binding is refused with both numbers") {
  const Model model(4096, 14336, 32, 8, 128, 32000, Encoding::f16);
  DeviceLimits limits = phones().front();
  limits.max_storage_buffers = 16;
  limits.max_binding = 65536;
  try {
    plan_operator(model.context(limits, 1), 2);
    FAIL("planned");
  } catch (const Error& error) {
    REQUIRE(error.code == ExitCode::device);
    const std::string text = error.what();
    REQUIRE(text.find("262144") != text.npos);
    REQUIRE(text.find("65536") != text.npos);
  }
}

TEST_CASE("largest_chunk is the largest that fits, and refuses what never fits") {
  const Model model(192, 448, 6, 2, 32, 2048, Encoding::f16);
  DeviceLimits limits = phones().front();
  limits.max_storage_buffers = 16;
  KernelContext context = model.context(limits, 1);
  context.bindings["context"] = 512;
  REQUIRE(largest_chunk(context, 256) == 256);
  limits.max_binding = 65536;
  context.limits = limits;
  // [chunk, 192] f32 and [chunk, 448] f16 in 64 KiB: 85 rows of 768 bytes, 73 of 896.
  REQUIRE(largest_chunk(context, 256) == 73);
  REQUIRE(largest_chunk(context, 73) == 73);
  REQUIRE(largest_chunk(context, 5) == 5);
  context.bindings["context"] = 4096;
  REQUIRE_THROWS_WITH(largest_chunk(context, 256), Catch::Matchers::Contains("--context"));
}

TEST_CASE("configurations: shared memory, invocations and subgroups decide validity") {
  DeviceLimits limits;
  limits.subgroup_size = 64;
  limits.max_invocations = 256;
  limits.max_group_size[0] = 256;
  KernelConfig gemv{Kernel::gemv, "", 64, 2, 1, 4, true, 0, 0, "test"};
  REQUIRE(valid(gemv, limits, {}));
  gemv.splits = 5;
  REQUIRE_FALSE(valid(gemv, limits, {}));  // 320 invocations
  gemv.splits = 4;
  gemv.lanes = 32;
  REQUIRE_FALSE(valid(gemv, limits, {}));  // a subgroup would span two splits
  gemv.subgroup = false;
  REQUIRE(valid(gemv, limits, {}));
  gemv.rows = 3;
  REQUIRE_FALSE(valid(gemv, limits, {}));  // pairs of rows
  gemv.rows = 64;
  REQUIRE_FALSE(valid(gemv, limits, {}));  // 24 KiB of shared memory
  const KernelConfig attention{Kernel::attention_decode, "", 64, 1, 1, 1, false, 0, 0, "test"};
  REQUIRE(valid(attention, limits, {.head_dim = 128}));
  REQUIRE_FALSE(valid(attention, limits, {.head_dim = 130}));
  limits.quirks = {"no_coop_gemv"};
  REQUIRE(choose_config(Kernel::gemv, limits, {.rows = 64}).splits == 1);
  limits.max_invocations = 16;
  REQUIRE_THROWS_AS(choose_config(Kernel::gemv, limits, {.rows = 64}), Error);
}

TEST_CASE(
    "decode attention reads a K/V head once for its query heads, in parts that fill the device") {
  const Model model(2048, 5632, 32, 4, 64, 32000, Encoding::m0e4);
  constexpr int32_t kAttention = 4;
  DeviceLimits limits;
  limits.name = "Adreno (TM) 750";
  limits.max_invocations = limits.max_group_size[0] = 512;
  limits.max_storage_buffers = 16;
  limits.shared_memory = 32768;
  limits.subgroup_size = 64;
  const auto plan = [&](int64_t context) {
    KernelContext kernel = model.context(limits, 1);
    kernel.bindings["context"] = context;
    return plan_operator(kernel, kAttention);
  };
  // 8 query heads share a K/V head, in tiles of at most 4: two workgroups, each cut in 6 parts.
  const std::vector<Dispatch> long_plan = plan(4096);
  REQUIRE(long_plan.size() == 2);
  CHECK(long_plan[0].groups == std::array<uint32_t, 3>{8, 6, 1});
  CHECK(long_plan[1].shader == "attention_combine");
  CHECK(long_plan[0].operands[4].bytes == uint64_t{4} * 6 * 32 * 66);
  CHECK(long_plan[1].operands[1].bytes == long_plan[0].operands[4].bytes);
  CHECK(plan(1024)[0].groups[1] == 4);  // parts of 256 positions at least
  const std::vector<Dispatch> short_plan = plan(511);
  REQUIRE(short_plan.size() == 1);
  CHECK(short_plan[0].groups == std::array<uint32_t, 3>{8, 1, 1});
}

TEST_CASE("two matrices halve the tile of a gemm that reads texels") {
  DeviceLimits limits;
  limits.name = "llvmpipe";
  limits.max_invocations = limits.max_group_size[0] = 1024;
  limits.shared_memory = 32768;
  limits.subgroup_size = 8;
  limits.max_texels = 1 << 27;
  KernelShape shape = {.rows = 2048, .tokens = 64, .texels = true};
  const KernelConfig& plain = choose_config(Kernel::gemm, limits, shape);
  shape.gated = true;
  const KernelConfig& gated = choose_config(Kernel::gemm, limits, shape);
  REQUIRE(plain.texels);
  REQUIRE(gated.texels);
  REQUIRE(2 * gated.rows * gated.tokens == plain.rows * plain.tokens);
  REQUIRE_FALSE(valid(plain, limits, shape));
}

TEST_CASE("attention in the lanes of one subgroup asks for exactly that subgroup and f16 vectors") {
  DeviceLimits limits;
  limits.subgroup_size = 16;
  KernelConfig config{Kernel::attention_decode, "", 16, 1, 8, 4, true, 0, 0, "test"};
  CHECK(valid(config, limits, {.head_dim = 64}));
  CHECK(valid(config, limits, {.head_dim = 256}));
  CHECK_FALSE(valid(config, limits, {.head_dim = 64, .aligned = false}));
  CHECK(decode_queries(config, 8, 64) == 8);
  CHECK(decode_queries(config, 8, 256) == 4);  // registers
  CHECK(decode_queries(config, 7, 256) == 4);
  CHECK(decode_queries(config, 1, 64) == 1);
  limits.subgroup_size = 32;
  CHECK_FALSE(valid(config, limits, {.head_dim = 64}));
  config.kernel = Kernel::attention_prefill;
  limits.subgroup_size = 16;
  CHECK_FALSE(valid(config, limits, {.head_dim = 64}));  // 8 queries for 16 lanes
  config.tokens = 32;
  CHECK(valid(config, limits, {.head_dim = 64}));
  CHECK_FALSE(valid(config, limits, {.head_dim = 80}));  // two queries a lane are too many
  config.tokens = 16;
  CHECK(valid(config, limits, {.head_dim = 256}));
}

TEST_CASE("a row meant for two matrices is not used for one") {
  for (const DeviceLimits& limits : phones()) {
    CAPTURE(limits.name);
    KernelShape shape = {.rows = 64, .tokens = 8};
    const KernelConfig& one = choose_config(Kernel::gemm, limits, shape);
    CHECK_FALSE(one.gated);
    if (limits.name.find("Mali") == limits.name.npos) continue;
    shape.gated = true;
    const KernelConfig& two = choose_config(Kernel::gemm, limits, shape);
    CHECK(two.gated);
    CHECK(2 * two.rows * two.tokens <= one.rows * one.tokens);
  }
}

TEST_CASE("wide gates of a Mali with warps of 8 take a dispatch each") {
  for (const Encoding encoding : {Encoding::f16, Encoding::m0e4, Encoding::w8a8}) {
    const Model model(2048, 5632, 32, 4, 64, 32000, encoding);
    const std::vector<Operator>& operators = model.manifest.program.operators;
    const auto gated = std::find_if(operators.begin(), operators.end(), [](const Operator& o) {
      return o.kind == OpKind::gated_linear;
    });
    REQUIRE(gated != operators.end());
    for (const DeviceLimits& limits : phones()) {
      if (limits.max_storage_buffers < 10) continue;
      CAPTURE(limits.name, encoding_name(encoding));
      const bool apart = encoding != Encoding::m0e4 && limits.subgroup_size <= 8 &&
                         limits.name.find("Mali") != limits.name.npos;
      for (const int64_t tokens : {1, 8}) {
        const auto op = static_cast<int32_t>(gated - operators.begin());
        // Codes of 8-bit kernels, sums of 4-bit ones.
        const bool codes = tokens > 1 || limits.subgroup_size == 0;
        const bool made = encoding == Encoding::w8a8 ? codes : encoding == Encoding::m0e4 && tokens > 1;
        const size_t more = made ? 1 : 0;
        CHECK(plan_operator(model.context(limits, tokens), op).size() == (apart ? 2 : 1) + more);
      }
    }
  }
}

TEST_CASE("prefill makes the sums of 4-bit groups once, decode none, and eleven bindings hold a gate") {
  for (const int64_t group : {16, 32, 64}) {
    const Model model(2048, 5632, 32, 4, 64, 32000, Encoding::m0e4, group);
    constexpr int32_t kQkv = 2, kGated = 6;
    DeviceLimits limits;
    limits.name = "Adreno (TM) 750";
    limits.subgroup_size = 64;
    for (const uint32_t buffers : {8u, 10u, 11u, 16u}) {
      limits.max_storage_buffers = buffers;
      for (const int64_t tokens : {1, 64}) {
        CAPTURE(group, buffers, tokens);
        for (const int32_t op : {kQkv, kGated}) {
          const std::vector<Dispatch> plan = plan_operator(model.context(limits, tokens), op);
          const auto sums = std::count_if(plan.begin(), plan.end(), [](const Dispatch& d) {
            return d.shader == "group_sums";
          });
          CHECK(sums == (tokens > 1 ? 1 : 0));
          for (const Dispatch& d : plan) check(model, limits, d);
          const bool apart = op == kGated && (group == 16 || buffers < (tokens > 1 ? 11u : 10u));
          REQUIRE(plan.size() == (apart ? 2u : 1u) + static_cast<size_t>(sums));
          if (sums == 0) continue;
          REQUIRE(plan[0].shader == "group_sums");
          const Operand& made = plan[0].operands.back();
          CHECK(made.access == Access::write);
          CHECK(made.bytes >= static_cast<uint64_t>(4 * tokens * 2048 / group));
          for (size_t i = 1; i < plan.size(); ++i) {
            const Operand& read = plan[i].operands.back();
            CHECK(read.kind == Operand::Kind::scratch);
            CHECK(read.access == Access::read);
            CHECK(read.offset == made.offset);
            CHECK(read.bytes == made.bytes);
          }
          // The gate's own results lie in front of them.
          if (apart) CHECK(made.offset >= uint64_t{4} * 64 * 5632);
        }
      }
    }
  }
}

TEST_CASE("8-bit products take the dot product that the device has") {
  const Model model(2048, 5632, 32, 4, 64, 32000, Encoding::w8a8);
  constexpr int32_t kQkv = 2;
  int with = 0, without = 0;
  for (const DeviceLimits& limits : phones()) {
    if (limits.max_storage_buffers < 10) continue;
    CAPTURE(limits.name);
    const auto named = [&](const char* part) { return limits.name.find(part) != limits.name.npos; };
    const bool adreno = named("Adreno") || named("Turnip");
    const DotForm form = dot_form(limits);
    if (limits.dot_product && adreno) CHECK(form == DotForm::mixed);
    if (named("G610") || named("G720") || named("NVIDIA")) CHECK(form == DotForm::both_signed);
    if (named("llvmpipe") || named("G52")) CHECK(form == DotForm::none);
    ++(form == DotForm::none ? without : with);
    const std::string part = form == DotForm::none ? "" : form == DotForm::mixed ? "_sudot" : "_sdot";
    for (const int64_t tokens : {1, 64}) {
      const std::vector<Dispatch> plan = plan_operator(model.context(limits, tokens), kQkv);
      const std::string& shader = plan.back().shader;
      CHECK(shader.find((tokens == 1 ? "gemv_w8a8" : "gemm_w8a8") + part) == 0);
      if (form == DotForm::none) CHECK(shader.find("dot") == shader.npos);
      // Prefill makes the codes of the input once, for all workgroups.
      CHECK((plan.front().shader == "quantise_w8a8") == (tokens > 1 || !limits.subgroup_size));
    }
    DeviceLimits hidden = lower_limits(limits, {{"dot_product", false}});
    CHECK(dot_form(hidden) == DotForm::none);
  }
  CHECK(with >= 7);
  CHECK(without >= 2);
}

TEST_CASE("decode with 8-bit weights reads a byte a weight and no copy of the input") {
  const Model model(2048, 5632, 32, 4, 64, 32000, Encoding::w8a8);
  DeviceLimits limits;
  limits.name = "Mali-G610";
  limits.max_storage_buffers = 16;
  limits.subgroup_size = 16;
  const std::vector<Dispatch> plan = plan_operator(model.context(limits, 1), 2);
  REQUIRE(plan.size() == 1);
  const uint64_t rows = 2048 + 2 * 256;
  // Codes, scale and sum of each row, bias, input.
  CHECK(plan[0].bytes_read == rows * (2048 + 8 + 4) + 2048 * 2);
  CHECK(plan[0].bytes_written == rows * 2);
}

TEST_CASE("every row of the table says where it comes from and is valid on some phone") {
  std::vector<DeviceLimits> devices = phones();
  for (const KernelConfig& config : kernel_configs()) {
    CAPTURE(config.str());
    REQUIRE(std::string_view(config.origin).size() > 5);
    REQUIRE(std::any_of(devices.begin(), devices.end(), [&](const DeviceLimits& limits) {
      return valid(config, limits, {.rows = 64, .tokens = 8, .head_dim = 64, .texels = true});
    }));
  }
}

}  // namespace pocket
