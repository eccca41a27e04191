"""Pictures of a report as inline SVG: no scripts, no files, no network."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

from onrecord.evaluation.calibration import Calibration
from onrecord.evaluation.cascade import Cascade
from onrecord.evaluation.tables import Table
from onrecord.reports import NEUTRAL, PALETTE

_INK = "#1d2129"


def _figure(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _svg(figure: Any, words: str) -> str:
    """The figure as an `<svg>` element that scales with the page; `words` say what it shows to those who can't see it."""
    import matplotlib

    stream = io.StringIO()
    # Fixed ids and no date: equal figures are equal bytes. Text stays text, so that it can be searched and read aloud.
    with matplotlib.rc_context({"svg.hashsalt": words, "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    svg = stream.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    # Groups of all pictures have the same ids, and nothing refers to them.
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    # Inside a page no namespace is declared; sizes come from the view box.
    head, body = svg.split(">", 1)
    head = re.sub(r'\s(?:xmlns(?::\w+)?|width|height)="[^"]*"', "", head)
    return f'{head} role="img" aria-label="{words}">{body}'


def confusion_picture(table: Table, words: str) -> str:
    """A confusion table with each row's shares as shades."""
    figure, axes = _figure(5, 4.2)
    rows = [[int(cell) for cell in row[1:]] for row in table.rows]  # type: ignore[arg-type]  # counts by construction
    shares = [[count / max(1, sum(row)) for count in row] for row in rows]
    # Drawn cell by cell: an image would be a raster, which the page's policy forbids.
    axes.pcolormesh(shares, cmap="Blues", vmin=0, vmax=1)
    axes.invert_yaxis()
    for y, row in enumerate(rows):
        for x, count in enumerate(row):
            axes.text(x + 0.5, y + 0.5, str(count), ha="center", va="center", color="white" if shares[y][x] > 0.5 else _INK)
    axes.set_xticks([x + 0.5 for x in range(len(table.columns) - 1)], table.columns[1:], rotation=30, ha="right")
    axes.set_yticks([y + 0.5 for y in range(len(rows))], [str(row[0]) for row in table.rows])
    axes.set_xlabel("answer")
    axes.set_ylabel("gold")
    return _svg(figure, words)


def reliability_picture(calibration: Calibration) -> str:
    """Share right against mean confidence, before and after scaling."""
    figure, axes = _figure(5, 4)
    axes.plot([0, 1], [0, 1], color=NEUTRAL, linestyle=":", label="as it should be")
    for name, reliability, color, marker in (
        ("before (T = 1)", calibration.before, PALETTE[1], "s"),
        (f"after (T = {calibration.temperature:g})", calibration.after, PALETTE[0], "o"),
    ):
        bins = [b for b in reliability.bins if b.n]
        label = f"{name}, ECE {reliability.ece.value:.3f}"
        axes.plot([b.confidence for b in bins], [b.accuracy for b in bins], color=color, marker=marker, label=label)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="mean confidence", ylabel="share right")
    axes.legend(frameon=False)
    return _svg(figure, "Reliability of stance confidences")


def risk_picture(calibration: Calibration) -> str:
    """Share wrong against share answered, the surest first."""
    figure, axes = _figure(5, 4)
    axes.plot(calibration.coverage, calibration.risk, color=PALETTE[0])
    axes.set(xlim=(0, 1), ylim=(0, None), xlabel="coverage: share of quotes answered", ylabel="risk: share of answers wrong")
    return _svg(figure, "Risk at each coverage")


def cascade_picture(result: Cascade) -> str:
    """One bar: gold statements kept, and lost in each room."""
    figure, axes = _figure(8, 1.7)
    left = 0.0
    for (room, count), color in zip(result.counts.items(), (PALETTE[2], PALETTE[1], PALETTE[4], PALETTE[3]), strict=True):
        axes.barh([0], [count], left=left, color=color, label=f"{'kept' if room == 'kept' else 'lost in ' + room}: {count}")
        left += count
    axes.set(yticks=[], xlim=(0, max(left, 1)), xlabel="gold statements")
    axes.legend(frameon=False, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return _svg(figure, "Gold statements kept, and lost in each room")


def pictures(
    calibration: Calibration | None, cascade: Cascade | None, tables: Sequence[Table]
) -> dict[str, list[tuple[str, str]]]:
    """Title and SVG of each picture, by the section of the report that shows it."""
    result: dict[str, list[tuple[str, str]]] = {}
    confusions = [table for table in tables if table.key.startswith("stance_confusion") and table.rows]
    if confusions:
        result["stance"] = [(table.title, confusion_picture(table, table.title)) for table in confusions]
    if calibration:
        result["calibration"] = [
            ("Reliability", reliability_picture(calibration)),
            ("Risk and coverage", risk_picture(calibration)),
        ]
    if cascade:
        result["cascade"] = [("Where statements are lost", cascade_picture(cascade))]
    return result
