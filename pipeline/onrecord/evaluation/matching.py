"""Which found quote is which gold quote, part by part."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from onrecord.records import Quote, Span, Statement

MIN_IOU = 0.5

Ranges = tuple[tuple[int, int], ...]

_TOKEN = re.compile(r"\w+|[^\w\s]")


def match(gold: Sequence[Quote], found: Sequence[Quote | Statement], least: float = MIN_IOU) -> list[tuple[int, int, float]]:
    """One-to-one pairs (gold, found, IoU of the contents' characters), total IoU greatest, each at least `least`."""
    return match_ranges([ranges(q.content) for q in gold], [ranges(q.content) for q in found], least)


def ranges(spans: Iterable[Span]) -> Ranges:
    """Spans as `[start, end)` in code points."""
    return tuple((span.start, span.end) for span in spans)


def match_ranges(gold: Sequence[Ranges], found: Sequence[Ranges], least: float = MIN_IOU) -> list[tuple[int, int, float]]:
    """As `match`, of sets of characters given as ranges."""
    if not gold or not found:
        return []
    gold_sets, found_sets = ([_covered(item) for item in side] for side in (gold, found))
    table = np.zeros((len(gold), len(found)))
    for i, a in enumerate(gold_sets):
        for j, b in enumerate(found_sets):
            if shared := len(a & b):
                table[i, j] = shared / (len(a) + len(b) - shared)
    rows, columns = linear_sum_assignment(np.where(table >= least, table, 0), maximize=True)
    return [(int(i), int(j), float(table[i, j])) for i, j in zip(rows, columns, strict=True) if table[i, j] >= least]


def _covered(item: Ranges) -> set[int]:
    return {place for start, end in item for place in range(start, end)}


def overlap(a: Ranges, b: Ranges) -> bool:
    """Whether two parts share a character, or both are empty."""
    return (not a and not b) or any(s < y and x < e for s, e in a for x, y in b)


def same_speaker(gold: str, found: str) -> bool:
    """Equal up to case, order and the words that only mark a body."""

    def key(name: str) -> frozenset[str]:
        stop = {"the", "of", "and", "republic", "a", "an"}
        words = name.casefold().replace("defence", "defense").replace("'s", "").replace("’s", "").replace(";", " ").split()
        return frozenset(word.strip(",.") for word in words) - stop

    return bool(key(gold)) and key(gold) == key(found)


def tokens(text: str) -> list[tuple[int, int]]:
    """Words and marks of a text as `[start, end)` in code points."""
    return [found.span() for found in _TOKEN.finditer(text)]


def token_spans(pieces: Sequence[tuple[int, int]], spans: Iterable[tuple[int, int]]) -> set[tuple[int, int]]:
    """Spans of characters as ranges `[first, last + 1)` of the tokens that they touch; a span on none is left out."""
    starts, ends = [start for start, _ in pieces], [end for _, end in pieces]
    result = set()
    for start, end in spans:
        first, last = int(np.searchsorted(ends, start, side="right")), int(np.searchsorted(starts, end, side="left"))
        if first < last:
            result.add((first, last))
    return result
