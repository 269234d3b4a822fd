"""Means per held-out token with their 95 % interval, and what such intervals say.

Tokens of one window are not independent: the sample is the windows, and the mean is weighed by their tokens. A pair is
[mean, half the interval]; a difference is paired, window by window.
"""

from __future__ import annotations

import math

Pair = list[float]


def mean(values: list[float], counts: list[int]) -> Pair:
    """Of `values`, the means of the windows, which hold `counts` tokens."""
    tokens, windows = sum(counts), len(counts)
    middle = sum(value * count for value, count in zip(values, counts, strict=True)) / tokens
    spread = sum(((value - middle) * count) ** 2 for value, count in zip(values, counts))
    return [middle, 1.96 * math.sqrt(spread * windows / (windows - 1)) / tokens]


def kl(row: dict) -> Pair:
    return mean(row["window_kl"], row["window_tokens"])


def paired(row: dict, base: dict) -> Pair:
    """KL divergence of `row` less that of `base`; below zero, `row` loses less."""
    assert row["window_tokens"] == base["window_tokens"], "two rows were measured on different windows"
    return mean([a - b for a, b in zip(row["window_kl"], base["window_kl"], strict=True)], row["window_tokens"])


def signed(pair: Pair | None) -> str:
    return "{:+.5f} ± {:.5f}".format(*pair) if pair else ""


def verdict(what: str, differences: dict[str, Pair], against: str = "more") -> str:
    """In how many rows the whole interval lies below zero, and in which above. Rows on the side `against` the claim are
    named."""
    sides = {"less": {name: pair for name, pair in differences.items() if pair[0] + pair[1] < 0},
             "more": {name: pair for name, pair in differences.items() if pair[0] - pair[1] > 0}}
    said = {side: f"{side} in {len(rows)}" for side, rows in sides.items()}
    if sides[against]:
        said[against] += f" ({', '.join(f'{name} {signed(pair)}' for name, pair in sides[against].items())})"
    return f"{what}, KL beyond the interval: {said['less']}, {said['more']} of {len(differences)} rows."
