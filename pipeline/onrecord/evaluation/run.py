"""Gold × the shipped pipeline → predictions, figures, tables.

What is scored is what users run: the analyzer's own rooms with the model folders of its config.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from onrecord import __version__
from onrecord.analyzer import Analyzer
from onrecord.article import ArticleError
from onrecord.config import ConflictConfig
from onrecord.corpus import CorpusError, GoldArticle, Problem
from onrecord.evaluation.ablation import ablation
from onrecord.evaluation.baselines import stance_baselines, toward_baselines
from onrecord.evaluation.calibration import Calibration, calibration
from onrecord.evaluation.cascade import Cascade, cascade
from onrecord.evaluation.counterfactual import counterfactual
from onrecord.evaluation.measures import ATTRIBUTION, END_TO_END, EXTRACTION, STAGES, STANCE, TOWARD, measures
from onrecord.evaluation.polnear import polnear_measures
from onrecord.evaluation.predictions import Predictions, predictions, with_baselines
from onrecord.evaluation.slices import slices
from onrecord.evaluation.statistics import METRICS_VERSION, Resampler, Score
from onrecord.evaluation.tables import (
    Table,
    attribution_tables,
    chain_tables,
    extraction_tables,
    stance_tables,
    toward_tables,
)
from onrecord.records import ATTITUDES, Quote, Statement, stable_hash

# Below this number of articles the bootstrap's intervals come out too narrow to be read without a warning.
FEW_ARTICLES = 10


@dataclass
class Evaluation:
    """All that was measured, and on what: figures by dotted key, tables by stage, predictions row by row.

    `notes` are what a reader has to know before the figures; `cards` are those of the models, by room.
    """

    conflict: ConflictConfig
    data: Predictions
    gold_hash: str
    models: dict[str, str]
    cards: dict[str, str]
    stages: tuple[str, ...]
    notes: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    scores: dict[str, Score] = field(default_factory=dict)
    tables: dict[str, list[Table]] = field(default_factory=dict)
    calibration: Calibration | None = None
    cascade: Cascade | None = None

    def as_dict(self) -> dict[str, Any]:
        """Figures and tables as plain data, keys stable (docs/metrics.md): what `metrics.json` holds."""
        return {
            "metrics_version": METRICS_VERSION,
            "onrecord": __version__,
            "conflict": self.conflict.name,
            "stances": list(self.conflict.stance_labels),
            "targets": list(self.conflict.targets),
            "gold_hash": self.gold_hash,
            "models": self.models,
            "stages": list(self.stages),
            "notes": self.notes,
            "counts": self.counts,
            "scores": {key: score.as_dict() for key, score in self.scores.items()},
            "tables": {table.key: table.as_dict() for tables in self.tables.values() for table in tables},
        }


def evaluate(
    analyzer: Analyzer,
    gold: Sequence[GoldArticle],
    train: Sequence[GoldArticle] = (),
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
    *,
    stages: Sequence[str] = STAGES,
    limit: int | None = None,
    swap_parties: bool = False,
    ablate: bool = False,
) -> Evaluation:
    """Score the rooms and the whole chain on gold articles.

    Args:
        analyzer: The pipeline as users run it.
        gold: Articles to score on.
        train: Articles that the baselines learn from; those in `gold` are left out of them.
        progress: Wraps the loop over articles, to show how far it is.
        stages: What to score, of STAGES; rooms that none of them needs are not run.
        limit: Score only the first so many articles; the evaluation says so.
        swap_parties: Also read the stances again with the parties' names swapped.
        ablate: Also read the stances again from less, or other, input.

    Raises:
        ArticleError: when there is no article.
        CorpusError: when there is no quote, a label is none of the conflict's, or an article stands twice.
    """
    scored = list(gold[:limit])
    check_gold(scored, analyzer.conflict)
    inside = {article.article.id for article in scored}
    train = [article for article in train if article.article.id not in inside]
    check_labels(train, analyzer.conflict)
    stages = tuple(stage for stage in STAGES if stage in stages)
    chain, rooms = _run(analyzer, scored, progress, stages)
    data = predictions(scored, chain, rooms, analyzer.conflict.targets)
    if rooms is not None:
        data = _beside_baselines(data, scored, train, analyzer.conflict, stages)
    result = Evaluation(
        analyzer.conflict,
        data,
        stable_hash([[a.article.id, a.article.text, [q.model_dump(mode="json") for q in a.quotes]] for a in scored]),
        analyzer.models,
        {room: model.card for room, model in (("extraction", analyzer.extractor.model), ("stance", analyzer.classifier.model))},
        stages,
        counts=_counts(data, scored, train, analyzer),
    )
    result.notes = _notes(result, len(gold), train)
    resampler = Resampler(len(scored))
    _score(result, scored, chain, float(analyzer.classifier.model.settings["temperature"]["stance"]), resampler)
    if swap_parties and STANCE in stages:
        swapped = counterfactual(analyzer.classifier, analyzer.conflict, scored, resampler, progress)
        result.scores |= swapped.scores
        result.tables["counterfactual"] = swapped.tables()
    if ablate and STANCE in stages and rooms is not None:
        figures, table = ablation(analyzer.classifier, scored, rooms, train, resampler, progress)
        result.scores |= figures
        result.tables["ablation"] = [table]
    return result


def _run(
    analyzer: Analyzer, gold: Sequence[GoldArticle], progress: Callable[[Iterable[Any]], Iterable[Any]], stages: Sequence[str]
) -> tuple[list[list[Statement]] | None, list[list[Statement]] | None]:
    chain: list[list[Statement]] = []
    rooms: list[list[Statement]] = []
    whole = bool({EXTRACTION, ATTRIBUTION, END_TO_END} & set(stages))
    single = bool({ATTRIBUTION, STANCE, TOWARD, END_TO_END} & set(stages))
    for article in progress(gold):
        if whole:
            chain.append(analyzer.analyze(article.article))
        if single:
            plain = [Quote(type=q.type, content=q.content, cue=q.cue, source=q.source) for q in article.quotes]
            rooms.append(analyzer.complete(article.article, plain))
    return chain if whole else None, rooms if single else None


def _beside_baselines(
    data: Predictions, gold: Sequence[GoldArticle], train: Sequence[GoldArticle], conflict: ConflictConfig, stages: Sequence[str]
) -> Predictions:
    stance = stance_baselines(gold, train, conflict.stance_labels) if STANCE in stages else {}
    toward = toward_baselines(gold, train, conflict) if TOWARD in stages else {}
    return with_baselines(data, stance, toward, {q.speaker for a in train for q in a.quotes} if train else None)


def check_gold(articles: Sequence[GoldArticle], conflict: ConflictConfig) -> None:
    """Raise ArticleError without an article, CorpusError without a quote, for a doubled article and for strange labels."""
    if not articles:
        raise ArticleError("no gold article to score; check --gold and --split")
    if not any(article.quotes for article in articles):
        raise CorpusError(
            [Problem(articles[0].path, 1, f"none of the {len(articles)} gold articles has a quote; nothing can be scored")]
        )
    seen: dict[str, GoldArticle] = {}
    problems = []
    for article in articles:
        if article.article.id in seen:
            message = f"id {article.article.id!r} is also that of {seen[article.article.id].path}; name each article once"
            problems.append(Problem(article.path, 1, message))
        seen[article.article.id] = article
    if problems:
        raise CorpusError(problems)
    check_labels(articles, conflict)


def check_labels(articles: Sequence[GoldArticle], conflict: ConflictConfig) -> None:
    """Raise CorpusError with every label that is none of the conflict's."""
    problems = []
    for article in articles:
        for quote in article.quotes:
            strange = [
                f"{name} {label!r}; the conflict {conflict.name!r} has {', '.join(known)}"
                for name, label, known in (
                    ("party", quote.party, conflict.party_labels),
                    ("stance", quote.stance, conflict.stance_labels),
                    *(("toward", target, conflict.targets) for target in quote.toward),
                    *(("attitude", attitude, ATTITUDES) for attitude in quote.toward.values()),
                )
                if label not in known
            ]
            problems += [Problem(article.path, _line(article, quote.q), f"quote {quote.q}: {message}") for message in strange]
    if problems:
        raise CorpusError(problems)


