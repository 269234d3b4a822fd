// The rewrites that turn an imported graph into the computations that lower/ knows, in order.
// A pass recognises a computation by its structure and, where structure is not enough (masks,
// positions, rotary tables), by evaluating it with the reference executor; it never asks which
// architecture a graph is. The operators of the domain "pocket" that passes produce are described
// in converter/reference/pocket_ops.h.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "converter/ir/graph.h"
#include "converter/passes/step.h"

namespace pocket {

struct PassOptions {
  // Positions up to which masks, rotary tables and positions are proven; 0: 4096.
  int64_t max_context = 0;
};

struct PassHooks {
  // Called after each pass with its name: --dump-after, --verify, progress. May be empty.
  std::function<void(const std::string& pass, int hits, const ir::Graph&)> after_pass;
};

struct PassReport {
  struct Hit {
    std::string pass;
    int count = 0;
  };
  std::vector<Hit> hits;           // in order
  std::vector<std::string> notes;  // why a computation that looked familiar was left alone
  int64_t max_context = 0;  // positions that the graph's own tables reach, at most the option
  nlohmann::json to_json() const;  // {"passes": [{"name", "hits"}], "notes": [...]}
};

// What a pass works on.
struct PassContext {
  ir::Graph& graph;
  PassOptions options;
  std::vector<std::string> notes;
  bool stateless = false;  // the export keeps no keys and values

  ProofScope scope() const { return {options.max_context, stateless}; }
};

// A pass rewrites the graph and returns how many places it changed.
struct Pass {
  const char* name;
  int (*run)(PassContext&);
};
const std::vector<Pass>& pass_list();

// Runs the list. The graph must have inferred shapes.
PassReport run_passes(ir::Graph&, const PassOptions&, const PassHooks& = {});

}  // namespace pocket
