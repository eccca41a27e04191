"""Text + any target → one of n labels, with a calibrated probability; the target need not be known beforehand.

A target that stands in the text is marked there by the type ids of its word pieces. A target given as words that
the text lacks follows the text as a second segment. Without a target the label is of the whole text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from onrecord.inference import Floats, Ints, Model, Pieces, Row, softmax
from onrecord.records import Judgement, Probability

# Type id of a word piece: text, target where it stands in the text, target's words after it.
TEXT, TARGET, WORDS = range(3)
TYPES = 3
OUTPUT = "label"


@dataclass(frozen=True)
class TargetText:
    """A text and what is asked about: `spans` `[start, end)` of the target in code points, or its words, or neither."""

    text: str
    target: str | None = None
    spans: tuple[tuple[int, int], ...] = ()

    def located(self) -> tuple[tuple[int, int], ...]:
        """Where the target stands: the given spans, or whole-word occurrences of its words whatever their case."""
        if self.spans or not self.target:
            return self.spans
        found = re.finditer(rf"(?<!\w){re.escape(self.target)}(?!\w)", self.text, re.IGNORECASE)
        return tuple(match.span() for match in found)


class LabelJudgement(Judgement):
    """`probabilities` holds every label of the model and sums to one, up to rounding."""

    probabilities: dict[str, Probability]


@dataclass(frozen=True)
class TargetView:
    """What the model sees: at most `max_tokens` word pieces, special ones included."""

    max_tokens: int

    def row(self, pieces: Pieces, item: TargetText, words: Pieces | None, cls: int, sep: int) -> Row:
        """The model input for `item`.

        A text longer than the budget is cut around the first place of the target, or after its beginning.

        Args:
            pieces: The text.
            item: Text and target.
            words: The target's words; read only where the target does not stand in the text.
            cls: Id of the tokenizer's first special piece.
            sep: Id of the piece that ends a segment.
        """
        kinds = np.full(len(pieces.ids), TEXT, dtype=np.int64)
        for start, end in item.located():
            kinds[(pieces.ends > start) & (pieces.starts < end)] = TARGET
        tail: Ints = np.zeros(0, dtype=np.int64)
        if words is not None and not (kinds == TARGET).any():
            tail = np.concatenate([words.ids[: self.max_tokens // 2 - 2], [sep]])
        chosen = self._window(kinds, self.max_tokens - 2 - len(tail))
        return Row(
            np.concatenate([[cls], pieces.ids[chosen], [sep], tail]).astype(np.int64),
            np.concatenate([[TEXT], kinds[chosen], [TEXT], np.full(len(tail), WORDS)]).astype(np.int64),
        )

    @staticmethod
    def _window(kinds: Ints, budget: int) -> slice:
        marked = np.flatnonzero(kinds == TARGET)
        first = int(marked[0]) if len(marked) else 0
        low = max(0, min(first - budget // 2, len(kinds) - budget))
        return slice(low, low + budget)


class TargetClassifier:
    """Labels texts toward targets with one model."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.labels: tuple[str, ...] = tuple(model.settings["labels"])
        self._view = TargetView(int(model.settings["max_tokens"]))
        self._temperature = float(model.settings["temperature"][OUTPUT])

    def classify(self, items: Iterable[TargetText]) -> Iterator[LabelJudgement]:
        """The label of each item, in order, as the items come."""
        return map(self._judgement, self.scores(items))

    def scores(self, items: Iterable[TargetText]) -> Iterator[Floats]:
        """Uncalibrated scores of each item's labels, in order, as the items come."""
        for output in self.model.run(map(self._row, items)):
            yield output[OUTPUT]

    def _row(self, item: TargetText) -> Row:
        words = self.model.tokenize(item.target) if item.target else None
        return self._view.row(self.model.tokenize(item.text), item, words, self.model.cls, self.model.sep)

    def _judgement(self, scores: Floats) -> LabelJudgement:
        probabilities = [round(float(p), 4) for p in softmax(scores, self._temperature)]
        best = int(np.argmax(scores))
        return LabelJudgement(
            label=self.labels[best],
            confidence=probabilities[best],
            probabilities=dict(zip(self.labels, probabilities, strict=True)),
        )
