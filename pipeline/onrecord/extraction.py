"""Article → Quotes: a token classifier marks content, cue and source; a linker joins them into quotes.

Three tag layers (one a part) are decided per word, so a source nested in a content can be found. A span
is whole by construction: the decoder never starts one inside (Viterbi over begin / inside / outside).
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onrecord.inference import Floats, Ints, Model, Pieces, Row, softmax
from onrecord.records import (
    CLOSING_MARKS,
    OPENING_MARKS,
    QUOTATION_MARKS,
    STRAIGHT_MARK,
    Quote,
    QuoteType,
    Span,
)

PARTS = ("content", "cue", "source")
OUTSIDE, BEGIN, INSIDE = 0, 1, 2
# What a content can be linked to: its cue, its source, an earlier content of the same quote.
RELATIONS = ("cue", "source", "content")
DISTANCE_BUCKETS = 16
SHAPES = 12
MAX_LINK_WORDS = 300

_CURLY = re.compile("[“”]")
_WORD = re.compile(r"[\w-]+(?:\.[\w-]+)*\.[a-z]{2,4}(?!\w)|\d+(?:[.,:]\d+)*(?!\w)|\w+(?:[’'\-‐]\w+)*|[^\w\s]")
_SENTENCE_END = re.compile(r"[.!?…][”\"’')\]]*\s+|\n+")
_BREAK = re.compile(r"\n\s*\n|\n(?=\s*[“\"«„—–-])")

WordSpan = tuple[int, int]


@dataclass(frozen=True)
class Words:
    """The words of a text as code points `[start, end)`, and the paragraph number of each."""

    starts: Ints
    ends: Ints
    paragraphs: Ints

    def __len__(self) -> int:
        return len(self.starts)


def split_words(text: str) -> Words:
    """Words and single marks of `text`, in order; the name of a web site is one word. Paragraphs are parted by empty lines."""
    bounds = np.array([match.span() for match in _WORD.finditer(text)], dtype=np.int64).reshape(-1, 2)
    breaks = np.array([match.end() for match in _BREAK.finditer(text)], dtype=np.int64)
    return Words(bounds[:, 0], bounds[:, 1], np.searchsorted(breaks, bounds[:, 0], side="right"))


def word_types(text: str, words: Words) -> Ints:
    """Type id of each word, below SHAPES: its letter case, and whether a paragraph begins with it.

    The base model's vocabulary knows neither capitals nor line breaks, and both tell where sources are.
    """
    types = np.zeros(len(words), dtype=np.int64)
    for index, (start, end) in enumerate(zip(words.starts.tolist(), words.ends.tolist(), strict=True)):
        word = text[start:end]
        if word[0].isdigit():
            types[index] = 3
        elif not word[0].isalpha():
            types[index] = 4
        elif word.isupper() and len(word) > 1:
            types[index] = 2
        elif word[0].isupper():
            types[index] = 1
    if len(words):
        first = np.flatnonzero(np.diff(words.paragraphs, prepend=-1))
        types[first] += SHAPES // 2
    return types


def face_marks(text: str) -> str:
    """`text` with curly marks that face the wrong way turned round (*”The issue,” he said*); no character moves.

    A mark after white space and before a word opens, one after a word and before white space closes.
    """
    turned = list(text)
    for match in _CURLY.finditer(text):
        place = match.start()
        after_space = place == 0 or text[place - 1].isspace()
        before_space = place + 1 == len(text) or text[place + 1].isspace()
        if after_space != before_space:
            turned[place] = "“" if after_space else "”"
    return "".join(turned)


def align(words: Words, pieces: Pieces) -> tuple[Words, Ints, Ints]:
    """The words that have a piece, for each of them its first piece, and for each piece its word.

    A word of characters that the tokenizer drops (a stray control character) has no piece.
    """
    known = np.unique(np.searchsorted(words.starts, pieces.starts, side="right") - 1)
    known = known[known >= 0]
    words = Words(words.starts[known], words.ends[known], words.paragraphs[known])
    owner = np.maximum(np.searchsorted(words.starts, pieces.starts, side="right") - 1, 0)
    first = np.searchsorted(owner, np.arange(len(words)), side="left")
    return words, first, owner


def sentence_starts(text: str, pieces: Pieces) -> Ints:
    """Pieces that a sentence or a line of `text` begins with, as far as marks and line breaks tell."""
    starts = [match.end() for match in _SENTENCE_END.finditer(text)]
    return np.unique(np.searchsorted(pieces.starts, np.array(starts, dtype=np.int64), side="left"))


def windows(count: int, size: int, overlap: int, starts: Ints) -> list[tuple[int, int]]:
    """Windows `[start, end)` over `count` pieces that share at least `overlap` pieces with the next one.

    A window is cut where a sentence ends, and the next one begins with a sentence, where that neither halves the window nor
    doubles the overlap: of a sentence that is read without its beginning, less is found.

    Args:
        count: Pieces of the text.
        size: Most pieces of a window, more than `overlap`.
        overlap: Least pieces that neighbours share.
        starts: Pieces that sentences begin with, in order.
    """
    result: list[tuple[int, int]] = []
    start = 0
    while True:
        if start + size >= count:
            return [*result, (start, count)]
        end = _last(starts, start + max(size // 2, overlap) + 1, start + size, start + size)
        result.append((start, end))
        start = _last(starts, max(start + 1, end - 2 * overlap), end - overlap, end - overlap)


def _last(places: Ints, low: int, high: int, default: int) -> int:
    """The last of `places` from `low` to `high`, both included, or `default`."""
    index = int(np.searchsorted(places, high, side="right")) - 1
    return int(places[index]) if index >= 0 and places[index] >= low else default


def distance_bucket(distance: NDArray[np.int64]) -> NDArray[np.int64]:
    """Bucket of a signed distance in words, below DISTANCE_BUCKETS: finer near zero, sign kept."""
    half = DISTANCE_BUCKETS // 2
    size = np.minimum(np.log2(1 + np.abs(distance)).astype(np.int64), half - 1)
    bucket: NDArray[np.int64] = np.where(distance >= 0, half + size, half - 1 - size)
    return bucket


# The bucket of every distance that the last bucket on either side does not hold anyway; negative ones count from the end.
_FARTHEST = 2 ** (DISTANCE_BUCKETS // 2)
_DISTANCES = distance_bucket(np.concatenate([np.arange(_FARTHEST + 1), np.arange(-_FARTHEST, 0)]))


@dataclass(frozen=True)
class WordScores:
    """What the model says of each word: tag scores (words × 3 parts × 3 tags) and link vectors.

    `queries` and `keys` are words × 3 relations × width, `nulls` words × 3 relations, `parties` words × labels.
    """

    tags: Floats
    queries: Floats
    keys: Floats
    nulls: Floats
    parties: Floats


@dataclass(frozen=True)
class Reading:
    """An article as the extraction model read it, once, for extraction and attribution alike."""

    text: str
    words: Words
    scores: WordScores | None
    party_labels: tuple[str, ...]
    # The text as the model's tokenizer cut it, where no mark had to be turned: another model may have the same tokenizer.
    pieces: Pieces | None = None

    def party_scores(self, span: Span) -> Floats:
        """Log-probabilities of the party labels for a source, from the words around it."""
        if self.scores is None:
            return np.zeros(len(self.party_labels), dtype=np.float32)
        first = int(np.searchsorted(self.words.ends, span.start, side="right"))
        last = int(np.searchsorted(self.words.starts, span.end, side="left"))
        if first >= last:
            return np.zeros(len(self.party_labels), dtype=np.float32)
        scores: Floats = np.log(softmax(_ends_means(self.scores.parties, [(first, last)])[0]) + 1e-9)
        return scores


class Extractor:
    """Finds quotes with one extraction model."""

    def __init__(self, model: Model) -> None:
        self.model = model
        settings = model.settings
        self._window, self._overlap = int(settings["window_tokens"]), int(settings["overlap_tokens"])
        self._bias = np.asarray(settings["link_bias"], dtype=np.float32)
        self.party_labels: tuple[str, ...] = tuple(settings["party_labels"])

    def read(self, text: str) -> Reading:
        """One pass of the model over `text`, window by window."""
        facing = face_marks(text)
        pieces = self.model.tokenize(facing)
        words, first, owner = align(split_words(text), pieces)
        scores = self._score(text, words, pieces, first, owner) if len(words) else None
        return Reading(text, words, scores, self.party_labels, pieces if facing == text else None)

    def extract(self, reading: Reading) -> list[Quote]:
        """All quotes of an article, ordered by where their content begins."""
        if reading.scores is None:
            return []
        words, scores = reading.words, reading.scores
        spans = [viterbi_spans(scores.tags[:, layer]) for layer in range(len(PARTS))]
        # A span that runs over a paragraph break is two: contents never hold an empty line.
        spans = [split_at_breaks(layer, words.paragraphs) for layer in spans]
        quotes = self._link(reading.text, words, scores, spans)
        return sorted(quotes, key=lambda quote: (quote.content[0].start, quote.content[0].end))

    def _score(self, text: str, words: Words, pieces: Pieces, first: Ints, owner: Ints) -> WordScores:
        types = word_types(text, words)[owner]
        bounds = windows(len(pieces.ids), self._window - 2, self._overlap, sentence_starts(text, pieces))
        rows = (window_row(self.model.cls, self.model.sep, pieces.ids, types, start, end) for start, end in bounds)
        # Each word is read in the window where it stands farthest from an edge.
        margin = np.full(len(words), -1, dtype=np.int64)
        picked = np.zeros((len(words), 2), dtype=np.int64)
        for index, (start, end) in enumerate(bounds):
            inside = np.flatnonzero((first >= start) & (first < end))
            room = np.minimum(
                first[inside] - start if start else np.full(len(inside), len(pieces.ids)),
                end - 1 - first[inside] if end < len(pieces.ids) else np.full(len(inside), len(pieces.ids)),
            )
            better = room > margin[inside]
            margin[inside[better]] = room[better]
            picked[inside[better]] = np.stack([np.full(better.sum(), index), first[inside[better]] - start + 1], axis=1)

        # One window at a time: the outputs of all windows of a long article are ten times as large as what is read of them.
        values: dict[str, Floats] = {}
        for index, output in enumerate(self.model.run(rows)):
            here = picked[:, 0] == index
            for name, scores in output.items():
                if name not in values:
                    values[name] = np.empty((len(words), scores.shape[-1]), dtype=np.float32)
                values[name][here] = scores[picked[here, 1]]
        return WordScores(
            values["tags"].reshape(len(words), len(PARTS), 3),
            values["queries"].reshape(len(words), len(RELATIONS), -1),
            values["keys"].reshape(len(words), len(RELATIONS), -1),
            values["nulls"],
            values["parties"],
        )

    def _link(self, text: str, words: Words, scores: WordScores, spans: list[list[WordSpan]]) -> list[Quote]:
        contents, cues, sources = spans
        candidates = [_Candidates.of(scores.keys[:, relation], spans) for relation, spans in enumerate((cues, sources, contents))]
        queries, nulls = _ends_means(scores.queries, contents), _ends_means(scores.nulls, contents)
        groups: list[_Group] = []
        member: list[_Group] = []
        for index, span in enumerate(contents):
            # Contents stand in order, so that those near enough are the last ones.
            near = [j for j in range(max(0, index - 8), index) if span[0] - contents[j][1] <= MAX_LINK_WORDS]
            first = near[0] if near else index
            before = self._relate(2, span, queries[index], nulls[index], candidates[2].part(first, index))
            best = int(before.argmax())
            if best < len(near):
                group = member[near[best]]
            else:
                group = _Group([], _Totals(len(cues)), _Totals(len(sources)))
                groups.append(group)
            group.contents.append(span)
            member.append(group)
            for relation, totals in ((0, group.cues), (1, group.sources)):
                others = candidates[relation]
                low = bisect_left(others.starts, span[0] - MAX_LINK_WORDS)
                high = bisect_left(others.starts, span[1] + MAX_LINK_WORDS)
                totals.add(low, self._relate(relation, span, queries[index], nulls[index], others.part(low, high)))
        quotes = []
        for group in _merge_by_cue(groups):
            cue = _chosen(group.cues, cues)
            source = _chosen(group.sources, sources)
            if cue is None and source is None:
                continue
            quote = self._quote(text, words, group.contents, cue, source)
            if quote is not None:
                quotes.append(quote)
        return quotes

    def _relate(self, relation: int, span: WordSpan, query: Floats, null: Floats, others: _Candidates) -> Floats:
        """Log-probabilities that `span` belongs to each of `others`, and last that it belongs to none.

        `query` and `null` are the span's own: relations × width, and one a relation.
        """
        count = len(others.starts)
        if not count:
            return np.zeros(1, dtype=np.float32)
        values = np.empty(count + 1, dtype=np.float32)
        values[:count] = others.keys @ query[relation] / np.sqrt(query.shape[-1])
        values[:count] += self._bias[relation][_DISTANCES[np.clip(span_distance(span, others.spans), -_FARTHEST, _FARTHEST)]]
        values[count] = null[relation]
        result: Floats = np.log(softmax(values) + 1e-9)
        return result

    def _quote(
        self, text: str, words: Words, contents: list[WordSpan], cue: WordSpan | None, source: WordSpan | None
    ) -> Quote | None:
        """Make the record; words of the cue and source are cut out of the content around them."""
        cut = [span for span in (cue, source) if span is not None]
        left: list[WordSpan] = contents
        for hole in cut:
            left = [piece for span in left for piece in _without(span, hole)]
        spans = [content for span in left if (content := content_span(text, words, span)) is not None]
        if not spans:
            return None
        return Quote(
            type=quote_type([span.text for span in spans]),
            content=tuple(sorted(spans, key=lambda span: span.start)),
            cue=(_to_span(text, words, cue),) if cue else (),
            source=(_to_span(text, words, source),) if source else (),
        )


# The log-probability of a candidate that stands too far from a content to be asked.
FAR = -20.0


class _Totals:
    """Summed log-probabilities of each of `count` candidates, and of none of them.

    Only candidates near a content are held one by one: an article may have ten thousand contents and as many cues.
    """

    def __init__(self, count: int) -> None:
        self._count, self._low = count, 0
        self._near: NDArray[np.float64] = np.zeros(0)
        self._far = self._none = 0.0

    def add(self, low: int, chosen: Floats) -> None:
        """Add one content's log-probabilities: of the candidates from number `low` on, and last of none."""
        self._add(low, chosen[:-1].astype(np.float64), FAR, float(chosen[-1]))

    def merge(self, other: _Totals) -> None:
        """Add those of another group."""
        self._add(other._low, other._near, other._far, other._none)

    def _add(self, low: int, near: NDArray[np.float64], far: float, none: float) -> None:
        if len(near):
            start = min(self._low, low) if len(self._near) else low
            end = max(self._low + len(self._near) if len(self._near) else low, low + len(near))
            held = np.full(end - start, self._far)
            held[self._low - start : self._low - start + len(self._near)] = self._near
            self._low, self._near = start, held
        full = np.full(len(self._near), far)
        full[low - self._low : low - self._low + len(near)] = near
        self._near += full
        self._far += far
        self._none += none

    def best(self) -> int | None:
        """The number of the most probable candidate, the first of equal ones; None where none is more probable."""
        options = [(-self._none, self._count)]
        if len(self._near):
            first = int(self._near.argmax())
            options.append((-float(self._near[first]), self._low + first))
        if len(self._near) < self._count:
            options.append((-self._far, 0 if self._low > 0 or not len(self._near) else len(self._near)))
        number = min(options)[1]
        return number if number < self._count else None