def _line(article: GoldArticle, q: str) -> int:
    """The line of a quote's record where the article was read from a gold file, else 1."""
    if article.path.suffix != ".xml" or not article.path.is_file():
        return 1
    pattern = re.compile(rf'<quote\b[^>]*\bq="{re.escape(q)}"')
    lines = article.path.read_text(encoding="utf-8").splitlines()
    return next((number for number, line in enumerate(lines, start=1) if pattern.search(line)), 1)


def _counts(data: Predictions, gold: Sequence[GoldArticle], train: Sequence[GoldArticle], analyzer: Analyzer) -> dict[str, int]:
    learned = {
        name for model in (analyzer.extractor.model, analyzer.classifier.model) for name in model.settings.get("trained_on", ())
    }
    return {
        "articles": len(data.articles),
        "quotes": sum(1 for _ in data.gold()),
        "divergent": sum(item.gold.divergent for item in data.gold()),
        "found": sum(row.found is not None for row in data.rows),
        "train_articles": len(train),
        "trained_on": sum(article.article.id in learned for article in gold),
    }


def _notes(result: Evaluation, total: int, train: Sequence[GoldArticle]) -> list[str]:
    counts, notes = result.counts, []
    if counts["articles"] < total:
        notes.append(
            f"Only the first {counts['articles']} of {total} articles were scored (--limit): not the figures of the whole."
        )
    if counts["articles"] < FEW_ARTICLES:
        notes.append(f"{counts['articles']} article(s): too few for intervals that can be trusted.")
    if counts["trained_on"]:
        notes.append(
            f"A model was trained on {counts['trained_on']} of these articles: its figures on them say nothing about new text."
        )
    if not train and {STANCE, TOWARD} & set(result.stages):
        notes.append(
            "No train articles: the baselines count the gold articles themselves, and TF-IDF is left out. Name some with --train."
        )
    present = {item.gold.stance for item in result.data.gold()}
    empty = [label for label in result.conflict.stance_labels if label not in present]
    if empty:
        notes.append(f"No gold quote has the stance {', '.join(empty)}: macro figures are over the other stances.")
    return notes


