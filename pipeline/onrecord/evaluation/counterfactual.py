"""Does the stance follow the name and not the words?

In the text, every name, demonym, place and body of one party is replaced by the other's and the other way round, and
the stance is read again. Only quotes whose content names neither of the two are counted: their words stay the same to
the letter, so that what changes around them is who is talked about. A label that moves from one party to the other
with the swap has followed the name.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from operator import itemgetter
from typing import Any

import numpy as np

from onrecord.config import ConflictConfig, Names, PartyConfig
from onrecord.corpus import GoldArticle, GoldQuote
from onrecord.evaluation.statistics import Resampler, Score, ratio
from onrecord.evaluation.tables import Cell, Table
from onrecord.records import Quote, Span
from onrecord.stance import StanceClassifier

# How far around a content, in characters, a name counts as its context: about what the model sees of it.
REACH = 300
EXAMPLES = 20
FOLLOWS, STAYS, MOVES = "follows the name", "stays", "moves elsewhere"
MODES = {"context": "names around the quote", "context_and_party": "names around the quote, and the party of each source"}


@dataclass(frozen=True)
class Swapped:
    """A text after the swap, and its replaced words: `[start, end)` in the old text, and in the new."""

    text: str
    cuts: tuple[tuple[int, int, int, int], ...]

    def move(self, span: Span) -> Span:
        """The span in the new text; one that ends inside a replaced word takes the whole word."""
        starts = bisect_right(self.cuts, span.start, key=itemgetter(0)) - 1
        ends = bisect_left(self.cuts, span.end, key=itemgetter(0)) - 1
        return Span.of(self.text, self._place(span.start, starts, 2), self._place(span.end, ends, 3))

    def _place(self, place: int, index: int, edge: int) -> int:
        """Where `place` has gone; `index` is the last replaced word that begins before it, `edge` which end of it to take."""
        if index < 0:
            return place
        _, end, _, new_end = cut = self.cuts[index]
        return cut[edge] if place < end else place - end + new_end


class NameSwap:
    """Swaps the words of two parties; those of all other actors stay, also where they hold a party's word."""

    def __init__(self, conflict: ConflictConfig, first: str, second: str) -> None:
        a, b = conflict.parties[first], conflict.parties[second]
        self._words = _exchanged(a, b, first, second) | _exchanged(b, a, second, first)
        actors: Iterable[Names] = (*conflict.parties.values(), *conflict.others.values())
        known = {word for names in actors for word in _all_words(names)}
        ordered = sorted(known | self._words.keys(), key=len, reverse=True)
        self._pattern = re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, ordered)) + r")(?!\w)")

    def names(self, text: str) -> bool:
        """Whether `text` holds a word of either party."""
        return any(found.group() in self._words for found in self._pattern.finditer(text))

    def apply(self, text: str) -> Swapped:
        """The text with the words exchanged."""
        pieces, cuts, last, length = [], [], 0, 0
        for found in self._pattern.finditer(text):
            new = self._words.get(found.group())
            if new is None:
                continue
            pieces += [text[last : found.start()], new]
            length += found.start() - last
            cuts.append((found.start(), found.end(), length, length + len(new)))
            last, length = found.end(), length + len(new)
        return Swapped("".join([*pieces, text[last:]]), tuple(cuts))


def _all_words(names: Names) -> Iterator[str]:
    yield from names.names
    yield from names.demonyms
    yield from names.metonyms
    for body, aliases in names.bodies.items():
        yield from (body, *aliases)


