"""Two evaluations of the same gold: is one better, or is the difference what chance gives?

The bootstrap draws the same articles for both runs (paired) and gives the interval of the difference. The permutation
test swaps the two runs' answers to whole articles at random (approximate randomisation: Noreen 1989, *Computer-Intensive
Methods for Testing Hypotheses*) and counts how often the difference comes out at least as large.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onrecord.evaluation.measures import Measure, measures
from onrecord.evaluation.predictions import Predictions, read_predictions
from onrecord.evaluation.statistics import METRICS_VERSION, SEED, Counts, Resampler, Score, Statistic
from onrecord.records import RecordError

PERMUTATIONS = 5000
# What is compared unless keys are named: one figure or two a stage.
CHIEF = (
    "stance.all.model.macro_f1",
    "stance.divergent.model.accuracy",
    "toward.pooled.model.macro_f1",
    "extraction.quotes.f1_iou",
    "extraction.quotes.f1_exact",
    "attribution.matched.party",
    "attribution.given.party",
    "end_to_end.f1_party_stance",
)


@dataclass(frozen=True)
class Difference:
    """A figure of both runs, second minus first with its interval, and the share of permutations that reach it (p, two-sided)."""

    key: str
    first: float
    second: float
    difference: Score
    p: float


@dataclass(frozen=True)
class Run:
    """An evaluation's folder, read back."""

    folder: Path
    metrics: dict[str, Any]
    data: Predictions

    @classmethod
    def read(cls, folder: Path) -> Run:
        """Read `folder`.

        Raises:
            RecordError: when it holds no whole evaluation of this metrics version.
        """
        path = folder / "metrics.json"
        try:
            metrics = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise RecordError(f"{path}: missing; make the folder with `onrecord evaluate --out {folder}`") from error
        except ValueError as error:
            raise RecordError(
                f"{path}: not JSON ({error}); make the folder anew with `onrecord evaluate --out {folder}`"
            ) from error
        if metrics.get("metrics_version") != METRICS_VERSION:
            found = metrics.get("metrics_version")
            raise RecordError(f"{path}: metrics version {found}, this code has {METRICS_VERSION}; evaluate anew")
        return cls(folder, metrics, read_predictions(folder / "predictions.parquet"))

    def measures(self) -> dict[str, Measure]:
        """All measures of the run's stages, by key."""
        about = self.metrics
        return {m.key: m for m in measures(self.data, about["stances"], about["targets"], about["stages"])}


def compare(first: Path, second: Path, *, everything: bool = False) -> list[Difference]:
    """Set two evaluations' folders against each other, on the measures that both have.

    Args:
        first: Folder of `onrecord evaluate`.
        second: Another one, of the same gold.
        everything: All measures instead of the chief ones.

    Raises:
        RecordError: when a folder can't be read, or the two have unlike gold, labels or nothing in common.
    """
    a, b = Run.read(first), Run.read(second)
    for key, what in (("gold_hash", "gold"), ("stances", "stances"), ("targets", "targets")):
        if a.metrics[key] != b.metrics[key]:
            raise RecordError(
                f"{first} and {second} were scored on unlike {what} ({a.metrics[key]} and {b.metrics[key]}); "
                "evaluate both on the same articles, with the same --split and --limit"
            )
    ours, theirs = a.measures(), b.measures()
    keys = [key for key in ours if key in theirs and (everything or key in CHIEF)]
    if not keys:
        raise RecordError(f"{first} and {second} have no measure in common; evaluate both with the same --stage")
    return list(_differences(ours, theirs, keys, len(a.data.articles)))


def _differences(ours: dict[str, Measure], theirs: dict[str, Measure], keys: list[str], articles: int) -> Iterator[Difference]:
    resampler = Resampler(articles)
    swaps = np.random.default_rng(SEED).integers(0, 2, (PERMUTATIONS, articles)).astype(np.float64)
    for key in keys:
        a, b = _aligned(ours[key].counts, theirs[key].counts)
        statistic = ours[key].statistic
        both = np.stack([a, b], axis=1)
        score = resampler.score(both, _minus(statistic), ours[key].n)
        values = [float(_quiet(statistic, side.sum(axis=0, keepdims=True))[0]) for side in (a, b)]
        yield Difference(key, round(values[0], 4), round(values[1], 4), score, _permutation(a, b, statistic, swaps))


def _aligned(a: Counts, b: Counts) -> tuple[Counts, Counts]:
    """Tables of labels of equal size: one run may have abstained where the other has no such answer."""
    shape = np.maximum(a.shape, b.shape)
    first, second = (np.pad(side, [(0, more) for more in shape - side.shape]) for side in (a, b))
    return first, second


def _minus(statistic: Statistic) -> Statistic:
    return lambda counts: statistic(counts[:, 1]) - statistic(counts[:, 0])


def _quiet(statistic: Statistic, counts: Counts) -> Counts:
    with np.errstate(divide="ignore", invalid="ignore"):
        return statistic(counts)


def _permutation(a: Counts, b: Counts, statistic: Statistic, swaps: Counts) -> float:
    """Share of random swaps, the one that happened included, whose difference is at least as large either way."""

    def statistic_of(weights: Counts) -> Counts:
        x, y = a.reshape(len(a), -1), b.reshape(len(b), -1)
        first = weights @ x + (1 - weights) @ y
        return _quiet(statistic, first.reshape(len(first), *a.shape[1:]))

    seen = abs(float(np.subtract(*(_quiet(statistic, side.sum(axis=0, keepdims=True))[0] for side in (a, b)))))
    drawn = np.abs(statistic_of(swaps) - statistic_of(1 - swaps))
    return float((1 + (drawn >= seen - 1e-12).sum()) / (1 + len(swaps)))


def compare_markdown(differences: list[Difference], first: Path, second: Path) -> str:
    """The comparison as a Markdown table."""
    lines = [
        f"A: `{first}`, B: `{second}`. B − A by paired bootstrap over articles; p by permutation of articles, two-sided.",
        "",
        "| measure | A | B | B − A [95 %] | p | n |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {d.key} | {d.first:.3f} | {d.second:.3f} | {d.difference} | {d.p:.4f} | {d.difference.n} |" for d in differences
    ]
    return "\n".join(lines) + "\n"