@dataclass
class _Group:
    """Contents that make one quote, with how probable each cue and each source is for them."""

    contents: list[WordSpan]
    cues: _Totals
    sources: _Totals


def _chosen(totals: _Totals, spans: Sequence[WordSpan]) -> WordSpan | None:
    best = totals.best()
    return None if best is None else spans[best]


def _merge_by_cue(groups: list[_Group]) -> list[_Group]:
    """One record a cue: groups that chose the same cue are one quote."""
    by_cue: dict[int, _Group] = {}
    merged = []
    for group in groups:
        cue = group.cues.best()
        if cue is not None and cue in by_cue:
            kept = by_cue[cue]
            kept.contents += group.contents
            kept.cues.merge(group.cues)
            kept.sources.merge(group.sources)
        else:
            merged.append(group)
            if cue is not None:
                by_cue[cue] = group
    return merged


@dataclass(frozen=True)
class _Candidates:
    """Spans that contents may be linked to, in order: spans × 2, where each starts, and the key of each."""

    spans: Ints
    starts: list[int]
    keys: Floats

    @classmethod
    def of(cls, keys: Floats, spans: Sequence[WordSpan]) -> _Candidates:
        return cls(np.asarray(spans, dtype=np.int64).reshape(-1, 2), [start for start, _ in spans], _ends_means(keys, spans))

    def part(self, low: int, high: int) -> _Candidates:
        """Those from number `low` to before `high`."""
        return _Candidates(self.spans[low:high], self.starts[low:high], self.keys[low:high])


