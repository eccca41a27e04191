"""Quotes in their article → stance and attitude toward each party, with calibrated probabilities.

The article is read in few rows, each with several quotes in it, and each quote's answer is read off the pieces of its
content and cue. Sources are hidden, so that the words decide and not a name; a model may be trained to see, in their
place, for which party each source speaks, since *our soldiers* can't be read otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from tokenizers import Tokenizer

from onrecord.inference import Floats, Ints, Model, Pieces, Row, softmax, special_id
from onrecord.records import ATTITUDES, UNKNOWN, Basis, Judgement, Quote, Span, StanceJudgement

# Type id of a word piece: what it is to the quotes of the article.
CONTEXT, CONTENT, CUE, SOURCE = range(4)
TYPES = 4
OUTPUTS = ("stance", "toward", "weight")

Source = Literal["masked", "party", "shown"]


@dataclass(frozen=True)
class SpecialIds:
    """Ids of the tokenizer's special pieces; `parties` gives each party label but `unknown` an unused piece of its own."""

    cls: int
    sep: int
    mask: int
    parties: Mapping[str, int]

    @classmethod
    def of(cls, tokenizer: Tokenizer, party_labels: Sequence[str]) -> SpecialIds:
        """Look the pieces up; the first unused ones of the vocabulary stand for the labels, in their order."""
        known = [label for label in party_labels if label != UNKNOWN]
        return cls(
            special_id(tokenizer, "[CLS]"),
            special_id(tokenizer, "[SEP]"),
            special_id(tokenizer, "[MASK]"),
            {label: special_id(tokenizer, f"[unused{number}]") for number, label in enumerate(known, start=1)},
        )


@dataclass(frozen=True)
class QuotesRow:
    """One model input with the quotes that are read off it: their numbers, and the places of each in the row.

    `sources` are the places where a source is hidden.
    """

    row: Row
    quotes: tuple[int, ...]
    places: tuple[Ints, ...]
    sources: Ints


