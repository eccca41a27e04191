"""Gold articles in the codebook's XML format: reading, checking, writing."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args
from xml.sax.saxutils import escape, quoteattr

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
# What XML 1.0 can't hold, and the carriage return, which its readers turn into a newline.
NOT_XML = re.compile("[^\\t\\n\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")
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
            start, end = max(0, start - shift), min(end - shift, len(self.text))
            if start >= end:
                self.fault(element, f'<{element.tag} q="{q}"> is empty')
                continue
            self.spans.setdefault(q, {part: [] for part in PARTS})[element.tag].append((start, end, _line(element)))
        for q, parts in self.spans.items():
            for part, spans in parts.items():
                for start, end, line in _joined(spans):
                    words = self.text[start:end]
                    if words != words.strip():
                        message = f'<{part} q="{q}"> begins or ends with white space: {words[:40]!r}'
                        self.problems.append(Problem(self.path, line, message))

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
        parts = {part: tuple(Span.of(self.text, start, end) for start, end, _ in _joined(spans[part])) for part in PARTS}
        return GoldQuote(
            q=q,
            type=kind,  # type: ignore[arg-type]  # membership was checked above
            speaker=(element.get("speaker") or "").strip(),
            party=element.get("party") or "",
            stance=element.get("stance") or "",
            toward=toward,
            **parts,  # type: ignore[arg-type]  # keys are the three part names
        )


def _joined(spans: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Spans (start, end, line) in order; elements that touch are one span, cut only where another element crossed it."""
    result: list[tuple[int, int, int]] = []
    for start, end, line in sorted(spans):
        if result and result[-1][1] == start:
            result[-1] = (result[-1][0], end, result[-1][2])
        else:
            result.append((start, end, line))
    return result


def read_gold(path: Path) -> GoldArticle:
    """Read one gold file.

    Raises:
        CorpusError: with every fault of the file, by line.
    """
    return _Reader(path, _parse(path)).read()


def write_gold(gold: GoldArticle, path: Path) -> None:
    """Write a gold file that reads back as the same article and quotes.

    Raises:
        CorpusError: when the text has characters that XML can't hold.
    """
    path.write_text(to_xml(gold), encoding="utf-8", newline="\n")


def to_xml(gold: GoldArticle) -> str:
    """The gold file of an article, as text; see `write_gold`."""
    article = gold.article
    odd = NOT_XML.search(article.text)
    if odd:
        message = f"character {odd.group()!r} at {odd.start()} can't stand in XML; remove it from the text"
        raise CorpusError([Problem(gold.path, 1, message)])
    opening: dict[int, list[_Mark]] = {}
    for order, quote in enumerate(gold.quotes):
        for part in PARTS:
            for span in getattr(quote, part):
                opening.setdefault(span.start, []).append(_Mark(span.end, order, part, quote.q))
    edges = sorted({*opening, *(mark.end for marks in opening.values() for mark in marks)})
    pieces: list[str] = []
    stack: list[_Mark] = []
    place = 0
    for edge in edges:
        pieces.append(escape(article.text[place:edge]))
        place = edge
        # Elements only nest: one that crosses the end of another is closed and opened again there.
        reopened: list[_Mark] = []
        while any(mark.end == edge for mark in stack):
            top = stack.pop()
            pieces.append(f"</{top.part}>")
            if top.end != edge:
                reopened.append(top)
        fresh = sorted(opening.get(edge, []), key=lambda mark: (-mark.end, mark.order))
        for mark in [*reversed(reopened), *fresh]:
            pieces.append(f"<{mark.part} q={quoteattr(mark.q)}>")
            stack.append(mark)
    pieces.append(escape(article.text[place:]))
    fields = {
        "id": article.id,
        "date": article.date,
        "outlet": article.outlet,
        "style": gold.style,
        "story": gold.story,
        "url": article.url,
    }
    head = " ".join(f"{name}={quoteattr(str(value))}" for name, value in fields.items() if value is not None)
    rows = []
    for quote in gold.quotes:
        values = {"q": quote.q, "type": quote.type, "speaker": quote.speaker, "party": quote.party, "stance": quote.stance}
        toward = " ".join(f"{target}:{attitude}" for target, attitude in quote.toward.items())
        if toward:
            values["toward"] = toward
        rows.append("<quote " + " ".join(f"{name}={quoteattr(value)}" for name, value in values.items()) + "/>")
    body = "".join(pieces)
    return (
        f"<article {head}>\n<title>{escape(article.title or '')}</title>\n<body>\n{body}\n</body>\n<quotes>\n"
        + "\n".join(rows)
        + "\n</quotes>\n</article>\n"
    )


@dataclass(frozen=True)
class _Mark:
    """An element to be written: where it ends, its quote's place in the file, its tag and its quote."""

    end: int
    order: int
    part: str
    q: str


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
