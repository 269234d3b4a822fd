// RotaryEmbedding of ONNX (opset 23) and of ONNX Runtime (com.microsoft).
#include "converter/reference/rotary.h"

#include "converter/reference/operators.h"

namespace pocket::reference {

void rotate_head(const Call& call, float* head, int64_t head_dim, const RotaryTables& tables,
                 int64_t table_row) {
  const int64_t pairs = tables.pairs;
  if (2 * pairs > head_dim || table_row < 0 || table_row >= tables.rows) {
    call.fail("looks up row " + std::to_string(table_row) + " of rotary tables of " +
              std::to_string(tables.rows) + " rows for heads of " + std::to_string(head_dim));
  }
  for (int64_t i = 0; i < pairs; ++i) {
    float& a = head[tables.interleaved ? 2 * i : i];
    float& b = head[tables.interleaved ? 2 * i + 1 : i + pairs];
    const float c = tables.cosines[table_row * pairs + i], s = tables.sines[table_row * pairs + i];
    const float old = a;
    a = old * c - b * s;
    b = b * c + old * s;
  }
}

RotaryTables rotary_tables(const Call& call, size_t cosines, size_t sines, bool interleaved) {
  const HostTensor &c = call.input(cosines), &s = call.input(sines);
  if (c.is_integer() || s.is_integer() || c.shape != s.shape || c.rank() < 2) {
    call.fail("needs equal tables of cosines and sines");
  }
  const int64_t pairs = c.shape.back();
  return {c.f.data(), s.f.data(), pairs == 0 ? 0 : c.elements() / pairs, pairs, interleaved};
}

namespace {

using Outputs = std::vector<HostTensor>;

// Rotates x, [batch, tokens, heads * head_dim] or [batch, heads, tokens, head_dim]; row(b, t)
// says which row of the tables serves token t of batch b.
template <typename Row>
HostTensor rotated(const Call& call, const HostTensor& x, int64_t heads, const RotaryTables& tables,
                   Row row) {
  if (x.is_integer() || (x.rank() != 3 && x.rank() != 4)) call.fail("needs 3 or 4 dimensions");
  const bool by_head = x.rank() == 4;
  const int64_t tokens = x.shape[by_head ? 2 : 1];
  if (by_head) heads = x.shape[1];
  if (heads < 1 || x.shape.back() % (by_head ? 1 : heads) != 0) call.fail("has impossible heads");
  const int64_t head_dim = by_head ? x.shape[3] : x.shape[2] / heads;
  HostTensor y = x;
  for (int64_t b = 0; b < x.shape[0]; ++b) {
    for (int64_t h = 0; h < heads; ++h) {
      for (int64_t t = 0; t < tokens; ++t) {
        const int64_t line = by_head ? (b * heads + h) * tokens + t : (b * tokens + t) * heads + h;
        rotate_head(call, y.f.data() + line * head_dim, head_dim, tables, row(b, t));
      }
    }
  }
  return y;
}

// x, cos, sin, positions?
Outputs standard(const Call& call) {
  const HostTensor& x = call.input(0);
  RotaryTables tables = rotary_tables(call, 1, 2, call.node.integer("interleaved", 0) != 0);
  const int64_t width = call.node.integer("rotary_embedding_dim", 0);
  if (width > 0 && width != 2 * tables.pairs) call.fail("has tables of another width");
  const int64_t heads = call.node.integer("num_heads", 0);
  const int64_t tokens = x.rank() == 4 ? x.shape[2] : x.rank() == 3 ? x.shape[1] : 0;
  if (!call.has(3)) {  // the tables' rows are those of the tokens
    const bool per_batch = call.input(1).rank() == 3 && call.input(1).shape[0] > 1;
    if (call.input(1).rank() != 3 || call.input(1).shape[1] != tokens) {
      call.fail("needs tables of one row for each token");
    }
    return {rotated(call, x, heads, tables,
                    [&](int64_t b, int64_t t) { return (per_batch ? b * tokens : 0) + t; })};
  }
  const HostTensor& positions = call.input(3);
  if (positions.rank() != 2 || positions.shape[1] != tokens || positions.i.empty()) {
    call.fail("has positions of another shape");
  }
  return {rotated(call, x, heads, tables, [&](int64_t b, int64_t t) {
    return positions.i[static_cast<size_t>((b * tokens + t) % positions.elements())];
  })};
}

// x, positions or their common offset, cos, sin
Outputs contrib(const Call& call) {
  const HostTensor &x = call.input(0), &positions = call.input(1);
  if (call.node.integer("is_packed_batching", 0) != 0) call.fail("uses packed batching");
  RotaryTables tables = rotary_tables(call, 2, 3, call.node.integer("interleaved", 0) != 0);
  const int64_t width = call.node.integer("rotary_embedding_dim", 0);
  if (width > 0 && width != 2 * tables.pairs) call.fail("has tables of another width");
  int64_t heads = call.node.integer("num_heads", 0);
  if (x.rank() == 3 && width == 0) heads = x.shape[2] / std::max<int64_t>(2 * tables.pairs, 1);
  const int64_t tokens = x.rank() == 4 ? x.shape[2] : x.rank() == 3 ? x.shape[1] : 0;
  const bool offset = positions.elements() == 1 && positions.rank() < 2;
  if (!positions.is_integer() ||
      (!offset && (positions.rank() != 2 || positions.shape[1] != tokens))) {
    call.fail("has positions of another shape");
  }
  const float scale = call.node.real("scale", 1.0f);
  if (scale != 1.0f && scale != 0.0f) call.fail("scales its angles, which is unsupported");
  return {rotated(call, x, heads, tables, [&](int64_t b, int64_t t) {
    return offset ? positions.i[0] + t
                  : positions.i[static_cast<size_t>((b * tokens + t) % positions.elements())];
  })};
}

}  // namespace

void register_rotary(Registry& r) {
  r.add("", "RotaryEmbedding", standard);
  r.add("com.microsoft", "RotaryEmbedding", contrib);
}

}  // namespace pocket::reference
