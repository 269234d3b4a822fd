// One user turn as the model's chat template writes it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/package/package.h"
#include "runtime/text/tokenizer.h"

namespace pocket::bench {

// Ids of the rendered conversation: an optional system turn (empty: none), the user's turn and the
// opening of the reply. Nothing is added to what the template writes, so bos stands there once at
// most. Throws Error(usage) when the model has no template or the template refuses the turns.
std::vector<int32_t> chat_prompt(const Manifest&, const Tokenizer&, const std::string& system,
                                 const std::string& user);

// Where a reply ends: the stop ids of the model and the tokenizer's own eos.
std::vector<int32_t> chat_stop_ids(const Manifest&, const Tokenizer&);

}  // namespace pocket::bench
