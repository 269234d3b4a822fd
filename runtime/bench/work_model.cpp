#include "runtime/bench/work_model.h"

namespace pocket::bench {

AttentionShare attention_share(const Program& program) {
  AttentionShare share;
  for (const Operator& op : program.operators) {
    if (op.kind != OpKind::attention) continue;
    const Attributes& a = op.attributes;
    const auto row = static_cast<uint64_t>(a.kv_heads) * static_cast<uint64_t>(a.head_dim);
    for (const size_t input : {size_t{1}, size_t{2}}) {
      const Tensor& state = program.tensors.at(static_cast<size_t>(op.inputs.at(input)));
      share.bytes_per_row += row * dtype_bytes(state.dtype);
    }
    share.width += static_cast<uint64_t>(a.heads) * static_cast<uint64_t>(a.head_dim);
  }
  return share;
}

Work work_of(const AttentionShare& share, const StepCost& decode_step,
             const StepCost& prefill_chunk, int64_t context, int64_t chunk, int64_t prompt,
             int64_t generated) {
  const auto width = static_cast<double>(share.width), rows = static_cast<double>(context);
  // Steps between the first and the last delivered token see prompt + 1 .. prompt + generated - 1.
  const double used = static_cast<double>(prompt) + static_cast<double>(generated) / 2;
  Work work;
  work.bytes_per_token = static_cast<double>(decode_step.bytes_read + decode_step.bytes_written) +
                         static_cast<double>(share.bytes_per_row) * (used - rows);
  // The plan takes half of the context per query: 2 * width * context.
  work.flops_per_token =
      static_cast<double>(decode_step.flops) + 4 * width * used - 2 * width * rows;
  // Padded rows of the last chunk are no work that anybody asked for.
  const auto queries = static_cast<double>(prompt), chunk_rows = static_cast<double>(chunk);
  work.prefill_flops =
      queries / chunk_rows *
          (static_cast<double>(prefill_chunk.flops) - 2 * width * rows * chunk_rows) +
      2 * width * queries * (queries + 1);
  return work;
}

}  // namespace pocket::bench