def _ends_means(values: Floats, spans: Sequence[WordSpan]) -> Floats:
    """For each span the mean of the values at its first and last word."""
    ends = np.asarray(spans, dtype=np.int64).reshape(-1, 2)
    result: Floats = (values[ends[:, 0]] + values[ends[:, 1] - 1]) / np.float32(2)
    return result


def span_distance(span: WordSpan, others: Sequence[WordSpan] | Ints) -> NDArray[np.int64]:
    """Signed gaps in words from `span` to each of `others`; negative: the other stands before."""
    spans = np.asarray(others, dtype=np.int64).reshape(-1, 2)
    after, before = spans[:, 0] - span[1], spans[:, 1] - span[0]
    gaps: NDArray[np.int64] = np.where(after >= 0, after, np.where(before <= 0, before - 1, 0))
    return gaps


def window_row(cls: int, sep: int, ids: Ints, types: Ints, start: int, end: int) -> Row:
    """The model input for pieces `[start, end)`."""
    return Row(
        np.concatenate([[cls], ids[start:end], [sep]]).astype(np.int64),
        np.concatenate([[0], types[start:end], [0]]).astype(np.int64),
    )


def viterbi_spans(scores: Floats) -> list[WordSpan]:
    """The best sequence of begin / inside / outside tags in which no span starts inside, as word spans.

    Args:
        scores: Words × 3 tag scores (outside, begin, inside), in log space up to a constant a word.
    """
    count = len(scores)
    if not count:
        return []
    logs: list[tuple[float, float, float]] = np.log(softmax(scores) + 1e-9).tolist()
    # Plain numbers: NumPy takes ten times as long for three at a time.
    outside, begin, inside = logs[0][OUTSIDE], logs[0][BEGIN], -math.inf
    back: list[tuple[int, int, int]] = []
    for log_outside, log_begin, log_inside in logs[1:]:
        opened, open_best = (BEGIN, begin) if begin >= inside else (INSIDE, inside)
        closed, closed_best = (OUTSIDE, outside) if outside >= open_best else (opened, open_best)
        back.append((closed, closed, opened))
        outside, begin, inside = closed_best + log_outside, closed_best + log_begin, open_best + log_inside
    tag = int(np.argmax((outside, begin, inside)))
    tags = [tag]
    for step in reversed(back):
        tag = step[tag]
        tags.append(tag)
    tags.reverse()
    spans: list[WordSpan] = []
    start = None
    for index, tag in enumerate([*tags, OUTSIDE]):
        if start is not None and tag != INSIDE:
            spans.append((start, index))
            start = None
        if tag == BEGIN:
            start = index
    return spans


