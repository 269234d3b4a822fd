#include "runtime/symbolic/expr.h"

#include <limits>

#include "runtime/base/error.h"
#include "test/support/catch.h"
#include "test/symbolic/random_expr.h"

using namespace pocket;
using Catch::Matchers::Contains;

namespace {
const Expr T = Expr::symbol("tokens"), P = Expr::symbol("past");
constexpr int64_t kLargest = std::numeric_limits<int64_t>::max();
constexpr int64_t kSmallest = std::numeric_limits<int64_t>::min();
}  // namespace

TEST_CASE("equal polynomials compare equal") {
  CHECK((T + P) * (T + P) == T * T + 2 * T * P + P * P);
  CHECK((T + P) - P == T);
  CHECK((T - T) == Expr(0));
  CHECK((T - T).is_constant());
  CHECK_FALSE(T == P);
  CHECK_FALSE(T + Expr(1) == T);
}

TEST_CASE("divisions are reduced") {
  CHECK(Expr::floordiv(64 * T, 64) == T);
  CHECK(Expr::floordiv(64 * T + 63, 64) == T);
  CHECK(Expr::floordiv(2 * T + 1, 4) == Expr::floordiv(T, 2));
  CHECK(Expr::floordiv(64 * T, T) == Expr(64));
  CHECK(Expr::floordiv(T * P * 6, T * 4) == Expr::floordiv(3 * P, 2));
  CHECK(Expr::floordiv(T + P, T + P) == Expr(1));
  CHECK(Expr::ceildiv(T, 1) == T);
  CHECK(Expr::ceildiv(T, 64) == Expr::floordiv(T + 63, 64));
  CHECK(Expr::floordiv(T, -2).evaluate({{"tokens", 3}}) == -2);
  CHECK(Expr::ceildiv(T, P).evaluate({{"tokens", 7}, {"past", 2}}) == 4);
  CHECK(Expr::max(T + 1, T) == T + 1);
  CHECK(Expr::min(T + 1, T) == T);
  CHECK(Expr::max(T, P) == Expr::max(P, T));
}

TEST_CASE("evaluation names what is missing and refuses overflow") {
  CHECK((64 * T * P - 3).evaluate({{"tokens", 5}, {"past", 7}}) == 64 * 35 - 3);
  CHECK_THROWS_WITH((T + P).evaluate({{"tokens", 5}}), Contains("'past'"));
  CHECK_THROWS_AS(Expr::floordiv(T, P).evaluate({{"tokens", 5}, {"past", 0}}), Error);
  CHECK_THROWS_AS(Expr::floordiv(T, 0), Error);
  CHECK_THROWS_AS((T * T).evaluate({{"tokens", int64_t{1} << 32}}), Error);
  CHECK_THROWS_AS(Expr(kLargest) + 1, Error);
  CHECK_THROWS_AS(Expr(kSmallest) * -1, Error);
  CHECK_THROWS_AS(Expr::floordiv(Expr(kSmallest), -1), Error);
  CHECK_THROWS_AS(T.constant(), Error);
  CHECK_THROWS_AS(Expr::symbol("two words"), Error);
  CHECK_THROWS_AS(Expr::symbol(""), Error);
}

TEST_CASE("text is readable and reads back") {
  CHECK((P + 64 * T).str() == "past + 64*tokens");
  CHECK((Expr(0)).str() == "0");
  CHECK((-1 * T * T + P - 3).str() == "-tokens*tokens + past - 3");
  CHECK(Expr::ceildiv(T, 64).str() == "floordiv(tokens + 63, 64)");
  CHECK(Expr::parse("past_sequence_length + sequence_length") ==
        Expr::symbol("past_sequence_length") + Expr::symbol("sequence_length"));
  CHECK(Expr::parse(" ( tokens+63 )//64 * 64") == 64 * Expr::ceildiv(T, 64));
  CHECK(Expr::parse("--3 - -tokens") == T + 3);
  for (const int64_t value : {kLargest, kSmallest}) {
    CHECK(Expr::parse(Expr(value).str()) == Expr(value));
    const Expr sum = Expr(value) * P + T * T;
    CHECK(Expr::parse(sum.str()) == sum);
  }
}

TEST_CASE("hostile text is refused with its position") {
  for (const char* text :
       {"", "+", "tokens +", "1 2", "max(tokens)", "pow(tokens, 2)", "(tokens", "tokens)",
        "9223372036854775808", "tokens / 2", "floordiv(tokens, 0)", "a,b", "$x", "max(tokens, 1"}) {
    CAPTURE(text);
    CHECK_THROWS_AS(Expr::parse(text), Error);
  }
  CHECK_THROWS_AS(Expr::parse(std::string(100000, '(')), Error);
  CHECK_THROWS_AS(Expr::parse(std::string(60000, '(')), Error);
  CHECK(Expr::parse(std::string(60000, '-') + "1") == Expr(1));
  std::string power = "(a0+a1+a2+a3+a4+a5+a6+a7+a8+a9)";
  std::string tower = power;
  for (int i = 0; i < 30; ++i) tower += "*" + power;
  CHECK_THROWS_AS(Expr::parse(tower), Error);
  CHECK_THROWS_WITH(Expr::parse("tokens ?"), Contains("position 7"));
}

TEST_CASE("random expressions equal their plain evaluation, after text and substitution too") {
  std::mt19937 random(7);
  int compared = 0;
  for (int round = 0; round < 3000; ++round) {
    const test::RandomExpr made = test::random_expr(random, 4);
    const Expr again = Expr::parse(made.expr.str());
    REQUIRE(again == made.expr);
    CHECK_FALSE(again < made.expr);
    const Expr shifted = made.expr.substitute("tokens", P + 2 * Expr::symbol("rows"));
    for (int sample = 0; sample < 6; ++sample) {
      Bindings b = {{"tokens", int64_t(random() % 9)},
                    {"past", int64_t(random() % 9)},
                    {"rows", int64_t(random() % 9)}};
      INFO(made.expr.str());
      REQUIRE(made.expr.evaluate(b) == made.value(b));
      const int64_t at_shift = shifted.evaluate(b);
      b["tokens"] = b["past"] + 2 * b["rows"];
      REQUIRE(at_shift == made.value(b));
      ++compared;
    }
  }
  CHECK(compared == 18000);
}
