"""The same figures on parts of the data: who speaks, how, where, when, and whether the model could know the speaker."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from onrecord.evaluation.measures import answer_labels, chain_right, stance_systems
from onrecord.evaluation.predictions import GoldRow, Predictions
from onrecord.evaluation.statistics import Resampler, Score, confusions, macro_f1_of, ratio
from onrecord.evaluation.tables import Table

# Upper ends, in words, of the content lengths that are told apart.
LENGTHS = (10, 20, 40)


def _length(item: GoldRow) -> str:
    count = len(item.gold.text.split())
    low = 1
    for high in LENGTHS:
        if count <= high:
            return f"{low} to {high} words"
        low = high + 1
    return f"{low} words or more"


SLICES: dict[str, Callable[[GoldRow], str | None]] = {
    "party": lambda item: item.gold.party,
    "type": lambda item: item.gold.type,
    "style": lambda item: item.row.style or "none",
    "length": _length,
    "year": lambda item: str(item.row.year or "none"),
    "divergent": lambda item: "divergent" if item.gold.divergent else "not divergent",
    "speaker": lambda item: None if item.row.seen is None else "seen in train" if item.row.seen else "unseen",
}


def slices(data: Predictions, stances: Sequence[str], resampler: Resampler) -> list[Table]:
    """A table a way of slicing: recall of quotes, party, stance, attitudes and whole statements, with counts."""
    items = list(data.gold())
    tables = []
    for name, read in SLICES.items():
        groups: dict[str, list[GoldRow]] = {}
        for item in items:
            if (label := read(item)) is not None:
                groups.setdefault(label, []).append(item)
        rows = tuple(
            (label, *_figures(data, groups[label], stances, resampler), len(groups[label])) for label in _ordered(groups)
        )
        if rows:
            columns = (name, "found", "party", "stance, accuracy", "stance, macro-F1", "attitudes, accuracy", "end to end", "n")
            tables.append(Table(f"slice_{name}", f"By {name}", columns, rows))
    return tables


def _ordered(groups: dict[str, list[GoldRow]]) -> list[str]:
    """By size; what begins with a number by number."""
    return sorted(groups, key=lambda label: (int(label.split()[0]), 0) if label[0].isdigit() else (0, -len(groups[label])))


def _figures(
    data: Predictions, items: Sequence[GoldRow], stances: Sequence[str], resampler: Resampler
) -> tuple[Score | str, ...]:
    found = _share(data, [(i, i.row.found is not None) for i in items], resampler) if data.chained else "–"
    whole = _share(data, [(i, chain_right(i, i.row.found)) for i in items], resampler) if data.chained else "–"
    given = [(item, item.row.given) for item in items if item.row.given is not None]
    if not given:
        return found, "–", "–", "–", "–", whole
    party = _share(data, [(i, i.gold.party == a.party) for i, a in given], resampler)
    stance = _share(data, [(i, i.gold.stance == a.stance) for i, a in given], resampler)
    toward = _share(data, [(i, i.gold.toward[t] == label) for i, a in given for t, label in a.toward.items()], resampler)
    labels = answer_labels(stances, stance_systems(data))
    places = [item.place for item, _ in given]
    table = confusions(places, [i.gold.stance for i, _ in given], [a.stance for _, a in given], labels, len(data.articles))
    return found, party, stance, resampler.score(table, macro_f1_of, len(given)), toward, whole


def _share(data: Predictions, items: Sequence[tuple[GoldRow, bool]], resampler: Resampler) -> Score:
    counts = np.zeros((len(data.articles), 2))
    for item, right in items:
        counts[item.place] += (right, 1)
    return resampler.score(counts, ratio, len(items))
