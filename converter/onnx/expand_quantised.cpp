// Before: x, codes, scales, zeros -> MatMulNBits -> y    codes, ids, scales -> GatherBlockQuantized
//         codes -> DequantizeLinear -> w                 codes -> Gather -> DequantizeLinear
// After:  x -> MatMul Transpose w -> (Add bias) -> y     w -> Gather
// where w is one constant that keeps the file's codes (ir::QuantisedMatrix).
#include "converter/onnx/expand_quantised.h"

#include <algorithm>

namespace pocket::onnx_import {

using ir::ElementType;
using ir::kAbsent;
using ir::Node;
using ir::NodeId;
using ir::TensorData;
using ir::ValueId;

namespace {

const TensorData& need_constant(Emitter& emit, ValueId id, const char* what) {
  const TensorData* data = constant(emit.graph(), id);
  if (data == nullptr) emit.fail(std::string("has ") + what + " that are not constant");
  return *data;
}

// The bytes of a constant read as elements of another type of the same total size.
TensorData reinterpreted(const TensorData& data, ElementType type) {
  TensorData out = data;
  out.type = type;
  out.shape = {static_cast<int64_t>(data.byte_size * 8 / ir::element_bits(type))};
  return out;
}

// Names what a node's constants and geometry make, so that equal ones share one constant.
std::string shared_key(const std::string& kind, const Node& node, size_t first_constant,
                       std::initializer_list<int64_t> geometry) {
  std::string key = kind;
  for (size_t k = first_constant; k < node.inputs.size() && k < 4; ++k) {
    if (k != 1 || kind != "gather") key += " " + std::to_string(node.inputs[k]);
  }
  for (const int64_t number : geometry) key += " " + std::to_string(number);
  return key;
}

struct CodeLayout {
  ElementType type = ElementType::u4;  // of codes and packed zero points
  int64_t per_byte = 2;
};

CodeLayout layout_of(Emitter& emit, int64_t bits) {
  if (bits == 4) return {ElementType::u4, 2};
  if (bits == 8) return {ElementType::u8, 1};
  emit.fail("holds codes of " + std::to_string(bits) +
            " bits, which is unsupported: export it with 4 or 8");
}

Replacement matmul_n_bits(Emitter& emit, const Node& node) {
  if (node.input(4) != kAbsent) {
    emit.fail("reorders its columns (g_idx), which is unsupported: quantise without act_order");
  }
  const int64_t k = node.integer("K", 0), n = node.integer("N", 0);
  const int64_t block = node.integer("block_size", 0), bits = node.integer("bits", 4);
  constexpr int64_t kMost = int64_t{1} << 31;
  if (k < 1 || n < 1 || block < 2 || block % 2 != 0 || k > kMost || n > kMost || block > kMost) {
    emit.fail("has an impossible K, N or block_size");
  }
  const CodeLayout layout = layout_of(emit, bits);
  const int64_t blocks = (k + block - 1) / block;
  const std::string name = emit.graph().value(node.inputs[1]).name;
  const auto [it, fresh] =
      emit.expansion().shared.try_emplace(shared_key("n bits", node, 1, {k, n, block, bits}));
  if (fresh) {
    ir::QuantisedMatrix matrix;
    matrix.rows = n;
    matrix.columns = k;
    matrix.codes = reinterpreted(need_constant(emit, node.inputs[1], "codes"), layout.type);
    matrix.code_stride = blocks * block;
    matrix.column_block = block;
    matrix.scales = need_constant(emit, node.inputs[2], "scales");
    matrix.default_zero = static_cast<float>(1 << (bits - 1));
    if (const ValueId zeros = node.input(3); zeros != kAbsent) {
      const TensorData& given = need_constant(emit, zeros, "zero points");
      if (ir::is_float_type(given.type)) {
        matrix.zeros = given;
        matrix.zero_stride = blocks;
      } else {
        matrix.zeros = reinterpreted(given, layout.type);
        matrix.zero_stride = (blocks + layout.per_byte - 1) / layout.per_byte * layout.per_byte;
      }
    }
    const ElementType type = matrix.scales.type;
    it->second = quantised_constant(emit, name + "/weight", type, std::move(matrix));
  }
  ValueId y = emit.op("MatMul", {node.inputs[0], emit.transpose(it->second, {1, 0})});
  if (node.input(5) != kAbsent) y = emit.op("Add", {y, node.inputs[5]});
  return std::vector<ValueId>{y};
}

// The blocks of a table of any rank: the dimensions up to the quantised one are the rows of a
// matrix and the others its columns, or all but the last when that is the quantised one. False
// when blocks end inside rows of several leading indices.
bool set_table_geometry(const std::vector<int64_t>& shape, size_t quantised, int64_t block,
                        ir::QuantisedMatrix& matrix) {
  const auto count = [&](size_t first, size_t last) {
    int64_t elements = 1;
    for (size_t d = first; d < last; ++d) elements *= shape[d];
    return elements;
  };
  const bool last = quantised + 1 == shape.size();
  const size_t split = last ? quantised : quantised + 1;
  matrix.rows = count(0, split);
  matrix.columns = count(split, shape.size());
  matrix.code_stride = matrix.columns;
  (last ? matrix.column_block : matrix.row_block) = block;
  return last || shape[quantised] % block == 0 || count(0, quantised) == 1;
}

Replacement gather_block_quantised(Emitter& emit, const Node& node) {
  const TensorData* data = constant(emit.graph(), node.inputs[0]);
  const TensorData* scales = constant(emit.graph(), node.inputs[2]);
  if (data == nullptr || scales == nullptr || data->shape.empty()) return std::nullopt;
  const auto rank = static_cast<int64_t>(data->shape.size());
  const auto axis_of = [&](const char* name, int64_t fallback) {
    const int64_t axis = node.integer(name, fallback);
    if (axis < -rank || axis >= rank) emit.fail(std::string("has an impossible ") + name);
    return axis < 0 ? axis + rank : axis;
  };
  const int64_t quantised = axis_of("quantize_axis", 1), gathered = axis_of("gather_axis", 0);
  if (quantised == gathered) emit.fail("gathers along its quantize_axis, which is unsupported");
  const int64_t block = node.integer("block_size", 128);
  const bool bytes = data->type == ElementType::u8;
  const CodeLayout layout =
      bytes ? layout_of(emit, node.integer("bits", 4)) : CodeLayout{data->type, 1};
  std::vector<int64_t> shape = data->shape;
  shape.back() *= layout.per_byte;
  std::vector<int64_t> blocks = shape;
  int64_t& along = blocks[static_cast<size_t>(quantised)];
  if (block < 1) emit.fail("has an impossible block_size");
  along = (along + block - 1) / block;
  if (scales->shape != blocks) emit.fail("has scales of another shape");
  const std::string name = emit.graph().value(node.inputs[0]).name;
  const auto [it, fresh] = emit.expansion().shared.try_emplace(
      shared_key("gather", node, 0, {block, node.integer("bits", 4), quantised}));
  if (fresh) {
    ir::QuantisedMatrix matrix;
    if (!set_table_geometry(shape, static_cast<size_t>(quantised), block, matrix)) {
      emit.fail("has blocks of " + std::to_string(block) + " that do not divide the " +
                std::to_string(shape[static_cast<size_t>(quantised)]) + " indices of its axis");
    }
    matrix.codes = bytes ? reinterpreted(*data, layout.type) : *data;
    matrix.scales = *scales;
    matrix.default_zero =
        bytes ? static_cast<float>(layout.type == ElementType::u4 ? 8 : 128) : 0.0f;
    if (const ValueId zeros = node.input(3); zeros != kAbsent) {
      const TensorData& given = need_constant(emit, zeros, "zero points");
      const int64_t columns = matrix.column_blocks();
      matrix.zeros = bytes ? reinterpreted(given, layout.type) : given;
      matrix.zero_stride = (columns + layout.per_byte - 1) / layout.per_byte * layout.per_byte;
    }
    TensorData table = TensorData::from_quantised(scales->type, std::move(matrix));
    table.shape = shape;
    it->second = emit.graph().add_constant(name + "/table", std::move(table));
  }
  return std::vector<ValueId>{
      emit.op("Gather", {it->second, node.inputs[1]}, {{"axis", gathered}})};
}

// What keeps every element as it is: one scale for all of them may be applied before or behind it.
bool moves_elements(const Node& node) {
  return node.is("Transpose") || node.is("Reshape") || node.is("Squeeze") || node.is("Unsqueeze");
}

}  // namespace

const TensorData* constant(const ir::Graph& graph, ValueId id) {
  if (id == kAbsent || !graph.value(id).constant) return nullptr;
  return &*graph.value(id).constant;
}

// One constant per matrix of codes, however many nodes read it.
ValueId quantised_constant(Emitter& emit, const std::string& name, ElementType type,
                           ir::QuantisedMatrix matrix) {
  return emit.graph().add_constant(name, TensorData::from_quantised(type, std::move(matrix)));
}

std::optional<ir::QuantisedMatrix> matrix_of(const TensorData& codes, const TensorData& scales,
                                             const TensorData* zeros, int64_t axis, int64_t block) {
  if (codes.shape.size() != 2 || ir::element_bits(codes.type) > 8) return std::nullopt;
  if (axis < 0) axis += 2;
  ir::QuantisedMatrix matrix;
  matrix.rows = codes.shape[0];
  matrix.columns = codes.shape[1];
  if (matrix.rows < 1 || matrix.columns < 1 || axis < 0 || axis > 1) return std::nullopt;
  matrix.codes = codes;
  matrix.code_stride = matrix.columns;
  if (scales.elements() == 1 && block == 0) {
    matrix.row_block = matrix.rows;
    matrix.column_block = matrix.columns;
  } else if (block == 0) {
    matrix.row_block = axis == 0 ? 1 : matrix.rows;
    matrix.column_block = axis == 0 ? matrix.columns : 1;
  } else {
    matrix.row_block = axis == 0 ? block : 1;
    matrix.column_block = axis == 0 ? 1 : block;
  }
  if (block < 0 || scales.elements() != matrix.row_blocks() * matrix.column_blocks()) {
    return std::nullopt;
  }
  matrix.scales = scales;
  if (zeros != nullptr) {
    if (zeros->elements() != scales.elements()) return std::nullopt;
    matrix.zeros = *zeros;
    matrix.zero_stride = matrix.column_blocks();
  }
  return matrix;
}

std::string rows_key(ValueId codes, ValueId zero) {
  return "rows of codes " + std::to_string(codes) + " " + std::to_string(zero);
}

std::string scale_key(ValueId codes, ValueId zero) {
  return "scale of codes " + std::to_string(codes) + " " + std::to_string(zero);
}

Replacement dequantise(Emitter& emit, const Node& node) {
  ir::Graph& graph = emit.graph();
  std::vector<Node> moves;  // from the last one back
  ValueId moved = node.inputs[0];
  for (const Node* before = graph.producer(moved); before != nullptr && moves_elements(*before);
       before = graph.producer(moved)) {
    moves.push_back(*before);
    moved = before->inputs[0];
  }
  const Node* gather = graph.producer(moved);
  if (gather != nullptr && (!gather->is("Gather") || gather->integer("axis", 0) != 0)) {
    return std::nullopt;
  }
  const ValueId source = gather == nullptr ? moved : gather->inputs[0];
  const TensorData* codes = constant(graph, source);
  const TensorData* scales = constant(graph, node.inputs[1]);
  const TensorData* zeros = constant(graph, node.input(2));
  if (codes == nullptr || scales == nullptr || (node.input(2) != kAbsent && zeros == nullptr)) {
    return std::nullopt;
  }
  // Behind a Gather or a movement the axes no longer are those of the codes.
  if ((gather != nullptr || !moves.empty()) && scales->elements() != 1) return std::nullopt;
  auto matrix =
      matrix_of(*codes, *scales, zeros, node.integer("axis", 1), node.integer("block_size", 0));
  if (!matrix) return std::nullopt;  // vectors and small tensors are folded
  const std::string name = graph.value(source).name;
  const auto [it, fresh] = emit.expansion().shared.try_emplace(
      "dequantised " + std::to_string(source) + " " + std::to_string(node.inputs[1]) + " " +
      std::to_string(node.input(2)) + " " + std::to_string(node.integer("axis", 1)) + " " +
      std::to_string(node.integer("block_size", 0)));
  if (fresh) {
    it->second = quantised_constant(emit, name + "/weight", scales->type, *std::move(matrix));
  }
  ValueId value = it->second;
  if (gather != nullptr) {
    value = emit.op("Gather", {value, gather->inputs[1]});
    emit.expansion().shared.try_emplace(rows_key(moved, node.input(2)), value);
    emit.expansion().shared.try_emplace(scale_key(moved, node.input(2)), node.inputs[1]);
  }
  for (auto move = moves.rbegin(); move != moves.rend(); ++move) {
    std::vector<ValueId> inputs = move->inputs;
    inputs[0] = value;
    value = emit.op(move->op, std::move(inputs), move->attributes);
  }
  return std::vector<ValueId>{value};
}

Replacement expand_quantised(Emitter& emit, const Node& node) {
  if (node.op == "MatMulNBits") return matmul_n_bits(emit, node);
  if (node.op == "GatherBlockQuantized") return gather_block_quantised(emit, node);
  return dequantise(emit, node);
}

}  // namespace pocket::onnx_import
