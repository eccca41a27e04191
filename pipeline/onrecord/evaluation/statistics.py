"""Counts of articles → figures with intervals.

A figure is a function of sums over articles, so a bootstrap is one matrix product: how often each article was drawn,
times the counts of each article.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

METRICS_VERSION = 2
RESAMPLES = 1000
SEED = 7

Counts = NDArray[np.float64]
Statistic = Callable[[Counts], Counts]


@dataclass(frozen=True)
class Score:
    """A figure that never travels alone: n, and a 95 % interval by bootstrap over articles; NaN where nothing was there.

    The interval is NaN where there is one article only: draws of it are all the same.
    """

    value: float
    low: float
    high: float
    n: int
    lower_is_better: bool = False

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "–"
        return f"{self.value:.3f}" if math.isnan(self.low) else f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON, with null for NaN."""
        plain = {name: None if math.isnan(x) else x for name, x in zip(("value", "low", "high"), self.interval, strict=True)}
        return {**plain, "n": self.n, "better": "lower" if self.lower_is_better else "higher"}

    @property
    def interval(self) -> tuple[float, float, float]:
        """Value, low and high."""
        return self.value, self.low, self.high


class Resampler:
    """Draws of whole articles with replacement, the same for every figure, so that figures can be compared draw by draw."""

    def __init__(self, articles: int, resamples: int = RESAMPLES, seed: int = SEED) -> None:
        """`articles` is how many there are, at least one; `resamples` how many draws are made."""
        draws = np.random.default_rng(seed).integers(0, articles, (resamples, articles))
        self.weights: Counts = np.stack([np.bincount(draw, minlength=articles) for draw in draws]).astype(np.float64)

    def values(self, counts: Counts, statistic: Statistic) -> Counts:
        """The statistic of every draw. `counts` is articles × anything; the statistic takes draws × anything."""
        sums = self.weights @ counts.reshape(len(counts), -1)
        with np.errstate(divide="ignore", invalid="ignore"):
            return statistic(sums.reshape(len(sums), *counts.shape[1:]))

    def score(self, counts: Counts, statistic: Statistic, n: int, *, lower_is_better: bool = False) -> Score:
        """The statistic of all articles with a percentile interval (Efron 1979)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            value = float(statistic(counts.sum(axis=0, keepdims=True))[0])
        values = self.values(counts, statistic)
        values = values[~np.isnan(values)]
        known = len(values) and not math.isnan(value) and len(counts) > 1
        low, high = np.percentile(values, [2.5, 97.5]) if known else (math.nan, math.nan)
        return Score(round(value, 4), round(float(low), 4), round(float(high), 4), n, lower_is_better)


def ratio(counts: Counts) -> Counts:
    """First count over the second."""
    return counts[..., 0] / counts[..., 1]


def precision_of(counts: Counts) -> Counts:
    """Right over found; counts are right, found, gold."""
    return counts[..., 0] / counts[..., 1]


def recall_of(counts: Counts) -> Counts:
    """Right over gold; counts are right, found, gold."""
    return counts[..., 0] / counts[..., 2]


def f1_of(counts: Counts) -> Counts:
    """Harmonic mean of precision and recall; counts are right, found, gold."""
    return 2 * counts[..., 0] / (counts[..., 1] + counts[..., 2])


def confusions(places: Sequence[int], gold: Sequence[str], found: Sequence[str], labels: Sequence[str], articles: int) -> Counts:
    """Articles × gold label × found label; `places` is the article of each item."""
    codes = {label: code for code, label in enumerate(labels)}
    result = np.zeros((articles, len(labels), len(labels)))
    np.add.at(result, (list(places), [codes[g] for g in gold], [codes[f] for f in found]), 1)
    return result


def accuracy_of(confusion: Counts) -> Counts:
    """Share on the diagonal."""
    result: Counts = np.trace(confusion, axis1=-2, axis2=-1) / confusion.sum(axis=(-2, -1))
    return result


def class_scores(confusion: Counts) -> tuple[Counts, Counts, Counts, Counts]:
    """Precision, recall, F1 and gold count of each label."""
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    found, gold = confusion.sum(axis=-2), confusion.sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return right / found, right / gold, 2 * right / (found + gold), gold


def macro_f1_of(confusion: Counts) -> Counts:
    """Unweighted mean of F1 over the labels that occur in gold; NaN where none does."""
    _, _, scores, gold = class_scores(confusion)
    present = gold > 0
    result: Counts = np.where(present, scores, 0).sum(axis=-1) / present.sum(axis=-1)
    return result


def mcc_of(confusion: Counts) -> Counts:
    """Matthews correlation for any number of labels (Gorodkin 2004); NaN where gold or answers have one label only."""
    right, total = np.trace(confusion, axis1=-2, axis2=-1), confusion.sum(axis=(-2, -1))
    gold, found = confusion.sum(axis=-1), confusion.sum(axis=-2)
    spread = np.sqrt((total**2 - (gold**2).sum(-1)) * (total**2 - (found**2).sum(-1)))
    result: Counts = (right * total - (gold * found).sum(-1)) / spread
    return result


def f1(right: float, found: float, gold: float) -> float:
    """Harmonic mean of precision and recall; zero when nothing is there."""
    return 2 * right / (found + gold) if found + gold else 0.0


def macro_f1(pairs: Sequence[tuple[str, str]], labels: Sequence[str]) -> float:
    """Unweighted mean of F1 over those of `labels` that occur in gold; zero where none does.

    `pairs` are (gold, predicted); either may be a label that is not asked for, which counts only as a miss.
    """
    everything = tuple(dict.fromkeys([*labels, *(label for pair in pairs for label in pair)]))
    table = confusions([0] * len(pairs), [g for g, _ in pairs], [p for _, p in pairs], everything, 1)
    _, _, scores, gold = class_scores(table[0, :, :])
    asked = np.arange(len(everything)) < len(set(labels))
    return float(scores[asked & (gold > 0)].mean()) if (asked & (gold > 0)).any() else 0.0


def accuracy(pairs: Sequence[tuple[str, str]]) -> float:
    """Share of equal pairs; zero without pairs."""
    return sum(g == p for g, p in pairs) / len(pairs) if pairs else 0.0


def bootstrap(groups: Sequence[Sequence[Any]], statistic: Callable[[list[Any]], float], seed: int = SEED) -> Score:
    """`statistic` of all items, for figures that are no function of sums; whole groups (articles) are drawn.

    Args:
        groups: The items of each article.
        statistic: Items → figure.
        seed: Seed of the resampling.
    """
    items = [item for group in groups for item in group]
    generator = random.Random(seed)
    values = []
    for _ in range(RESAMPLES):
        sample = [item for _ in groups for item in groups[generator.randrange(len(groups))]]
        if sample:
            values.append(statistic(sample))
    low, high = np.percentile(values, [2.5, 97.5]) if values else (0.0, 0.0)
    return Score(round(statistic(items), 4), round(float(low), 4), round(float(high), 4), len(items))
