#include "test/kernels/bench/work.h"

#include <cmath>

#include "runtime/base/error.h"

namespace pocket::lab {
namespace {

const Expr kTokens = Expr::symbol("tokens");

}  // namespace

const char* subject_name(Subject subject) {
  switch (subject) {
    case Subject::matrix:
      return "matrix";
    case Subject::attention:
      return "attention";
    case Subject::norm:
      return "norm";
  }
  return "unknown";
}

std::string encoding_text(const Work& w) {
  return std::string(encoding_name(w.encoding)) + (w.convert ? "-convert" : "");
}

std::string name(const Work& w) {
  const std::string tokens =
      ", " + std::to_string(w.tokens) + (w.tokens == 1 ? " token" : " tokens");
  switch (w.subject) {
    case Subject::matrix:
      return encoding_text(w) + " " + std::to_string(w.rows) + " x " + std::to_string(w.columns) +
             (w.gated ? " gated" : "") + tokens;
    case Subject::attention:
      return "attention " + std::to_string(w.heads) + " / " + std::to_string(w.kv_heads) +
             " heads of " + std::to_string(w.head_dim) + ", context " + std::to_string(w.context) +
             tokens;
    case Subject::norm:
      return "norm of " + std::to_string(w.columns) + " columns" + tokens;
  }
  return "";
}

Kernel kernel_of(const Work& w) {
  if (w.subject == Subject::norm) return Kernel::norm;
  if (w.subject == Subject::matrix) return matrix_kernel(w.encoding, w.tokens);
  return w.tokens == 1 ? Kernel::attention_decode : Kernel::attention_prefill;
}

Program::Program(const Work& work, const DeviceLimits& limits) : work_(work) {
  switch (work.subject) {
    case Subject::matrix:
      add_matrix();
      break;
    case Subject::attention:
      add_attention();
      break;
    case Subject::norm:
      add_norm();
      break;
  }
  const bool attention = work.subject == Subject::attention;
  const Bindings bindings = {
      {"tokens", work.tokens}, {"rows", 1}, {"context", attention ? work.context : 8}};
  start = fixture.random_state(bindings);
  start.record.tokens = static_cast<uint32_t>(work.tokens);
  if (attention) start.record.past = static_cast<uint32_t>(work.context - work.tokens);
  context_.manifest = &fixture.manifest;
  context_.limits = limits;
  context_.bindings = bindings;
  context_.accumulate = work.accumulate;
  context_.decode = work.tokens == 1;
}

void Program::add_matrix() {
  const TensorId x = fixture.tensor(kTokens, work_.columns, work_.activations);
  out = fixture.tensor(kTokens, work_.rows);
  const auto weight = [this] {
    return fixture.weight(work_.rows, work_.columns, work_.encoding, work_.group);
  };
  const WeightId a = weight();
  Attributes attributes;
  if (work_.gated) {
    attributes.activation = Activation::silu;
    op = fixture.add(OpKind::gated_linear, {x}, {out}, {a, weight(), kNone, kNone}, attributes);
  } else {
    op = fixture.add(OpKind::linear, {x, kNone}, {out}, {a, kNone}, attributes);
  }
}

void Program::add_attention() {
  const int64_t width = int64_t{work_.heads} * work_.head_dim;
  const TensorId q = fixture.tensor(kTokens, width, work_.activations);
  const TensorId k_state = fixture.state(work_.kv_heads, work_.head_dim);
  const TensorId v_state = fixture.state(work_.kv_heads, work_.head_dim);
  out = fixture.tensor(kTokens, width, work_.activations);
  Attributes attributes;
  attributes.heads = work_.heads;
  attributes.kv_heads = work_.kv_heads;
  attributes.head_dim = work_.head_dim;
  // Scores that tell positions apart.
  attributes.scale = 4.0f / std::sqrt(static_cast<float>(work_.head_dim));
  op = fixture.add(OpKind::attention, {q, k_state, v_state}, {out}, {}, attributes);
}

void Program::add_norm() {
  const TensorId x = fixture.tensor(kTokens, work_.columns, work_.activations);
  const TensorId residual = fixture.tensor(kTokens, work_.columns);
  out = fixture.tensor(kTokens, work_.columns, work_.activations);
  const TensorId sum = fixture.tensor(kTokens, work_.columns);
  const WeightId scale = fixture.vector(work_.columns);
  op = fixture.add(OpKind::norm, {x, residual}, {out, sum}, {scale, kNone});
}

std::vector<Dispatch> Program::plan(const KernelConfig& config) const {
  if (work_.subject != Subject::matrix) return plan_by_request(config);
  KernelContext forced = context_;
  forced.forced = &config;
  std::vector<Dispatch> dispatches = plan_operator(forced, op);
  if (work_.convert) {
    const std::string plain = encoding_name(Encoding::int4);
    for (Dispatch& d : dispatches) {
      d.shader.insert(d.shader.find(plain) + plain.size(), "_convert");
    }
  }
  return dispatches;
}

ConfigRequest Program::request() const {
  KernelContext context = context_;
  std::vector<ConfigRequest> requests;
  context.requests = &requests;
  plan_operator(context, op);
  return requests.at(0);
}

// As the tuner does it: the row takes the place of the table's for what the planner asks.
std::vector<Dispatch> Program::plan_by_request(const KernelConfig& config) const {
  const ConfigRequest asked = request();
  if (config.kernel != asked.kernel || !valid(config, context_.limits, asked.shape)) {
    throw Error(ExitCode::usage, "the configuration " + config.str() + " is not valid for " +
                                     asked.key() + " on " + context_.limits.name +
                                     "; choose another row, --all lists the valid ones");
  }
  KernelContext context = context_;
  TunedConfigs trial;
  trial.set(asked.key(), config);
  context.tuned = &trial;
  return plan_operator(context, op);
}

uint64_t Program::flops(const std::vector<Dispatch>& dispatches) const {
  if (work_.subject == Subject::attention) {
    // Each query sees the positions up to its own: a product with K, one with V.
    const int64_t seen =
        work_.tokens * (work_.context - work_.tokens) + work_.tokens * (work_.tokens + 1) / 2;
    return 4 * static_cast<uint64_t>(seen * work_.heads * work_.head_dim);
  }
  uint64_t sum = 0;
  for (const Dispatch& d : dispatches) sum += d.flops;
  return sum;
}

uint64_t Program::bytes() const {
  const int64_t element = work_.activations == DType::f16 ? 2 : 4;
  if (work_.subject == Subject::attention) {
    return static_cast<uint64_t>(2 * 2 * work_.context * work_.kv_heads * work_.head_dim);
  }
  if (work_.subject == Subject::norm) {
    return static_cast<uint64_t>(work_.tokens * work_.columns * (2 * element + 2 * 4));
  }
  uint64_t sum = 0;
  for (const Weight& weight : fixture.manifest.weights) {
    for (const Section& section : weight.sections) sum += section.bytes;
  }
  return sum;
}

}  // namespace pocket::lab
