"""Records and scores → terminal tables and self-contained pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from rich.table import Table
from rich.text import Text

from onrecord.config import ConflictConfig
from onrecord.corpus.stats import CorpusStats
from onrecord.records import JOINT, OTHER, UNKNOWN, Article, Statement

# Okabe & Ito's colours, told apart by colour-blind readers, given to parties in the config's order.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
NEUTRAL = "#8a8f98"


def colors(conflict: ConflictConfig) -> dict[str, str]:
    """A colour for each party and stance label."""
    result = {party: PALETTE[index % len(PALETTE)] for index, party in enumerate(conflict.parties)}
    return result | dict.fromkeys((JOINT, OTHER, UNKNOWN, "none"), NEUTRAL)


def shorten(text: str, limit: int = 60) -> str:
    """`text` on one line, cut at a word, at most `limit` characters."""
    flat = " ".join(text.split())
    if len(flat) <= limit:
        return flat
    return flat[: limit - 1].rsplit(" ", 1)[0] + "…"


def stance_words(statement: Statement) -> str:
    """The stance as tables show it; where the pipeline abstained, the label that it was not sure of."""
    stance = statement.stance
    return f"unsure ({stance.best}?)" if stance.label == UNKNOWN else stance.label


def statement_table(statements: Sequence[Statement], conflict: ConflictConfig) -> Table:
    """The terminal table of one article: speaker, party, type, quote, stance, and a mark where they differ."""
    palette = colors(conflict)
    table = Table(show_lines=False, expand=False)
    table.add_column("#", justify="right", style="dim")
    table.add_column("Speaker", overflow="fold", max_width=28)
    table.add_column("Party", no_wrap=True)
    table.add_column("Type", no_wrap=True)
    table.add_column("Quote", overflow="fold", ratio=1)
    table.add_column("Stance", no_wrap=True)
    table.add_column("≠", justify="center")
    for number, statement in enumerate(statements, start=1):
        quote = " … ".join(span.text for span in statement.content)
        table.add_row(
            str(number),
            Text(statement.speaker.name),
            Text(statement.party.label, style=palette[statement.party.label]),
            statement.type,
            Text(shorten(quote)),
            Text(f"{stance_words(statement)} {statement.stance.confidence:.2f}", style=palette[statement.stance.label]),
            Text("≠", style="bold red") if statement.divergent else "",
        )
    return table


@dataclass(frozen=True)
class Segment:
    """A stretch of text with the parts of quotes that cover it."""

    text: str
    parts: tuple[str, ...]
    quotes: tuple[int, ...]
    opens: tuple[int, ...]


def segments(text: str, statements: Sequence[Statement]) -> list[Segment]:
    """Cut `text` where any span begins or ends; numbers of quotes count from one."""
    marks = [
        (span.start, span.end, part, number)
        for number, statement in enumerate(statements, start=1)
        for part in ("content", "cue", "source")
        for span in getattr(statement, part)
    ]
    first = {
        number: min(start for start, _, part, other in marks if other == number and part == "content")
        for number in range(1, len(statements) + 1)
    }
    edges = sorted({0, len(text), *(edge for start, end, _, _ in marks for edge in (start, end))})
    starting = sorted(marks)
    result: list[Segment] = []
    active: list[tuple[int, int, str, int]] = []
    position = 0
    for low, high in zip(edges, edges[1:], strict=False):
        while position < len(starting) and starting[position][0] <= low:
            active.append(starting[position])
            position += 1
        active = [mark for mark in active if mark[1] > low]
        result.append(
            Segment(
                text[low:high],
                tuple(dict.fromkeys(part for _, _, part, _ in active)),
                tuple(dict.fromkeys(number for _, _, _, number in active)),
                tuple(n for n, start in first.items() if start == low),
            )
        )
    return result


def render(template: str, **values: object) -> str:
    """Fill a page template; everything in it is escaped by default."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    source = files("onrecord").joinpath("templates", template).read_text(encoding="utf-8")
    return environment.from_string(source).render(**values)


def article_page(results: Sequence[tuple[Article, Sequence[Statement]]], conflict: ConflictConfig) -> str:
    """One self-contained HTML page: each article with its quotes marked, and its table of statements."""
    labels = (*conflict.parties, JOINT, OTHER, UNKNOWN)
    abstained = any(s.stance.label == UNKNOWN for _, statements in results for s in statements)
    matrix = {
        party: {
            stance: sum(s.party.label == party and s.stance.label == stance for _, statements in results for s in statements)
            for stance in (*conflict.stances, *([UNKNOWN] if abstained else []))
        }
        for party in labels
    }
    return render(
        "articles.html",
        results=[(article, statements, segments(article.text, statements)) for article, statements in results],
        conflict=conflict,
        palette=colors(conflict),
        matrix={party: row for party, row in matrix.items() if any(row.values())},
        shorten=shorten,
        stance_words=stance_words,
    )


def stats_tables(stats: CorpusStats) -> list[Table]:
    """Terminal tables of a corpus."""
    figures = Table("figure", "value", title="Corpus")
    for name, value in stats.figures.items():
        figures.add_row(name, f"{value:.6g}")
    voiced = Table("stance", "voiced by")
    for stance, parties in stats.voiced_by.items():
        voiced.add_row(stance, ", ".join(parties))
    tables = [figures, voiced]
    for name, rows in stats.tables.items():
        table = Table(name, "n", "share")
        for label, count in rows.items():
            table.add_row(Text(label), str(count), f"{count / sum(rows.values()):.1%}")
        tables.append(table)
    return tables


def stats_page(stats: CorpusStats) -> str:
    """One self-contained HTML page that describes a corpus."""
    return render("corpus.html", stats=stats)
