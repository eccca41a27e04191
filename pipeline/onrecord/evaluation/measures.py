"""Every measure, defined once: its key, the counts of each article, and the statistic of their sums.

`evaluate` gives each an interval; `compare` sets those of two runs against each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np

from onrecord.corpus.gold import PARTS
from onrecord.evaluation.baselines import MODEL
from onrecord.evaluation.matching import MIN_IOU, match_ranges, overlap, same_speaker
from onrecord.evaluation.predictions import Answer, GoldRow, Predictions
from onrecord.evaluation.statistics import (
    Counts,
    Statistic,
    accuracy_of,
    confusions,
    f1_of,
    macro_f1_of,
    mcc_of,
    precision_of,
    ratio,
    recall_of,
)
from onrecord.records import ATTITUDES, UNKNOWN, QuoteType

EXTRACTION, ATTRIBUTION, STANCE, TOWARD, END_TO_END = STAGES = ("extraction", "attribution", "stance", "toward", "end-to-end")
ALL, DIVERGENT = VIEWS = ("all", "divergent")
POOLED = "pooled"
LABEL_STATISTICS: dict[str, Statistic] = {"macro_f1": macro_f1_of, "accuracy": accuracy_of, "mcc": mcc_of}


@dataclass(frozen=True)
class Measure:
    """A figure to be had from counts: articles × anything. The first part of the dotted key is the stage."""

    key: str
    counts: Counts
    statistic: Statistic
    n: int


@dataclass(frozen=True)
class Judged:
    """Gold labels and answers of one system: the items of a table of labels. `places` are their articles' numbers."""

    places: tuple[int, ...]
    gold: tuple[str, ...]
    answers: tuple[str, ...]

    def confusion(self, labels: Sequence[str], articles: int) -> Counts:
        """Articles × gold label × answer."""
        return confusions(self.places, self.gold, self.answers, labels, articles)


def measures(
    data: Predictions, stances: Sequence[str], targets: Sequence[str], stages: Sequence[str] = STAGES
) -> Iterator[Measure]:
    """All measures that the rows allow, in the order of the stages."""
    if EXTRACTION in stages and data.chained:
        yield from extraction_measures(data)
    if ATTRIBUTION in stages:
        yield from attribution_measures(data)
    if STANCE in stages and data.roomed:
        yield from stance_measures(data, stances)
    if TOWARD in stages and data.roomed:
        yield from toward_measures(data, targets)
    if END_TO_END in stages and data.chained:
        yield from chain_measures(data)


def three(prefix: str, suffix: str, counts: Counts) -> Iterator[Measure]:
    """Precision, recall and F1 of counts right, found, gold; n is gold's number."""
    n = int(counts[:, 2].sum())
    for name, statistic in (("precision", precision_of), ("recall", recall_of), ("f1", f1_of)):
        yield Measure(f"{prefix}.{name}_{suffix}", counts, statistic, n)


def _counted(data: Predictions, right: Callable[[GoldRow, Answer], bool], of_type: str | None = None) -> Counts:
    """Right, found and gold of each article, over all quotes or those of one type."""
    counts = np.zeros((len(data.articles), 3))
    for row in data.rows:
        place = data.place(row)
        if row.gold and of_type in (None, row.gold.type):
            counts[place, 2] += 1
        if row.found and of_type in (None, row.found.type):
            counts[place, 1] += 1
        if row.gold and row.found and of_type in (None, row.gold.type) and right(GoldRow(place, row, row.gold), row.found):
            counts[place, 0] += 1
    return counts


def extraction_measures(data: Predictions) -> Iterator[Measure]:
    """Quotes (by content), quotes of each type, and each part's spans: at IoU ≥ 0.5 and exact."""
    yield from three("extraction.quotes", "iou", _counted(data, lambda item, found: True))
    yield from three("extraction.quotes", "exact", _counted(data, lambda item, found: item.row.iou == 1.0))
    for kind in get_args(QuoteType):
        same = _counted(data, lambda item, found: item.gold.type == found.type, kind)
        yield from three(f"extraction.{kind}", "iou", same)
        exact = _counted(data, lambda item, found: item.gold.type == found.type and item.row.iou == 1.0, kind)
        yield from three(f"extraction.{kind}", "exact", exact)
    typed = _shares(data, [(item.place, item.gold.type == found.type) for item, found in data.matched()])
    yield Measure("extraction.matched.type", typed, ratio, int(typed[:, 1].sum()))
    for part in PARTS:
        loose, exact = _part_counts(data, part)
        yield from three(f"extraction.{part}", "iou", loose)
        yield from three(f"extraction.{part}", "exact", exact)


def _part_counts(data: Predictions, part: str) -> tuple[Counts, Counts]:
    """Right, found and gold of one part; quotes that share a source count it once, quotes without the part not at all."""
    gold: list[dict[tuple[tuple[int, int], ...], None]] = [{} for _ in data.articles]
    found: list[dict[tuple[tuple[int, int], ...], None]] = [{} for _ in data.articles]
    for row in data.rows:
        for side, answer in ((gold, row.gold), (found, row.found)):
            if answer and getattr(answer, part):
                side[data.place(row)][getattr(answer, part)] = None
    loose, exact = np.zeros((len(data.articles), 3)), np.zeros((len(data.articles), 3))
    for place, (a, b) in enumerate(zip(gold, found, strict=True)):
        loose[place] = (len(match_ranges(list(a), list(b), MIN_IOU)), len(b), len(a))
        exact[place] = (len(a.keys() & b.keys()), len(b), len(a))
    return loose, exact


