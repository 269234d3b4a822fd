#include "runtime/engine/submission.h"

namespace pocket {

double TimeSplit::nanoseconds(const SegmentList& submission) const {
  double sum = 0;
  for (const int32_t segment : submission) sum += segment_ns_[static_cast<size_t>(segment)];
  return sum;
}

std::vector<SegmentList> TimeSplit::arrange(const EnginePlan&, const SegmentList& step) const {
  std::vector<SegmentList> submissions;
  double sum = 0;
  bool open = false;  // the last submission may take more
  for (const int32_t segment : step) {
    const double time = segment_ns_[static_cast<size_t>(segment)];
    const bool measured = time > 0;
    if (!open || !measured || sum + time > most_ns_) {
      submissions.emplace_back();
      sum = 0;
    }
    submissions.back().push_back(segment);
    sum += time;
    open = measured;
  }
  return submissions;
}

}  // namespace pocket
