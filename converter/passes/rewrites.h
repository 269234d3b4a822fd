// Every rewrite, in the order of passes.cpp. The drawing of each stands in its own file.
#pragma once

#include "converter/passes/passes.h"

namespace pocket {

int order_states(PassContext&);
int remove_identities(PassContext&);
int drop_float_casts(PassContext&);
int merge_duplicates(PassContext&);
int merge_reshapes(PassContext&);
int fuse_norm(PassContext&);
int join_head_norms(PassContext&);
int fuse_activation(PassContext&);
int fuse_linear(PassContext&);
int sink_reshapes(PassContext&);
int fuse_rotary(PassContext&);
int fuse_attention(PassContext&);
int expand_rotary(PassContext&);
int merge_qkv(PassContext&);
int fuse_gated_linear(PassContext&);
int fuse_linear_activation(PassContext&);
int fuse_embedding(PassContext&);
int tie_embedding(PassContext&);
int fold_scale(PassContext&);
int reorder_sums(PassContext&);
int fuse_linear_residual(PassContext&);
int split_head(PassContext&);
int fuse_norm_residual(PassContext&);

}  // namespace pocket
