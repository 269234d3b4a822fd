// A dictionary by bytes: all entries that a text begins with.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pocket {

class ByteTrie {
 public:
  ByteTrie() = default;
  // texts[i] gets value i; of equal texts the last one counts. Empty texts are never found.
  explicit ByteTrie(const std::vector<std::string>& texts);

  // Calls found(bytes, value) for every entry that is a prefix of text, shortest first.
  template <class Found>
  void prefixes(std::string_view text, Found&& found) const {
    uint32_t node = 0;
    for (size_t i = 0; i < text.size(); ++i) {
      const auto next = child(node, static_cast<unsigned char>(text[i]));
      if (!next) return;
      node = *next;
      if (nodes_[node].value >= 0) found(i + 1, nodes_[node].value);
    }
  }

  std::optional<int32_t> find(std::string_view text) const;

 private:
  struct Node {
    uint32_t first_child = 0;  // children lie together, sorted by label
    uint16_t children = 0;
    uint8_t label = 0;
    int32_t value = -1;
  };
  std::optional<uint32_t> child(uint32_t node, uint8_t label) const;

  std::vector<Node> nodes_;  // nodes_[0]: the root
};

}  // namespace pocket
