#include "test/lower/generic_run.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <list>
#include <nlohmann/json.hpp>
#include <random>

#include "converter/lower/generic_builder.h"
#include "converter/lower/lower_generic.h"
#include "runtime/kernels/dispatch_runner.h"
#include "runtime/program/generic_check.h"
#include "test/support/catch.h"

namespace pocket::test {
namespace {

constexpr int64_t kContext = 24;

const Instance& instance() {
  static Instance made;
  return made;
}

}  // namespace

LimitedDevice::LimitedDevice(std::string device_name, const DeviceOptions& options)
    : name(std::move(device_name)), device(instance(), options), compute(device) {}

LimitedDevice& whole_device() {
  static LimitedDevice made("as it is", {.cache_folder = "-"});
  return made;
}

const std::vector<LimitedDevice*>& limited_devices() {
  static const std::vector<LimitedDevice*> kDevices = [] {
    instance();  // made first, destroyed last
    static std::list<LimitedDevice> made;
    std::vector<LimitedDevice*> list;
    std::vector<std::filesystem::path> files;
    for (const auto& entry :
         std::filesystem::directory_iterator(POCKET_SOURCE_DIR "/test/limits")) {
      files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
    for (const std::filesystem::path& file : files) {
      DeviceOptions options{.cache_folder = "-"};
      options.limits = nlohmann::json::parse(std::ifstream(file));
      list.push_back(&made.emplace_back(file.stem().string(), options));
    }
    return list;
  }();
  return kDevices;
}

GenericRun::GenericRun(const ir::Graph& graph) : graph_(graph), builder_(graph) {
  NodeContext context{graph, {}, {}, ir::kAbsent};
  for (const ir::ValueId id : graph.inputs) {
    const ir::Value& value = graph.value(id);
    Tensor tensor;
    tensor.name = value.name;
    const bool half = value.type == ir::ElementType::f16;
    tensor.dtype = ir::is_integer_type(value.type) ? DType::i32 : half ? DType::f16 : DType::f32;
    tensor.shape = *value.shape;
    if (tensor.shape.empty()) tensor.shape.emplace_back(1);
    builder_.bind(id, builder_.add_tensor(tensor));
  }
  for (const ir::NodeId id : graph.order()) {
    INFO(graph.node(id).op << " " << graph.node(id).name);
    REQUIRE(lower_generic(context, id, builder_));
  }
  builder_.end_segment("all", Part::body);
  manifest_.program = builder_.lowered.program;
  std::vector<std::vector<int64_t>> shapes;
  for (const LoweredWeight& weight : builder_.lowered.weights) {
    Weight made;
    made.name = weight.name;
    made.shape = weight.shape;
    made.format = {Encoding::f32, 1, weight.source.columns(), 0};
    std::vector<float> values(static_cast<size_t>(weight.source.columns()));
    weight.source.read_rows(0, 1, values.data());
    bytes_.push_back(pack_float(made.format, values.data()));
    Section section;
    section.shard = static_cast<int32_t>(bytes_.size()) - 1;
    section.bytes = bytes_.back().size();
    section.rows = 1;
    made.sections = {section};
    weights_.emplace(static_cast<WeightId>(weights_.size()), WeightRows(made, bytes_.back(), {}));
    manifest_.weights.push_back(made);
    shapes.push_back(made.shape);
  }
  manifest_.program.max_context = kContext;
  for (const Operator& op : manifest_.program.operators) {
    check_generic(manifest_.program, shapes, op, Part::body);
  }
}

reference::Feeds GenericRun::feeds(const StepSize& step, uint32_t seed) const {
  std::mt19937 random(seed);
  reference::Feeds feeds;
  for (const ir::ValueId id : graph_.inputs) {
    const ir::Value& value = graph_.value(id);
    std::vector<int64_t> shape;
    for (const Expr& extent : *value.shape) {
      shape.push_back(extent.evaluate({{"tokens", step.tokens}, {"past", step.past}}));
    }
    auto tensor = reference::HostTensor::make(value.type, shape);
    for (float& number : tensor.f) number = static_cast<float>(random() % 2001) / 500.0f - 2.0f;
    if (value.type == ir::ElementType::f16) {
      for (float& number : tensor.f) number = half_to_float(float_to_half(number));
    }
    for (int64_t& number : tensor.i) number = static_cast<int64_t>(random() % 3);
    if (value.type == ir::ElementType::boolean) {
      for (int64_t& number : tensor.i) number = number != 0;
    }
    feeds.emplace(id, std::move(tensor));
  }
  return feeds;
}

std::vector<reference::HostTensor> GenericRun::expected(const StepSize& step, uint32_t seed) {
  reference::RunOptions options;
  options.bindings = {{"tokens", step.tokens}, {"past", step.past}};
  const auto computed = reference::run(graph_, feeds(step, seed), options);
  std::vector<reference::HostTensor> ordered;
  for (const ir::ValueId id : graph_.outputs) ordered.push_back(computed.at(id));
  return ordered;
}

HostState GenericRun::state(const StepSize& step, const reference::Feeds& given) const {
  const Bindings bindings = {
      {"tokens", step.tokens}, {"rows", 1}, {"context", kContext}, {"past", kContext}};
  HostState host = make_host_state(manifest_.program, bindings);
  host.record.past = static_cast<uint32_t>(step.past);
  host.record.tokens = static_cast<uint32_t>(step.tokens);
  for (auto& values : host.tensors) std::fill(values.begin(), values.end(), NAN);
  for (const auto& [id, tensor] : given) {
    std::vector<float>& values = host.tensors[static_cast<size_t>(builder_.find(id))];
    std::copy(tensor.f.begin(), tensor.f.end(), values.begin());
    for (size_t i = 0; i < tensor.i.size(); ++i) {
      values[i] = std::bit_cast<float>(static_cast<int32_t>(tensor.i[i]));
    }
  }
  return host;
}

// Reads the views of the outputs.
std::vector<reference::HostTensor> GenericRun::results(const HostState& host,
                                                       const StepSize& step) const {
  const auto& memory = *static_cast<const generic::Memory*>(builder_.generic.get());
  const auto evaluate = [&](const Expr& expr) {
    return step_polynomial(expr, host.bindings).evaluate(step.past, step.tokens);
  };
  std::vector<reference::HostTensor> list;
  for (const ir::ValueId id : graph_.outputs) {
    if (graph_.value(id).constant) {
      list.push_back(reference::HostTensor::from(*graph_.value(id).constant));
      continue;
    }
    const generic::View& view = memory.views.at(id);
    std::vector<int64_t> shape, strides;
    for (const Expr& extent : view.shape) shape.push_back(evaluate(extent));
    for (const Expr& stride : view.strides) strides.push_back(evaluate(stride));
    auto tensor = reference::HostTensor::make(graph_.value(id).type, shape);
    for (int64_t i = 0; i < tensor.elements(); ++i) {
      int64_t at = evaluate(view.offset), rest = i;
      for (size_t d = shape.size(); d-- > 0; rest /= shape[d]) at += rest % shape[d] * strides[d];
      float stored = static_cast<float>(view.number);
      if (view.source == GenericSource::index) stored = std::bit_cast<float>(int32_t(at));
      if (view.source == GenericSource::weight)
        stored = weights_.at(view.id).vector().at(size_t(at));
      if (view.source == GenericSource::input) {
        stored = host.tensors.at(static_cast<size_t>(view.id)).at(static_cast<size_t>(at));
      }
      const auto place = static_cast<size_t>(i);
      if (tensor.is_integer()) {
        tensor.i[place] = view.source == GenericSource::weight
                              ? static_cast<int64_t>(stored)
                              : int64_t{std::bit_cast<int32_t>(stored)};
      } else {
        tensor.f[place] = stored;
      }
    }
    list.push_back(std::move(tensor));
  }
  return list;
}

std::vector<reference::HostTensor> GenericRun::on_host(const StepSize& step, uint32_t seed) {
  HostState host = state(step, feeds(step, seed));
  const WeightLookup source = [&](WeightId id) -> const WeightRows& { return weights_.at(id); };
  for (size_t op = 0; op < manifest_.program.operators.size(); ++op) {
    run_reference(manifest_, source, static_cast<int32_t>(op), host);
  }
  return results(host, step);
}

std::vector<reference::HostTensor> GenericRun::on_device(const StepSize& step, uint32_t seed,
                                                         LimitedDevice& on) {
  return on_device(step, feeds(step, seed), on);
}

std::vector<reference::HostTensor> GenericRun::on_device(const StepSize& step,
                                                         const reference::Feeds& given,
                                                         LimitedDevice& on) {
  HostState host = state(step, given);
  KernelContext context{&manifest_, on.device.limits(), host.bindings, Accumulate::fp32, false};
  std::vector<Dispatch> plan;
  for (size_t op = 0; op < manifest_.program.operators.size(); ++op) {
    for (Dispatch& dispatch : plan_operator(context, static_cast<int32_t>(op))) {
      plan.push_back(std::move(dispatch));
    }
  }
  DispatchRunner runner(on.compute, manifest_, [&](const Section& section) {
    return std::as_bytes(std::span(bytes_.at(static_cast<size_t>(section.shard))));
  });
  std::vector<int32_t> ring(1);
  if (!plan.empty()) runner.run(plan, host, ring);
  return results(host, step);
}

double worst_error(const std::vector<reference::HostTensor>& expected,
                   const std::vector<reference::HostTensor>& actual) {
  double worst = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    if (expected[i].shape != actual.at(i).shape || expected[i].i != actual[i].i) return INFINITY;
    double squares = 0, difference = 0;
    for (size_t k = 0; k < expected[i].f.size(); ++k) {
      const double want = expected[i].f[k], got = actual[i].f[k];
      if ((std::isnan(want) && std::isnan(got)) || want == got) {
        if (std::isfinite(want)) squares += want * want;
        continue;
      }
      squares += want * want;
      difference = std::max(difference, std::isnan(got - want) ? INFINITY : std::abs(got - want));
    }
    const double size = std::sqrt(squares / std::max<double>(1, double(expected[i].f.size())));
    worst = std::max(worst, difference / (size + 1e-20));
  }
  return worst;
}

}  // namespace pocket::test
