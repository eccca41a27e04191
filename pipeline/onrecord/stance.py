"""Quote in its context → stance and attitude toward each party, with calibrated probabilities.

One pass gives both. The source is masked unless the model was trained otherwise, so that the words decide
and not who says them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from onrecord.inference import Ints, Model, Pieces, Row, softmax
from onrecord.records import ATTITUDES, Judgement, Quote, StanceJudgement

# Type id of a word piece: what it is to the quote that is judged.
CONTEXT, CONTENT, CUE, SOURCE = range(4)
TYPES = 4


@dataclass(frozen=True)
class QuoteView:
    """What the stance model sees of a quote: widths in word pieces, and whether sources are masked."""

    max_tokens: int
    context_tokens: int
    mask_source: bool

    def row(self, pieces: Pieces, quote: Quote, sources: Sequence[tuple[int, int]], ids: SpecialIds) -> Row:
        """The model input for `quote`.

        Pieces of the content come first in a tight budget, then those between its spans, then the context
        on both sides. A content longer than the budget keeps its beginning and its end.

        Args:
            pieces: The whole article.
            quote: The quote to judge.
            sources: Spans `[start, end)` in code points of every quote's source in the article; all are
                masked, since a neighbour's source often names the same speaker.
            ids: The tokenizer's special pieces.
        """
        kinds = np.zeros(len(pieces.ids), dtype=np.int64)
        for spans, kind in ((quote.source, SOURCE), (quote.cue, CUE), (quote.content, CONTENT)):
            for span in spans:
                kinds[_covering(pieces, span.start, span.end)] = kind
        inside = np.flatnonzero(kinds == CONTENT)
        budget = self.max_tokens - 2
        if len(inside) == 0:
            chosen = np.zeros(0, dtype=np.int64)
        elif len(inside) > budget:
            half = budget // 2
            chosen = np.concatenate([inside[: budget - half], inside[-half:]])
        else:
            chosen = self._with_context(inside, budget, len(pieces.ids))
        masked = np.zeros(len(pieces.ids), dtype=bool)
        repeated = np.zeros(len(pieces.ids), dtype=bool)
        if self.mask_source:
            for start, end in sources:
                part = _covering(pieces, start, end)
                hidden = np.arange(part.start, part.stop)
                hidden = hidden[kinds[hidden] != CONTENT]
                masked[hidden] = True
                repeated[hidden[1:]] = True
        chosen = chosen[~repeated[chosen]]
        values = np.where(masked[chosen], ids.mask, pieces.ids[chosen])
        return Row(
            np.concatenate([[ids.cls], values, [ids.sep]]).astype(np.int64),
            np.concatenate([[CONTEXT], kinds[chosen], [CONTEXT]]).astype(np.int64),
        )

    def _with_context(self, inside: Ints, budget: int, count: int) -> Ints:
        low, high = int(inside[0]), int(inside[-1]) + 1
        if high - low > budget:
            return inside
        room = min((budget - (high - low)) // 2, self.context_tokens)
        return np.arange(max(0, low - room), min(count, high + room))


@dataclass(frozen=True)
class SpecialIds:
    """Ids of the tokenizer's special pieces."""

    cls: int
    sep: int
    mask: int


def _covering(pieces: Pieces, start: int, end: int) -> slice:
    """The pieces that overlap the code points `[start, end)`."""
    low = int(np.searchsorted(pieces.ends, start, side="right"))
    high = int(np.searchsorted(pieces.starts, end, side="left"))
    return slice(low, max(low, high))


class StanceClassifier:
    """Judges quotes with one stance model."""

    def __init__(self, model: Model, batch_tokens: int) -> None:
        self.model = model
        self._batch_tokens = batch_tokens
        settings = model.settings
        self.labels: tuple[str, ...] = tuple(settings["stances"])
        self.targets: tuple[str, ...] = tuple(settings["targets"])
        self._view = QuoteView(settings["max_tokens"], settings["context_tokens"], settings["mask_source"])
        self._temperature = float(settings["temperature"]["stance"])
        self._toward_temperature = float(settings["temperature"]["toward"])
        self._ids = SpecialIds(model.cls, model.sep, model.mask)

    def judge(self, text: str, quotes: Sequence[Quote]) -> list[tuple[StanceJudgement, dict[str, Judgement]]]:
        """Stance and attitudes of each of the `quotes` of one `text`, in their order."""
        if not quotes:
            return []
        pieces = self.model.tokenize(text)
        sources = [(span.start, span.end) for quote in quotes for span in quote.source]
        rows = [self._view.row(pieces, quote, sources, self._ids) for quote in quotes]
        outputs = self.model.run(rows, self._batch_tokens)
        return [(self._stance(output["stance"]), self._toward(output["toward"])) for output in outputs]

    def _stance(self, scores: np.ndarray) -> StanceJudgement:
        probabilities = [round(float(p), 4) for p in softmax(scores, self._temperature)]
        best = int(np.argmax(scores))
        return StanceJudgement(
            label=self.labels[best],
            confidence=probabilities[best],
            probabilities=dict(zip(self.labels, probabilities, strict=True)),
        )

    def _toward(self, scores: np.ndarray) -> dict[str, Judgement]:
        probabilities = softmax(scores, self._toward_temperature)
        return {
            target: Judgement(label=ATTITUDES[int(row.argmax())], confidence=round(float(row.max()), 4))
            for target, row in zip(self.targets, probabilities, strict=True)
        }
