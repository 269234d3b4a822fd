// Before: x, cos, sin, positions -> RotaryEmbedding -> y
// After:  halves:      x -> Slice a, b; Concat(a*cos - b*sin, b*cos + a*sin) -> y
//         interleaved: x*cos2 + Reshape(Concat(-x[1::2], x[0::2]))*sin2 -> y, cos2 = each twice
// with the tables' rows gathered by position; a part of the head is cut off and joined again.
#include <algorithm>

#include "converter/onnx/expand.h"

namespace pocket::onnx_import {

using ir::kAbsent;
using ir::Node;
using ir::ValueId;

namespace {

// Each element of the last axis twice.
ValueId doubled(Emitter& emit, ValueId table, int64_t pairs) {
  Expansion& expansion = emit.expansion();
  const std::string key = "doubled " + std::to_string(table);
  if (const auto it = expansion.shared.find(key); it != expansion.shared.end()) return it->second;
  const ValueId wide = emit.unsqueeze(table, {-1});
  const ValueId twice = emit.reshape(emit.concat({wide, wide}, -1), {0, 0, 0, 2 * pairs});
  expansion.shared.emplace(key, twice);
  return twice;
}

ValueId rotated_halves(Emitter& emit, ValueId x, ValueId cosines, ValueId sines, int64_t pairs) {
  const ValueId a = emit.columns(x, 0, pairs), b = emit.columns(x, pairs, 2 * pairs);
  const ValueId low = emit.op("Sub", {emit.op("Mul", {a, cosines}), emit.op("Mul", {b, sines})});
  const ValueId high = emit.op("Add", {emit.op("Mul", {b, cosines}), emit.op("Mul", {a, sines})});
  return emit.concat({low, high}, -1);
}

ValueId rotated_pairs(Emitter& emit, ValueId x, ValueId cosines, ValueId sines, int64_t pairs) {
  const ValueId even = emit.columns(x, 0, 2 * pairs, 2), odd = emit.columns(x, 1, 2 * pairs, 2);
  const ValueId turned = emit.reshape(
      emit.concat({emit.unsqueeze(emit.op("Neg", {odd}), {-1}), emit.unsqueeze(even, {-1})}, -1),
      {0, 0, 0, 2 * pairs});
  return emit.op("Add", {emit.op("Mul", {x, doubled(emit, cosines, pairs)}),
                         emit.op("Mul", {turned, doubled(emit, sines, pairs)})});
}

}  // namespace

ValueId rotate(Emitter& emit, ValueId heads, int64_t width, ValueId cosines, ValueId sines,
               int64_t pairs, bool interleaved) {
  if (pairs < 1 || 2 * pairs > width) {
    emit.fail("rotates " + std::to_string(2 * pairs) + " columns of heads of " +
              std::to_string(width));
  }
  const bool partial = 2 * pairs < width;
  const ValueId x = partial ? emit.columns(heads, 0, 2 * pairs) : heads;
  const ValueId turned = interleaved ? rotated_pairs(emit, x, cosines, sines, pairs)
                                     : rotated_halves(emit, x, cosines, sines, pairs);
  if (!partial) return turned;
  return emit.concat({turned, emit.columns(heads, 2 * pairs, width)}, -1);
}

ValueId rotary_rows(Emitter& emit, ValueId table, ValueId positions) {
  Expansion& expansion = emit.expansion();
  const std::string key = "rotary rows " + std::to_string(table) + " " + std::to_string(positions);
  if (const auto it = expansion.shared.find(key); it != expansion.shared.end()) return it->second;
  const ir::Value& indices = expansion.graph.value(positions);
  const bool line = !indices.shape || indices.shape->size() == 1;
  const ValueId rows = emit.op("Gather", {table, positions});
  const ValueId wide = line ? emit.unsqueeze(rows, {0, 1}) : emit.unsqueeze(rows, {1});
  expansion.shared.emplace(key, wide);
  return wide;
}

Replacement expand_rotary(Emitter& emit, const Node& node) {
  Expansion& expansion = emit.expansion();
  const bool standard = node.domain.empty();
  if (node.integer("is_packed_batching", 0) != 0) emit.fail("uses packed batching");
  const float scale = standard ? 1.0f : node.real("scale", 1.0f);
  if (scale != 1.0f && scale != 0.0f) emit.fail("scales its angles, which is unsupported");
  const ValueId x = node.inputs[0];
  const ValueId cosines = node.inputs[standard ? 1 : 2], sines = node.inputs[standard ? 2 : 3];
  ValueId positions =
      standard ? (node.inputs.size() > 3 ? node.inputs[3] : kAbsent) : node.inputs[1];
  const bool by_head = expansion.shape(x).size() == 4;
  const std::vector<Expr>& table = expansion.shape(cosines);
  const int64_t pairs = expansion.number(cosines, table.size() - 1);
  const Expr tokens = expansion.shape(x)[by_head ? 2 : 1];
  // Heads [batch, heads, tokens, width].
  ValueId heads = x;
  int64_t width = 0, count = 0;
  if (by_head) {
    width = expansion.number(x, 3);
  } else {
    const int64_t all = expansion.number(x, 2);
    const bool by_tables = !standard && node.integer("rotary_embedding_dim", 0) == 0;
    count = by_tables ? all / std::max<int64_t>(2 * pairs, 1) : node.integer("num_heads", 0);
    if (count < 1 || all % count != 0) emit.fail("has an impossible num_heads");
    width = all / count;
    heads = emit.split_heads(x, 0, count, width);
  }
  ValueId c = kAbsent, s = kAbsent;
  if (positions == kAbsent) {  // tables [batch, tokens, pairs]
    if (table.size() != 3) emit.fail("needs tables of one row for each token");
    c = emit.unsqueeze(cosines, {1});
    s = emit.unsqueeze(sines, {1});
  } else {
    const std::vector<Expr>& indices = expansion.shape(positions);
    if (indices.size() < 2) {  // the position of the first token
      const std::string key = "offset positions " + std::to_string(positions);
      const auto [it, fresh] = expansion.shared.try_emplace(key);
      if (fresh) {
        it->second = emit.op("Add", {emit.reshape(positions, {1}), emit.positions(0, tokens)});
        emit.graph().value(it->second).shape = std::vector<Expr>{tokens};
      }
      positions = it->second;
    }
    c = rotary_rows(emit, cosines, positions);
    s = rotary_rows(emit, sines, positions);
  }
  const ValueId turned =
      rotate(emit, heads, width, c, s, pairs, node.integer("interleaved", 0) != 0);
  return std::vector<ValueId>{by_head ? turned : emit.merge_heads(turned, count * width)};
}

}  // namespace pocket::onnx_import