def _exchanged(one: PartyConfig, other: PartyConfig, label: str, other_label: str) -> dict[str, str]:
    """Each word of `one` with the word of `other` that takes its place: the same kind, the same rank.

    A place that stands for the party itself (a capital) goes with such a place, one that stands for a body with any.
    """
    name = other.names[0] if other.names else ""
    words = {word: _ranked(other.names, rank, name) for rank, word in enumerate(one.names)}
    capitals = [place for place, speaker in other.metonyms.items() if speaker == other_label]
    seats = [place for place in other.metonyms if place not in capitals] or capitals
    own_capitals = [place for place, speaker in one.metonyms.items() if speaker == label]
    words |= {word: _ranked(capitals or seats, rank, name) for rank, word in enumerate(own_capitals)}
    words |= {word: _ranked(seats, 0, name) for word in one.metonyms if word not in own_capitals}
    for many in (False, True):
        own, theirs = _of_number(one.demonyms, many=many), _of_number(other.demonyms, many=many)
        words |= {word: _ranked(theirs, rank, name) for rank, word in enumerate(own)}
    inner = re.compile(r"(?<!\w)(?:" + "|".join(re.escape(w) for w in sorted(words, key=len, reverse=True)) + r")(?!\w)")
    single = _of_number(other.demonyms, many=False)
    whole = f"{single[0]} side" if single else name
    for body, aliases in one.bodies.items():
        for alias in (body, *aliases):
            renamed = inner.sub(lambda found: words[found.group()], alias)
            words[alias] = renamed if renamed != alias else whole
    return {old: new for old, new in words.items() if new}


def _ranked(words: Sequence[str], rank: int, otherwise: str) -> str:
    return words[min(rank, len(words) - 1)] if words else otherwise


def _of_number(demonyms: Sequence[str], *, many: bool) -> list[str]:
    """Plural demonyms, those that add an *s* to another one, or the rest."""
    return [word for word in demonyms if (word[:-1] in demonyms and word.endswith("s")) == many]


@dataclass(frozen=True)
class Case:
    """One eligible quote under one swap: the stance and its confidence before and after."""

    place: int
    article: str
    text: str
    mode: str
    pair: tuple[str, str]
    before: tuple[str, float]
    after: tuple[str, float]

    @property
    def outcome(self) -> str:
        """Whether the label stayed, went with the name, or went elsewhere."""
        if self.before[0] == self.after[0]:
            return STAYS
        return FOLLOWS if {self.before[0], self.after[0]} == set(self.pair) else MOVES


@dataclass(frozen=True)
class Counterfactual:
    """All cases, and rates by mode: how often a label of the two parties followed, and how often any label stayed."""

    cases: tuple[Case, ...]
    scores: dict[str, Score]

    def tables(self) -> list[Table]:
        """Rates by mode, counts by pair, and examples."""
        modes = [mode for mode in MODES if f"counterfactual.{mode}.stays" in self.scores]
        rates: list[tuple[Cell, ...]] = []
        for mode in modes:
            follows, stays = self.scores[f"counterfactual.{mode}.follows"], self.scores[f"counterfactual.{mode}.stays"]
            rates.append((MODES[mode], follows, follows.n, stays, stays.n))
        note = (
            "Quotes whose content names neither party swapped, so that their words are the same. Follows: of labels of "
            "the two, the share that became the other. With the party of the source swapped, *we* and *our* may rightly follow. "
            "Names of people and of places within a party are not swapped."
        )
        pairs: list[tuple[Cell, ...]] = []
        for mode in modes:
            for pair in dict.fromkeys(case.pair for case in self.cases):
                outcomes = [case.outcome for case in self.cases if case.pair == pair and case.mode == mode]
                if outcomes:
                    counts = (outcomes.count(kind) for kind in (FOLLOWS, MOVES, STAYS))
                    pairs.append((MODES[mode], " ↔ ".join(pair), *counts, len(outcomes)))
        examples = sorted((c for c in self.cases if c.outcome != STAYS), key=lambda c: (c.outcome != FOLLOWS, -c.after[1]))
        shown: list[tuple[Cell, ...]] = [
            (" ↔ ".join(c.pair), MODES[c.mode], c.article, c.text, *(f"{label} {p:.2f}" for label, p in (c.before, c.after)))
            for c in examples[:EXAMPLES]
        ]
        columns = ("swapped", "label follows the name", "n", "label stays", "n")
        return [
            Table("counterfactual", "Rates", columns, tuple(rates), note),
            Table("counterfactual_pairs", "Each pair", ("swapped", "pair", FOLLOWS, MOVES, STAYS, "n"), tuple(pairs)),
            Table(
                "counterfactual_examples",
                "Labels that changed",
                ("pair", "swapped", "article", "quote", "before", "after"),
                tuple(shown),
            ),
        ]


