#include "converter/lower/packing.h"

#include <algorithm>
#include <random>
#include <set>

namespace pocket {
namespace {

struct Placed {
  PackingRequest request;
  int64_t offset = 0;
  int64_t end() const { return offset + request.bytes; }
};

std::vector<int32_t> by_offset(std::vector<Placed> placed) {
  std::stable_sort(placed.begin(), placed.end(),
                   [](const Placed& a, const Placed& b) { return a.offset < b.offset; });
  std::vector<int32_t> ids;
  for (const Placed& one : placed) ids.push_back(one.request.id);
  return ids;
}

int64_t largest_sum(const std::vector<PackingRequest>& requests) {
  int64_t most = 0;
  for (const PackingRequest& at : requests) {
    int64_t sum = 0;
    for (const PackingRequest& other : requests) {
      if (other.first_use <= at.first_use && at.first_use <= other.last_use) sum += other.bytes;
    }
    most = std::max(most, sum);
  }
  return most;
}

// One step of a search path: where a request went, and the path before it.
struct Step {
  int32_t request = 0;
  int64_t offset = 0;
  int32_t before = -1;  // index of a step
};

struct Path {
  std::vector<Placed> alive;  // ascending in offset
  int64_t height = 0;
  uint64_t draw = 0;  // among equal heights
  int32_t last_step = -1;
};

// Offsets at both ends of every gap that holds `bytes` below `ceiling`, and on top of everything.
std::vector<int64_t> candidates(const std::vector<Placed>& alive, int64_t bytes, int64_t ceiling) {
  std::vector<int64_t> list;
  int64_t end = 0;
  const auto add = [&](int64_t gap_end) {
    if (gap_end - end < bytes) return;
    list.push_back(end);
    if (gap_end - bytes != end) list.push_back(gap_end - bytes);
  };
  for (const Placed& one : alive) {
    add(one.offset);
    end = std::max(end, one.end());
  }
  add(ceiling);
  if (list.empty()) list.push_back(end);
  return list;
}

}  // namespace

std::vector<int32_t> pack_greedily(std::vector<PackingRequest> requests, PackingOrder order) {
  if (order != PackingOrder::execution) {
    std::stable_sort(requests.begin(), requests.end(),
                     [&](const PackingRequest& a, const PackingRequest& b) {
                       const int32_t length_a = a.last_use - a.first_use;
                       const int32_t length_b = b.last_use - b.first_use;
                       if (order == PackingOrder::longest_first && length_a != length_b) {
                         return length_a > length_b;
                       }
                       return a.bytes > b.bytes;
                     });
  }
  std::vector<Placed> placed;
  std::vector<Placed> alive;
  for (const PackingRequest& request : requests) {
    alive.clear();
    for (const Placed& other : placed) {
      if (other.request.first_use <= request.last_use &&
          request.first_use <= other.request.last_use) {
        alive.push_back(other);
      }
    }
    std::sort(alive.begin(), alive.end(),
              [](const Placed& a, const Placed& b) { return a.offset < b.offset; });
    int64_t end = 0;
    for (const Placed& other : alive) {
      if (other.offset - end >= request.bytes) break;
      end = std::max(end, other.end());
    }
    placed.push_back({request, end});
  }
  return by_offset(std::move(placed));
}

std::vector<int32_t> pack_by_search(const std::vector<PackingRequest>& requests, uint64_t seed) {
  // Wide enough that every mirror image of a layer survives the next one.
  constexpr size_t kWidth = 64;
  std::mt19937_64 random(seed);
  const int64_t ceiling = largest_sum(requests);
  std::vector<Step> steps;
  std::vector<Path> paths(1);
  for (size_t i = 0; i < requests.size(); ++i) {
    const PackingRequest& request = requests[i];
    std::vector<Path> next;
    std::set<std::vector<int64_t>> seen;
    for (Path& path : paths) {
      std::erase_if(path.alive,
                    [&](const Placed& one) { return one.request.last_use < request.first_use; });
      for (const int64_t offset : candidates(path.alive, request.bytes, ceiling)) {
        Path longer = path;
        const auto above = std::find_if(longer.alive.begin(), longer.alive.end(),
                                        [&](const Placed& one) { return one.offset > offset; });
        longer.alive.insert(above, {request, offset});
        // Below the largest sum all heights are equally good.
        longer.height = std::max({longer.height, ceiling, offset + request.bytes});
        longer.draw = random();
        longer.last_step = static_cast<int32_t>(steps.size());
        std::vector<int64_t> layout = {longer.height};
        for (const Placed& one : longer.alive) {
          layout.push_back(one.request.id);
          layout.push_back(one.offset);
        }
        if (!seen.insert(std::move(layout)).second) continue;
        steps.push_back({static_cast<int32_t>(i), offset, path.last_step});
        next.push_back(std::move(longer));
      }
    }
    std::stable_sort(next.begin(), next.end(), [](const Path& a, const Path& b) {
      return a.height != b.height ? a.height < b.height : a.draw < b.draw;
    });
    if (next.size() > kWidth) next.resize(kWidth);
    paths = std::move(next);
  }
  std::vector<Placed> placed;
  for (int32_t at = paths.front().last_step; at >= 0;) {
    const Step& step = steps[static_cast<size_t>(at)];
    placed.push_back({requests[static_cast<size_t>(step.request)], step.offset});
    at = step.before;
  }
  return by_offset(std::move(placed));
}

}  // namespace pocket
