"""What do the stance labels rest on? The shipped weights read the same quotes with less, or other, beside the words.

An input that the weights were not trained on is at a disadvantage: a model of its own might do better with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from onrecord.corpus import GoldArticle
from onrecord.evaluation.measures import ALL, DIVERGENT
from onrecord.evaluation.statistics import Counts, Resampler, Score, accuracy_of, confusions, macro_f1_of
from onrecord.evaluation.tables import Cell, Table
from onrecord.inference import Floats, softmax
from onrecord.records import Statement, is_divergent
from onrecord.stance import QuotesView, StanceClassifier

QUOTE, CONTEXT, PARTY, SOURCE, PRIOR = "quote", "context", "party", "source", "prior"
INPUTS = {
    QUOTE: "the quote alone",
    CONTEXT: "the quote in its context, sources hidden",
    PARTY: "the same, and for which party each source speaks",
    SOURCE: "the same, and the sources' own words",
    PRIOR: "the quote in its context, sources hidden, times a prior of its party",
}
PRIOR_WEIGHTS = np.linspace(0, 1.5, 16)


def ablation(
    classifier: StanceClassifier,
    gold: Sequence[GoldArticle],
    rooms: Sequence[Sequence[Statement]],
    train: Sequence[GoldArticle],
    resampler: Resampler,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> tuple[dict[str, Score], Table]:
    """Read the stances of gold quotes from each input.

    Args:
        classifier: The stance room.
        gold: Articles to score on.
        rooms: Their gold quotes as the pipeline completes them: the parties shown are the pipeline's, not gold's.
        train: Articles that the prior P(stance | party) is counted on, with one added to each count; without them there is
            no row of it. Its weight, the exponent of the prior, is the one of PRIOR_WEIGHTS that is best on `gold` itself:
            one number fitted on what is scored.
        resampler: Draws of the `gold` articles.
        progress: Wraps the loop over articles.

    Returns:
        Figures `ablation.<input>.<view>.<statistic>`, and their table.
    """
    views = {
        CONTEXT: replace(classifier.view, source="masked"),
        SOURCE: replace(classifier.view, source="shown"),
    }
    if classifier.view.source == "party":
        views[PARTY] = classifier.view
    logits: dict[str, list[Floats]] = {name: [] for name in (QUOTE, *views)}
    for article, statements in zip(progress(gold), rooms, strict=True):
        parties = [statement.party.label for statement in statements]
        for name, view in views.items():
            if article.quotes:
                read = classifier.scores(article.article.text, article.quotes, parties, view)
                logits[name] += [stance for stance, _ in read]
        alone = replace(views[CONTEXT], context_tokens=0)
        logits[QUOTE] += [_alone(classifier, article, number, parties, alone) for number in range(len(article.quotes))]
    judged = _Judged(classifier.labels, gold, resampler)
    answers = {name: np.array(values).argmax(-1) for name, values in logits.items()}
    note = "The parties are those that the pipeline finds."
    if train:
        parties = [statement.party.label for statements in rooms for statement in statements]
        weight, answers[PRIOR] = judged.with_prior(softmax(np.array(logits[CONTEXT])), parties, _prior(train, classifier.labels))
        note += f" The prior counts stances by party in train; its exponent, best on these quotes, is {weight:.1f}."
    scores: dict[str, Score] = {}
    rows: list[tuple[Cell, ...]] = []
    for name in INPUTS:
        if name in answers:
            figures = judged.scores(answers[name])
            scores |= {f"ablation.{name}.{key}": score for key, score in figures.items()}
            rows.append((INPUTS[name], *figures.values()))
    shipped = {"masked": CONTEXT, "party": PARTY, "shown": SOURCE}[classifier.view.source]
    columns = ("the model reads", "macro-F1, all", "accuracy, divergent")
    return scores, Table("ablation", "Input", columns, tuple(rows), f"Shipped: {INPUTS[shipped]}. {note}")


def _alone(classifier: StanceClassifier, article: GoldArticle, number: int, parties: Sequence[str], view: QuotesView) -> Floats:
    return classifier.scores(article.article.text, [article.quotes[number]], [parties[number]], view)[0][0]


def _prior(train: Sequence[GoldArticle], labels: Sequence[str]) -> dict[str, Floats]:
    counts: dict[str, Floats] = {}
    for article in train:
        for quote in article.quotes:
            counts.setdefault(quote.party, np.ones(len(labels), dtype=np.float32))[labels.index(quote.stance)] += 1
    return {party: row / row.sum() for party, row in counts.items()}


class _Judged:
    """The gold side of the quotes, and how answers score against it."""

    def __init__(self, labels: Sequence[str], gold: Sequence[GoldArticle], resampler: Resampler) -> None:
        self._labels, self._resampler, self._articles = labels, resampler, len(gold)
        self._places = [place for place, article in enumerate(gold) for _ in article.quotes]
        quotes = [quote for article in gold for quote in article.quotes]
        self._gold = [quote.stance for quote in quotes]
        self._apart = [is_divergent(quote.party, quote.stance) for quote in quotes]

    def scores(self, answers: Sequence[int]) -> dict[str, Score]:
        """Macro-F1 of all quotes and accuracy of divergent ones."""
        everything, apart = self._tables(answers)
        return {
            f"{ALL}.macro_f1": self._resampler.score(everything, macro_f1_of, len(self._gold)),
            f"{DIVERGENT}.accuracy": self._resampler.score(apart, accuracy_of, sum(self._apart)),
        }

    def with_prior(self, words: Floats, parties: Sequence[str], prior: dict[str, Floats]) -> tuple[float, np.ndarray]:
        """The exponent of the prior with the best mean of the two figures, and the answers with it."""
        even = np.full(len(self._labels), 1 / len(self._labels), dtype=np.float32)
        told = np.stack([prior.get(party, even) for party in parties])
        best = (-1.0, 0.0, words.argmax(-1))
        for weight in PRIOR_WEIGHTS:
            answers = (words * told**weight).argmax(-1)
            everything, apart = (table.sum(axis=0) for table in self._tables(answers))
            mean = float(np.nan_to_num(macro_f1_of(everything)) + np.nan_to_num(accuracy_of(apart))) / 2
            if mean > best[0]:
                best = (mean, float(weight), answers)
        return best[1], best[2]

    def _tables(self, answers: Sequence[int]) -> tuple[Counts, Counts]:
        found = [self._labels[int(answer)] for answer in answers]
        apart = [index for index, divergent in enumerate(self._apart) if divergent]
        return (
            confusions(self._places, self._gold, found, self._labels, self._articles),
            confusions(
                [self._places[i] for i in apart],
                [self._gold[i] for i in apart],
                [found[i] for i in apart],
                self._labels,
                self._articles,
            ),
        )
