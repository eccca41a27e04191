"""A trained model × a public data set → its official metric, with interval, beside published results.

NewsMTSC: macro-F1 (Hamborg & Donnay 2021). TweetEval stance: mean F1 of favor and against for each target, then the
mean over targets (Barbieri et al. 2020). PolNeAR: F1 of source, cue and content, exact and at IoU ≥ 0.5, a part that
is torn in several spans being one; and of each span by itself, as taggers are scored (CofeNet, Wang et al. 2022).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from onrecord.config import BenchmarkConfig, ConfigError, ExtractionTrainConfig, TargetTrainConfig, resolve
from onrecord.corpus import CorpusError, GoldArticle, Problem
from onrecord.corpus.imported import read_brat_splits
from onrecord.corpus.labelled import LabelledText, read_labelled
from onrecord.evaluation import MIN_IOU, Score, bootstrap, f1, macro_f1
from onrecord.evaluation.baselines import MAJORITY, TFIDF, TITLES, tfidf
from onrecord.evaluation.matching import ranges
from onrecord.extraction import PARTS, Extractor
from onrecord.inference import Model, ModelError, load_model
from onrecord.records import Quote
from onrecord.target import TargetClassifier

BENCHMARK_VERSION = 1
THREADS = 2
WAYS = ("exact", "IoU ≥ 0.5", "exact, each span")

Answer = tuple[str, str, str]  # gold, predicted, topic
Counts = dict[str, tuple[int, int, int]]  # measure → right, found, gold of an article


@dataclass(frozen=True)
class BenchmarkResult:
    """Scores of one model on one split; the first of `scores` is the headline, which `baselines` have too, by their names.

    `trained` is what its settings say of the training: base model, steps, tokens a second, day, versions.
    """

    name: str
    split: str
    model: str
    data_hash: str
    scores: dict[str, Score]
    baselines: dict[str, Score]
    aims: dict[str, float]
    published: dict[str, str]
    trained: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Plain data with stable keys: what `metrics.json` holds."""
        return {
            "benchmark_version": BENCHMARK_VERSION,
            "benchmark": self.name,
            "split": self.split,
            "model": self.model,
            "trained_on_data_hash": self.data_hash,
            "scores": {name: vars(score) for name, score in self.scores.items()},
            "baselines": {name: vars(score) for name, score in self.baselines.items()},
            "aims": self.aims,
            "published": self.published,
            "trained": self.trained,
        }

    def markdown(self) -> str:
        """A table of the scores, one row a measure, baselines under the first; published results last in it."""
        lines = ["| data | split | measure | ours [95 %] | n | aim | published |", "|---|---|---|---|---|---|---|"]
        published = "; ".join(f"{system} {figure}" for system, figure in self.published.items())
        for number, (name, score) in enumerate(self.scores.items()):
            aim = self.aims.get(name, "")
            cells = (self.name, self.split, name, score, score.n, aim, published if not number else "")
            lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
            if not number:
                for baseline, own in self.baselines.items():
                    lines.append(f"| {self.name} | {self.split} | the same: {baseline} | {own} | {own.n} |  |  |")
        return "\n".join(lines) + "\n"


