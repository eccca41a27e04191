"""Shares in a pile that nobody labelled, with intervals that stay honest about the model's errors.

Prediction-powered inference (Angelopoulos, Bates, Fannjiang, Jordan & Zrnic 2023, *Prediction-powered inference*, Science
382) takes the predictions' figure on the whole pile and adds the error that they make on a labelled sample; the weight λ
of the predictions is the one with the smallest variance (Angelopoulos, Duchi & Zrnic 2023, *PPI++*, arXiv:2311.01453).
The formulas are written out here because `ppi-python` brings numba, statsmodels and a downloader for four lines.

The unit is the article, since quotes of an article are alike. A share is a ratio of two totals (statements that voice the
stance, over all of the party), so the equation mean(numerator − share × denominator) = 0 is solved, and its variance taken,
over articles. Gold totals count gold quotes and predicted ones found statements: what extraction misses is corrected too.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onrecord.evaluation.compare import Run
from onrecord.evaluation.predictions import Predictions
from onrecord.evaluation.statistics import Counts
from onrecord.records import RecordError, Statement, read_statements

# The 97.5th percentile of the normal distribution.
Z = 1.959963984540054
# In simulations of such data the intervals held the true share in 92 % of samples of 40 articles, 94 % of 80.
LEAST_LABELLED = 30


@dataclass(frozen=True)
class Share:
    """What part of a party's statements voices a stance: from predictions alone, labels alone, and both together.

    `n` are the gold statements of the party, `statements` those that were found in the pile; `weight` is λ.
    """

    party: str
    stance: str
    predicted: float
    classical: tuple[float, float, float]
    powered: tuple[float, float, float]
    weight: float
    n: int
    statements: int


def shares(
    evaluation: Path, pile: Path, parties: Sequence[str] = (), stances: Sequence[str] = (), pile_articles: int | None = None
) -> list[Share]:
    """Shares of stances among parties' statements in a pile.

    Args:
        evaluation: Folder of `onrecord evaluate` with the whole pipeline on labelled articles like those of the pile.
        pile: Statements that `onrecord analyze` found, JSON Lines.
        parties: Parties to report; all that the pile has by default.
        stances: Stances to report; all of the conflict by default.
        pile_articles: How many articles were analyzed for the pile; those with statements by default, which is right
            where every article has one.

    Raises:
        RecordError: when a file can't be read, the models are unlike, or the sample can't carry the figures.
    """
    run = Run.read(evaluation)
    _check(run)
    found = list(read_statements(pile))
    _check_pile(run, found, pile)
    unlabelled = _pile_cells(found)
    missing = max(0, (pile_articles or 0) - len(unlabelled))
    unlabelled += [Counter() for _ in range(missing)]
    gold, predicted = _labelled_cells(run.data)
    known = [party for party in dict.fromkeys(s.party.label for s in found) if not parties or party in parties]
    strange = [party for party in parties if party not in known]
    if strange:
        raise RecordError(
            f"{pile}: no statement of {', '.join(strange)}; it has {', '.join(dict.fromkeys(s.party.label for s in found))}"
        )
    chosen = list(stances or run.metrics["stances"])
    unknown = [stance for stance in chosen if stance not in run.metrics["stances"]]
    if unknown:
        raise RecordError(f"--stance {', '.join(unknown)}: the conflict has {', '.join(run.metrics['stances'])}")
    return [_share(party, stance, gold, predicted, unlabelled) for party in sorted(known) for stance in chosen]


def _check(run: Run) -> None:
    if not run.data.chained:
        raise RecordError(f"{run.folder}: scored without the whole pipeline; evaluate with --stage end-to-end, or all stages")
    counts = run.metrics["counts"]
    if counts["trained_on"]:
        raise RecordError(
            f"{run.folder}: the models were trained on {counts['trained_on']} of its articles and err less there; "
            "evaluate articles that they have not seen"
        )
    if counts["articles"] < LEAST_LABELLED:
        raise RecordError(
            f"{run.folder}: {counts['articles']} labelled articles; at least {LEAST_LABELLED} are needed for an interval"
        )


def _check_pile(run: Run, found: Sequence[Statement], pile: Path) -> None:
    if not found:
        raise RecordError(f"{pile}: no statement in it")
    for statement in found:
        if statement.models != run.metrics["models"]:
            raise RecordError(
                f"{pile}: statement {statement.id} is of the models {_named(statement.models)}, {run.folder} of "
                f"{_named(run.metrics['models'])}; use one pair of models for both"
            )


def _named(models: Mapping[str, Any]) -> str:
    return " and ".join(str(name) for name in models.values())


# (party, stance) → statements of an article.
Cells = Counter[tuple[str, str]]


def _pile_cells(found: Iterable[Statement]) -> list[Cells]:
    articles: dict[str, Cells] = {}
    for statement in found:
        articles.setdefault(statement.article_id, Counter())[statement.party.label, statement.stance.label] += 1
    return list(articles.values())


def _labelled_cells(data: Predictions) -> tuple[list[Cells], list[Cells]]:
    gold: list[Cells] = [Counter() for _ in data.articles]
    predicted: list[Cells] = [Counter() for _ in data.articles]
    for row in data.rows:
        if row.gold is not None:
            gold[data.place(row)][row.gold.party, row.gold.stance] += 1
        if row.found is not None:
            predicted[data.place(row)][row.found.party, row.found.stance] += 1
    return gold, predicted


def _totals(articles: Sequence[Cells], party: str, stance: str) -> Counts:
    """Articles × (statements of the party that voice the stance, statements of the party)."""
    return np.array(
        [[cells[party, stance], sum(n for (p, _), n in cells.items() if p == party)] for cells in articles], dtype=np.float64
    ).reshape(-1, 2)


def _share(party: str, stance: str, gold: Sequence[Cells], predicted: Sequence[Cells], unlabelled: Sequence[Cells]) -> Share:
    y, f, pile = (_totals(articles, party, stance) for articles in (gold, predicted, unlabelled))
    value, low, high, weight = powered_ratio(y, f, pile)
    plain = powered_ratio(y, f, pile, weight=0.0)[:3]
    numerator, denominator = pile.sum(axis=0)
    return Share(
        party,
        stance,
        float(numerator / denominator) if denominator else math.nan,
        plain,
        (value, low, high),
        weight,
        int(y[:, 1].sum()),
        int(denominator),
    )


def powered_ratio(y: Counts, f: Counts, pile: Counts, weight: float | None = None) -> tuple[float, float, float, float]:
    """Ratio of two totals with a prediction-powered 95 % interval.

    Args:
        y: Gold numerator and denominator of each labelled article.
        f: Predicted ones of the same articles.
        pile: Predicted ones of the other articles.
        weight: λ, 0 for labels alone and 1 for plain prediction-powered inference; the best one by default.

    Returns:
        Value, low and high, cut to [0, 1], and λ; NaN where the labelled articles have nothing to count.
    """
    if not y[:, 1].sum():
        return math.nan, math.nan, math.nan, 0.0
    best = _tuned(y, f, pile, y[:, 0].sum() / y[:, 1].sum()) if weight is None else weight
    top, bottom = best * pile.mean(axis=0) + (y - best * f).mean(axis=0)
    if bottom <= 0:
        return math.nan, math.nan, math.nan, best
    value = float(top / bottom)
    residual, rest = _residual(y - best * f, value), _residual(best * pile, value)
    spread = math.sqrt(residual.var(ddof=1) / len(y) + rest.var(ddof=1) / len(pile) if len(pile) > 1 else math.inf) / bottom
    low, high = (min(1.0, max(0.0, value + side * Z * spread)) for side in (-1, 1))
    return min(1.0, max(0.0, value)), low, high, best


def _residual(counts: Counts, ratio: float) -> Counts:
    """Numerator less its expectation under the ratio, article by article."""
    return counts[:, 0] - ratio * counts[:, 1]


def _tuned(y: Counts, f: Counts, pile: Counts, ratio: float) -> float:
    """λ of the smallest variance (PPI++, section 6), kept within [0, 1]."""
    gold, told, rest = (_residual(counts, ratio) for counts in (y, f, pile))
    spread = float(np.concatenate([told, rest]).var(ddof=1))
    if not spread:
        return 0.0
    together = float(np.cov(gold, told)[0, 1])
    return min(1.0, max(0.0, together / ((1 + len(y) / len(pile)) * spread)))


def shares_markdown(found: Sequence[Share], evaluation: Path, pile: Path) -> str:
    """The shares as a Markdown table."""

    def shown(interval: tuple[float, float, float]) -> str:
        value, low, high = interval
        return "–" if math.isnan(value) else f"{value:.3f} [{low:.3f}, {high:.3f}]"

    lines = [
        f"Shares of each party's statements that voice a stance, in `{pile}`, corrected by the labels of `{evaluation}`. "
        "Prediction-powered 95 % intervals over articles (Angelopoulos et al. 2023); those labelled must be like the pile.",
        "",
        "| party | stance | share [95 %] | labels alone | predictions alone | weight | n labelled | n in the pile |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for s in found:
        told = "–" if math.isnan(s.predicted) else f"{s.predicted:.3f}"
        cells = (s.party, s.stance, shown(s.powered), shown(s.classical), told, f"{s.weight:.2f}", s.n, s.statements)
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"
