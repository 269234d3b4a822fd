#include "runtime/bench/statistics.h"

#include <numeric>
#include <random>
#include <string>

#include "test/support/catch.h"

namespace pocket::test {
namespace {

std::vector<double> one_to(size_t n) {
  std::vector<double> values(n);
  std::iota(values.begin(), values.end(), 1.0);
  std::shuffle(values.begin(), values.end(), std::mt19937(3));
  return values;
}

}  // namespace

TEST_CASE("medians and quantiles interpolate between order statistics") {
  CHECK(bench::median(std::vector<double>{7}) == 7);
  CHECK(bench::median(std::vector<double>{9, 1, 5}) == 5);
  CHECK(bench::median(std::vector<double>{4, 1, 3, 2}) == 2.5);
  CHECK(bench::quantile(one_to(11), 0.0) == 1);
  CHECK(bench::quantile(one_to(11), 0.25) == 3.5);
  CHECK(bench::quantile(one_to(11), 1.0) == 11);
}

TEST_CASE("the interval of the median follows the binomial distribution") {
  // Ranks from tables of the sign test at 95 %.
  const auto ranks = [](size_t n) { return bench::median_interval(one_to(n)); };
  const auto check = [&](size_t n, double low, double high) {
    INFO(n);
    CHECK(ranks(n).low == low);
    CHECK(ranks(n).high == high);
  };
  CHECK(bench::interval_method(5) == std::string("range"));
  CHECK(bench::interval_method(6) == std::string("order_statistics_95"));
  check(1, 1, 1);
  check(2, 1, 2);
  check(5, 1, 5);
  check(6, 1, 6);
  check(8, 1, 8);
  check(9, 2, 8);
  check(10, 2, 9);
  check(15, 4, 12);
  check(20, 6, 15);
  check(30, 10, 21);
  check(50, 18, 33);
  check(100, 40, 61);
}

TEST_CASE("intervals of many samples stay finite and contain the median") {
  const bench::Interval interval = bench::median_interval(one_to(5000));
  CHECK(interval.low > 2400);
  CHECK(interval.low < 2500);
  CHECK(interval.high > 2501);
  CHECK(interval.high < 2600);
}

}  // namespace pocket::test
