#include <limits>

#include "runtime/base/error.h"
#include "runtime/symbolic/expr.h"
#include "test/support/catch.h"
#include "test/symbolic/random_expr.h"

using namespace pocket;

namespace {

const Expr T = Expr::symbol("tokens"), P = Expr::symbol("past"), C = Expr::symbol("context");
const Ranges kRanges = {{"tokens", {1, 512}}, {"past", {0, 4096}}, {"context", {1, 4096}}};

}  // namespace

TEST_CASE("sizes of a model are ordered by proof") {
  CHECK(prove_le(T, 64 * T, kRanges) == Proof::yes);
  CHECK(prove_le(64 * T, T, kRanges) == Proof::no);
  CHECK(prove_le(64 * T, 32768, kRanges) == Proof::yes);
  CHECK(prove_le(T, P, kRanges) == Proof::unknown);
  CHECK(prove_le(T, P + T, kRanges) == Proof::yes);
  CHECK(prove_le(T, T * T, kRanges) == Proof::yes);
  CHECK(prove_le(4 * T * C, 4 * 512 * C, kRanges) == Proof::yes);
  CHECK(prove_le(T * P, 512 * P, kRanges) == Proof::yes);
  CHECK(prove_le(T * T + P * P, 512 * T + 4096 * P, kRanges) == Proof::yes);
  CHECK(prove_le(Expr(3), Expr(3), {}) == Proof::yes);
  CHECK(prove_le(Expr(4), Expr(3), {}) == Proof::no);
}

TEST_CASE("bounds of floordiv, ceildiv, max and min are used") {
  const Expr padded = 64 * Expr::ceildiv(T, 64);
  CHECK(prove_le(T, padded, kRanges) == Proof::yes);
  CHECK(prove_le(padded, T + 63, kRanges) == Proof::yes);
  CHECK(prove_le(padded, T - 1, kRanges) == Proof::no);
  CHECK(prove_le(padded, 512, kRanges) == Proof::yes);
  CHECK(prove_le(2 * Expr::floordiv(T, 2), T, kRanges) == Proof::yes);
  CHECK(prove_le(P, Expr::max(P, T), kRanges) == Proof::yes);
  CHECK(prove_le(Expr::max(P, T), P + T, kRanges) == Proof::yes);
  CHECK(prove_le(Expr::min(P, T), P, kRanges) == Proof::yes);
  CHECK(prove_le(Expr::min(P, 10), 10, kRanges) == Proof::yes);
  CHECK(prove_le(Expr::max(P, T) + Expr::min(P, T), P + T, kRanges) != Proof::no);
}

TEST_CASE("what is not known is unknown") {
  const Expr other = Expr::symbol("other");
  CHECK(prove_le(other, 5, kRanges) == Proof::unknown);
  CHECK(prove_le(other, other, kRanges) == Proof::yes);
  CHECK(prove_le(T, T + other * 0, kRanges) == Proof::yes);
  const int64_t most = std::numeric_limits<int64_t>::max();
  CHECK(prove_le(Expr(most), Expr(-1), {}) == Proof::unknown);  // the difference overflows
  CHECK(prove_le(T * Expr(most), 5, {{"tokens", {0, most}}}) == Proof::unknown);
  CHECK_THROWS_AS(prove_le(T, P, {{"tokens", {5, 3}}}), Error);
  CHECK_THROWS_AS(prove_le(T, P, {{"tokens", {-5, 3}}}), Error);
}

TEST_CASE("yes and no hold for every binding of small ranges") {
  std::mt19937 random(11);
  int proven = 0, refuted = 0, decided_by_brute_force = 0;
  for (int round = 0; round < 4000; ++round) {
    Ranges ranges;
    for (const char* name : {"tokens", "past", "rows"}) {
      const int64_t low = int64_t(random() % 3);
      ranges[name] = {low, low + int64_t(random() % 5)};
    }
    const test::RandomExpr a = test::random_expr(random, 3);
    const test::RandomExpr b = test::random_expr(random, 3);
    bool always = true, never = true;
    for (int64_t t = ranges["tokens"].min; t <= ranges["tokens"].max; ++t) {
      for (int64_t p = ranges["past"].min; p <= ranges["past"].max; ++p) {
        for (int64_t r = ranges["rows"].min; r <= ranges["rows"].max; ++r) {
          const Bindings at = {{"tokens", t}, {"past", p}, {"rows", r}};
          (a.value(at) <= b.value(at) ? never : always) = false;
        }
      }
    }
    const Proof proof = prove_le(a.expr, b.expr, ranges);
    INFO(a.expr.str() << " <= " << b.expr.str());
    if (proof == Proof::yes) REQUIRE(always);
    if (proof == Proof::no) REQUIRE(never);
    proven += proof == Proof::yes;
    refuted += proof == Proof::no;
    decided_by_brute_force += always || never;
  }
  // The prover is useful, not only safe: it settles nearly all that can be settled.
  INFO(proven << " yes, " << refuted << " no of " << decided_by_brute_force);
  CHECK(proven + refuted > decided_by_brute_force * 95 / 100);
  CHECK(proven > 500);
  CHECK(refuted > 500);
}
