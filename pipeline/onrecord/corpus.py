"""Gold articles in the codebook's XML format: reading, checking, writing."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from lxml import etree

from onrecord.records import (
    CLOSING_MARKS,
    OPENING_MARKS,
    QUOTATION_MARKS,
    STRAIGHT_MARK,
    UNKNOWN,
    Article,
    Quote,
    QuoteType,
    Span,
    stable_hash,
)

PARTS = ("content", "cue", "source")
STYLES = (
    "agency",
    "newspaper",
    "statement",
    "briefing",
    "interview",
    "roundup",
    "parliament-court",
    "translated-agency",
    "live-blog",
    "analysis",
)
MAX_GOLD_BYTES = 5_000_000

_ARTICLE_FIELDS = ("id", "date", "outlet", "style", "story")
_QUOTE_FIELDS = ("q", "type", "speaker", "party", "stance", "toward")
_ID = re.compile(r"[a-z0-9][a-z0-9._-]*")


@dataclass(frozen=True)
class Labels:
    """The label sets that a gold file may use, from the conflict's config."""

    parties: tuple[str, ...]
    stances: tuple[str, ...]
    targets: tuple[str, ...]


@dataclass(frozen=True)
class Problem:
    """A fault in a gold file: where, and what to do about it."""

    path: Path
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


class CorpusError(ValueError):
    """A gold file that can't be read; `problems` has every fault that was found."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class GoldQuote(Quote):
    """A quote with the annotator's labels; `toward` holds only the parties that are not neutral."""

    q: str
    speaker: str
    party: str
    stance: str
    toward: dict[str, str] = {}


@dataclass(frozen=True)
class GoldArticle:
    """An article with its annotation."""

    article: Article
    quotes: tuple[GoldQuote, ...]
    style: str
    story: str
    path: Path


