"""Gold beside answers, one row a gold quote or a found statement: what all figures are computed from.

A row's `found` is what the whole pipeline made of the text, its `given` what attribution and stance answer when the
gold quotes are given to them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from onrecord.corpus import GoldArticle, GoldQuote
from onrecord.corpus.gold import PARTS
from onrecord.evaluation.matching import Ranges, match, ranges
from onrecord.records import RecordError, Statement, is_divergent


@dataclass(frozen=True)
class Gold:
    """A gold quote: labels, and spans as `[start, end)` in code points of the article's text."""

    q: str
    text: str
    type: str
    speaker: str
    party: str
    stance: str
    toward: Mapping[str, str]
    content: Ranges
    cue: Ranges
    source: Ranges

    @classmethod
    def of(cls, quote: GoldQuote, targets: Sequence[str]) -> Gold:
        """The quote with an attitude to every target, neutral ones written out."""
        return cls(
            quote.q,
            " … ".join(span.text for span in quote.content),
            quote.type,
            quote.speaker,
            quote.party,
            quote.stance,
            {target: quote.toward.get(target, "neutral") for target in targets},
            ranges(quote.content),
            ranges(quote.cue),
            ranges(quote.source),
        )

    @property
    def divergent(self) -> bool:
        """Whether the words voice a line that is not the party's own."""
        return is_divergent(self.party, self.stance)


@dataclass(frozen=True)
class Answer:
    """What the pipeline says of a quote."""

    text: str
    type: str
    speaker: str
    party: str
    evidence: str
    stance: str
    confidence: float
    probabilities: Mapping[str, float]
    toward: Mapping[str, str]
    toward_confidence: Mapping[str, float]
    content: Ranges
    cue: Ranges
    source: Ranges

    @classmethod
    def of(cls, statement: Statement) -> Answer:
        """The statement without what the row says already."""
        return cls(
            " … ".join(span.text for span in statement.content),
            statement.type,
            statement.speaker.name,
            statement.party.label,
            statement.party.evidence,
            statement.stance.label,
            statement.stance.confidence,
            statement.stance.probabilities,
            {target: judgement.label for target, judgement in statement.toward.items()},
            {target: judgement.confidence for target, judgement in statement.toward.items()},
            ranges(statement.content),
            ranges(statement.cue),
            ranges(statement.source),
        )

    @property
    def way(self) -> str:
        """How the party was found: the word before the colon of its evidence; `nothing` where nothing told."""
        return self.evidence.split(":")[0] if ":" in self.evidence else "nothing"


@dataclass(frozen=True)
class Row:
    """A gold quote with its answers, or a found statement that is no gold quote (`gold` is None then).

    `iou` is that of the two contents, 0 without a match; `seen` tells whether train articles have the speaker, None
    where none were given; baselines are labels by baseline, those of `toward` by baseline and target.
    """

    article: str
    outlet: str
    style: str
    year: int
    iou: float = 0.0
    gold: Gold | None = None
    found: Answer | None = None
    given: Answer | None = None
    seen: bool | None = None
    stance_baselines: Mapping[str, str] = field(default_factory=dict)
    toward_baselines: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class GoldRow:
    """A row that has gold: what most figures count. `place` is the article's number."""

    place: int
    row: Row
    gold: Gold


@dataclass(frozen=True)
class Predictions:
    """All rows, in the order of articles; an article without quotes counts as an article too."""

    articles: tuple[str, ...]
    rows: tuple[Row, ...]
    chained: bool
    roomed: bool

    def __post_init__(self) -> None:
        object.__setattr__(self, "_places", {article: place for place, article in enumerate(self.articles)})

    def place(self, row: Row) -> int:
        """The number of the row's article."""
        return int(self._places[row.article])  # type: ignore[attr-defined]

    def gold(self) -> Iterator[GoldRow]:
        """Rows of gold quotes."""
        return (GoldRow(self.place(row), row, row.gold) for row in self.rows if row.gold is not None)

    def given(self) -> Iterator[tuple[GoldRow, Answer]]:
        """Gold quotes with what the rooms answer when they are given."""
        return ((item, item.row.given) for item in self.gold() if item.row.given is not None)

    def matched(self) -> Iterator[tuple[GoldRow, Answer]]:
        """Gold quotes that were found, with what was found."""
        return ((item, item.row.found) for item in self.gold() if item.row.found is not None)


def predictions(
    articles: Sequence[GoldArticle],
    chain: Sequence[Sequence[Statement]] | None,
    rooms: Sequence[Sequence[Statement]] | None,
    targets: Sequence[str],
) -> Predictions:
    """Lay answers beside gold.

    Args:
        articles: Gold articles.
        chain: Statements that the whole pipeline found in each; None where it was not run.
        rooms: Statements for each article's gold quotes, in their order; None where the rooms were not run.
        targets: Parties that attitudes are given to.
    """
    rows: list[Row] = []
    for number, article in enumerate(articles):
        day = article.article.date
        base = Row(article.article.id, article.article.outlet or "", article.style, day.year if day else 0)
        found = chain[number] if chain is not None else []
        pairs = {i: (j, iou) for i, j, iou in match(article.quotes, found)}
        for i, quote in enumerate(article.quotes):
            j, iou = pairs.get(i, (-1, 0.0))
            rows.append(
                replace(
                    base,
                    iou=iou,
                    gold=Gold.of(quote, targets),
                    found=Answer.of(found[j]) if j >= 0 else None,
                    given=Answer.of(rooms[number][i]) if rooms is not None else None,
                )
            )
        taken = {j for j, _ in pairs.values()}
        rows += [replace(base, found=Answer.of(statement)) for j, statement in enumerate(found) if j not in taken]
    return Predictions(tuple(a.article.id for a in articles), tuple(rows), chain is not None, rooms is not None)


