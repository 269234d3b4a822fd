// The converter's graph: ONNX after import, then rewritten by passes until it consists of the
// computations that lower/ knows. SSA: a value has one producer (node, graph input,
// constant, or elements known in symbols).
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "runtime/symbolic/expr.h"

namespace pocket::ir {

enum class ElementType : uint8_t {
  undefined,
  f32,
  f16,
  bf16,
  f64,
  i8,
  u8,
  i16,
  u16,
  i32,
  u32,
  i64,
  u64,
  boolean,
  i4,
  u4,
  f8e4m3fn,
  f8e4m3fnuz,
  f8e5m2,
  f8e5m2fnuz
};
size_t element_bits(ElementType);
const char* element_name(ElementType);
bool is_integer_type(ElementType);  // integers and booleans
bool is_float_type(ElementType);
ElementType element_from_onnx(int64_t data_type);  // TensorProto.DataType; undefined when unknown

struct QuantisedMatrix;

// Bytes of a constant: inline (owned) or a range of the mapped external file (shared, not copied).
struct TensorData {
  ElementType type = ElementType::f32;
  std::vector<int64_t> shape;
  std::shared_ptr<const void> owner;  // keeps `bytes` alive
  const std::byte* bytes = nullptr;   // little-endian, row-major
  size_t byte_size = 0;
  // Set for floats that the file holds as integer codes. Then `bytes` is null, `byte_size` is 0,
  // and the values are read by as_floats() or read_floats(). The matrix has the same elements in
  // the same order; a table of more dimensions keeps its own shape.
  std::shared_ptr<const QuantisedMatrix> quantised;

  int64_t elements() const;  // product of the shape; Error(bad_input) when negative or too large
  std::vector<float> as_floats() const;  // any float or integer type
  // Elements [first, first + count) in row-major order, without converting the rest.
  void read_floats(int64_t first, int64_t count, float* out) const;
  std::vector<int64_t> as_integers() const;  // any integer or boolean type; Error(bad_input) else
  static TensorData from_floats(std::vector<int64_t> shape, std::vector<float>);
  static TensorData from_integers(std::vector<int64_t> shape, std::vector<int64_t>);
  // Little-endian bytes of `type`, owned. The size must be that of the shape.
  static TensorData from_bytes(ElementType type, std::vector<int64_t> shape,
                               std::vector<std::byte> data);
  // A constant of the float type `type` and the shape [rows, columns]. Throws Error(bad_input) when
  // codes, scales or zero points are fewer than the geometry needs.
  static TensorData from_quantised(ElementType type, QuantisedMatrix);
};

// Integer codes of a matrix with one scale and one zero point per block of row_block x
// column_block elements: value = scale * (code - zero). Nothing is expanded: codes, scales and
// zero points stay where they lie in the file.
struct QuantisedMatrix {
  int64_t rows = 0, columns = 0;
  TensorData codes;         // i4, u4, i8, u8 or an 8-bit float, read as one line of elements
  int64_t code_stride = 0;  // elements from one row of codes to the next
  int64_t row_block = 1, column_block = 1;
  TensorData scales;                // floats; [row blocks, column blocks] without gaps
  std::optional<TensorData> zeros;  // integers or floats in the same order
  int64_t zero_stride = 0;          // elements from one row of zero points to the next
  float default_zero = 0;           // without zero points