def gold_paths(paths: Iterable[Path]) -> list[Path]:
    """Gold files named by `paths`, folders searched below; sorted, so that runs repeat.

    Raises:
        FileNotFoundError: for a path that is not there or a folder without gold files.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            below = sorted(path.rglob("*.xml"))
            if not below:
                raise FileNotFoundError(f"{path}: no gold files (*.xml) below this folder")
            found += below
        elif path.is_file():
            found.append(path)
        else:
            raise FileNotFoundError(f"{path}: no such file or folder")
    return found


def read_corpus(paths: Iterable[Path]) -> list[GoldArticle]:
    """Read gold articles from files and folders.

    Raises:
        CorpusError: with the faults of all files, when any can't be read.
    """
    articles: list[GoldArticle] = []
    problems: list[Problem] = []
    for path in gold_paths(paths):
        try:
            articles.append(read_gold(path))
        except CorpusError as error:
            problems += error.problems
    if problems:
        raise CorpusError(problems)
    return articles


def _line(element: etree._Element) -> int:
    line = element.sourceline
    return line if isinstance(line, int) else 1


def _parse(path: Path) -> etree._Element:
    size = path.stat().st_size
    if size > MAX_GOLD_BYTES:
        raise CorpusError([Problem(path, 1, f"{size} bytes; a gold file has at most {MAX_GOLD_BYTES}")])
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True)
    try:
        return etree.fromstring(path.read_bytes(), parser)
    except etree.XMLSyntaxError as error:
        raise CorpusError([Problem(path, error.lineno or 1, f"not well-formed XML: {error.msg}")]) from error


class _Reader:
    """Turns one parsed file into a GoldArticle, collecting faults by line."""

    def __init__(self, path: Path, root: etree._Element) -> None:
        self.path, self.root = path, root
        self.problems: list[Problem] = []
        self.text = ""
        self.spans: dict[str, dict[str, list[tuple[int, int, int]]]] = {}

    def fault(self, element: etree._Element, message: str) -> None:
        self.problems.append(Problem(self.path, _line(element), message))

    def read(self) -> GoldArticle:
        root = self.root
        if root.tag != "article":
            self.fault(root, f"the root is <{root.tag}>, expected <article>")
            raise CorpusError(self.problems)
        for name in _ARTICLE_FIELDS:
            if not (root.get(name) or "").strip():
                self.fault(root, f'<article> lacks {name}="…"')
        for attribute in map(str, root.attrib):
            if attribute not in (*_ARTICLE_FIELDS, "url"):
                self.fault(root, f"<article> has an unknown attribute {attribute!r}; known: {', '.join(_ARTICLE_FIELDS)}, url")
        date = None
        try:
            date = dt.date.fromisoformat(root.get("date") or "")
        except ValueError:
            self.fault(root, f"date={root.get('date')!r} is not a date; write YYYY-MM-DD")
        title, body, quotes = root.find("title"), root.find("body"), root.find("quotes")
        if body is None or quotes is None:
            self.fault(root, "an <article> has <title>, <body> and <quotes>")
            raise CorpusError(self.problems)
        self._read_body(body)
        records = [record for element in quotes if (record := self._read_quote(element)) is not None]
        listed = {element.get("q") for element in quotes}
        for q in self.spans:
            if q not in listed:
                self.fault(quotes, f'q="{q}" is marked in the body but has no <quote q="{q}"> in <quotes>')
        if self.problems:
            raise CorpusError(self.problems)
        article = Article(
            id=root.get("id") or "",
            text=self.text,
            title=(title.text or "").strip() or None if title is not None else None,
            date=date,
            outlet=root.get("outlet"),
            url=root.get("url"),
        )
        return GoldArticle(article, tuple(records), root.get("style") or "", root.get("story") or "", self.path)

    def _read_body(self, body: etree._Element) -> None:
        pieces: list[str] = []
        length = 0
        marks: list[tuple[etree._Element, int, int]] = []

        def add(text: str | None) -> None:
            nonlocal length
            if text:
                pieces.append(text)
                length += len(text)

        def walk(element: etree._Element) -> None:
            add(element.text)
            for child in element:
                if not isinstance(child.tag, str):
                    self.fault(child, "entities and processing instructions are not allowed; write the character itself")
                elif child.tag not in PARTS:
                    self.fault(child, f"<{child.tag}> in <body>; only {', '.join(PARTS)} mark text")
                else:
                    start = length
                    walk(child)
                    marks.append((child, start, length))
                add(child.tail)

        walk(body)
        raw = "".join(pieces)
        shift = 1 if raw.startswith("\n") else 0
        self.text = raw[shift:-1] if raw.endswith("\n") else raw[shift:]
        for element, start, end in marks:
            q = element.get("q")
            if not q:
                self.fault(element, f'<{element.tag}> lacks q="…"')
                continue
            start, end = start - shift, min(end - shift, len(self.text))
            content = self.text[start:end] if start >= 0 else ""
            if not content or content != content.strip():
                self.fault(element, f'<{element.tag} q="{q}"> is empty or begins or ends with white space: {content[:40]!r}')
                continue
            self.spans.setdefault(q, {part: [] for part in PARTS})[element.tag].append((start, end, _line(element)))

    def _read_quote(self, element: etree._Element) -> GoldQuote | None:
        q = element.get("q") or ""
        if element.tag != "quote" or not q:
            self.fault(element, '<quotes> holds only <quote q="…" …/>')
            return None
        for name in element.attrib:
            if name not in _QUOTE_FIELDS:
                self.fault(element, f"quote {q}: unknown attribute {name!r}; known: {', '.join(_QUOTE_FIELDS)}")
        missing = [name for name in ("type", "speaker", "party", "stance") if not (element.get(name) or "").strip()]
        if missing:
            self.fault(element, f"quote {q} lacks {', '.join(missing)}")
            return None
        spans = self.spans.get(q)
        if spans is None or not spans["content"]:
            self.fault(element, f"quote {q} has no <content> in the body")
            return None
        kind = element.get("type")
        if kind not in get_args(QuoteType):
            self.fault(element, f"quote {q}: type={kind!r}; expected one of {', '.join(get_args(QuoteType))}")
            return None
        toward: dict[str, str] = {}
        for item in (element.get("toward") or "").split():
            target, colon, attitude = item.partition(":")
            if not colon or target in toward:
                self.fault(element, f"quote {q}: toward={item!r}; write each party once, as Party:favor or Party:against")
            toward[target] = attitude
        parts = {part: tuple(Span.of(self.text, start, end) for start, end, _ in sorted(spans[part])) for part in PARTS}
        return GoldQuote(
            q=q,
            type=kind,  # type: ignore[arg-type]  # membership was checked above
            speaker=(element.get("speaker") or "").strip(),
            party=element.get("party") or "",
            stance=element.get("stance") or "",
            toward=toward,
            **parts,  # type: ignore[arg-type]  # keys are the three part names
        )


def read_gold(path: Path) -> GoldArticle:
    """Read one gold file.

    Raises:
        CorpusError: with every fault of the file, by line.
    """
    return _Reader(path, _parse(path)).read()


def check(paths: Iterable[Path], labels: Labels) -> list[Problem]:
    """All rules of the format and the codebook that a program can check, over files and folders.

    Returns:
        Every fault, in the order of files and lines; an empty list for a clean corpus.
    """
    problems: list[Problem] = []
    seen: dict[str, Path] = {}
    for path in gold_paths(paths):
        try:
            root = _parse(path)
            gold = _Reader(path, root).read()
        except CorpusError as error:
            problems += error.problems
            continue
        lines = {element.get("q"): _line(element) for element in root.iter("quote")}
        problems += [Problem(path, 1, message) for message in _check_article(gold, seen)]
        for quote in gold.quotes:
            problems += [
                Problem(path, lines[quote.q], f"quote {quote.q}: {message}") for message in _check_quote(gold, quote, labels)
            ]
    return problems


def _check_article(gold: GoldArticle, seen: dict[str, Path]) -> Iterator[str]:
    identifier = gold.article.id
    if identifier in seen:
        yield f"id {identifier!r} is also that of {seen[identifier]}"
    seen[identifier] = gold.path
    if not _ID.fullmatch(identifier):
        yield f"id {identifier!r}: use lower-case letters, digits, '-', '_' and '.'"
    if gold.path.stem != identifier:
        yield f"the file is named {gold.path.name}, its id says {identifier!r}; they should agree"
    if gold.style not in STYLES:
        yield f"style {gold.style!r}; expected one of {', '.join(STYLES)}"
    if "\r" in gold.article.text:
        yield "carriage returns in the body; use plain newlines"


def _check_quote(gold: GoldArticle, quote: GoldQuote, labels: Labels) -> Iterator[str]:
    if quote.party not in labels.parties:
        yield f"party {quote.party!r}; expected one of {', '.join(labels.parties)}"
    if quote.stance not in labels.stances:
        yield f"stance {quote.stance!r}; expected one of {', '.join(labels.stances)}"
    for target, attitude in quote.toward.items():
        if target not in labels.targets:
            yield f"toward {target!r}; expected one of {', '.join(labels.targets)}"
        if attitude not in ("favor", "against"):
            yield f"toward {target}:{attitude!r}; only favor and against are written"
    if not quote.source and not quote.cue and quote.party == UNKNOWN and quote.type == "direct":
        yield "no cue, no source and party unknown: is it a quote?"
    if (quote.speaker == UNKNOWN) != (quote.party == UNKNOWN):
        yield f"speaker {quote.speaker!r} with party {quote.party!r}; unknown goes with unknown"
    spans = sorted(quote.spans(), key=lambda span: (span.start, span.end))
    for before, after in zip(spans, spans[1:], strict=False):
        if after.start < before.end:
            yield f"{before.text[:30]!r} and {after.text[:30]!r} overlap within one quote"
    yield from _check_marks(gold, quote)


def _check_marks(gold: GoldArticle, quote: GoldQuote) -> Iterator[str]:
    text = gold.article.text
    inside = [(span.start, span.end) for other in gold.quotes if other.q != quote.q for span in other.content]
    for span in quote.content:
        before, after = text[max(span.start - 1, 0) : span.start], text[span.end : span.end + 1]
        nested = any(start < span.start and span.end < end for start, end in inside)
        if before and before in OPENING_MARKS + STRAIGHT_MARK and not nested:
            yield f"the opening mark before {span.text[:30]!r} belongs inside <content>"
        if after and after in CLOSING_MARKS + STRAIGHT_MARK and not nested:
            yield f"the closing mark after {span.text[-30:]!r} belongs inside <content>"
    marked = any(character in QUOTATION_MARKS for span in quote.content for character in span.text)
    if quote.type == "indirect" and marked:
        yield "type indirect, but the content has quotation marks: direct or mixed"
    if quote.type in ("direct", "mixed") and not marked and not any(c in "‘’'" for s in quote.content for c in s.text):
        yield f"type {quote.type}, but the content has no quotation mark"


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
    for group in sorted(_groups(articles), key=lambda g: (-sum(len(a.quotes) for a in g), stable_hash(g[0].story))):
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


def _groups(articles: list[GoldArticle]) -> list[list[GoldArticle]]:
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
