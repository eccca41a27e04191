"""What a corpus holds, and how varied it is: the counts that its data card reports."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from onrecord.corpus.gold import GoldArticle, GoldQuote
from onrecord.records import NO_STANCE, UNKNOWN, is_divergent

NGRAM = 5
NEAR_COSINE = 0.25


@dataclass
class CorpusStats:
    """Counts by table name and row; figures by name; and what stands nearest to a duplicate."""

    figures: dict[str, float] = field(default_factory=dict)
    tables: dict[str, dict[str, int]] = field(default_factory=dict)
    voiced_by: dict[str, list[str]] = field(default_factory=dict)
    nearest: tuple[str, str, float] = ("", "", 0.0)


def ngrams(text: str, size: int = NGRAM) -> set[tuple[str, ...]]:
    """Runs of `size` words, letter case and marks ignored."""
    words = [word.strip("“”\"'’‘«»„.,;:!?()–—…").lower() for word in text.split()]
    words = [word for word in words if word]
    return {tuple(words[i : i + size]) for i in range(len(words) - size + 1)}


def near_duplicates(articles: Sequence[GoldArticle]) -> dict[tuple[int, int], float]:
    """Jaccard similarity of 5-gram sets for every pair of articles that shares one; pairs are indices (low, high)."""
    grams = [ngrams(gold.article.text) for gold in articles]
    holders: dict[tuple[str, ...], list[int]] = {}
    for index, group in enumerate(grams):
        for gram in group:
            holders.setdefault(gram, []).append(index)
    shared: Counter[tuple[int, int]] = Counter()
    for indices in holders.values():
        shared.update((a, b) for i, a in enumerate(indices) for b in indices[i + 1 :])
    return {(a, b): count / (len(grams[a]) + len(grams[b]) - count) for (a, b), count in shared.items()}


def near_pairs(articles: Sequence[GoldArticle]) -> list[tuple[GoldQuote, GoldQuote]]:
    """Pairs of alike quotes in different articles where party and stance come apart.

    Alike is a TF-IDF cosine of at least NEAR_COSINE. In a pair one party says two lines, or two parties say one;
    each quote is counted in one pair at most, the most alike first.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    quotes = [(index, quote) for index, gold in enumerate(articles) for quote in gold.quotes]
    if len(quotes) < 2:
        return []
    table = TfidfVectorizer(sublinear_tf=True, stop_words="english").fit_transform(
        " ".join(span.text for span in quote.content) for _, quote in quotes
    )
    close = (table @ table.T).tocoo()
    ranked = sorted(
        (-value, int(i), int(j))
        for i, j, value in zip(close.row, close.col, close.data, strict=True)
        if i < j and value >= NEAR_COSINE
    )
    used: set[int] = set()
    result = []
    for _, i, j in ranked:
        (article_a, a), (article_b, b) = quotes[i], quotes[j]
        if article_a == article_b or {i, j} & used or UNKNOWN in (a.party, b.party):
            continue
        if (a.party == b.party) != (a.stance == b.stance):
            used |= {i, j}
            result.append((a, b))
    return result


def corpus_stats(articles: Sequence[GoldArticle], splits: dict[str, str] | None = None) -> CorpusStats:
    """Describe `articles`; `splits` maps an article's id to its side, where sides are dealt."""
    result = CorpusStats()
    quotes = [quote for gold in articles for quote in gold.quotes]
    words = [len(gold.article.text.split()) for gold in articles]
    grams = Counter(gram for gold in articles for gram in ngrams(gold.article.text))
    cues = Counter(" ".join(span.text.lower() for span in quote.cue) for quote in quotes if quote.cue)
    similar = near_duplicates(articles)
    if similar:
        (a, b), value = max(similar.items(), key=lambda item: item[1])
        result.nearest = (articles[a].article.id, articles[b].article.id, value)
    for stance in sorted({quote.stance for quote in quotes}):
        result.voiced_by[stance] = sorted({q.party for q in quotes if q.stance == stance and q.party != UNKNOWN})
    divergent = sum(is_divergent(quote.party, quote.stance) for quote in quotes)
    result.figures = {
        "articles": len(articles),
        "quotes": len(quotes),
        "words": sum(words),
        "stories": len({gold.story for gold in articles}),
        "speakers": len({(gold.story, quote.speaker) for gold in articles for quote in gold.quotes}),
        "words of an article, shortest": min(words, default=0),
        "words of an article, median": statistics.median(words) if words else 0,
        "words of an article, longest": max(words, default=0),
        "share of divergent quotes": divergent / max(1, len(quotes)),
        "near pairs": len(near_pairs(articles)),
        "different cues": len(cues),
        "share of 5-grams in more than one article": sum(n > 1 for n in grams.values()) / max(1, len(grams)),
        "largest 5-gram Jaccard of two articles": result.nearest[2],
        "discontinuous quotes": sum(len(q.content) > 1 for q in quotes),
        "quotes without a source": sum(not q.source for q in quotes),
        "quotes without a cue": sum(not q.cue for q in quotes),
    }
    result.tables = {
        "style": _counted(gold.style for gold in articles),
        "year": _counted((str(gold.article.date.year) if gold.article.date else "none" for gold in articles), ordered=True),
        "party": _counted(quote.party for quote in quotes),
        "stance": _counted(quote.stance for quote in quotes),
        "type": _counted(quote.type for quote in quotes),
        "toward": _counted(f"{target} {attitude}" for quote in quotes for target, attitude in quote.toward.items()),
        "party, stance of divergent quotes": _counted(
            f"{q.party} → {q.stance}" for q in quotes if q.stance != NO_STANCE and is_divergent(q.party, q.stance)
        ),
        "most frequent cues": dict(cues.most_common(15)),
    }
    if splits:
        result.tables["split, articles"] = _counted((splits.get(gold.article.id, "none yet") for gold in articles), ordered=True)
        sides = [(splits.get(g.article.id, "none yet"), q) for g in articles for q in g.quotes]
        result.tables["split, quotes"] = _counted((side for side, _ in sides), ordered=True)
        result.tables["split, divergent quotes"] = _counted(
            (side for side, q in sides if is_divergent(q.party, q.stance)), ordered=True
        )
    return result


def _counted(values: Iterable[str], *, ordered: bool = False) -> dict[str, int]:
    counts = Counter(values)
    return dict(sorted(counts.items()) if ordered else counts.most_common())


def stats_markdown(stats: CorpusStats) -> str:
    """The description as Markdown tables."""
    lines = ["| figure | value |", "|---|---|"]
    lines += [f"| {name} | {value:.6g} |" for name, value in stats.figures.items()]
    lines += ["", "| stance | voiced by |", "|---|---|"]
    lines += [f"| {stance} | {', '.join(parties)} |" for stance, parties in stats.voiced_by.items()]
    for name, rows in stats.tables.items():
        total = sum(rows.values())
        lines += ["", f"| {name} | n | share |", "|---|---|---|"]
        lines += [f"| {label} | {count} | {count / total:.1%} |" for label, count in rows.items()]
    return "\n".join(lines) + "\n"