def _shares(data: Predictions, items: Sequence[tuple[int, bool]]) -> Counts:
    """Right and all of each article."""
    counts = np.zeros((len(data.articles), 2))
    for place, right in items:
        counts[place] += (right, 1)
    return counts


def attribution_measures(data: Predictions) -> Iterator[Measure]:
    """Of matched quotes: source, speaker, party. Of gold quotes given: speaker and party, and party by way of resolution."""
    matched, given = list(data.matched()), list(data.given())
    tests: dict[str, list[tuple[int, bool]]] = {
        "matched.source_overlap": [(i.place, overlap(i.gold.source, a.source)) for i, a in matched],
        "matched.speaker": [(i.place, same_speaker(i.gold.speaker, a.speaker)) for i, a in matched],
        "matched.party": [(i.place, i.gold.party == a.party) for i, a in matched],
        "given.speaker": [(i.place, same_speaker(i.gold.speaker, a.speaker)) for i, a in given],
        "given.party": [(i.place, i.gold.party == a.party) for i, a in given],
    }
    for way in sorted({answer.way for _, answer in given}):
        tests[f"way.{way}.party"] = [(i.place, i.gold.party == a.party) for i, a in given if a.way == way]
    for name, items in tests.items():
        if (name.startswith("given") and not data.roomed) or (name.startswith("matched") and not data.chained):
            continue
        yield Measure(f"attribution.{name}", _shares(data, items), ratio, len(items))


def stance_systems(data: Predictions, view: str = ALL) -> dict[str, Judged]:
    """Gold stances and the answers of the model and each baseline, of all quotes or of the divergent ones."""
    items = [(item, answer) for item, answer in data.given() if view == ALL or item.gold.divergent]
    places = tuple(item.place for item, _ in items)
    gold = tuple(item.gold.stance for item, _ in items)
    result = {MODEL: Judged(places, gold, tuple(answer.stance for _, answer in items))}
    for name in next((item.row.stance_baselines for item in data.gold()), {}):
        result[name] = Judged(places, gold, tuple(item.row.stance_baselines[name] for item, _ in items))
    return result


def answer_labels(labels: Sequence[str], systems: dict[str, Judged]) -> tuple[str, ...]:
    """The labels, and `unknown` where a system abstained."""
    abstained = any(UNKNOWN in judged.answers for judged in systems.values())
    return (*labels, UNKNOWN) if abstained else tuple(labels)


def stance_measures(data: Predictions, stances: Sequence[str]) -> Iterator[Measure]:
    """Macro-F1, accuracy and MCC of model and baselines, of all quotes and of divergent ones; how far the model is ahead."""
    for view in VIEWS:
        systems = stance_systems(data, view)
        labels = answer_labels(stances, systems)
        tables = {name: judged.confusion(labels, len(data.articles)) for name, judged in systems.items()}
        n = len(systems[MODEL].gold)
        for name, table in tables.items():
            for statistic, function in LABEL_STATISTICS.items():
                yield Measure(f"stance.{view}.{name}.{statistic}", table, function, n)
        chief = "macro_f1" if view == ALL else "accuracy"
        for name, table in tables.items():
            if name != MODEL:
                both = np.stack([tables[MODEL], table], axis=1)
                yield Measure(f"stance.{view}.ahead_of_{name}.{chief}", both, _ahead(LABEL_STATISTICS[chief]), n)


def _ahead(statistic: Statistic) -> Statistic:
    """How much the first of two tables is ahead of the second."""
    return lambda counts: statistic(counts[:, 0]) - statistic(counts[:, 1])


def toward_systems(data: Predictions, targets: Sequence[str]) -> dict[str, Judged]:
    """Gold attitudes and answers toward `targets`, pooled, of the model and each baseline."""
    items = [(item, answer, target) for item, answer in data.given() for target in targets]
    places = tuple(item.place for item, _, _ in items)
    gold = tuple(item.gold.toward[target] for item, _, target in items)
    result = {MODEL: Judged(places, gold, tuple(answer.toward[target] for _, answer, target in items))}
    for name in next((item.row.toward_baselines for item in data.gold()), {}):
        result[name] = Judged(places, gold, tuple(item.row.toward_baselines[name][target] for item, _, target in items))
    return result


def toward_measures(data: Predictions, targets: Sequence[str]) -> Iterator[Measure]:
    """Macro-F1, accuracy and MCC of model and baselines, pooled and for each target."""
    for view, chosen in ((POOLED, targets), *((target, (target,)) for target in targets)):
        for name, judged in toward_systems(data, chosen).items():
            table = judged.confusion(ATTITUDES, len(data.articles))
            for statistic, function in LABEL_STATISTICS.items():
                yield Measure(f"toward.{view}.{name}.{statistic}", table, function, len(judged.gold))


def chain_right(gold: GoldRow, answer: Answer | None) -> bool:
    """Whether a gold quote was found with the right party and the right stance."""
    return answer is not None and gold.gold.party == answer.party and gold.gold.stance == answer.stance


def chain_measures(data: Predictions) -> Iterator[Measure]:
    """Quotes found with the right party; with the right party and stance."""
    yield from three("end_to_end", "party", _counted(data, lambda item, found: item.gold.party == found.party))
    yield from three("end_to_end", "party_stance", _counted(data, chain_right))
