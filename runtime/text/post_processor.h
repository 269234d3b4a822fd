// `post_processor` of tokenizer.json: ids before and after those of the text (bos, eos).
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <vector>

namespace pocket {

// null, ByteLevel (offsets only: nothing to do), TemplateProcessing (`single`), Sequence of these
// with one template at most.
class PostProcessor {
 public:
  PostProcessor() = default;
  // Error bad_input names an unknown type.
  explicit PostProcessor(const nlohmann::json& json);

  std::vector<int32_t> apply(std::vector<int32_t> ids, bool add_special) const;
  int32_t max_id() const;

 private:
  struct Piece {
    bool sequence;             // the text's own ids
    std::vector<int32_t> ids;  // otherwise these
  };
  void add(const nlohmann::json& json, int depth);
  void add_template(const nlohmann::json& json);

  bool has_template_ = false;
  std::vector<Piece> pieces_;
};

}  // namespace pocket
