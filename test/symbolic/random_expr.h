// Random expressions built twice: as Expr and as a plain evaluator over the same tree.
#pragma once

#include <functional>
#include <random>

#include "runtime/symbolic/expr.h"

namespace pocket::test {

struct RandomExpr {
  Expr expr;
  std::function<int64_t(const Bindings&)> value;  // the slow obvious twin
};

inline int64_t slow_floordiv(int64_t a, int64_t b) {
  int64_t quotient = a / b;
  while (quotient * b > a) --quotient;  // b > 0
  while ((quotient + 1) * b <= a) ++quotient;
  return quotient;
}

inline RandomExpr random_expr(std::mt19937& random, int depth) {
  auto pick = [&](int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(random);
  };
  const int choice = depth == 0 ? pick(0, 1) : pick(0, 8);
  if (choice == 0) {
    const int64_t value = pick(-5, 9);
    return {Expr(value), [value](const Bindings&) { return value; }};
  }
  if (choice == 1) {
    static const char* const kNames[] = {"tokens", "past", "rows"};
    const std::string name = kNames[pick(0, 2)];
    return {Expr::symbol(name), [name](const Bindings& b) { return b.at(name); }};
  }
  RandomExpr a = random_expr(random, depth - 1);
  if (choice == 5 || choice == 6) {
    const int64_t divisor = pick(1, 7);
    const bool up = choice == 6;
    return {up ? Expr::ceildiv(a.expr, divisor) : Expr::floordiv(a.expr, divisor),
            [a, divisor, up](const Bindings& b) {
              const int64_t numerator = a.value(b);
              return up ? -slow_floordiv(-numerator, divisor) : slow_floordiv(numerator, divisor);
            }};
  }
  RandomExpr c = random_expr(random, depth - 1);
  switch (choice) {
    case 2:
      return {a.expr + c.expr, [a, c](const Bindings& b) { return a.value(b) + c.value(b); }};
    case 3:
      return {a.expr - c.expr, [a, c](const Bindings& b) { return a.value(b) - c.value(b); }};
    case 4:
      return {a.expr * c.expr, [a, c](const Bindings& b) { return a.value(b) * c.value(b); }};
    case 7:
      return {Expr::max(a.expr, c.expr),
              [a, c](const Bindings& b) { return std::max(a.value(b), c.value(b)); }};
    default:
      return {Expr::min(a.expr, c.expr),
              [a, c](const Bindings& b) { return std::min(a.value(b), c.value(b)); }};
  }
}

}  // namespace pocket::test
