// Independent pieces of work on a few threads. Which thread takes which piece is left open, so a
// piece must not depend on another's; then the result is the same for every number of threads.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace pocket {

// Calls work(i) for i in [0, count); the first exception reaches the caller.
template <typename Work>
void parallel_for(int64_t count, int threads, const Work& work) {
  std::atomic<int64_t> next{0};
  std::exception_ptr failure;
  std::mutex guard;
  const auto run = [&] {
    for (int64_t i = next++; i < count; i = next++) {
      try {
        work(i);
      } catch (...) {
        const std::lock_guard<std::mutex> lock(guard);
        if (!failure) failure = std::current_exception();
        next = count;
      }
    }
  };
  std::vector<std::jthread> workers;
  for (int i = 1; i < threads && i < count; ++i) workers.emplace_back(run);
  run();
  workers.clear();  // joins
  if (failure) std::rethrow_exception(failure);
}

}  // namespace pocket
