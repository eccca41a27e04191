"""Extraction scored as papers on PolNeAR do, for comparison with their figures.

PolNeAR is univocal (Newell, Margolin & Ruths 2018, *An Attribution Relations Corpus for Political News*): a token
has one label and belongs to one attribution. Token figures compare the labels of tokens; span figures count a
contiguous stretch of a part as right when both its edges agree, as taggers trained on the corpus are scored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from onrecord.corpus import GoldArticle
from onrecord.corpus.gold import PARTS
from onrecord.evaluation.matching import ranges, token_spans, tokens
from onrecord.evaluation.measures import Measure, three
from onrecord.records import Quote, Statement

# Where quotes nest, the innermost mark is a cue or a source within another's content.
_PRIORITY = ("content", "source", "cue")


def polnear_measures(articles: Sequence[GoldArticle], chain: Sequence[Sequence[Statement]]) -> Iterator[Measure]:
    """Token and span precision, recall and F1 of each part."""
    by_token = {part: np.zeros((len(articles), 3)) for part in PARTS}
    by_span = {part: np.zeros((len(articles), 3)) for part in PARTS}
    for place, (article, found) in enumerate(zip(articles, chain, strict=True)):
        pieces = tokens(article.article.text)
        a, b = _labels(pieces, article.quotes), _labels(pieces, found)
        for part in PARTS:
            x, y = _spans(pieces, article.quotes, part), _spans(pieces, found, part)
            by_token[part][place] = (((a == part) & (b == part)).sum(), (b == part).sum(), (a == part).sum())
            by_span[part][place] = (len(x & y), len(y), len(x))
    for part in PARTS:
        yield from three(f"polnear.{part}", "token", by_token[part])
        yield from three(f"polnear.{part}", "span", by_span[part])


def _spans(pieces: Sequence[tuple[int, int]], quotes: Sequence[Quote | Statement], part: str) -> set[tuple[int, int]]:
    return token_spans(pieces, [span for quote in quotes for span in ranges(getattr(quote, part))])


def _labels(pieces: Sequence[tuple[int, int]], quotes: Sequence[Quote | Statement]) -> np.ndarray:
    labels = np.full(len(pieces), "none", dtype="<U7")
    for part in _PRIORITY:
        for first, last in _spans(pieces, quotes, part):
            labels[first:last] = part
    return labels
