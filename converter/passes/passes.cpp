#include "converter/passes/passes.h"

#include <nlohmann/json.hpp>

#include "converter/passes/position_reach.h"
#include "converter/passes/rewrites.h"

namespace pocket {

const std::vector<Pass>& pass_list() {
  static const std::vector<Pass> kPasses = {
      // clean-up: what is left are the computations
      {"order-states", order_states},
      {"remove-identities", remove_identities},
      {"drop-float-casts", drop_float_casts},
      {"merge-duplicates", merge_duplicates},
      {"merge-reshapes", merge_reshapes},
      // single computations
      {"fuse-norm", fuse_norm},
      {"join-head-norms", join_head_norms},
      {"fuse-activation", fuse_activation},
      {"fuse-linear", fuse_linear},
      {"sink-reshapes", sink_reshapes},
      {"fuse-rotary", fuse_rotary},
      {"fuse-attention", fuse_attention},
      {"expand-rotary", expand_rotary},
      {"sink-reshapes-behind-attention", sink_reshapes},
      // several computations in one
      {"merge-qkv", merge_qkv},
      {"fuse-gated-linear", fuse_gated_linear},
      {"fuse-embedding", fuse_embedding},
      {"tie-embedding", tie_embedding},
      {"fold-scale", fold_scale},
      {"fuse-linear-activation", fuse_linear_activation},
      {"reorder-sums", reorder_sums},
      {"fuse-linear-residual", fuse_linear_residual},
      {"split-head", split_head},
      {"fuse-norm-residual", fuse_norm_residual},
  };
  return kPasses;
}

PassReport run_passes(ir::Graph& graph, const PassOptions& options, const PassHooks& hooks) {
  PassContext context{graph, options, {}, graph.states.empty()};
  PassReport report;
  report.max_context = position_reach(graph, context.scope());
  if (report.max_context < context.scope().positions()) {
    context.notes.push_back("The tables of the model end after " +
                            std::to_string(report.max_context) + " positions.");
  }
  context.options.max_context = report.max_context;
  for (const Pass& pass : pass_list()) {
    const int hits = pass.run(context);
    graph.remove_dead();
    report.hits.push_back({pass.name, hits});
    if (hooks.after_pass) hooks.after_pass(pass.name, hits, graph);
  }
  graph.verify();
  report.notes = std::move(context.notes);
  return report;
}

nlohmann::json PassReport::to_json() const {
  nlohmann::json passes = nlohmann::json::array();
  for (const Hit& hit : hits) passes.push_back({{"name", hit.pass}, {"hits", hit.count}});
  return {{"passes", passes}, {"notes", notes}};
}

}  // namespace pocket
