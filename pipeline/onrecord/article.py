"""Files of any kind in, Article out: text exactly as read, date, title; bounds and clear refusals."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from charset_normalizer import from_bytes
from pydantic import ValidationError

from onrecord.records import Article

MAX_BYTES = 50_000_000
SUFFIXES = (".txt", ".html", ".htm", ".jsonl")

ENCODINGS = ("cp1252", "cp1251", "cp1254", "cp1250", "koi8_r")

_FIELDS = ("id", "title", "date", "outlet", "url")


class ArticleError(ValueError):
    """An input that is no article; the text names the file, the field and the remedy."""


@dataclass(frozen=True)
class Rejected:
    """An input that could not be read, with its reason; the other inputs go on."""

    place: str
    reason: str


def parse_date(text: str, where: str) -> dt.date:
    """Read a date as YYYY-MM-DD (a time after it is ignored).

    Raises:
        ArticleError: naming `where` it stood.
    """
    try:
        return dt.date.fromisoformat(re.split(r"[T ]", text.strip())[0])
    except ValueError as error:
        raise ArticleError(f"{where}: {text!r} is not a date; write YYYY-MM-DD, for example 2021-11-08") from error


def read_articles(paths: Iterable[str], stdin: BinaryIO, date: dt.date | None = None) -> Iterator[Article | Rejected]:
    """Read every article that `paths` name, in order; what can't be read comes as Rejected.

    Args:
        paths: Text, HTML and `.jsonl` files, folders of them (searched below, by name), `-` for `stdin`.
        stdin: What `-` reads.
        date: Date for articles that bring none.
    """
    for path in paths:
        if path == "-":
            yield from _guarded("standard input", lambda: _from_text("standard input", stdin.read(MAX_BYTES + 1), date))
        elif Path(path).is_dir():
            files = sorted(file for file in Path(path).rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
            if not files:
                yield Rejected(path, f"{path}: the folder has no {', '.join(SUFFIXES)} files")
            for file in files:
                yield from _read_file(file, date)
        else:
            yield from _read_file(Path(path), date)


def _guarded(place: str, read: object) -> Iterator[Article | Rejected]:
    try:
        yield read()  # type: ignore[operator]
    except (ArticleError, OSError) as error:
        reason = str(error) if isinstance(error, ArticleError) else f"{place}: can't be read: {error.strerror or error}"
        yield Rejected(place, reason)


def _read_file(path: Path, date: dt.date | None) -> Iterator[Article | Rejected]:
    place = str(path)
    if path.suffix.lower() == ".jsonl":
        yield from _read_jsonl(path, date)
    elif path.suffix.lower() in (".html", ".htm"):
        yield from _guarded(place, lambda: _from_html(place, _bytes(path), date))
    else:
        yield from _guarded(place, lambda: _from_text(place, _bytes(path), date))


def _bytes(path: Path) -> bytes:
    if not path.exists():
        raise ArticleError(f"{path}: no such file or folder")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ArticleError(f"{path}: {size} bytes, more than {MAX_BYTES}; split it into articles")
    return path.read_bytes()


def decode(place: str, data: bytes) -> str:
    """Bytes as text: UTF-8 (with or without mark), UTF-16 with its mark, else what the bytes look like.

    Raises:
        ArticleError: for empty, binary or undecodable input.
    """
    if len(data) > MAX_BYTES:
        raise ArticleError(f"{place}: more than {MAX_BYTES} bytes; split it into articles")
    if not data.strip():
        raise ArticleError(f"{place}: the file is empty; there is no article to read")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            return data.decode("utf-16")
        except UnicodeDecodeError as error:
            raise ArticleError(f"{place}: begins as UTF-16 but is damaged ({error.reason}); save it as UTF-8") from error
    control = sum(data[:65536].count(byte) for byte in range(32) if byte not in (9, 10, 12, 13))
    if data.startswith((b"\x7fELF", b"%PDF", b"PK\x03\x04", b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"\x1f\x8b")) or (
        control > max(8, 0.02 * len(data[:65536]))
    ):
        raise ArticleError(f"{place}: binary data, not text; give .txt, .html or .jsonl")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        # A closed list keeps a guess on a short text from being exotic; undeclared Western text is
        # windows-1252 on the web (WHATWG Encoding Standard), so that is the last try.
        guess = from_bytes(data[:200_000], cp_isolation=list(ENCODINGS)).best()
        encoding = guess.encoding if guess else "cp1252"
        try:
            return data.decode(encoding)
        except UnicodeDecodeError as error:
            raise ArticleError(
                f"{place}: neither UTF-8 nor {encoding} throughout (byte {error.start}); save the file as UTF-8"
            ) from error


def _from_text(place: str, data: bytes, date: dt.date | None) -> Article:
    return Article(text=decode(place, data), date=date)


def _from_html(place: str, data: bytes, date: dt.date | None) -> Article:
    import trafilatura  # half a second to load, and only HTML needs it
    from lxml import etree

    source = decode(place, data)
    try:
        found = trafilatura.bare_extraction(source.replace("\0", ""), with_metadata=True, include_comments=False)
    except (etree.LxmlError, RecursionError) as error:
        raise ArticleError(f"{place}: this HTML can't be parsed ({error}); save the article as text") from error
    text = (found.text or "") if found else ""
    if not text.strip():
        raise ArticleError(f"{place}: no article text found in this HTML; save the article as text")
    # One newline parts paragraphs in what trafilatura gives; ours are parted by an empty line.
    day = date
    if day is None and found is not None and found.date:
        day = parse_date(found.date, f"{place}: date in the page")
    return Article(
        text=re.sub(r"\n+", "\n\n", text),
        title=(found.title or None) if found else None,
        date=day,
        outlet=(found.sitename or None) if found else None,
        url=(found.url or None) if found else None,
    )


def _read_jsonl(path: Path, date: dt.date | None) -> Iterator[Article | Rejected]:
    if not path.exists():
        yield Rejected(str(path), f"{path}: no such file or folder")
        return
    with path.open("rb") as lines:
        number = 0
        while line := lines.readline(MAX_BYTES + 1):
            number += 1
            if line.strip():
                place = f"{path}:{number}"
                yield from _guarded(place, lambda place=place, line=line: _from_json(place, line, date))
        if number == 0:
            yield Rejected(str(path), f"{path}: the file is empty; there is no article to read")


def _from_json(place: str, line: bytes, date: dt.date | None) -> Article:
    if len(line) > MAX_BYTES:
        raise ArticleError(f"{place}: a line of more than {MAX_BYTES} bytes")
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ArticleError(f"{place}: not a JSON object: {error}") from error
    if not isinstance(data, dict) or not isinstance(data.get("text"), str):
        raise ArticleError(f"{place}: `text` is missing or not a string; each line is an object with `text`")
    if not data["text"].strip():
        raise ArticleError(f"{place}: `text` is empty; there is no article to read")
    if any(0xD800 <= ord(character) <= 0xDFFF for character in data["text"]):
        raise ArticleError(f"{place}: `text` has a lone surrogate (\\ud800-\\udfff), which no file can store; remove it")
    fields = {name: str(data[name]) for name in _FIELDS if data.get(name) is not None}
    day = parse_date(fields.pop("date"), f"{place}: `date`") if "date" in fields else date
    try:
        return Article(text=data["text"], date=day, **fields)  # type: ignore[arg-type]  # all others are strings
    except ValidationError as error:
        raise ArticleError(f"{place}: {error.errors()[0]['msg']}") from error
