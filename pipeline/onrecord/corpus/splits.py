"""Train, dev and test: dealt by story, frozen with hashes, leak-proof."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from onrecord.corpus.gold import CorpusError, GoldArticle, Problem, gold_paths, read_corpus, read_gold
from onrecord.records import stable_hash

SPLITS = {"train": 0.70, "dev": 0.15, "test": 0.15}


def _splits_path(corpus: Path) -> Path:
    return corpus / "splits.json"


def file_digest(path: Path) -> str:
    """16 digits of a file's SHA-256: what the splits file freezes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def corpus_hash(corpus: Path) -> str:
    """One hash over names, contents and splits of a corpus folder."""
    parts = [f"{path.name} {file_digest(path)}" for path in gold_paths([corpus])]
    return hashlib.sha256("\n".join([*parts, _splits_path(corpus).read_text(encoding="utf-8")]).encode()).hexdigest()[:16]


def read_splits(corpus: Path) -> dict[str, dict[str, str]]:
    """The frozen splits file: article id → its `split` and the `sha256` (16 digits) of its file.

    Raises:
        CorpusError: when the corpus has no splits file.
    """
    path = _splits_path(corpus)
    if not path.is_file():
        raise CorpusError([Problem(path, 1, f"no splits file; make it with `onrecord corpus split {corpus}`")])
    result: dict[str, dict[str, str]] = json.loads(path.read_text(encoding="utf-8"))
    return result


def read_split(corpus: Path, split: str) -> list[GoldArticle]:
    """The articles of one split, in the order of their ids.

    Raises:
        CorpusError: when an article can't be read, has no split, or differs from its frozen hash.
    """
    splits = read_splits(corpus)
    articles, problems = [], []
    for path in gold_paths([corpus]):
        entry = splits.get(path.stem)
        if entry is None:
            problems.append(Problem(path, 1, f"is in no split; run `onrecord corpus split {corpus}`"))
        elif entry["sha256"] != file_digest(path):
            problems.append(Problem(path, 1, f"changed since the splits were frozen; run `onrecord corpus split {corpus}`"))
        elif entry["split"] == split:
            articles.append(read_gold(path))
    if problems:
        raise CorpusError(problems)
    return articles


def split_corpus(corpus: Path) -> dict[str, int]:
    """Give every new article a side and freeze it; an article that has one keeps it.

    Articles of one story, or that share an invented speaker, stay together. Groups are dealt, largest
    first, to the side that lacks most quotes; a hash of the group decides ties, so that runs repeat.

    Returns:
        Articles by split.

    Raises:
        CorpusError: when a group holds articles that are frozen on different sides.
    """
    path = _splits_path(corpus)
    frozen = read_splits(corpus) if path.is_file() else {}
    articles = read_corpus([corpus])
    problems = []
    assigned = {gold.article.id: frozen[gold.article.id]["split"] for gold in articles if gold.article.id in frozen}
    quotes = dict.fromkeys(SPLITS, 0)
    for gold in articles:
        if gold.article.id in assigned:
            quotes[assigned[gold.article.id]] += len(gold.quotes)
    total = sum(len(gold.quotes) for gold in articles)
    for group in sorted(story_groups(articles), key=lambda g: (-sum(len(a.quotes) for a in g), stable_hash(g[0].story))):
        sides = {assigned[gold.article.id] for gold in group if gold.article.id in assigned}
        if len(sides) > 1:
            names = ", ".join(gold.article.id for gold in group)
            problems.append(Problem(group[0].path, 1, f"one story or speaker on two sides ({', '.join(sorted(sides))}): {names}"))
            continue
        side = sides.pop() if sides else max(SPLITS, key=lambda name: SPLITS[name] * total - quotes[name])
        for gold in group:
            if gold.article.id not in assigned:
                assigned[gold.article.id] = side
                quotes[side] += len(gold.quotes)
    if problems:
        raise CorpusError(problems)
    table = {
        gold.article.id: {"split": assigned[gold.article.id], "sha256": file_digest(gold.path)}
        for gold in sorted(articles, key=lambda gold: gold.article.id)
    }
    path.write_text(json.dumps(table, indent=0) + "\n", encoding="utf-8")
    return {name: sum(entry["split"] == name for entry in table.values()) for name in SPLITS}


def share_of(articles: list[GoldArticle], share: float, seed: int) -> list[GoldArticle]:
    """Whole stories with about `share` of the quotes, drawn by `seed`; a smaller share of one seed lies in a larger one."""
    if share >= 1:
        return articles
    wanted = share * sum(len(gold.quotes) for gold in articles)
    kept: set[str] = set()
    quotes = 0
    for story in sorted({gold.story for gold in articles}, key=lambda story: stable_hash(seed, story)):
        if quotes >= wanted:
            break
        kept.add(story)
        quotes += sum(len(gold.quotes) for gold in articles if gold.story == story)
    return [gold for gold in articles if gold.story in kept]


def invented_people(gold: GoldArticle) -> set[str]:
    """Names of the article's speakers that look like a person's: bodies and groups recur freely."""
    generic = re.compile(r"\b(of|the|in|and|for|group|council|government|ministry|office|service|authorities)\b", re.IGNORECASE)
    return {
        name.strip()
        for quote in gold.quotes
        for name in quote.speaker.split(";")
        if len(name.split()) in (2, 3)
        and name.istitle()
        and not generic.search(name)
        and any(name.strip().split()[-1] == span.text.split()[-1].strip(",") for q in gold.quotes for span in q.source)
    }


def story_groups(articles: list[GoldArticle]) -> list[list[GoldArticle]]:
    """Connected groups of articles: same story, or a speaker in common."""
    parent = {gold.article.id: gold.article.id for gold in articles}

    def root(key: str) -> str:
        while parent[key] != key:
            key = parent[key]
        return key

    owner: dict[str, str] = {}
    for gold in articles:
        for key in (f"story {gold.story}", *(f"person {name}" for name in sorted(invented_people(gold)))):
            if key in owner:
                parent[root(gold.article.id)] = root(owner[key])
            owner[key] = gold.article.id
    groups: dict[str, list[GoldArticle]] = {}
    for gold in articles:
        groups.setdefault(root(gold.article.id), []).append(gold)
    return list(groups.values())
