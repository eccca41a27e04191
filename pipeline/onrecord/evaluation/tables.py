"""Tables of a report: columns and rows as data, printed by `report` in Markdown and HTML alike."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from onrecord.evaluation.baselines import MODEL, TITLES
from onrecord.evaluation.measures import (
    ALL,
    DIVERGENT,
    POOLED,
    VIEWS,
    Judged,
    answer_labels,
    stance_systems,
    toward_systems,
)
from onrecord.evaluation.predictions import Predictions
from onrecord.evaluation.statistics import Score, class_scores
from onrecord.records import ATTITUDES

Cell = str | int | float | Score


@dataclass(frozen=True)
class Table:
    """Rows under columns; `key` names it in metrics.json, `note` stands under it."""

    key: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON: scores as objects, NaN as null."""
        return {"columns": list(self.columns), "rows": [[_plain(cell) for cell in row] for row in self.rows]}


def _plain(cell: Cell) -> Any:
    if isinstance(cell, Score):
        return cell.as_dict()
    return None if isinstance(cell, float) and math.isnan(cell) else cell


def shown(cell: Cell) -> str:
    """A cell as text: three places, a dash for what could not be scored."""
    if isinstance(cell, float):
        return "–" if math.isnan(cell) else f"{cell:.3f}"
    return str(cell)


def systems_table(scores: dict[str, Score], stage: str, views: Sequence[str], statistics: dict[str, str]) -> Table:
    """Model and baselines side by side: one row a system, one column a view and statistic."""
    systems = [name for name in TITLES if any(f"{stage}.{view}.{name}.{key}" in scores for view in views for key in statistics)]
    columns = [(view, key) for view in views for key in statistics]
    rows = tuple((TITLES[name], *(scores.get(f"{stage}.{view}.{name}.{key}", "–") for view, key in columns)) for name in systems)
    counts = ", ".join(f"{view}: n = {scores[f'{stage}.{view}.{MODEL}.{next(iter(statistics))}'].n}" for view in views)
    return Table(
        f"{stage}_systems",
        "Model and baselines",
        ("", *(f"{statistics[key]}, {view}" for view, key in columns)),
        rows,
        f"{counts}; 95 % intervals by bootstrap over articles.",
    )


def ahead_table(scores: dict[str, Score]) -> Table:
    """How far the model is ahead of each baseline, draw by draw."""
    rows: list[tuple[Cell, ...]] = []
    for name, title in TITLES.items():
        if f"stance.{ALL}.ahead_of_{name}.macro_f1" in scores:
            cells: tuple[Cell, ...] = (
                scores[f"stance.{ALL}.ahead_of_{name}.macro_f1"],
                scores[f"stance.{DIVERGENT}.ahead_of_{name}.accuracy"],
            )
            rows.append((title, *cells))
    note = "Both on the same draws of articles; an interval above 0 means that the model is better."
    return Table("stance_ahead", "How far the model is ahead", ("of", "macro-F1, all", "accuracy, divergent"), tuple(rows), note)


def class_table(key: str, title: str, judged: Judged, labels: Sequence[str]) -> Table:
    """Precision, recall and F1 of each label; a label without gold shows a dash and is no part of the macro figure."""
    precision, recall, score, gold = class_scores(judged.confusion(labels, max(judged.places, default=0) + 1).sum(axis=0))
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (
            label,
            float(precision[i]),
            float(recall[i]) if gold[i] else math.nan,
            float(score[i]) if gold[i] else math.nan,
            int(gold[i]),
        )
        for i, label in enumerate(labels)
    )
    empty = [label for i, label in enumerate(labels) if not gold[i]]
    note = f"No gold for {', '.join(empty)}: left out of macro figures." if empty and judged.gold else ""
    return Table(key, title, ("label", "precision", "recall", "F1", "n"), rows, note)


def confusion_table(key: str, title: str, judged: Judged, labels: Sequence[str]) -> Table:
    """How often each gold label (rows) got each answer (columns)."""
    counts = Counter(zip(judged.gold, judged.answers, strict=True))
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (g, *(counts[g, a] for a in labels)) for g in labels if any(counts[g, a] for a in labels)
    )
    return Table(key, title, ("gold ↓ answer →", *labels), rows)


def stance_tables(data: Predictions, scores: dict[str, Score], stances: Sequence[str]) -> list[Table]:
    """Everything about stance, of all quotes and of those whose stance is not the party's own."""
    tables = [
        systems_table(scores, "stance", VIEWS, {"macro_f1": "macro-F1", "accuracy": "accuracy", "mcc": "MCC"}),
        ahead_table(scores),
    ]
    for view in VIEWS:
        systems = stance_systems(data, view)
        labels = answer_labels(stances, systems)
        tables.append(class_table(f"stance_classes_{view}", f"Each stance, {view} quotes", systems[MODEL], labels))
        tables.append(confusion_table(f"stance_confusion_{view}", f"Confusion, {view} quotes", systems[MODEL], labels))
    return tables