def _schema() -> Any:
    import pyarrow as pa

    text, spans = pa.string(), pa.list_(pa.list_(pa.int64(), 2))
    labels, shares = pa.map_(text, text), pa.map_(text, pa.float64())
    parts = [(part, spans) for part in PARTS]
    gold = [(name, text) for name in ("q", "text", "type", "speaker", "party", "stance")] + [("toward", labels), *parts]
    answer: list[tuple[str, Any]] = [(name, text) for name in ("text", "type", "speaker", "party", "evidence", "stance")]
    answer += [("confidence", pa.float64()), ("probabilities", shares), ("toward", labels), ("toward_confidence", shares), *parts]
    plain = [("article", text), ("outlet", text), ("style", text), ("year", pa.int64()), ("iou", pa.float64())]
    plain += [("seen", pa.bool_()), ("stance_baselines", labels), ("toward_baselines", pa.map_(text, labels))]
    nested = [(f"{side}_{name}", kind) for side, fields in _sides(gold, answer) for name, kind in fields]
    return pa.schema([*plain, *nested])


def _sides(gold: Any, answer: Any) -> tuple[tuple[str, Any], ...]:
    return (("gold", gold), ("found", answer), ("given", answer))


def write_predictions(data: Predictions, path: Path) -> None:
    """Write rows as Parquet: one column a field, those of gold, found and given by prefix."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema()
    records = []
    for row in data.rows:
        record: dict[str, Any] = {name: value for name, value in vars(row).items() if name not in ("gold", "found", "given")}
        for side, part in (("gold", row.gold), ("found", row.found), ("given", row.given)):
            if part is not None:
                record |= {f"{side}_{name}": value for name, value in asdict(part).items()}
        records.append({name: _plain(record.get(name)) for name in schema.names})
    about = {"articles": "\n".join(data.articles), "chained": str(data.chained), "roomed": str(data.roomed)}
    pq.write_table(pa.Table.from_pylist(records, schema=schema.with_metadata(about)), path)


def _plain(value: Any) -> Any:
    """Mappings as the lists of pairs that Parquet's maps take."""
    if isinstance(value, Mapping):
        return [(key, _plain(inner)) for key, inner in value.items()]
    return value


def read_predictions(path: Path) -> Predictions:
    """Read rows back.

    Raises:
        RecordError: when the file is missing or is no predictions file of this version.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise RecordError(f"{path}: can't be read as Parquet; make it with `onrecord evaluate --out {path.parent}`") from error
    schema = _schema()
    if table.schema.names != schema.names or b"articles" not in (table.schema.metadata or {}):
        raise RecordError(f"{path}: not a predictions file of this version; make it anew with `onrecord evaluate`")
    about = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    rows = tuple(_row(record) for record in table.to_pylist())
    articles = tuple(about["articles"].split("\n"))
    return Predictions(articles, rows, about["chained"] == "True", about["roomed"] == "True")


def _row(record: Mapping[str, Any]) -> Row:
    gold, found, given = (
        {short: _nested(short, value) for name, value in record.items() if (short := name.removeprefix(f"{side}_")) != name}
        for side in ("gold", "found", "given")
    )
    return Row(
        **{name: record[name] for name in ("article", "outlet", "style", "year", "iou", "seen")},
        stance_baselines=dict(record["stance_baselines"]),
        toward_baselines={name: dict(labels) for name, labels in record["toward_baselines"]},
        gold=Gold(**gold) if gold["q"] is not None else None,
        found=Answer(**found) if found["type"] is not None else None,
        given=Answer(**given) if given["type"] is not None else None,
    )


def _nested(name: str, value: Any) -> Any:
    """Lists from Parquet as what they were: pairs of names and values as dictionaries, spans as tuples."""
    if isinstance(value, list):
        return tuple(tuple(span) for span in value) if name in PARTS else dict(value)
    return value


def with_baselines(
    data: Predictions,
    stance: Mapping[str, Sequence[str]],
    toward: Mapping[str, Sequence[Mapping[str, str]]],
    seen: Iterable[str] | None,
) -> Predictions:
    """Rows with the baselines' answers, each a sequence over gold quotes, and whether the speaker is among `seen`."""
    known = None if seen is None else set(seen)
    rows, number = [], 0
    for row in data.rows:
        if row.gold is not None:
            row = replace(
                row,
                seen=None if known is None else row.gold.speaker in known,
                stance_baselines={name: labels[number] for name, labels in stance.items()},
                toward_baselines={name: labels[number] for name, labels in toward.items()},
            )
            number += 1
        rows.append(row)
    return replace(data, rows=tuple(rows))
