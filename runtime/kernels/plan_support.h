// Operands of dispatches: tensors, ranges of weights, and the checks against the device's limits
// that every planner shares.
#pragma once

#include <string>
#include <vector>

#include "runtime/kernels/config.h"
#include "runtime/kernels/plan.h"

namespace pocket::planning {

// An activation or a state as [rows, width] under the context's bindings.
struct View {
  Operand operand;  // the whole tensor
  DType dtype = DType::f32;
  int64_t rows = 0, width = 0;
  uint32_t is_f16() const { return dtype == DType::f16 ? 1 : 0; }
};

// Throws Error(device) when the tensor does not fit one binding (see also row_window).
View view(const KernelContext&, TensorId, Access);
// Same without the check against max_binding, for tensors that are bound in parts.
View unchecked_view(const KernelContext&, TensorId, Access);

// Fills a binding that the specialization switches off: layouts equal the shader's declarations.
Operand unused();
Operand step_record(Access = Access::read);
Operand token_ids(const KernelContext&, Access);

// 0 none, 1 f32, 2 f16: how specialization constants name an optional operand.
uint32_t presence(const View&);
uint32_t presence(const KernelContext&, WeightId);

const Weight& weight(const KernelContext&, WeightId);

// The elements [first, first + count) of a tensor of one row, as a range that starts aligned.
struct Window {
  Operand operand;
  uint32_t base = 0;  // element of the range that is element `first`
};
// Binds the whole tensor where it fits, else only the window's bytes (one row only, else Error).
Window window(const KernelContext&, const View&, int64_t first, int64_t count);
// The same for a vector weight; kNone gives unused().
Window vector_window(const KernelContext&, WeightId, int64_t first, int64_t count);

// Rows of a matrix that one dispatch can bind: cut at sections and at max_binding, in blocks of 32.
struct RowRange {
  int64_t first = 0, rows = 0;
};
std::vector<RowRange> row_ranges(const KernelContext&, const std::vector<WeightId>&);

struct WeightRange {
  Operand codes;
  Operand pairs;            // unused() when the encoding has none
  uint32_t pairs_base = 0;  // word of the pairs where the range starts
  // Any precision: codes are the first plane in use, these the others, pairs the table.
  std::vector<Operand> planes = {};
  uint32_t planes_base = 0;  // word of each plane where the range starts
};
WeightRange weight_range(const KernelContext&, WeightId, const RowRange&);

// Is the operator in the body (its padding ends at record.tokens) or in the head?
bool in_body(const KernelContext&, int32_t op);

// The row for a dispatch: the tuned one where there is one that is valid, else the table's.
const KernelConfig& choose(const KernelContext&, const ConfigRequest&);

uint32_t u32(int64_t);  // checked
uint32_t float_bits(float);
uint32_t groups_for(int64_t items, int64_t per_group);

// Checks group counts, bindings, push constants and sizes against the limits; sums bytes that the
// planner left at zero from the operands. Throws Error(device).
Dispatch finish(const KernelContext&, Dispatch);

}  // namespace pocket::planning
