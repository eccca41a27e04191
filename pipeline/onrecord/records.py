"""The records that pass between the rooms: Article, Quote, Statement, and their JSON Lines form.

Offsets are Unicode code points into `Article.text`, exactly as read. Ids are hashes of content, so the
same input always gives the same ids and bytes.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

SCHEMA_VERSION = "onrecord.statement/1"

QuoteType = Literal["direct", "indirect", "mixed"]
Attitude = Literal["favor", "against", "neutral"]
Basis = Literal["words", "words and party", "words and source"]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]

# Labels of the codebook that every conflict has, beside the parties that its config declares.
JOINT, OTHER, UNKNOWN = "joint", "other", "unknown"
NO_STANCE = "none"
ATTITUDES: tuple[Attitude, ...] = ("favor", "against", "neutral")

OPENING_MARKS = "“«„‟"
CLOSING_MARKS = "”»"
STRAIGHT_MARK = '"'
QUOTATION_MARKS = OPENING_MARKS + CLOSING_MARKS + STRAIGHT_MARK


class RecordError(ValueError):
    """A record that does not fit its text or its schema."""


def stable_hash(*parts: object, length: int = 16) -> str:
    """Hash `parts` to `length` hexadecimal digits; equal parts always give equal digits."""
    return hashlib.sha256(json.dumps(parts, ensure_ascii=True, default=str).encode()).hexdigest()[:length]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Article(_Record):
    """One news text. `text` is untouched: newlines, marks and odd characters stay as they were read."""

    text: str
    id: str = ""
    title: str | None = None
    date: dt.date | None = None
    outlet: str | None = None
    url: str | None = None

    def model_post_init(self, context: Any, /) -> None:
        """Give an article without an id one that its content determines."""
        if not self.id:
            object.__setattr__(self, "id", stable_hash(self.text, self.title, self.date, self.outlet, self.url))


class Span(_Record):
    """`text` is what stands at `[start, end)` of the article, in code points."""

    start: Annotated[int, Field(ge=0)]
    end: Annotated[int, Field(ge=1)]
    text: str

    @classmethod
    def of(cls, text: str, start: int, end: int) -> Span:
        """Cut the span out of the article's `text`."""
        return cls(start=start, end=end, text=text[start:end])


class Quote(_Record):
    """A passage presented as said, written or held by a source; each part in the order of the text."""

    type: QuoteType
    content: tuple[Span, ...]
    cue: tuple[Span, ...] = ()
    source: tuple[Span, ...] = ()

    def spans(self) -> Iterator[Span]:
        """All spans of the quote, part by part."""
        yield from self.content
        yield from self.cue
        yield from self.source


class Speaker(_Record):
    """Who the source refers to. `kind` says what sort of name was resolved."""

    name: str
    kind: Literal["person", "body", "group", "document", "unknown"]
    office: str | None = None
    registry_id: str | None = None


class Party(_Record):
    """On whose behalf the speaker speaks. `evidence` is the way it was found and the words that decided."""

    label: str
    evidence: str


class Judgement(_Record):
    """A label with the calibrated probability that it is right."""

    label: str
    confidence: Probability


class StanceJudgement(Judgement):
    """`probabilities` holds every stance label of the conflict and sums to one, up to rounding; `basis` is what the model saw.

    Where the pipeline abstained, the label is `unknown`, and the confidence is that of the label that it did not give.
    """

    probabilities: dict[str, Probability]
    basis: Basis

    @property
    def best(self) -> str:
        """The most probable label, given or abstained from."""
        return max(self.probabilities, key=lambda label: self.probabilities[label])

    def or_unknown(self, least: float) -> StanceJudgement:
        """The judgement, or an abstention where its confidence is below `least`."""
        return self if self.confidence >= least else self.model_copy(update={"label": UNKNOWN})


class Statement(_Record):
    """A quote with its speaker, party, stance and attitudes: one line of the output."""

    schema_version: Literal["onrecord.statement/1"] = Field(default="onrecord.statement/1", alias="schema")
    id: str
    article_id: str
    date: dt.date | None
    outlet: str | None = None
    url: str | None = None
    type: QuoteType
    content: tuple[Span, ...]
    cue: tuple[Span, ...]
    source: tuple[Span, ...]
    speaker: Speaker
    party: Party
    stance: StanceJudgement
    toward: dict[str, Judgement]
    divergent: bool
    models: dict[str, str]

    def check_against(self, text: str) -> None:
        """Raise RecordError unless every span says what stands in `text` at its offsets."""
        for span in (*self.content, *self.cue, *self.source):
            if text[span.start : span.end] != span.text:
                raise RecordError(
                    f"statement {self.id}: characters {span.start}-{span.end} of article {self.article_id} "
                    f"read {text[span.start : span.end]!r}, the record says {span.text!r}"
                )

    def moved_to(self, article: Article) -> Statement:
        """The same statement of another `article`, which has the same text and date."""
        own = {"id": statement_id(article.id, self), "article_id": article.id, "outlet": article.outlet, "url": article.url}
        return self.model_copy(update=own)

    def to_json(self) -> str:
        """One line of JSON Lines, without the newline; keys in the schema's order."""
        return self.model_dump_json(by_alias=True)


def statement_id(article_id: str, quote: Quote | Statement) -> str:
    """The id of a quote's statement: of its article, and of where its parts stand."""
    places = [(part, span.start, span.end) for part in ("content", "cue", "source") for span in getattr(quote, part)]
    return stable_hash(article_id, places)


def is_divergent(party: str, stance: str) -> bool:
    """Whether words voice a declared line that is not the speaker's own.

    `none` is no line, and of an unknown party or an unknown stance nothing can be said.
    """
    return stance not in (NO_STANCE, UNKNOWN) and party not in (UNKNOWN, stance)


def json_schema() -> dict[str, Any]:
    """The published JSON Schema of a statement line (draft 2020-12)."""
    schema = Statement.model_json_schema(by_alias=True, mode="serialization")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_VERSION,
        **schema,
    }


def read_statements(path: Path) -> Iterator[Statement]:
    """Read statements back from JSON Lines.

    Raises:
        RecordError: naming file, line and field of the first record that does not fit the schema.
    """
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                yield Statement.model_validate_json(line)
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join(str(part) for part in first["loc"]) or "the line"
                raise RecordError(
                    f"{path}:{number}: {where}: {first['msg']}. Expected one {SCHEMA_VERSION} record a line."
                ) from error


def part_of(path: Path) -> Path:
    """Where `path` is written until it is whole: beside it, under a name that no other process, of any machine, takes."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")


def write_whole(path: Path, text: str) -> None:
    """Write a file that is either there whole or not there at all, also after the power went."""
    part = part_of(path)
    with part.open("w", encoding="utf-8", newline="\n") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)