def toward_tables(data: Predictions, scores: dict[str, Score], targets: Sequence[str]) -> list[Table]:
    """Everything about attitudes, pooled and for each target."""
    tables = [systems_table(scores, "toward", (POOLED, *targets), {"macro_f1": "macro-F1"})]
    tables.append(
        Table(
            "toward_mcc",
            "Accuracy and MCC of the model",
            ("toward", "accuracy", "MCC"),
            tuple((t, scores[f"toward.{t}.{MODEL}.accuracy"], scores[f"toward.{t}.{MODEL}.mcc"]) for t in (POOLED, *targets)),
        )
    )
    for name, chosen in ((POOLED, tuple(targets)), *((target, (target,)) for target in targets)):
        judged = toward_systems(data, chosen)[MODEL]
        tables.append(class_table(f"toward_classes_{name}", f"Each attitude, {name}", judged, ATTITUDES))
        tables.append(confusion_table(f"toward_confusion_{name}", f"Confusion, {name}", judged, ATTITUDES))
    return tables


def extraction_tables(scores: dict[str, Score]) -> list[Table]:
    """Quotes, types, parts, and the conventions of papers on PolNeAR."""
    kinds = [key.split(".")[1] for key in scores if key.startswith("extraction.") and key.endswith(".f1_iou")]
    figures = [f"{name}_{how}" for how in ("iou", "exact") for name in ("precision", "recall", "f1")]
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (k, *(scores[f"extraction.{k}.{f}"] for f in figures), scores[f"extraction.{k}.f1_iou"].n) for k in kinds
    )
    titles = {"iou": "at IoU ≥ 0.5", "exact": "exact"}
    columns = tuple(f"{name} {titles[how]}" for how in ("iou", "exact") for name in ("precision", "recall", "F1"))
    note = (
        "Quotes are matched by content, one to one; a type's figures count quotes found with that type; a part's figures count "
        "the different spans of the part, whatever their quotes."
    )
    tables = [Table("extraction", "What is found", ("what", *columns, "n"), rows, note)]
    tokens = [part for part in ("content", "cue", "source") if f"polnear.{part}.f1_token" in scores]
    if tokens:
        figures = [f"{name}_{how}" for how in ("token", "span") for name in ("precision", "recall", "f1")]
        columns = tuple(f"{name}, {how}s" for how in ("token", "span") for name in ("precision", "recall", "F1"))
        tables.append(
            Table(
                "polnear",
                "By the conventions of papers on PolNeAR",
                ("part", *columns),
                tuple((part, *(scores[f"polnear.{part}.{figure}"] for figure in figures)) for part in tokens),
                "Tokens: words and marks, each with one label, cue before source before content where quotes nest. Spans: each "
                "stretch of a part by itself, right when both edges are at the same tokens.",
            )
        )
    return tables


def attribution_tables(data: Predictions, scores: dict[str, Score], parties: Sequence[str]) -> list[Table]:
    """Sources, speakers and parties; the party by way of resolution and by label."""
    titles = {
        "matched.source_overlap": "source overlaps, of quotes found",
        "matched.speaker": "speaker right, of quotes found",
        "matched.party": "party right, of quotes found",
        "given.speaker": "speaker right, gold quotes given",
        "given.party": "party right, gold quotes given",
    }
    present = [(title, scores[f"attribution.{name}"]) for name, title in titles.items() if f"attribution.{name}" in scores]
    tables = [Table("attribution", "Speaker and party", ("measure", "share", "n"), tuple((t, s, s.n) for t, s in present))]
    if data.roomed:
        ways = [(key.split(".")[2], score) for key, score in scores.items() if key.startswith("attribution.way.")]
        tables.append(
            Table(
                "party_by_way",
                "Party by the way it was found (gold quotes given)",
                ("way", "right", "n"),
                tuple((way, score, score.n) for way, score in ways),
            )
        )
        items = list(data.given())
        judged = Judged(tuple(i.place for i, _ in items), tuple(i.gold.party for i, _ in items), tuple(a.party for _, a in items))
        tables.append(class_table("party_classes", "Each party (gold quotes given)", judged, parties))
        tables.append(confusion_table("party_confusion", "Confusion of parties", judged, parties))
    return tables


def chain_tables(scores: dict[str, Score]) -> list[Table]:
    """The whole pipeline against gold."""
    titles = {"party": "found with the right party", "party_stance": "found with the right party and stance"}
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (title, *(scores[f"end_to_end.{name}_{key}"] for name in ("precision", "recall", "f1")), scores[f"end_to_end.f1_{key}"].n)
        for key, title in titles.items()
    )
    return [Table("end_to_end", "Whole statements", ("statements", "precision", "recall", "F1", "n"), rows)]
