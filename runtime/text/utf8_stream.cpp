#include "runtime/text/utf8_stream.h"

#include "runtime/text/unicode.h"

namespace pocket {

std::string Utf8Stream::push(std::string_view bytes) {
  pending_ += bytes;
  std::string out;
  size_t pos = 0;
  while (pos < pending_.size()) {
    const Utf8Step step = utf8_step(pending_, pos);
    if (step.kind == Utf8Step::Kind::incomplete) break;
    if (step.kind == Utf8Step::Kind::valid) {
      out.append(pending_, pos, step.bytes);
    } else {
      append_utf8(out, 0xFFFD);
    }
    pos += step.bytes;
  }
  pending_.erase(0, pos);
  return out;
}

std::string Utf8Stream::flush() {
  std::string out = to_valid_utf8(pending_);
  pending_.clear();
  return out;
}

}  // namespace pocket
