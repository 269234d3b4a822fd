#include "converter/ir/graph.h"

#include <algorithm>
#include <utility>

#include "converter/ir/operators.h"
#include "runtime/base/error.h"

namespace pocket::ir {

namespace {

[[noreturn]] void fail(const std::string& message) { throw Error(ExitCode::bad_input, message); }

std::string described(const Node& node) {
  return node.name.empty() ? node.op + " (unnamed)" : node.op + " \"" + node.name + "\"";
}

}  // namespace

int64_t Node::integer(const std::string& key, int64_t fallback) const {
  const auto it = attributes.find(key);
  if (it == attributes.end()) return fallback;
  if (const auto* value = std::get_if<int64_t>(&it->second)) return *value;
  fail("attribute " + key + " of " + described(*this) + " is not an integer; export again.");
}

float Node::real(const std::string& key, float fallback) const {
  const auto it = attributes.find(key);
  if (it == attributes.end()) return fallback;
  if (const auto* value = std::get_if<float>(&it->second)) return *value;
  if (const auto* value = std::get_if<int64_t>(&it->second)) return static_cast<float>(*value);
  fail("attribute " + key + " of " + described(*this) + " is not a number; export again.");
}

std::string Node::text(const std::string& key, const std::string& fallback) const {
  const auto it = attributes.find(key);
  if (it == attributes.end()) return fallback;
  if (const auto* value = std::get_if<std::string>(&it->second)) return *value;
  fail("attribute " + key + " of " + described(*this) + " is not a string; export again.");
}

std::vector<int64_t> Node::integers(const std::string& key, std::vector<int64_t> fallback) const {
  const auto it = attributes.find(key);
  if (it == attributes.end()) return fallback;
  if (const auto* value = std::get_if<std::vector<int64_t>>(&it->second)) return *value;
  if (const auto* value = std::get_if<int64_t>(&it->second)) return {*value};
  fail("attribute " + key + " of " + described(*this) +
       " is not a list of integers; export "
       "again.");
}

ValueId Node::input(size_t index) const { return index < inputs.size() ? inputs[index] : kAbsent; }

bool Node::is(const char* op_name, const char* op_domain) const {
  return op == op_name && domain == op_domain;
}

std::string Graph::unique(const std::string& wanted) {
  const std::string base = wanted.empty() ? "value" : wanted;
  if (!names_.contains(base)) return base;
  int& suffix = next_suffix_[base];
  for (;;) {
    std::string candidate = base + "_" + std::to_string(++suffix);
    if (!names_.contains(candidate)) return candidate;
  }
}

ValueId Graph::add_value(Value value) {
  value.name = unique(value.name);
  const auto id = static_cast<ValueId>(values_.size());
  names_.emplace(value.name, id);
  values_.push_back(std::move(value));
  return id;
}

ValueId Graph::add_constant(const std::string& constant_name, TensorData data) {
  Value value;
  value.name = constant_name;
  value.type = data.type;
  value.shape.emplace(data.shape.begin(), data.shape.end());
  value.constant = std::move(data);
  return add_value(std::move(value));
}

NodeId Graph::add_node(Node node) {
  const auto id = static_cast<NodeId>(nodes_.size());
  for (const ValueId input : node.inputs) {
    if (input != kAbsent) (void)value(input);
  }
  for (const ValueId output : node.outputs) {
    if (output == kAbsent) continue;
    Value& made = value(output);
    if (made.producer != kAbsent || made.constant || is_input(output)) {
      fail("value \"" + made.name +
           "\" would be produced twice; the graph is not in single "
           "assignment form.");
    }
    made.producer = id;
  }
  nodes_.push_back(std::move(node));
  alive_.push_back(true);
  return id;
}

ValueId Graph::add_output(NodeId id, const std::string& output_name, ElementType type) {
  Node& owner = node(id);
  Value made;
  made.name = output_name;
  made.type = type;
  made.producer = id;
  const ValueId value_id = add_value(std::move(made));
  owner.outputs.push_back(value_id);
  return value_id;
}

const Value& Graph::value(ValueId id) const {
  if (id < 0 || static_cast<size_t>(id) >= values_.size()) {
    fail("value id " + std::to_string(id) + " does not exist in a graph of " +
         std::to_string(values_.size()) + " values; this is a defect of the converter.");
  }
  return values_[static_cast<size_t>(id)];
}

Value& Graph::value(ValueId id) { return const_cast<Value&>(std::as_const(*this).value(id)); }

const Node& Graph::node(NodeId id) const {
  if (id < 0 || static_cast<size_t>(id) >= nodes_.size()) {
    fail("node id " + std::to_string(id) + " does not exist in a graph of " +
         std::to_string(nodes_.size()) + " nodes; this is a defect of the converter.");
  }
  return nodes_[static_cast<size_t>(id)];
}

Node& Graph::node(NodeId id) { return const_cast<Node&>(std::as_const(*this).node(id)); }

bool Graph::alive(NodeId id) const {
  return id >= 0 && static_cast<size_t>(id) < alive_.size() && alive_[static_cast<size_t>(id)];
}

size_t Graph::value_count() const { return values_.size(); }
size_t Graph::node_count() const { return nodes_.size(); }

ValueId Graph::find(const std::string& value_name) const {
  const auto it = names_.find(value_name);
  return it == names_.end() ? kAbsent : it->second;
}

std::vector<NodeId> Graph::order() const {
  enum class Mark : uint8_t { fresh, open, done };
  std::vector<Mark> marks(nodes_.size(), Mark::fresh);
  std::vector<NodeId> sorted;
  struct Frame {
    NodeId id;
    size_t next_input;
  };
  std::vector<Frame> stack;  // explicit: a chain may be longer than the call stack allows
  for (NodeId root = 0; static_cast<size_t>(root) < nodes_.size(); ++root) {
    if (!alive(root) || marks[static_cast<size_t>(root)] != Mark::fresh) continue;
    stack.push_back({root, 0});
    marks[static_cast<size_t>(root)] = Mark::open;
    while (!stack.empty()) {
      Frame& frame = stack.back();
      const Node& current = nodes_[static_cast<size_t>(frame.id)];
      if (frame.next_input == current.inputs.size()) {
        marks[static_cast<size_t>(frame.id)] = Mark::done;
        sorted.push_back(frame.id);
        stack.pop_back();
        continue;
      }
      const ValueId input = current.inputs[frame.next_input++];
      if (input == kAbsent) continue;
      const NodeId before = value(input).producer;
      if (!alive(before)) continue;
      Mark& mark = marks[static_cast<size_t>(before)];
      if (mark == Mark::open) {
        fail("the graph has a cycle through " + described(node(before)) +
             "; export the model "
             "again.");
      }
      if (mark == Mark::fresh) {
        mark = Mark::open;
        stack.push_back({before, 0});
      }
    }
  }
  return sorted;
}

std::vector<NodeId> Graph::consumers(ValueId id) const {
  std::vector<NodeId> out;
  for (size_t i = 0; i < nodes_.size(); ++i) {
    if (!alive_[i]) continue;
    const auto& read = nodes_[i].inputs;
    if (std::find(read.begin(), read.end(), id) != read.end()) {
      out.push_back(static_cast<NodeId>(i));
    }
  }
  return out;
}

bool Graph::is_input(ValueId id) const {
  return std::find(inputs.begin(), inputs.end(), id) != inputs.end();
}

bool Graph::is_output(ValueId id) const {
  return std::find(outputs.begin(), outputs.end(), id) != outputs.end();
}

const Node* Graph::producer(ValueId id) const {
  const NodeId node_id = value(id).producer;
  return alive(node_id) ? &node(node_id) : nullptr;
}

void Graph::replace_uses(ValueId from, ValueId to) {
  (void)value(from);
  (void)value(to);
  for (size_t i = 0; i < nodes_.size(); ++i) {
    if (alive_[i]) std::replace(nodes_[i].inputs.begin(), nodes_[i].inputs.end(), from, to);
  }
  std::replace(outputs.begin(), outputs.end(), from, to);
  for (StatePair& state : states) {
    if (state.present == from) state.present = to;
  }
}

void Graph::erase(NodeId id) {
  Node& gone = node(id);
  if (!alive(id)) return;
  alive_[static_cast<size_t>(id)] = false;
  for (const ValueId output : gone.outputs) {
    if (output != kAbsent && value(output).producer == id) value(output).producer = kAbsent;
  }
  gone.inputs.clear();
}

int Graph::remove_dead() {
  std::vector<bool> needed(nodes_.size(), false);
  std::vector<NodeId> work;
  const auto need = [&](NodeId id) {
    if (!alive(id) || needed[static_cast<size_t>(id)]) return;
    needed[static_cast<size_t>(id)] = true;
    work.push_back(id);
  };
  for (const ValueId output : outputs) need(value(output).producer);
  for (size_t i = 0; i < nodes_.size(); ++i) {
    if (nodes_[i].outputs.empty()) need(static_cast<NodeId>(i));
  }
  while (!work.empty()) {
    const NodeId id = work.back();
    work.pop_back();
    for (const ValueId input : node(id).inputs) {
      if (input != kAbsent) need(value(input).producer);
    }
  }
  int removed = 0;
  for (size_t i = 0; i < nodes_.size(); ++i) {
    if (!alive_[i] || needed[i]) continue;
    erase(static_cast<NodeId>(i));
    ++removed;
  }
  return removed;
}

void Graph::verify() const {
  std::vector<int> made(values_.size(), 0);
  const auto check_id = [&](ValueId id, const std::string& where) {
    if (id < 0 || static_cast<size_t>(id) >= values_.size()) {
      fail(where + " refers to value id " + std::to_string(id) + ", which does not exist.");
    }
  };
  for (const ValueId id : inputs) {
    check_id(id, "a graph input");
    ++made[static_cast<size_t>(id)];
  }
  for (size_t i = 0; i < values_.size(); ++i) {
    const Value& current = values_[i];
    const bool symbolic =
        current.elements && current.producer == kAbsent && !is_input(static_cast<ValueId>(i));
    if (current.constant || symbolic) ++made[i];
  }
  for (size_t i = 0; i < nodes_.size(); ++i) {
    if (!alive_[i]) continue;
    const Node& current = nodes_[i];
    for (const ValueId id : current.outputs) {
      if (id == kAbsent) continue;
      check_id(id, described(current));
      if (value(id).producer != static_cast<NodeId>(i)) {
        fail("value \"" + value(id).name + "\" does not know its producer " + described(current) +
             ".");
      }
      ++made[static_cast<size_t>(id)];
    }
    if (const OperatorInfo* info = find_operator(current.domain, current.op)) {
      check_arity(*info, current);
    }
  }
  const auto check_read = [&](ValueId id, const std::string& where) {
    check_id(id, where);
    const int count = made[static_cast<size_t>(id)];
    if (count == 1) return;
    fail("value \"" + value(id).name + "\", read by " + where + ", has " + std::to_string(count) +
         " producers instead of 1; export the model again.");
  };
  for (size_t i = 0; i < nodes_.size(); ++i) {
    if (!alive_[i]) continue;
    for (const ValueId id : nodes_[i].inputs) {
      if (id != kAbsent) check_read(id, described(nodes_[i]));
    }
  }
  for (const ValueId id : outputs) check_read(id, "the graph's outputs");
  for (const StatePair& state : states) {
    check_read(state.past, "a state");
    check_read(state.present, "a state");
  }
  (void)order();  // throws on a cycle
}

bool is_constant(const Graph& graph, ValueId value) {
  return value != kAbsent && graph.value(value).constant.has_value();
}

std::optional<double> scalar(const Graph& graph, ValueId value) {
  if (value == kAbsent) return std::nullopt;
  const Value& held = graph.value(value);
  if (held.constant && held.constant->elements() == 1) {
    return static_cast<double>(held.constant->as_floats().front());
  }
  if (held.elements && held.elements->size() == 1 && held.elements->front().is_constant()) {
    return static_cast<double>(held.elements->front().constant());
  }
  return std::nullopt;
}

}  // namespace pocket::ir
