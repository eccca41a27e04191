"""An evaluation as a folder: metrics.json, predictions.parquet, report.md, report.html."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from markupsafe import Markup

from onrecord.evaluation.baselines import TITLES
from onrecord.evaluation.pictures import pictures
from onrecord.evaluation.predictions import write_predictions
from onrecord.evaluation.run import Evaluation
from onrecord.evaluation.statistics import METRICS_VERSION
from onrecord.evaluation.tables import Table, shown
from onrecord.reports import render

SECTIONS = {
    "stance": "Stance: whose position the words voice",
    "calibration": "Confidence: how far it can be trusted",
    "toward": "Toward: attitude to each party",
    "extraction": "Extraction: quotes found in the text",
    "attribution": "Attribution: who speaks, for which party",
    "end-to-end": "End to end: whole statements",
    "cascade": "Cascade: which room lost a statement",
    "ablation": "Input: what do the labels rest on?",
    "counterfactual": "Counterfactual: do labels follow names?",
    "slices": "Slices",
}


def headline(evaluation: Evaluation) -> list[Table]:
    """What to read first: stance on all and on divergent quotes beside the baselines, and one figure for each other stage."""
    scores, tables = evaluation.scores, []
    rows = tuple(
        (title, scores[f"stance.all.{name}.macro_f1"], scores[f"stance.divergent.{name}.accuracy"])
        for name, title in TITLES.items()
        if f"stance.all.{name}.macro_f1" in scores
    )
    if rows:
        quotes, divergent = scores["stance.all.model.macro_f1"].n, scores["stance.divergent.model.accuracy"].n
        columns = ("stance", f"macro-F1 on all ({quotes})", f"accuracy on divergent ({divergent})")
        note = "Divergent: the stance is a declared line and not the party's own. 95 % intervals by bootstrap over articles."
        tables.append(Table("headline", "Headline", columns, rows, note))
    others = {
        "extraction.quotes.f1_iou": "quotes found, content F1 at IoU ≥ 0.5",
        "attribution.matched.party": "party right, of quotes found",
        "toward.pooled.model.macro_f1": "attitude to each party, macro-F1",
        "end_to_end.f1_party_stance": "found with the right party and stance, F1",
    }
    rest = tuple((title, scores[key], scores[key].n) for key, title in others.items() if key in scores)
    if rest:
        tables.append(Table("headline_others", "The other rooms", ("measure", "value", "n"), rest))
    return tables


def _summary(evaluation: Evaluation) -> str:
    counts = evaluation.counts
    found = f", {counts['found']} found" if evaluation.data.chained else ""
    return (
        f"{counts['articles']} articles, {counts['quotes']} gold quotes ({counts['divergent']} divergent){found}. "
        f"Metrics version {METRICS_VERSION}, gold {evaluation.gold_hash}."
    )


def markdown(evaluation: Evaluation, heading: str, command: str) -> str:
    """The report as Markdown: every figure with its interval and n."""
    lines = [f"# {heading}", "", f"Made by `{command}`. {_summary(evaluation)}"]
    lines += ["", "Models: " + ", ".join(f"`{name}`" for name in evaluation.models.values()) + "."]
    lines += [line for note in evaluation.notes for line in ("", f"**{note}**")]
    for table in headline(evaluation):
        lines += _markdown_table(table)
    for key, title in SECTIONS.items():
        if evaluation.tables.get(key):
            lines += ["", f"## {title}"]
            for table in evaluation.tables[key]:
                lines += _markdown_table(table)
    return "\n".join(lines) + "\n"


def _markdown_table(table: Table) -> list[str]:
    def cell(text: str) -> str:
        return " ".join(text.replace("|", "\\|").split())

    lines = ["", f"**{table.title}**", "", "| " + " | ".join(map(cell, table.columns)) + " |", "|---" * len(table.columns) + "|"]
    lines += ["| " + " | ".join(cell(shown(value)) for value in row) + " |" for row in table.rows]
    return [*lines, *(("", table.note) if table.note else ())]


def page(evaluation: Evaluation, heading: str, command: str, config: Mapping[str, Any]) -> str:
    """The report as one self-contained HTML page, with pictures, the config and the model cards."""
    tables = [table for group in evaluation.tables.values() for table in group]
    drawn = pictures(evaluation.calibration, evaluation.cascade, tables)
    sections = [
        (key, title, evaluation.tables[key], [(name, Markup(svg)) for name, svg in drawn.get(key, [])])  # ours
        for key, title in SECTIONS.items()
        if evaluation.tables.get(key)
    ]
    return render(
        "evaluation.html",
        heading=heading,
        command=command,
        summary=_summary(evaluation),
        models=evaluation.models,
        notes=evaluation.notes,
        headline=headline(evaluation),
        sections=sections,
        config=yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True),
        cards=evaluation.cards,
        shown=shown,
    )


def write_evaluation(evaluation: Evaluation, out: Path, heading: str, command: str, config: Mapping[str, Any]) -> list[Path]:
    """Write the four files to the folder `out`; metrics.json comes last, so that a folder that has it is whole.

    Returns:
        The files written.
    """
    out.mkdir(parents=True, exist_ok=True)
    (out / "metrics.json").unlink(missing_ok=True)
    metrics = {**evaluation.as_dict(), "command": command, "config": dict(config)}

    def text(content: str) -> Callable[[Path], object]:
        return lambda path: path.write_text(content, encoding="utf-8", newline="\n")

    writers: dict[str, Callable[[Path], object]] = {
        "predictions.parquet": lambda path: write_predictions(evaluation.data, path),
        "report.md": text(markdown(evaluation, heading, command)),
        "report.html": text(page(evaluation, heading, command, config)),
        "metrics.json": text(json.dumps(metrics, indent=1, ensure_ascii=False, allow_nan=False) + "\n"),
    }
    for name, write in writers.items():
        part = out / f"{name}.part"
        write(part)
        part.replace(out / name)
    return [out / name for name in writers]
