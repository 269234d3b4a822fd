// Prints, as one JSON document, every pipeline that the planner asks for on the given phones: kernel
// variant, specialization constants, and what it is for. Needs no Vulkan device.
//   list_pipelines test/devices/adreno-740.json ...
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "runtime/base/error.h"
#include "runtime/kernels/plan.h"
#include "runtime/kernels/shader_registry.h"
#include "test/mobile_shaders/phone_model.h"

namespace pocket {
namespace {

// (variant, constants) -> what it is used for; `planned` on the phone as it is, else a form for one with fewer
// features, which a driver or --limits may leave.
struct Uses {
  bool planned = false;
  std::set<std::string> what;
};
using Pipelines = std::map<std::pair<std::string, std::vector<uint32_t>>, Uses>;

// Phones with fewer features than the one at hand still run the kernels it would not choose.
struct Form {
  const char* name;
  Accumulate accumulate;
  bool subgroups;
  bool dots = true;  // of packed 8-bit integers, as the phone has them; w8a8 only
};
constexpr Form kForms[] = {{"", Accumulate::fp32, true},
                           {"fp16 sums, ", Accumulate::fp16, true},
                           {"no subgroups, ", Accumulate::fp32, false},
                           {"fp16 sums, no subgroups, ", Accumulate::fp16, false},
                           {"no dots, ", Accumulate::fp32, true, false},
                           {"no dots, no subgroups, ", Accumulate::fp32, false, false}};

void plan_model(const DeviceLimits& phone, const Manifest& manifest, const std::string& name,
                bool every_form, Pipelines& pipelines, bool w8a8 = false) {
  for (const Form& form : kForms) {
    if (!every_form && *form.name != 0) continue;
    if (w8a8 ? form.accumulate == Accumulate::fp16 : !form.dots) continue;
    for (const int64_t tokens : {1, 64}) {
      KernelContext context{&manifest,
                            phone,
                            {{"tokens", tokens}, {"rows", 1}, {"context", 2048}},
                            form.accumulate,
                            tokens == 1};
      // Without fp16 arithmetic the phone never runs those variants; they are compiled all the same.
      if (form.accumulate == Accumulate::fp16) context.limits.fp16_arithmetic = true;
      if (!form.subgroups) context.limits.subgroup_size = 0;
      if (!form.dots) context.limits.dot_product = false;
      const bool planned = form.subgroups && form.dots &&
                           (form.accumulate == Accumulate::fp32 || phone.fp16_arithmetic);
      const auto note = [&](const Dispatch& d) {
        Uses& uses = pipelines[{d.shader, d.specialization}];
        uses.planned |= planned;
        uses.what.insert(form.name + name + (tokens == 1 ? " decode: " : " prefill: ") + d.label);
      };
      const auto count = static_cast<int32_t>(manifest.program.operators.size());
      for (int32_t op = 0; op < count; ++op) {
        for (const Dispatch& d : plan_operator(context, op)) note(d);
      }
      for (const SamplerKind kind : {SamplerKind::greedy, SamplerKind::stochastic}) {
        for (const Dispatch& d : plan_sampler(context, kind)) note(d);
      }
      note(plan_advance(context));
    }
  }
}

nlohmann::json pipelines_of(const DeviceLimits& phone) {
  Pipelines pipelines;
  // One shape has every encoding and form; the others add heads, widths and epilogues, which the
  // encodings share, so that one of them stands for all.
  bool first = true;
  for (const test::PhoneShape& shape : test::phone_shapes()) {
    for (const Encoding encoding : {Encoding::m0e4, Encoding::int4, Encoding::f16, Encoding::f32}) {
      if (!first && encoding != Encoding::m0e4) continue;
      plan_model(phone, test::make_phone_model(shape, encoding),
                 shape.name + " " + encoding_name(encoding), first, pipelines);
    }
    for (const Encoding encoding : {Encoding::m0e4, Encoding::int4}) {
      if (!first) continue;
      plan_model(phone, test::make_phone_model(shape, encoding, 0, 16),
                 shape.name + " " + encoding_name(encoding) + " group 16", true, pipelines);
    }
    if (first) {
      plan_model(phone, test::make_phone_model(shape, Encoding::w8a8), shape.name + " w8a8", true,
                 pipelines, true);
    }
    for (const int32_t width : {2, 3, 4, 8}) {
      if (!first) continue;
      plan_model(phone, test::make_phone_model(shape, Encoding::any, width),
                 shape.name + " any" + std::to_string(width), first, pipelines);
    }
    first = false;
  }
  nlohmann::json list = nlohmann::json::array();
  const std::vector<std::string_view> variants = shader_variants();
  std::set<std::string> seen;
  const auto add = [&](const std::string& shader, const std::vector<uint32_t>& constants,
                       bool planned, bool given, const std::set<std::string>& what) {
    list.push_back({{"shader", shader}, {"constants", constants}, {"planned", planned},
                    {"given", given}, {"uses", what}});
    seen.insert(shader);
  };
  for (const auto& [key, uses] : pipelines) {
    add(key.first, key.second, uses.planned, true, uses.what);
    // The kernel lab's baseline of it, to compare the two.
    std::string baseline = key.first;
    if (const size_t codes = baseline.find("int4"); codes != baseline.npos) {
      baseline.insert(codes + 4, "_convert");
    }
    if (baseline != key.first && std::find(variants.begin(), variants.end(), baseline) != variants.end()) {
      add(baseline, key.second, false, false, {"baseline of the kernel lab beside " + key.first});
    }
  }
  // What no plan of these shapes asks for, with the constants that the shader itself has.
  for (const std::string_view name : variants) {
    if (seen.contains(std::string(name))) continue;
    add(std::string(name), {}, false, false, {"no plan of these shapes"});
  }
  return list;
}

}  // namespace
}  // namespace pocket

int main(int argc, char** argv) {
  try {
    nlohmann::json result = nlohmann::json::object();
    for (int i = 1; i < argc; ++i) {
      std::ifstream file(argv[i]);
      if (!file) {
        throw pocket::Error(pocket::ExitCode::bad_input, std::string("cannot read ") + argv[i] +
                                                             "; give files of test/devices");
      }
      result[argv[i]] =
          pocket::pipelines_of(pocket::limits_from_json(nlohmann::json::parse(file)));
    }
    std::cout << result.dump(1) << "\n";
    return 0;
  } catch (const pocket::Error& error) {
    std::cerr << "list_pipelines: " << error.what() << "\n";
    return static_cast<int>(error.code);
  } catch (const nlohmann::json::exception& error) {
    std::cerr << "list_pipelines: " << error.what() << "\n";
    return 3;
  }
}
