// Writes nodes into a graph: what the expansions of fused operators are made of.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "converter/ir/graph.h"

namespace pocket::onnx_import {

// What the expansions of one graph share, so that masks and tables are written once.
struct Expansion {
  ir::Graph& graph;
  std::map<std::string, ir::ValueId> shared;
  // Rows [batch, tokens, heads * width] that were merged from heads [batch, heads, tokens, width].
  std::map<ir::ValueId, ir::ValueId> heads_of;
  std::vector<std::string> notes;

  // The inferred shape; Error(bad_input) naming the value when it is unknown.
  const std::vector<Expr>& shape(ir::ValueId) const;
  int64_t number(ir::ValueId, size_t dim) const;  // a dimension that has to be a number
  bool used(ir::ValueId) const;                   // read by a node or a graph output
};

class Emitter {
 public:
  using Attributes = std::map<std::string, ir::Attribute>;

  Emitter(Expansion& expansion, const ir::Node& replaced)
      : expansion_(expansion), scope_(replaced.name) {}

  ir::ValueId op(const std::string& name, std::vector<ir::ValueId> inputs,
                 Attributes attributes = {});
  ir::ValueId integers(std::vector<int64_t> list);
  ir::ValueId integer(int64_t);                  // a scalar
  ir::ValueId expression(const Expr&);           // a scalar known in symbols
  ir::ValueId scalar(double, ir::ElementType);   // a float of that type
  ir::ValueId scalar_like(double, ir::ValueId);  // a float of the type of a value

  ir::ValueId reshape(ir::ValueId, std::vector<int64_t> shape);
  ir::ValueId transpose(ir::ValueId, std::vector<int64_t> order);
  ir::ValueId unsqueeze(ir::ValueId, std::vector<int64_t> axes);
  ir::ValueId concat(std::vector<ir::ValueId>, int64_t axis);
  // x[.., first:end:step] of the last axis
  ir::ValueId columns(ir::ValueId, int64_t first, int64_t end, int64_t step = 1);

  // Rows [batch, tokens, ..] from `column` on as heads, and back.
  ir::ValueId split_heads(ir::ValueId rows, int64_t column, int64_t heads, int64_t width);
  ir::ValueId merge_heads(ir::ValueId heads, int64_t width_of_rows);
  ir::ValueId repeat_heads(ir::ValueId heads, int64_t total, int64_t times, int64_t width);

  // Positions first .. first + count - 1, [count].
  ir::ValueId positions(const Expr& first, const Expr& count);
  // True where the row at position past + i may see column j: [tokens, past + tokens].
  ir::ValueId causal(const Expr& past, const Expr& tokens, int64_t window);

  Expansion& expansion() { return expansion_; }
  ir::Graph& graph() { return expansion_.graph; }
  [[noreturn]] void fail(const std::string& what) const;

 private:
  Expansion& expansion_;
  std::string scope_;
};

}  // namespace pocket::onnx_import
