#include "converter/reference/executor.h"

#include <algorithm>
#include <numeric>

#include "runtime/base/error.h"

namespace pocket::reference {

namespace {

[[noreturn]] void fail(const std::string& message) { throw Error(ExitCode::bad_input, message); }

std::string text(const Shape& shape) {
  return ir::shape_text(std::vector<Expr>(shape.begin(), shape.end()));
}

HostTensor evaluated_elements(const ir::Value& value, const Bindings& bindings) {
  Shape shape;
  if (!value.shape) fail("value \"" + value.name + "\" has elements but no shape.");
  for (const Expr& dim : *value.shape) shape.push_back(dim.evaluate(bindings));
  std::vector<int64_t> elements;
  for (const Expr& element : *value.elements) elements.push_back(element.evaluate(bindings));
  HostTensor out = HostTensor::integers(std::move(shape), std::move(elements));
  out.type = value.type == ElementType::undefined ? ElementType::i64 : value.type;
  return out;
}

// The nodes that `results` depend on, in order; what stands before a fed value is not needed.
std::vector<ir::NodeId> needed_nodes(const ir::Graph& graph, const Feeds& feeds,
                                     const std::vector<ir::ValueId>& results) {
  std::vector<bool> needed(graph.node_count(), false);
  std::vector<ir::ValueId> work = results;
  while (!work.empty()) {
    const ir::ValueId id = work.back();
    work.pop_back();
    if (id == ir::kAbsent || feeds.contains(id)) continue;
    const ir::NodeId producer = graph.value(id).producer;
    if (!graph.alive(producer) || needed[static_cast<size_t>(producer)]) continue;
    needed[static_cast<size_t>(producer)] = true;
    const ir::Node& node = graph.node(producer);
    work.insert(work.end(), node.inputs.begin(), node.inputs.end());
  }
  std::vector<ir::NodeId> order;
  for (const ir::NodeId id : graph.order()) {
    if (needed[static_cast<size_t>(id)]) order.push_back(id);
  }
  return order;
}

// True when the symbol occurs in the dimension.
bool mentions(const Expr& dim, const char* symbol) {
  const std::vector<std::string> symbols = dim.symbols();
  return std::find(symbols.begin(), symbols.end(), symbol) != symbols.end();
}

}  // namespace

const HostTensor* ConstantCache::find(ir::ValueId id, const ir::TensorData& data) {
  const std::lock_guard<std::mutex> lock(guard_);
  if (const auto it = kept_.find(id); it != kept_.end()) return &it->second;
  const bool integer = ir::is_integer_type(data.type);
  const int64_t bytes = data.elements() * (integer ? int64_t{8} : int64_t{4});
  if (bytes > left_) return nullptr;
  left_ -= bytes;
  return &kept_.emplace(id, HostTensor::from(data)).first->second;
}

Bindings bind_symbols(const ir::Graph& graph, const Feeds& feeds, Bindings bindings) {
  const auto each = [&](auto visit) {
    for (const auto& [id, feed] : feeds) {
      const ir::Value& value = graph.value(id);
      if (!value.shape) continue;
      if (value.shape->size() != feed.shape.size()) {
        fail("input \"" + value.name + "\" has the shape " + ir::shape_text(*value.shape) +
             " but was fed " + text(feed.shape) + ".");
      }
      for (size_t d = 0; d < feed.shape.size(); ++d) visit(value, (*value.shape)[d], feed, d);
    }
  };
  each([&](const ir::Value&, const Expr& dim, const HostTensor& feed, size_t d) {
    const std::vector<std::string> symbols = dim.symbols();
    if (symbols.size() == 1 && dim == Expr::symbol(symbols[0])) {
      bindings.emplace(symbols[0], feed.shape[d]);
    }
  });
  each([&](const ir::Value& value, const Expr& dim, const HostTensor& feed, size_t d) {
    if (dim.evaluate(bindings) == feed.shape[d]) return;
    fail("input \"" + value.name + "\" has the shape " + ir::shape_text(*value.shape) +
         " but was fed " + text(feed.shape) + ".");
  });
  return bindings;
}

std::map<ir::ValueId, HostTensor> run(const ir::Graph& graph, const Feeds& feeds,
                                      const RunOptions& options) {
  return evaluate(graph, feeds, graph.outputs, options);
}

std::map<ir::ValueId, HostTensor> evaluate(const ir::Graph& graph, const Feeds& feeds,
                                           const std::vector<ir::ValueId>& wanted,
                                           const RunOptions& options) {
  const Registry& registry = options.registry != nullptr ? *options.registry : standard_registry();
  std::vector<ir::ValueId> results = wanted;
  results.insert(results.end(), options.keep.begin(), options.keep.end());
  std::vector<int> readers(graph.value_count(), 0);  // reads that are still to come
  for (const ir::ValueId id : results) {
    (void)graph.value(id);
    ++readers[static_cast<size_t>(id)];
  }
  const std::vector<ir::NodeId> order = needed_nodes(graph, feeds, results);
  for (const ir::NodeId id : order) {
    for (const ir::ValueId input : graph.node(id).inputs) {
      if (input != ir::kAbsent) ++readers[static_cast<size_t>(input)];
    }
  }

  const Bindings bindings = bind_symbols(graph, feeds, options.bindings);
  std::map<ir::ValueId, HostTensor> live;
  const auto fetch = [&](ir::ValueId id) -> const HostTensor& {
    if (const auto fed = feeds.find(id); fed != feeds.end()) return fed->second;
    if (const auto it = live.find(id); it != live.end()) return it->second;
    const ir::Value& value = graph.value(id);
    if (value.constant && options.constants != nullptr) {
      const HostTensor* kept = options.constants->find(id, *value.constant);
      if (kept != nullptr) return *kept;
    }
    if (value.constant) return live.emplace(id, HostTensor::from(*value.constant)).first->second;
    if (value.elements && value.producer == ir::kAbsent) {
      return live.emplace(id, evaluated_elements(value, bindings)).first->second;
    }
    fail("value \"" + value.name + "\" has to be fed to compute the graph.");
  };

  for (const ir::NodeId id : order) {
    const ir::Node& node = graph.node(id);
    const Function function = registry.find(node.domain, node.op);
    if (function == nullptr) {
      fail("the reference executor has no function for operator " +
           (node.domain.empty() ? "" : node.domain + ".") + node.op + " \"" + node.name + "\".");
    }
    Call call{node, {}, graph.opset};
    for (const ir::ValueId input : node.inputs) {
      call.inputs.push_back(input == ir::kAbsent ? nullptr : &fetch(input));
    }
    std::vector<HostTensor> made = function(call);
    if (made.size() < node.outputs.size()) {
      call.fail("has " + std::to_string(node.outputs.size()) + " outputs but computes " +
                std::to_string(made.size()));
    }
    for (size_t k = 0; k < node.outputs.size(); ++k) {
      const ir::ValueId output = node.outputs[k];
      if (output == ir::kAbsent) continue;
      if (options.observer) options.observer(node, output, made[k]);
      if (readers[static_cast<size_t>(output)] > 0) {
        live.insert_or_assign(output, std::move(made[k]));
      }
    }
    for (const ir::ValueId input : node.inputs) {
      if (input != ir::kAbsent && --readers[static_cast<size_t>(input)] == 0) live.erase(input);
    }
  }
  std::map<ir::ValueId, HostTensor> out;
  for (const ir::ValueId id : results) out.emplace(id, fetch(id));
  return out;
}

Feeds decoder_feeds(const ir::Graph& graph, const std::vector<int64_t>& tokens,
                    const std::map<ir::ValueId, HostTensor>& states, int64_t past) {
  const auto count = static_cast<int64_t>(tokens.size());
  const Bindings bindings{{"tokens", count}, {"past", past}};
  Feeds feeds;
  for (const ir::ValueId id : graph.inputs) {
    const ir::Value& value = graph.value(id);
    if (const auto state = states.find(id); state != states.end()) {
      feeds.emplace(id, state->second);
      continue;
    }
    if (!value.shape) fail("input \"" + value.name + "\" has no shape.");
    Shape shape;
    for (const Expr& dim : *value.shape) shape.push_back(dim.evaluate(bindings));
    HostTensor feed = HostTensor::make(value.type, shape);
    if (feed.is_integer() && feed.rank() > 0) {
      const Expr& last = value.shape->back();
      if (mentions(last, "past") || value.name.find("mask") != std::string::npos) {
        feed.i.assign(feed.i.size(), 1);  // the mask: everything is real
      } else if (last == Expr::symbol("tokens")) {
        const bool positions = value.name.find("position") != std::string::npos;
        if (feed.elements() != count)
          fail("input \"" + value.name + "\" is not one row of tokens.");
        if (positions)
          std::iota(feed.i.begin(), feed.i.end(), past);
        else
          feed.i = tokens;
      }
    }
    feeds.emplace(id, std::move(feed));
  }
  return feeds;
}

HostTensor logits(const ir::Graph& graph, const std::vector<int64_t>& tokens,
                  const RunOptions& options) {
  std::map<ir::ValueId, HostTensor> outputs = run(graph, decoder_feeds(graph, tokens), options);
  const auto count = static_cast<int64_t>(tokens.size());
  for (const ir::ValueId id : graph.outputs) {
    const bool state = std::any_of(graph.states.begin(), graph.states.end(),
                                   [id](const ir::StatePair& pair) { return pair.present == id; });
    HostTensor& out = outputs.at(id);
    if (state || out.is_integer() || out.rank() < 2 || out.shape[out.shape.size() - 2] != count) {
      continue;
    }
    out.shape = {count, out.shape.back()};
    return std::move(out);
  }
  fail("the graph has no output of logits [1, tokens, vocabulary]; export it as a decoder.");
}

}  // namespace pocket::reference