def run_benchmark(
    path: Path, config: Any, folder: Path | None = None, track: Callable[[Sequence[Any]], Iterable[Any]] = iter
) -> BenchmarkResult:
    """Score a model on the split that the config's `benchmark` names.

    Args:
        path: The YAML that relative paths in `config` count from.
        config: A training config of the kinds train-target or train-extraction, with a `benchmark`.
        folder: The model folder; the config's own output by default.
        track: Wraps what is worked through, to show progress.

    Raises:
        ConfigError: when the config has no benchmark, or one of a kind that has none.
        CorpusError: when the data can't be read or has no such split.
        ModelError: when the model folder can't be used.
    """
    if config.benchmark is None or not isinstance(config, TargetTrainConfig | ExtractionTrainConfig):
        raise ConfigError(f"{path}: has no `benchmark` section; configs/benchmarks holds configs that have one")
    if config.benchmark.split == "train":
        raise ConfigError(f"{path}: `benchmark.split` is train, which models learn from; name a split that is kept apart")
    model = load_model(folder or resolve(path, config.output), THREADS)
    kind = model.settings["training_config"]["kind"]
    if kind != config.kind:
        raise ModelError(f"{model.name} was made by a config of the kind {kind}, and this benchmark needs one of {config.kind}")
    if isinstance(config, TargetTrainConfig):
        place = resolve(path, config.data.path)
        texts = read_labelled(place, config.data, config.labels)
        rows = _of_split(
            config.benchmark, {row.split for row in texts}, [row for row in texts if row.split == config.benchmark.split], place
        )
        scores = _target_scores(model, config, rows, track)
        learned = [row for row in texts if row.split == "train"]
        baselines = {
            name: _target_score(config, _units(rows, answers)) for name, answers in _simple_answers(config, learned, rows).items()
        }
    else:
        place = resolve(path, config.corpus)
        parts = read_brat_splits(place)
        articles = _of_split(config.benchmark, set(parts), parts.get(config.benchmark.split, []), place)
        scores, baselines = _span_scores(model, articles, track), {}
    settings, benchmark = model.settings, config.benchmark
    strange = sorted(set(benchmark.aims) - set(scores))
    if strange:
        raise ConfigError(
            f"{path}: `benchmark.aims` names no measure of this benchmark: {', '.join(strange)}; measures: {', '.join(scores)}"
        )
    return BenchmarkResult(
        benchmark.name,
        benchmark.split,
        model.name,
        settings["corpus_hash"],
        scores,
        baselines,
        benchmark.aims,
        benchmark.published,
        {"base": settings["training_config"]["base"]}
        | {"teachers": settings.get("teachers", [])}
        | {name: settings[name] for name in ("onrecord", "git", "packages", "seed", "trained", "fit")},
    )


def write_result(result: BenchmarkResult, out: Path) -> None:
    """Write `metrics.json` and `report.md` to the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "metrics.json").write_text(json.dumps(result.as_dict(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (out / "report.md").write_text(result.markdown(), encoding="utf-8")


def _of_split(benchmark: BenchmarkConfig, known: set[str], items: list[Any], place: Path) -> list[Any]:
    if not items:
        message = (
            f"no item of the split {benchmark.split!r}; found {', '.join(sorted(known))}. Set benchmark.split to one of them"
        )
        raise CorpusError([Problem(place, 1, message)])
    return items


def _target_scores(
    model: Model, config: TargetTrainConfig, rows: list[LabelledText], track: Callable[[Sequence[Any]], Iterable[Any]]
) -> dict[str, Score]:
    classifier = TargetClassifier(model)
    judged = classifier.classify(row.item for row in track(rows))
    answers = [judgement.label for judgement in judged]
    units = _units(rows, answers)
    headline = "macro-F1" if not config.scored_labels else f"mean F1 of {' and '.join(config.scored_labels)}"
    if config.score_per_target:
        headline += ", mean over targets"
    scores = {headline: _target_score(config, units)}
    if config.score_per_target:
        labels = config.scored_labels or config.labels
        for topic in sorted({row.topic for row in rows}):
            own = [[answer for answer in unit if answer[2] == topic] for unit in units]
            scores[f"mean F1, {topic}"] = bootstrap([unit for unit in own if unit], partial(_label_f1, labels=labels))
    for label in config.labels:
        scores[f"F1, {label}"] = bootstrap(units, partial(_label_f1, labels=[label]))
    scores["accuracy"] = bootstrap(units, lambda items: sum(g == p for g, p, _ in items) / len(items))
    return scores


def _units(rows: Sequence[LabelledText], answers: Sequence[str]) -> list[list[Answer]]:
    """What the bootstrap draws: a text with several targets is one unit, as its answers are not independent."""
    groups: dict[str, list[Answer]] = {}
    for row, answer in zip(rows, answers, strict=True):
        groups.setdefault(row.item.text, []).append((row.label, answer, row.topic))
    return list(groups.values())


def _target_score(config: TargetTrainConfig, units: Sequence[Sequence[Answer]]) -> Score:
    return bootstrap(units, lambda items: target_score(items, config))


def _simple_answers(
    config: TargetTrainConfig, learned: Sequence[LabelledText], rows: Sequence[LabelledText]
) -> dict[str, list[str]]:
    """What the baselines answer; where each target is scored for itself, they learn each for itself."""
    answers: dict[str, dict[int, str]] = {MAJORITY: {}, TFIDF: {}}
    for topic in {row.topic for row in rows} if config.score_per_target else {""}:
        known = [row for row in learned if topic in ("", row.topic)]
        asked = [number for number, row in enumerate(rows) if topic in ("", row.topic)]
        labels = [row.label for row in known]
        if len(set(labels)) < 2:
            raise ConfigError(
                f"{config.data.path}: train has fewer than two labels for {topic or 'any text'}: no baseline can learn"
            )
        answers[MAJORITY] |= dict.fromkeys(asked, Counter(labels).most_common(1)[0][0])
        given = tfidf([row.item.text for row in known], labels, [rows[number].item.text for number in asked])
        answers[TFIDF] |= dict(zip(asked, given, strict=True))
    return {TITLES[name]: [by_row[number] for number in range(len(rows))] for name, by_row in answers.items()}


def _label_f1(answers: Sequence[Answer], labels: Sequence[str]) -> float:
    return macro_f1([(gold, predicted) for gold, predicted, _ in answers], labels)


def target_score(answers: Sequence[Answer], config: TargetTrainConfig) -> float:
    """The config's metric over (gold, predicted, topic): mean F1 of the scored labels, per topic first where it says so."""
    labels = config.scored_labels or config.labels
    by_topic: dict[str, list[tuple[str, str]]] = {}
    for gold, predicted, topic in answers:
        by_topic.setdefault(topic if config.score_per_target else "", []).append((gold, predicted))
    return float(np.mean([macro_f1(pairs, labels) for pairs in by_topic.values()]))