def counterfactual(
    classifier: StanceClassifier,
    conflict: ConflictConfig,
    gold: Sequence[GoldArticle],
    resampler: Resampler,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> Counterfactual:
    """Swap each pair of parties that stances are declared for, in every gold article, and read the stances again.

    Args:
        classifier: The stance room.
        conflict: Whose words are swapped.
        gold: Articles; quotes and their parties are taken from them.
        resampler: Draws of these articles.
        progress: Wraps the loop over articles.
    """
    pairs = list(combinations([party for party in conflict.parties if party in conflict.stances], 2))
    swaps = {pair: NameSwap(conflict, *pair) for pair in pairs}
    modes = list(MODES) if classifier.view.source == "party" else ["context"]
    cases: list[Case] = []
    for place, article in enumerate(progress(gold)):
        if article.quotes:
            parties = [quote.party for quote in article.quotes]
            before = _labels(classifier, article.article.text, article.quotes, parties)
            for pair, swap in swaps.items():
                cases += _cases(classifier, place, article, pair, swap, before, modes)
    return Counterfactual(tuple(cases), _rates(cases, modes, len(gold), resampler))


def _labels(classifier: StanceClassifier, text: str, quotes: Sequence[Quote], parties: Sequence[str]) -> list[tuple[str, float]]:
    return [(stance.best, stance.probabilities[stance.best]) for stance, _ in classifier.judge(text, quotes, parties)]


def _cases(
    classifier: StanceClassifier,
    place: int,
    article: GoldArticle,
    pair: tuple[str, str],
    swap: NameSwap,
    before: Sequence[tuple[str, float]],
    modes: Sequence[str],
) -> Iterator[Case]:
    text = article.article.text
    eligible = [i for i, quote in enumerate(article.quotes) if not any(swap.names(span.text) for span in quote.content)]
    near = {i for i in eligible if _named_near(text, article.quotes[i], swap)}
    spoken = {i for i in eligible if article.quotes[i].party in pair}
    swapped = swap.apply(text)
    quotes = [_moved(quote, swapped) for quote in article.quotes]
    other = dict(zip(pair, reversed(pair), strict=True))
    for mode in modes:
        counted = near if mode == "context" else near | spoken
        if not counted:
            continue
        parties = [other.get(q.party, q.party) if mode != "context" else q.party for q in article.quotes]
        after = _labels(classifier, swapped.text, quotes, parties)
        for i in sorted(counted):
            words = " … ".join(span.text for span in article.quotes[i].content)
            yield Case(place, article.article.id, words, mode, pair, before[i], after[i])


def _named_near(text: str, quote: GoldQuote, swap: NameSwap) -> bool:
    return swap.names(text[max(0, quote.content[0].start - REACH) : quote.content[-1].end + REACH])


def _moved(quote: Quote, swapped: Swapped) -> Quote:
    content, cue, source = (tuple(swapped.move(span) for span in part) for part in (quote.content, quote.cue, quote.source))
    return Quote(type=quote.type, content=content, cue=cue, source=source)


def _rates(cases: Sequence[Case], modes: Sequence[str], articles: int, resampler: Resampler) -> dict[str, Score]:
    scores = {}
    for mode in modes:
        follows, stays = np.zeros((articles, 2)), np.zeros((articles, 2))
        for case in cases:
            if case.mode == mode:
                stays[case.place] += (case.outcome == STAYS, 1)
                if case.before[0] in case.pair:
                    follows[case.place] += (case.outcome == FOLLOWS, 1)
        scores[f"counterfactual.{mode}.follows"] = resampler.score(follows, ratio, int(follows[:, 1].sum()), lower_is_better=True)
        scores[f"counterfactual.{mode}.stays"] = resampler.score(stays, ratio, int(stays[:, 1].sum()))
    return scores