@dataclass(frozen=True)
class QuotesView:
    """What the stance model sees: widths in word pieces, and what stands where a source is."""

    window_tokens: int
    context_tokens: int
    source: Source

    def rows(self, pieces: Pieces, quotes: Sequence[Quote], parties: Sequence[str], ids: SpecialIds) -> Iterator[QuotesRow]:
        """Rows that together hold every quote once, in the order of the text.

        A quote longer than a row keeps its content and cue without what stands between, and of those the beginning
        and the end.

        Args:
            pieces: The whole article.
            quotes: All its quotes.
            parties: For whom each quote's source speaks.
            ids: The tokenizer's special pieces.
        """
        layout = _Layout(pieces, quotes, parties)
        for group in self._groups(layout):
            yield self._row(layout, group, ids)

    def _groups(self, layout: _Layout) -> Iterator[list[int]]:
        """Quotes that share a row: near each other, and none of them holds another's source in its content."""
        group: list[int] = []
        for number in sorted(range(len(layout.contents)), key=lambda n: int(layout.contents[n][0])):
            members = [*group, number]
            extent = max(int(layout.contents[n][-1]) for n in members) - min(int(layout.contents[n][0]) for n in members)
            inside = any(layout.holds_source(number, other) or layout.holds_source(other, number) for other in group)
            if group and (inside or extent >= self.window_tokens - 2 - 2 * self.context_tokens):
                yield group
                group = []
            group.append(number)
        if group:
            yield group

    def _row(self, layout: _Layout, group: list[int], ids: SpecialIds) -> QuotesRow:
        own = np.unique(np.concatenate([layout.contents[number] for number in group]))
        budget = self.window_tokens - 2
        low = max(0, int(own[0]) - self.context_tokens)
        high = min(len(layout.kinds), int(own[-1]) + 1 + self.context_tokens)
        chosen = np.arange(low, high)
        if len(chosen) > budget:
            chosen = np.unique(np.concatenate([own, *(layout.cues[number] for number in group)]))
        if len(chosen) > budget:
            chosen = np.concatenate([chosen[: budget // 2], chosen[budget // 2 - budget :]])
        hidden = np.zeros(len(layout.kinds), dtype=bool)
        repeated = np.zeros_like(hidden)
        labels: dict[int, str] = {}
        if self.source != "shown":
            for source, party in zip(layout.sources, layout.parties, strict=True):
                if not len(source) or source[-1] < low or source[0] >= high:
                    continue
                part = np.setdiff1d(source, own)
                hidden[part] = True
                repeated[part[1:]] = True
                labels |= {int(place): party for place in part[:1]}
        chosen = chosen[~repeated[chosen]]
        values = np.where(hidden[chosen], ids.mask, layout.ids[chosen])
        at = {int(piece): place for place, piece in enumerate(chosen, start=1)}
        sources = [(at[piece], party) for piece, party in labels.items() if piece in at]
        if self.source == "party":
            for place, party in sources:
                values[place - 1] = ids.parties.get(party, ids.mask)
        return QuotesRow(
            Row(
                np.concatenate([[ids.cls], values, [ids.sep]]).astype(np.int64),
                np.concatenate([[CONTEXT], layout.kinds[chosen], [CONTEXT]]).astype(np.int64),
            ),
            tuple(group),
            tuple(self._places(layout, number, at) for number in group),
            np.array([place for place, _ in sources], dtype=np.int64),
        )

    @staticmethod
    def _places(layout: _Layout, number: int, at: Mapping[int, int]) -> Ints:
        """Where the quote's content and cue stand in its row; its beginning of the row where all was cut away."""
        parts = np.concatenate([layout.contents[number], layout.cues[number]])
        return np.array(sorted({at[int(piece)] for piece in parts if int(piece) in at}) or [0], dtype=np.int64)


class _Layout:
    """An article's pieces with the quotes laid over them."""

    def __init__(self, pieces: Pieces, quotes: Sequence[Quote], parties: Sequence[str]) -> None:
        self.ids, self.parties = pieces.ids, parties
        self.contents = [_covering(pieces, quote.content) for quote in quotes]
        self.cues = [_covering(pieces, quote.cue) for quote in quotes]
        self.sources = [_covering(pieces, quote.source) for quote in quotes]
        # Python's sets: NumPy takes a hundred times as long to compare a few numbers.
        self._held = [set(content.tolist()) for content in self.contents]
        self.kinds = np.zeros(len(pieces.ids), dtype=np.int64)
        for parts, kind in ((self.sources, SOURCE), (self.contents, CONTENT), (self.cues, CUE)):
            for part in parts:
                self.kinds[part] = kind

    def holds_source(self, quote: int, other: int) -> bool:
        """Whether the content of `quote` has pieces of the source of `other`."""
        return not self._held[quote].isdisjoint(self.sources[other].tolist())


def _covering(pieces: Pieces, spans: Sequence[Span]) -> Ints:
    """The pieces that overlap the spans; for a span of characters that the tokenizer drops, the piece after it."""
    found: list[int] = []
    for span in spans:
        low = min(int(np.searchsorted(pieces.ends, span.start, side="right")), len(pieces.ids) - 1)
        high = int(np.searchsorted(pieces.starts, span.end, side="left"))
        found += range(low, max(high, low + 1))
    return np.array(sorted(set(found)), dtype=np.int64)


def read_off(output: Mapping[str, Floats], places: Ints) -> tuple[Floats, Floats]:
    """A quote's stance scores, and its attitude scores (targets × attitudes), from the model's output for its row.

    Each piece has scores and a weight; the quote's scores are their mean under a softmax of the weights.
    """
    weights = softmax(output["weight"][places, 0])
    return weights @ output["stance"][places], (weights @ output["toward"][places]).reshape(-1, len(ATTITUDES))


class StanceClassifier:
    """Judges quotes with one stance model."""

    def __init__(self, model: Model) -> None:
        self.model = model
        settings = model.settings
        self.labels: tuple[str, ...] = tuple(settings["stances"])
        self.targets: tuple[str, ...] = tuple(settings["targets"])
        self.view = QuotesView(settings["window_tokens"], settings["context_tokens"], settings["source"])
        self._temperature = float(settings["temperature"]["stance"])
        self._toward_temperature = float(settings["temperature"]["toward"])
        self._ids = SpecialIds.of(model.tokenizer, settings["party_labels"])

    @property
    def basis(self) -> Basis:
        """What the labels rest on."""
        return {"masked": "words", "party": "words and party", "shown": "words and source"}[self.view.source]  # type: ignore[return-value]

    def judge(
        self, text: str, quotes: Sequence[Quote], parties: Sequence[str], pieces: Pieces | None = None
    ) -> list[tuple[StanceJudgement, dict[str, Judgement]]]:
        """Stance and attitudes of each of the `quotes` of one `text`, in their order; `parties` are their sources' labels.

        `pieces` is the text as this model's tokenizer cuts it, where that was done before.
        """
        if not quotes:
            return []
        scores = self.scores(text, quotes, parties, pieces=pieces)
        return [(self._stance(stance), self._toward(toward)) for stance, toward in scores]

    def scores(
        self,
        text: str,
        quotes: Sequence[Quote],
        parties: Sequence[str],
        view: QuotesView | None = None,
        pieces: Pieces | None = None,
    ) -> list[tuple[Floats, Floats]]:
        """Uncalibrated scores of each quote: stances, and targets × attitudes.

        `view` shows the model other input than it was made for, to measure what its answers rest on. `pieces` is the text
        as this model's tokenizer cuts it, where that was done before.
        """
        rows = list(self.rows(pieces or self.model.tokenize(text), quotes, parties, view))
        found: dict[int, tuple[Floats, Floats]] = {}
        for row, output in zip(rows, self.model.run(row.row for row in rows), strict=True):
            found |= {number: read_off(output, places) for number, places in zip(row.quotes, row.places, strict=True)}
        return [found[number] for number in range(len(quotes))]

    def rows(
        self, pieces: Pieces, quotes: Sequence[Quote], parties: Sequence[str], view: QuotesView | None = None
    ) -> Iterator[QuotesRow]:
        """The model's input for the `quotes` of an article that is cut into `pieces`."""
        return (view or self.view).rows(pieces, quotes, parties, self._ids)

    def _stance(self, scores: Floats) -> StanceJudgement:
        probabilities = [round(float(p), 4) for p in softmax(scores, self._temperature)]
        best = int(np.argmax(scores))
        return StanceJudgement(
            label=self.labels[best],
            confidence=probabilities[best],
            probabilities=dict(zip(self.labels, probabilities, strict=True)),
            basis=self.basis,
        )

    def _toward(self, scores: Floats) -> dict[str, Judgement]:
        probabilities = softmax(scores, self._toward_temperature)
        return {
            target: Judgement(label=ATTITUDES[int(row.argmax())], confidence=round(float(row.max()), 4))
            for target, row in zip(self.targets, probabilities, strict=True)
        }
