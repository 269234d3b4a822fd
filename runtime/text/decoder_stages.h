// The steps of a decoder as machines over a stream of tokens.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/text/decoder.h"

namespace pocket {

class DecoderStage {
 public:
  virtual ~DecoderStage() = default;
  // Takes one token, appends those that it makes now. After a step that fuses all tokens to one,
  // the tokens are pieces of that one.
  virtual void push(std::string token, std::vector<std::string>& out) = 0;
  // The stream ends: what was held back.
  virtual void finish(std::vector<std::string>& /*out*/) {}
};

// step must outlive the stage. fused: some step before has made one token of all.
std::unique_ptr<DecoderStage> make_decoder_stage(const DecoderStep& step, bool fused);

}  // namespace pocket
