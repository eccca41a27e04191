"""Is a stance confidence of 0.8 right in 8 of 10 cases? And what does abstaining buy?

Before is temperature 1, after is the temperature that the model folder carries (Guo et al. 2017, *On Calibration of
Modern Neural Networks*). Probabilities before follow from those after: at temperature 1 they are the powers of the
others, with the temperature as exponent, scaled to sum to one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from onrecord.evaluation.predictions import Predictions
from onrecord.evaluation.statistics import Counts, Resampler, Score
from onrecord.evaluation.tables import Table
from onrecord.inference import Ints

BINS = 10
PRECISIONS = (0.80, 0.85, 0.90, 0.95, 0.99)


@dataclass(frozen=True)
class Bin:
    """Answers with a confidence in `[low, high)`: how many, their mean confidence, and the share that is right."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Reliability:
    """Bins of confidence, and the expected calibration error: the mean gap of a bin, weighted by its answers."""

    bins: tuple[Bin, ...]
    ece: Score


@dataclass(frozen=True)
class Threshold:
    """The least confidence at which answers reach a precision; NaN where none does."""

    target: float
    confidence: float
    coverage: float
    precision: float


@dataclass(frozen=True)
class Calibration:
    """Reliability before and after scaling, and the risk (share wrong) at each coverage (share answered)."""

    temperature: float
    before: Reliability
    after: Reliability
    coverage: tuple[float, ...]
    risk: tuple[float, ...]
    thresholds: tuple[Threshold, ...]

    def tables(self) -> list[Table]:
        """Errors, bins and thresholds."""
        errors = (("before (T = 1)", self.before.ece), (f"after (T = {self.temperature:g})", self.after.ece))
        bins = tuple(
            (f"{b.low:.1f} to {b.high:.1f}", a.n, a.confidence, a.accuracy, b.n, b.confidence, b.accuracy)
            for a, b in zip(self.before.bins, self.after.bins, strict=True)
        )
        columns = ("confidence", "n before", "mean confidence", "right", "n after", "mean confidence", "right")
        rows = tuple((f"{t.target:.2f}", t.confidence, t.coverage, t.precision) for t in self.thresholds)
        return [
            Table(
                "calibration_ece", "Expected calibration error of stance", ("temperature", "ECE"), errors, f"{BINS} equal bins."
            ),
            Table("calibration_bins", "Reliability", columns, bins),
            Table(
                "calibration_thresholds",
                "Confidence that reaches a precision",
                ("target precision", "least confidence", "coverage", "precision"),
                rows,
                "What to give to `onrecord analyze --min-confidence`; chosen on these very quotes: expect less elsewhere.",
            ),
        ]


def calibration(data: Predictions, temperature: float, resampler: Resampler) -> Calibration | None:
    """Stance confidences of gold quotes given; None where there are none. `temperature` is the model folder's."""
    items = [(item.place, item.gold.stance, answer.probabilities) for item, answer in data.given()]
    if not items:
        return None
    places = np.array([place for place, _, _ in items])
    after = _best([(gold, probabilities) for _, gold, probabilities in items], 1.0)
    before = _best([(gold, probabilities) for _, gold, probabilities in items], temperature)
    order = np.argsort(-after[0], kind="stable")
    wrong = np.cumsum(1 - after[1][order])
    answered = np.arange(1, len(order) + 1)
    return Calibration(
        temperature,
        _reliability(places, *before, len(data.articles), resampler),
        _reliability(places, *after, len(data.articles), resampler),
        tuple((answered / len(order)).tolist()),
        tuple((wrong / answered).tolist()),
        tuple(_threshold(after[0][order], wrong, target) for target in PRECISIONS),
    )


def _best(items: list[tuple[str, Mapping[str, float]]], exponent: float) -> tuple[Counts, Counts]:
    """Of each item the greatest probability, and whether its label is right, whether or not the pipeline abstained."""
    confidence, right = [], []
    for gold, probabilities in items:
        label = max(probabilities, key=probabilities.__getitem__)
        scaled = {name: p**exponent for name, p in probabilities.items()}
        confidence.append(scaled[label] / sum(scaled.values()))
        right.append(float(label == gold))
    return np.array(confidence), np.array(right)


def _reliability(places: Ints, confidence: Counts, right: Counts, articles: int, resampler: Resampler) -> Reliability:
    index = np.minimum((confidence * BINS).astype(int), BINS - 1)
    counts = np.zeros((articles, BINS, 3))
    np.add.at(counts, (places, index), np.stack([np.ones_like(confidence), confidence, right], axis=1))
    bins = tuple(
        Bin(i / BINS, (i + 1) / BINS, int(n), c / n if n else math.nan, r / n if n else math.nan)
        for i, (n, c, r) in enumerate(counts.sum(axis=0).tolist())
    )
    return Reliability(bins, resampler.score(counts, _ece, len(confidence), lower_is_better=True))


def _ece(counts: Counts) -> Counts:
    result: Counts = np.abs(counts[..., 1] - counts[..., 2]).sum(axis=-1) / counts[..., 0].sum(axis=-1)
    return result


def _threshold(confidence: Counts, wrong: Counts, target: float) -> Threshold:
    """The widest coverage at the target. Cuts lie only where the (falling) confidence changes: equal ones go together."""
    answered = np.arange(1, len(confidence) + 1)
    precision = 1 - wrong / answered
    cuts = np.append(confidence[1:] != confidence[:-1], True) & (precision >= target)
    if not cuts.any():
        return Threshold(target, math.nan, 0.0, math.nan)
    last = int(np.flatnonzero(cuts)[-1])
    return Threshold(target, float(confidence[last]), float(answered[last] / len(confidence)), float(precision[last]))