  int64_t row_blocks() const { return (rows + row_block - 1) / row_block; }
  int64_t column_blocks() const { return (columns + column_block - 1) / column_block; }
  bool present() const;  // false when external data was not read
  // Row-major elements [first, first + count) as floats.
  void read_floats(int64_t first, int64_t count, float* out) const;
  float code(int64_t row, int64_t column) const;
  float scale(int64_t row, int64_t column) const;
  float zero(int64_t row, int64_t column) const;
};

using ValueId = int32_t;
using NodeId = int32_t;
inline constexpr int32_t kAbsent = -1;

struct Value {
  std::string name;
  ElementType type = ElementType::undefined;
  std::optional<std::vector<Expr>> shape;  // in symbols, once inferred
  std::optional<TensorData> constant;
  // Known integer contents in symbols (shape arithmetic: Shape, Gather, Concat, ... of them). A
  // value with elements needs no producer: shape inference cuts it off, and whoever executes the
  // graph evaluates the elements for the bindings of the step.
  std::optional<std::vector<Expr>> elements;
  NodeId producer = kAbsent;
};

using Attribute = std::variant<int64_t, float, std::string, std::vector<int64_t>,
                               std::vector<float>, std::vector<std::string>, TensorData>;

struct Node {
  std::string name;
  std::string domain;  // "" = ONNX, "com.microsoft", "pocket" = recognised computations
  std::string op;
  std::vector<ValueId> inputs;  // kAbsent for an omitted optional input
  std::vector<ValueId> outputs;
  std::map<std::string, Attribute> attributes;

  int64_t integer(const std::string& name, int64_t fallback) const;
  float real(const std::string& name, float fallback) const;
  std::string text(const std::string& name, const std::string& fallback) const;
  std::vector<int64_t> integers(const std::string& name, std::vector<int64_t> fallback = {}) const;
  bool is(const char* op_name, const char* op_domain = "") const;
  ValueId input(size_t index) const;  // kAbsent where the node has no such input
};

// A KV cache pair recognised or declared: graph input (past) and graph output (present).
struct StatePair {
  ValueId past = kAbsent;
  ValueId present = kAbsent;
};

// References to values and nodes stay valid while others are added.
class Graph {
 public:
  // The name is made unique by a suffix when it is taken; an empty name becomes "value".
  ValueId add_value(Value);
  ValueId add_constant(const std::string& name, TensorData);  // shape and type follow the data
  // Node::outputs holds values that have no producer yet (those of an erased node, for example);
  // usually it is empty and add_output() appends fresh values. Order of creation is free: order()
  // sorts.
  NodeId add_node(Node);
  ValueId add_output(NodeId, const std::string& name, ElementType type);

  Value& value(ValueId);  // Throws Error(bad_input) for an id out of range.
  const Value& value(ValueId) const;
  Node& node(NodeId);
  const Node& node(NodeId) const;
  bool alive(NodeId) const;
  size_t value_count() const;
  size_t node_count() const;                          // ids below this; some may be dead
  ValueId find(const std::string& value_name) const;  // kAbsent when there is none

  std::vector<NodeId> order() const;             // alive nodes, topological, stable
  std::vector<NodeId> consumers(ValueId) const;  // alive nodes that read it, each once
  bool is_input(ValueId) const;
  bool is_output(ValueId) const;
  const Node* producer(ValueId) const;          // null for inputs and constants
  void replace_uses(ValueId from, ValueId to);  // in nodes, graph outputs and states' presents
  void erase(NodeId);                           // its outputs lose their producer
  // Erases nodes whose results reach no graph output (a node without outputs is kept: it acts on
  // state); returns how many.
  int remove_dead();
  // SSA, ids, no cycle, every value that is read exists, arity of the operators in the table;
  // throws Error(bad_input) naming the node.
  void verify() const;
  std::string to_text() const;  // one line per node with shapes

  std::string name;
  int64_t opset = 0;
  std::vector<ValueId> inputs;
  std::vector<ValueId> outputs;
  std::vector<StatePair> states;
  Ranges symbols;  // ranges of the symbols that shapes use

 private:
  std::string unique(const std::string& wanted);

  std::deque<Value> values_;
  std::deque<Node> nodes_;
  std::vector<bool> alive_;
  std::unordered_map<std::string, ValueId> names_;
  std::unordered_map<std::string, int> next_suffix_;
};

std::string shape_text(const std::vector<Expr>& shape);  // "[1, tokens, 64]"

bool is_constant(const Graph&, ValueId);
// The value of a constant with one element, of any numeric type and rank.
std::optional<double> scalar(const Graph&, ValueId);

}  // namespace pocket::ir
