#include "runtime/text/byte_trie.h"

#include <algorithm>
#include <numeric>

namespace pocket {

// Breadth first over the sorted texts: the children of a node are made together.
ByteTrie::ByteTrie(const std::vector<std::string>& texts) {
  std::vector<int32_t> order(texts.size());
  std::iota(order.begin(), order.end(), 0);
  const auto text = [&](size_t i) -> const std::string& {
    return texts[static_cast<size_t>(order[i])];
  };
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return texts[static_cast<size_t>(a)] < texts[static_cast<size_t>(b)];
  });

  struct Range {
    size_t begin, end, depth;  // texts of order[begin..end) share their first `depth` bytes
  };
  nodes_.emplace_back();
  std::vector<Range> ranges = {{0, texts.size(), 0}};  // parallel to nodes_
  for (size_t at = 0; at < ranges.size(); ++at) {
    Range range = ranges[at];
    ranges[at] = {};
    while (range.begin < range.end && text(range.begin).size() == range.depth) {
      if (range.depth > 0) nodes_[at].value = order[range.begin];
      ++range.begin;
    }
    nodes_[at].first_child = static_cast<uint32_t>(nodes_.size());
    for (size_t begin = range.begin; begin < range.end;) {
      const char label = text(begin)[range.depth];
      size_t end = begin + 1;
      while (end < range.end && text(end)[range.depth] == label) ++end;
      nodes_.push_back({.label = static_cast<uint8_t>(label)});
      ranges.push_back({begin, end, range.depth + 1});
      ++nodes_[at].children;
      begin = end;
    }
  }
}

std::optional<uint32_t> ByteTrie::child(uint32_t node, uint8_t label) const {
  if (nodes_.empty()) return std::nullopt;
  const auto begin = nodes_.begin() + nodes_[node].first_child;
  const auto end = begin + nodes_[node].children;
  const auto it =
      std::lower_bound(begin, end, label, [](const Node& n, uint8_t l) { return n.label < l; });
  if (it == end || it->label != label) return std::nullopt;
  return static_cast<uint32_t>(it - nodes_.begin());
}

std::optional<int32_t> ByteTrie::find(std::string_view text) const {
  std::optional<int32_t> out;
  prefixes(text, [&](size_t bytes, int32_t value) {
    if (bytes == text.size()) out = value;
  });
  return out;
}

}  // namespace pocket
