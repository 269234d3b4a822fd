#include "converter/lower/lower_generic.h"

#include "converter/lower/generic_builder.h"
#include "runtime/base/error.h"

namespace pocket {

bool lower_generic(const NodeContext& context, ir::NodeId id, ProgramBuilder& program) {
  generic::Builder builder(context, id, program);
  for (const auto lower :
       {generic::lower_elementwise, generic::lower_movement, generic::lower_index,
        generic::lower_reduction, generic::lower_product}) {
    try {
      if (lower(builder)) return true;
    } catch (const generic::Refused&) {
      return false;
    }
  }
  return false;
}

}  // namespace pocket