def _span_scores(model: Model, articles: list[GoldArticle], track: Callable[[Sequence[Any]], Iterable[Any]]) -> dict[str, Score]:
    extractor = Extractor(model)
    counted = []
    for gold in track(articles):
        found = extractor.extract(extractor.read(gold.article.text))
        counted.append([span_counts(gold.quotes, found)])
    return {
        measure: bootstrap(counted, partial(summed_f1, measure=measure))
        for measure in (f"{part}, F1 {way}" for part in PARTS for way in WAYS)
    }


def summed_f1(items: Sequence[Counts], measure: str) -> float:
    """F1 of a measure of `span_counts` over articles."""
    right, found, gold = (sum(item[measure][k] for item in items) for k in range(3))
    return f1(right, found, gold)


def span_counts(gold: Sequence[Quote], found: Sequence[Quote]) -> Counts:
    """Right, found and gold parts of an article: a part is one span, or all spans of a discontinuous one, counted once.

    Exact: the same characters. IoU: pairs one-to-one, total overlap greatest, characters' IoU at least 0.5. Each span: of a
    discontinuous part every span counts by itself, whichever part it belongs to.
    """
    counts: Counts = {}
    for part in PARTS:
        wanted, given = _parts(gold, part), _parts(found, part)
        counts[f"{part}, F1 {WAYS[0]}"] = (len(set(wanted) & set(given)), len(given), len(wanted))
        table = np.array([[len(a & b) / len(a | b) for b in given] for a in wanted]).reshape(len(wanted), len(given))
        table[table < MIN_IOU] = 0
        rows, columns = linear_sum_assignment(table, maximize=True)
        counts[f"{part}, F1 {WAYS[1]}"] = (int((table[rows, columns] > 0).sum()), len(given), len(wanted))
        ours, theirs = ({span for quote in side for span in ranges(getattr(quote, part))} for side in (found, gold))
        counts[f"{part}, F1 {WAYS[2]}"] = (len(ours & theirs), len(ours), len(theirs))
    return counts


def _parts(quotes: Sequence[Quote], part: str) -> list[frozenset[int]]:
    """The distinct parts of the quotes, each as the code points that it covers."""
    covered = (frozenset(place for span in getattr(quote, part) for place in range(span.start, span.end)) for quote in quotes)
    return list(dict.fromkeys(places for places in covered if places))