def _score(
    result: Evaluation,
    gold: Sequence[GoldArticle],
    chain: Sequence[Sequence[Statement]] | None,
    temperature: float,
    resampler: Resampler,
) -> None:
    data, conflict, stages = result.data, result.conflict, result.stages
    found = list(measures(data, conflict.stance_labels, conflict.targets, stages))
    if EXTRACTION in stages and chain is not None:
        found += polnear_measures(gold, chain)
    result.scores = {m.key: resampler.score(m.counts, m.statistic, m.n) for m in found}
    tables: dict[str, list[Table]] = {}
    if EXTRACTION in stages:
        tables[EXTRACTION] = extraction_tables(result.scores)
    if ATTRIBUTION in stages:
        tables[ATTRIBUTION] = attribution_tables(data, result.scores, conflict.party_labels)
    if STANCE in stages:
        tables[STANCE] = stance_tables(data, result.scores, conflict.stance_labels)
        result.calibration = calibration(data, temperature, resampler)
    if result.calibration:
        tables["calibration"] = result.calibration.tables()
        result.scores["calibration.before.ece"] = result.calibration.before.ece
        result.scores["calibration.after.ece"] = result.calibration.after.ece
    if TOWARD in stages:
        tables[TOWARD] = toward_tables(data, result.scores, conflict.targets)
    if END_TO_END in stages:
        tables[END_TO_END] = chain_tables(result.scores)
        result.cascade = cascade(data, resampler)
        tables["cascade"] = result.cascade.tables()
        result.scores |= {f"cascade.{room}.share": score for room, score in result.cascade.shares.items()}
    tables["slices"] = slices(data, conflict.stance_labels, resampler)
    result.tables = tables