def split_at_breaks(spans: list[WordSpan], paragraphs: Ints) -> list[WordSpan]:
    """Cut word spans where a paragraph ends."""
    result: list[WordSpan] = []
    for start, end in spans:
        cuts = [start, *(start + 1 + np.flatnonzero(np.diff(paragraphs[start:end]))).tolist(), end]
        result += list(zip(cuts, cuts[1:], strict=False))
    return result


def _without(span: WordSpan, hole: WordSpan) -> list[WordSpan]:
    if hole[1] <= span[0] or span[1] <= hole[0]:
        return [span]
    pieces = [(span[0], hole[0]), (hole[1], span[1])]
    return [piece for piece in pieces if piece[0] < piece[1]]


def _to_span(text: str, words: Words, span: WordSpan) -> Span:
    return Span.of(text, int(words.starts[span[0]]), int(words.ends[span[1] - 1]))


def content_span(text: str, words: Words, span: WordSpan) -> Span | None:
    """The content in code points, tidied: quotation marks inside, stray punctuation outside."""
    start, end = int(words.starts[span[0]]), int(words.ends[span[1] - 1])
    if end < len(text) and text[end] in CLOSING_MARKS + STRAIGHT_MARK and text[end - 1] not in QUOTATION_MARKS:
        end += 1
    while start < end and (text[start] in ",;:." or text[start].isspace() or text[start] in CLOSING_MARKS):
        # A mark that opens the wrong way round (”The issue…) still opens: only drop it before a space.
        if text[start] in CLOSING_MARKS and start + 1 < end and not text[start + 1].isspace():
            break
        start += 1
    while start < end and (text[end - 1] in ",;:" or text[end - 1].isspace() or text[end - 1] in "“«„"):
        if text[end - 1] in "“«„" and end - 2 >= start and not text[end - 2].isspace():
            break
        end -= 1
    if start > 0 and text[start - 1] in OPENING_MARKS + STRAIGHT_MARK and text[start] not in QUOTATION_MARKS:
        start -= 1
    inner = text[start:end]
    closed = inner[-1:] == "." and not any(mark in inner for mark in QUOTATION_MARKS)
    if closed and not inner[:-1].endswith(("U.S", "U.N", "etc")):
        end -= 1
    if not any(character.isalnum() for character in text[start:end]):
        return None
    return Span.of(text, start, end)


def quote_type(contents: Sequence[str]) -> QuoteType:
    """Direct, indirect or mixed, by the quotation marks of the content's spans."""
    wholly = [_wholly_marked(content) for content in contents]
    if all(wholly):
        return "direct"
    marked = any(mark in content for content in contents for mark in QUOTATION_MARKS)
    return "mixed" if marked else "indirect"


def _wholly_marked(content: str) -> bool:
    """Whether quotation marks enclose all of `content`; one missing mark at an end is forgiven."""
    body = content.strip().rstrip(".,;:!?…")
    marks = [index for index, character in enumerate(body) if character in QUOTATION_MARKS]
    if not marks:
        return False
    opens, closes = marks[0] == 0, marks[-1] == len(body) - 1
    inner = [index for index in marks if 0 < index < len(body) - 1]
    if not inner:
        return opens or closes
    if not (opens and closes) or body[0] == STRAIGHT_MARK:
        return False
    # “A” and “B” is a paraphrase with marked words: the first mark is closed before the end.
    depth = 0
    for character in body[:-1]:
        depth += (character in OPENING_MARKS) - (character in CLOSING_MARKS)
        if depth == 0:
            return False
    return True
