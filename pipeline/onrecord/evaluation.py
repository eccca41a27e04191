"""Gold × the shipped pipeline → matches, scores, intervals and baselines.

What is scored is what users run: the analyzer's own rooms with the model folders of its config.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from onrecord.analyzer import Analyzer
from onrecord.corpus import GoldArticle, GoldQuote
from onrecord.records import ATTITUDES, NO_STANCE, Quote, Statement, is_divergent

METRICS_VERSION = 1
MIN_IOU = 0.5
BOOTSTRAP = 1000


@dataclass(frozen=True)
class Score:
    """A figure that never travels alone: n, and a 95 % interval by bootstrap over articles."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass
class Evaluation:
    """All scores by stage and name, the tables beside them, and what they were measured on."""

    scores: dict[str, dict[str, Score]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    by_evidence: dict[str, tuple[int, int]] = field(default_factory=dict)
    per_stance: dict[str, tuple[float, float, float, int]] = field(default_factory=dict)
    confusion: dict[tuple[str, str], int] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The scores as plain data, keys stable: what `metrics.json` holds."""
        return {
            "metrics_version": METRICS_VERSION,
            "models": self.models,
            "counts": self.counts,
            "scores": {stage: {name: vars(score) for name, score in scores.items()} for stage, scores in self.scores.items()},
            "party_by_evidence": {way: {"right": r, "n": n} for way, (r, n) in self.by_evidence.items()},
            "stance_by_label": {
                label: {"precision": p, "recall": r, "f1": f, "n": n} for label, (p, r, f, n) in self.per_stance.items()
            },
        }


def content_characters(quote: Quote | Statement) -> set[int]:
    """The code points that the content covers."""
    return {place for span in quote.content for place in range(span.start, span.end)}


def match(gold: Sequence[Quote], found: Sequence[Quote | Statement], least: float = MIN_IOU) -> list[tuple[int, int, float]]:
    """One-to-one pairs (gold, found, IoU of the contents' characters), total IoU greatest, each at least `least`."""
    if not gold or not found:
        return []
    gold_sets, found_sets = [content_characters(q) for q in gold], [content_characters(q) for q in found]
    table = np.zeros((len(gold), len(found)))
    for i, a in enumerate(gold_sets):
        for j, b in enumerate(found_sets):
            if shared := len(a & b):
                table[i, j] = shared / (len(a) + len(b) - shared)
    rows, columns = linear_sum_assignment(np.where(table >= least, table, 0), maximize=True)
    return [(int(i), int(j), float(table[i, j])) for i, j in zip(rows, columns, strict=True) if table[i, j] >= least]


def f1(right: float, found: float, gold: float) -> float:
    """Harmonic mean of precision and recall; zero when nothing is there."""
    return 2 * right / (found + gold) if found + gold else 0.0


def macro_f1(pairs: Sequence[tuple[str, str]], labels: Sequence[str]) -> float:
    """Unweighted mean of F1 over the labels that occur in gold; `pairs` are (gold, predicted)."""
    scores = []
    for label in labels:
        gold = sum(g == label for g, _ in pairs)
        if gold:
            right = sum(g == p == label for g, p in pairs)
            scores.append(f1(right, sum(p == label for _, p in pairs), gold))
    return float(np.mean(scores)) if scores else 0.0


def accuracy(pairs: Sequence[tuple[str, str]]) -> float:
    """Share of equal pairs."""
    return sum(g == p for g, p in pairs) / len(pairs) if pairs else 0.0


def bootstrap(groups: Sequence[Sequence[Any]], statistic: Callable[[list[Any]], float], seed: int = 7) -> Score:
    """`statistic` of all items, with a percentile interval from resampling whole articles (Efron 1979).

    Args:
        groups: The items of each article.
        statistic: Items → figure.
        seed: Seed of the resampling.
    """
    items = [item for group in groups for item in group]
    generator = random.Random(seed)
    values = []
    for _ in range(BOOTSTRAP):
        sample = [item for _ in groups for item in groups[generator.randrange(len(groups))]]
        if sample:
            values.append(statistic(sample))
    low, high = np.percentile(values, [2.5, 97.5]) if values else (0.0, 0.0)
    return Score(round(statistic(items), 4), round(float(low), 4), round(float(high), 4), len(items))


def evaluate(
    analyzer: Analyzer,
    gold: Sequence[GoldArticle],
    train: Sequence[GoldArticle] = (),
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> Evaluation:
    """Score every room and the whole chain on gold articles.

    Args:
        analyzer: The pipeline as users run it.
        gold: Articles to score on.
        train: Articles that the TF-IDF baseline learns from; without them it is left out.
        progress: Wraps the loop over articles, to show how far it is.
    """
    result = Evaluation(models=analyzer.models)
    chain, rooms = [], []
    for article in progress(gold):
        chain.append(analyzer.analyze(article.article))
        plain = [Quote(type=q.type, content=q.content, cue=q.cue, source=q.source) for q in article.quotes]
        rooms.append(analyzer.complete(article.article, plain))
    result.counts = {
        "articles": len(gold),
        "quotes": sum(len(a.quotes) for a in gold),
        "found": sum(map(len, chain)),
        "divergent": sum(is_divergent(q.party, q.stance) for a in gold for q in a.quotes),
    }
    _score_extraction(result, gold, chain)
    _score_attribution(result, gold, chain, rooms)
    _score_stance(result, analyzer, gold, rooms, train)
    _score_chain(result, gold, chain)
    return result


def _score_extraction(result: Evaluation, gold: Sequence[GoldArticle], chain: Sequence[Sequence[Statement]]) -> None:
    counts: list[list[dict[str, float]]] = []
    parts: dict[str, list[list[tuple[float, float, float]]]] = {part: [] for part in ("content", "cue", "source")}
    for article, found in zip(gold, chain, strict=True):
        pairs = match(article.quotes, found)
        exact = sum(iou == 1.0 for _, _, iou in pairs)
        types = sum(article.quotes[i].type == found[j].type for i, j, _ in pairs)
        counts.append([{"right": len(pairs), "exact": exact, "types": types, "found": len(found), "gold": len(article.quotes)}])
        for part, groups in parts.items():
            a = {(s.start, s.end) for q in article.quotes for s in getattr(q, part)}
            b = {(s.start, s.end) for q in found for s in getattr(q, part)}
            groups.append([(len(a & b), len(b), len(a))])

    def ratio(over: str, under: str) -> Callable[[list[dict[str, float]]], float]:
        return lambda items: sum(i[over] for i in items) / max(1.0, sum(i[under] for i in items))

    def f1_of(key: str) -> Callable[[list[dict[str, float]]], float]:
        return lambda items: f1(*(sum(i[name] for i in items) for name in (key, "found", "gold")))

    result.scores["extraction"] = {
        "precision (IoU ≥ 0.5)": bootstrap(counts, ratio("right", "found")),
        "recall (IoU ≥ 0.5)": bootstrap(counts, ratio("right", "gold")),
        "F1 (IoU ≥ 0.5)": bootstrap(counts, f1_of("right")),
        "F1 (exact)": bootstrap(counts, f1_of("exact")),
        "type right, of matched": bootstrap(counts, ratio("types", "right")),
    } | {
        f"{part} spans, exact F1": bootstrap(groups, lambda items: f1(*(sum(item[k] for item in items) for k in range(3))))
        for part, groups in parts.items()
    }


def _same_speaker(gold: str, found: str) -> bool:
    """Equal up to case, order and the words that only mark a body."""

    def key(name: str) -> frozenset[str]:
        stop = {"the", "of", "and", "republic", "a", "an"}
        words = name.casefold().replace("defence", "defense").replace("'s", "").replace("’s", "").replace(";", " ").split()
        return frozenset(word.strip(",.") for word in words) - stop

    return bool(key(gold)) and key(gold) == key(found)


def _score_attribution(
    result: Evaluation,
    gold: Sequence[GoldArticle],
    chain: Sequence[Sequence[Statement]],
    rooms: Sequence[Sequence[Statement]],
) -> None:
    matched: list[list[tuple[GoldQuote, Statement]]] = [
        [(article.quotes[i], found[j]) for i, j, _ in match(article.quotes, found)]
        for article, found in zip(gold, chain, strict=True)
    ]
    given = [list(zip(article.quotes, room, strict=True)) for article, room in zip(gold, rooms, strict=True)]

    def overlap(items: list[tuple[GoldQuote, Statement]]) -> float:
        right = [
            (not q.source and not s.source) or any(a.start < b.end and b.start < a.end for a in q.source for b in s.source)
            for q, s in items
        ]
        return sum(right) / max(1, len(right))

    def party(items: list[tuple[GoldQuote, Statement]]) -> float:
        return accuracy([(q.party, s.party.label) for q, s in items])

    def speaker(items: list[tuple[GoldQuote, Statement]]) -> float:
        return sum(_same_speaker(q.speaker, s.speaker.name) for q, s in items) / max(1, len(items))

    result.scores["attribution"] = {
        "source overlaps, of matched": bootstrap(matched, overlap),
        "speaker right, of matched": bootstrap(matched, speaker),
        "party right, of matched": bootstrap(matched, party),
        "speaker right, gold sources given": bootstrap(given, speaker),
        "party right, gold sources given": bootstrap(given, party),
    }
    for items in given:
        for quote, statement in items:
            way = statement.party.evidence.split(":")[0] if ":" in statement.party.evidence else "unknown"
            right, n = result.by_evidence.get(way, (0, 0))
            result.by_evidence[way] = (right + (quote.party == statement.party.label), n + 1)


def _score_stance(
    result: Evaluation,
    analyzer: Analyzer,
    gold: Sequence[GoldArticle],
    rooms: Sequence[Sequence[Statement]],
    train: Sequence[GoldArticle],
) -> None:
    labels = analyzer.conflict.stance_labels
    quotes = [article.quotes for article in gold]
    predictions: dict[str, list[list[str]]] = {"model": [[s.stance.label for s in room] for room in rooms]}
    counted = [q.stance for a in (train or gold) for q in a.quotes]
    most = max(labels, key=counted.count)
    predictions["majority"] = [[most for _ in group] for group in quotes]
    predictions["party of the speaker"] = [[q.party if q.party in labels else NO_STANCE for q in group] for group in quotes]
    if train:
        predictions["TF-IDF + logistic regression"] = _tfidf(train, gold)
    stance: dict[str, Score] = {}
    for name, groups in predictions.items():
        pairs = [
            [(q.stance, p, is_divergent(q.party, q.stance)) for q, p in zip(group, predicted, strict=True)]
            for group, predicted in zip(quotes, groups, strict=True)
        ]
        stance[f"macro-F1, {name}"] = bootstrap(pairs, lambda items: macro_f1([(g, p) for g, p, _ in items], labels))
        divergent = [[item for item in group if item[2]] for group in pairs]
        stance[f"accuracy on divergent quotes, {name}"] = bootstrap(
            divergent, lambda items: accuracy([(g, p) for g, p, _ in items])
        )
        if name != "model":
            model = predictions["model"]
            paired = [
                [(q.stance, a, b) for q, a, b in zip(group, ours, theirs, strict=True)]
                for group, ours, theirs in zip(quotes, model, groups, strict=True)
            ]
            stance[f"macro-F1 ahead of {name}"] = bootstrap(
                paired,
                lambda items: macro_f1([(g, a) for g, a, _ in items], labels) - macro_f1([(g, b) for g, _, b in items], labels),
            )
    result.scores["stance"] = stance
    flat = [
        (q.stance, label)
        for group, labels_found in zip(quotes, predictions["model"], strict=True)
        for q, label in zip(group, labels_found, strict=True)
    ]
    for label in labels:
        right, found, n = (
            sum(g == p == label for g, p in flat),
            sum(p == label for _, p in flat),
            sum(g == label for g, _ in flat),
        )
        result.per_stance[label] = (right / max(1, found), right / max(1, n), f1(right, found, n), n)
    for pair in flat:
        result.confusion[pair] = result.confusion.get(pair, 0) + 1
    toward = {}
    for target in (*analyzer.conflict.targets, "pooled"):
        targets = analyzer.conflict.targets if target == "pooled" else (target,)
        attitudes = [
            [(q.toward.get(t, "neutral"), s.toward[t].label) for q, s in zip(group, room, strict=True) for t in targets]
            for group, room in zip(quotes, rooms, strict=True)
        ]
        toward[f"macro-F1, {target}"] = bootstrap(attitudes, lambda items: macro_f1(items, ATTITUDES))
    majority = [
        [(g, "neutral") for q in group for t in analyzer.conflict.targets for g in [q.toward.get(t, "neutral")]]
        for group in quotes
    ]
    toward["macro-F1, pooled, majority"] = bootstrap(majority, lambda items: macro_f1(items, ATTITUDES))
    result.scores["toward"] = toward


def _tfidf(train: Sequence[GoldArticle], gold: Sequence[GoldArticle]) -> list[list[str]]:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    def words(quote: GoldQuote) -> str:
        return " ".join(span.text for span in quote.content)

    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2),
        LogisticRegression(max_iter=2000, class_weight="balanced", C=4.0),
    )
    model.fit([words(q) for a in train for q in a.quotes], [q.stance for a in train for q in a.quotes])
    return [[str(label) for label in model.predict([words(q) for q in a.quotes])] for a in gold]


def _score_chain(result: Evaluation, gold: Sequence[GoldArticle], chain: Sequence[Sequence[Statement]]) -> None:
    groups = []
    for article, found in zip(gold, chain, strict=True):
        right = sum(
            article.quotes[i].party == found[j].party.label and article.quotes[i].stance == found[j].stance.label
            for i, j, _ in match(article.quotes, found)
        )
        groups.append([(right, len(found), len(article.quotes))])
    result.scores["end to end"] = {
        "F1 of quotes found with the right party and stance": bootstrap(
            groups, lambda items: f1(*(sum(item[k] for item in items) for k in range(3)))
        )
    }


def markdown(evaluation: Evaluation, heading: str, command: str) -> str:
    """The report as Markdown: every score with its interval and n, and the tables beside them."""
    counts = evaluation.counts
    lines = [
        f"# {heading}",
        "",
        f"Made by `{command}`; metrics version {METRICS_VERSION}; 95 % intervals by bootstrap over articles.",
        "",
        f"{counts['articles']} articles, {counts['quotes']} gold quotes ({counts['divergent']} divergent), "
        f"{counts['found']} found. Models: {', '.join(f'`{name}`' for name in evaluation.models.values())}.",
    ]
    for stage, scores in evaluation.scores.items():
        lines += ["", f"## {stage.capitalize()}", "", "| measure | value [95 %] | n |", "|---|---|---|"]
        lines += [f"| {name} | {score} | {score.n} |" for name, score in scores.items()]
        if stage == "attribution":
            lines += [
                "",
                "Party by the way it was found (gold sources given):",
                "",
                "| way | right | n |",
                "|---|---|---|",
            ]
            lines += [f"| {way} | {right / n:.3f} | {n} |" for way, (right, n) in sorted(evaluation.by_evidence.items())]
        if stage == "stance":
            lines += ["", "| stance | precision | recall | F1 | n |", "|---|---|---|---|---|"]
            lines += [f"| {label} | {p:.3f} | {r:.3f} | {f:.3f} | {n} |" for label, (p, r, f, n) in evaluation.per_stance.items()]
            labels = list(evaluation.per_stance)
            lines += [
                "",
                "Confusion (rows: gold, columns: model):",
                "",
                "| | " + " | ".join(labels) + " |",
                "|---" * (len(labels) + 1) + "|",
            ]
            lines += [f"| {g} | " + " | ".join(str(evaluation.confusion.get((g, p), 0)) for p in labels) + " |" for g in labels]
    return "\n".join(lines) + "\n"
