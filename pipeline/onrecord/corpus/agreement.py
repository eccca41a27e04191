"""Two annotations of the same texts → how well they agree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import krippendorff

from onrecord.corpus.gold import CorpusError, GoldArticle, GoldQuote, Problem
from onrecord.evaluation import Score, bootstrap, f1, match


@dataclass(frozen=True)
class Agreement:
    """Figures by name, over the articles that both annotations hold."""

    articles: int
    quotes: tuple[int, int]
    spans: dict[str, Score]
    alphas: dict[str, Score]


def alpha(pairs: Sequence[tuple[str, str]]) -> float:
    """Krippendorff's α for nominal labels by two annotators; 1.0 where only one label occurs at all.

    Computed by the `krippendorff` package (Krippendorff 2011, *Computing Krippendorff's Alpha-Reliability*).
    """
    values = sorted({label for pair in pairs for label in pair})
    if len(values) < 2:
        return 1.0
    codes = {label: float(index) for index, label in enumerate(values)}
    table = [[codes[a] for a, _ in pairs], [codes[b] for _, b in pairs]]
    return float(krippendorff.alpha(reliability_data=table, level_of_measurement="nominal"))


def agreement(
    first: Sequence[GoldArticle], second: Sequence[GoldArticle], stances: Sequence[str], targets: Sequence[str]
) -> Agreement:
    """Compare two annotations: spans over all quotes, labels over quotes that both found (content IoU ≥ 0.5).

    Raises:
        CorpusError: when no article is in both, or an article's text differs.
    """
    other = {gold.article.id: gold for gold in second}
    both = [(gold, other[gold.article.id]) for gold in first if gold.article.id in other]
    if not both:
        raise CorpusError([Problem(second[0].path if second else first[0].path, 1, "no article is in both annotations")])
    for a, b in both:
        if a.article.text != b.article.text:
            raise CorpusError([Problem(b.path, 1, f"the text differs from that of {a.path}; annotate the same text")])
    pairs: list[list[tuple[GoldQuote, GoldQuote]]] = []
    counts: list[list[tuple[int, int, int, int]]] = []
    parts: dict[str, list[list[tuple[int, int, int]]]] = {part: [] for part in ("content", "cue", "source")}
    for a, b in both:
        found = match(a.quotes, b.quotes)
        pairs.append([(a.quotes[i], b.quotes[j]) for i, j, _ in found])
        counts.append([(len(found), sum(iou == 1.0 for _, _, iou in found), len(a.quotes), len(b.quotes))])
        for part, groups in parts.items():
            x = {(s.start, s.end) for q in a.quotes for s in getattr(q, part)}
            y = {(s.start, s.end) for q in b.quotes for s in getattr(q, part)}
            groups.append([(len(x & y), len(x), len(y))])

    def f1_at(index: int) -> Callable[[list[tuple[int, int, int, int]]], float]:
        return lambda items: f1(sum(i[index] for i in items), sum(i[2] for i in items), sum(i[3] for i in items))

    spans = {"quotes, content IoU ≥ 0.5": bootstrap(counts, f1_at(0)), "quotes, content exact": bootstrap(counts, f1_at(1))}
    spans |= {
        f"{part} spans, exact": bootstrap(groups, lambda items: f1(*(sum(item[k] for item in items) for k in range(3))))
        for part, groups in parts.items()
    }

    def labelled(read: Callable[[GoldQuote], str]) -> Score:
        return bootstrap([[(read(a), read(b)) for a, b in group] for group in pairs], alpha)

    def one(label: str) -> Callable[[GoldQuote], str]:
        return lambda quote: str(quote.stance == label)

    def to(target: str) -> Callable[[GoldQuote], str]:
        return lambda quote: quote.toward.get(target, "neutral")

    alphas = {"type": labelled(lambda q: q.type), "party": labelled(lambda q: q.party), "stance": labelled(lambda q: q.stance)}
    alphas |= {f"stance, {label} or not": labelled(one(label)) for label in stances}
    alphas |= {f"toward {target}": labelled(to(target)) for target in targets}
    pooled = [[(a.toward.get(t, "neutral"), b.toward.get(t, "neutral")) for a, b in group for t in targets] for group in pairs]
    alphas["toward, pooled"] = bootstrap(pooled, alpha)
    quotes = (sum(len(a.quotes) for a, _ in both), sum(len(b.quotes) for _, b in both))
    return Agreement(len(both), quotes, spans, alphas)


def agreement_markdown(result: Agreement) -> str:
    """The agreement tables as Markdown."""
    lines = [
        f"{result.articles} articles labelled twice, {result.quotes[0]} quotes by the first and {result.quotes[1]} by the second "
        "annotation; 95 % intervals by bootstrap over articles.",
        "",
        "| spans | F1 [95 %] |",
        "|---|---|",
        *(f"| {name} | {score} |" for name, score in result.spans.items()),
        "",
        "| labels of quotes that both found | Krippendorff's α [95 %] | n |",
        "|---|---|---|",
        *(f"| {name} | {score} | {score.n} |" for name, score in result.alphas.items()),
    ]
    return "\n".join(lines) + "\n"
