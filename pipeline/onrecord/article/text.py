"""One article's bytes or fields → Article: encodings, HTML, dates, and what is no article."""

from __future__ import annotations

import codecs
import datetime as dt
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass

from charset_normalizer import from_bytes
from pydantic import ValidationError

from onrecord.config import ColumnsConfig
from onrecord.records import Article

MAX_BYTES = 50_000_000

ENCODINGS = ("cp1252", "cp1251", "cp1254", "cp1250", "koi8_r")

_BINARY = (b"\x7fELF", b"%PDF", b"PK\x03\x04", b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PAR1")
# What Python calls encodings beside those of pages.
_NO_PAGES = ("idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape", "utf-7")
_META_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?([\w.:-]{2,40})", re.IGNORECASE)


class ArticleError(ValueError):
    """An input that is no article; the text names the file, the field and the remedy."""


@dataclass(frozen=True)
class Rejected:
    """An input that could not be read, with its reason; the other inputs go on."""

    place: str
    reason: str

    def __post_init__(self) -> None:
        for name in ("place", "reason"):
            object.__setattr__(self, name, storable(getattr(self, name)))


def storable(text: str) -> str:
    """`text` as UTF-8 can hold it: names of files, and what a fault quotes, may have bytes that are no text."""
    return text.encode(errors="backslashreplace").decode()


def parse_date(text: str, where: str) -> dt.date:
    """Read a date as YYYY-MM-DD (a time after it is ignored).

    Raises:
        ArticleError: naming `where` it stood.
    """
    try:
        return dt.date.fromisoformat(re.split(r"[T ]", text.strip())[0])
    except ValueError as error:
        raise ArticleError(f"{where}: {text!r} is not a date; write YYYY-MM-DD, for example 2021-11-08") from error


def decode(place: str, data: bytes, declared: str | None = None) -> str:
    """Bytes as text: UTF-8 (with or without mark), UTF-16 with its mark, else as declared, else what the bytes look like.

    Args:
        place: Where the bytes come from, for messages.
        data: The bytes.
        declared: Encoding that a header or the page itself gives.

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
    if data.startswith(_BINARY) or control > max(8, 0.02 * len(data[:65536])):
        raise ArticleError(f"{place}: binary data, not text; give .txt, .html or .jsonl")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        encoding = _known(declared) or guess_encoding(data)
        try:
            return data.decode(encoding)
        except UnicodeDecodeError as error:
            raise ArticleError(
                f"{place}: neither UTF-8 nor {encoding} throughout (byte {error.start}); save the file as UTF-8"
            ) from error


def guess_encoding(data: bytes) -> str:
    """What single-byte encoding `data` looks like, where it is not UTF-8.

    A closed list keeps a guess on a short text from being exotic; undeclared Western text is windows-1252 on the
    web (WHATWG Encoding Standard), so that is the last try.
    """
    guess = from_bytes(data[:200_000], cp_isolation=list(ENCODINGS)).best()
    return guess.encoding if guess else "cp1252"


def _known(encoding: str | None) -> str | None:
    """The encoding where pages are written in it; a label may say anything, as `rot13`, which is none."""
    if encoding is None:
        return None
    try:
        b"    ".decode(encoding)
        name = codecs.lookup(encoding).name.replace("_", "-")
    except (LookupError, ValueError):
        return None
    return None if name in _NO_PAGES else name


def from_text(place: str, data: bytes, date: dt.date | None, declared: str | None = None) -> Article:
    """An article whose bytes are its text. Raises ArticleError as `decode` does."""
    return Article(text=decode(place, data, declared), date=date)


def from_html(place: str, data: bytes, date: dt.date | None, declared: str | None = None, address: str | None = None) -> Article:
    """The main text of a page, with the title, date, outlet and address that it gives itself.

    Args:
        place: Where the page comes from, for messages.
        data: The page.
        date: Day of the article where the page gives none.
        declared: Encoding that was sent with the page.
        address: Where the page was found, for one that doesn't say.

    Raises:
        ArticleError: when the page can't be read or holds no article.
    """
    import trafilatura  # half a second to load, and only HTML needs it
    from lxml import etree

    # It tells of every page that it makes nothing of; so do we, with the page's place.
    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)

    meta = _META_CHARSET.search(data[:4096])
    source = decode(place, data, declared or (meta[1].decode("ascii") if meta else None))
    try:
        found = trafilatura.bare_extraction(source.replace("\0", ""), url=address, with_metadata=True, include_comments=False)
    # ValueError: such as a port that is no number in an address that a page gives.
    except (etree.LxmlError, RecursionError, ValueError) as error:
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
        url=((found.url or None) if found else None) or address,
    )


def from_json(place: str, line: bytes, date: dt.date | None, columns: ColumnsConfig) -> Article:
    """The article of one JSON line. Raises ArticleError, naming the key, when it has none."""
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ArticleError(f"{place}: not a JSON object: {error}") from error
    if not isinstance(data, dict):
        raise ArticleError(f"{place}: not a JSON object; each line is an object with `{columns.text}`")
    return from_row(place, data, date, columns)


def from_row(place: str, row: Mapping[str, object], date: dt.date | None, columns: ColumnsConfig) -> Article:
    """The article that a row of named values holds, in the columns that the config says.

    Raises:
        ArticleError: naming the column that is missing or that can't be read.
    """
    text = row.get(columns.text)
    if not isinstance(text, str):
        raise ArticleError(f"{place}: `{columns.text}` is missing or not a string; it should hold the article's text")
    if not text.strip():
        raise ArticleError(f"{place}: `{columns.text}` is empty; there is no article to read")
    fields = {"text": text}
    for name in ("id", "title", "date", "outlet", "url"):
        value = row.get(getattr(columns, name))
        # An empty cell of a table says nothing.
        if value is not None and value != "":
            fields[name] = value.isoformat() if isinstance(value, dt.date) else str(value)
    for name, value in fields.items():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ArticleError(
                f"{place}: `{getattr(columns, name)}` has a lone surrogate (\\ud800-\\udfff), which no file can store; remove it"
            ) from error
    day = parse_date(fields.pop("date"), f"{place}: `{columns.date}`") if "date" in fields else date
    try:
        return Article(date=day, **fields)  # type: ignore[arg-type]  # all others are strings
    except ValidationError as error:
        raise ArticleError(f"{place}: {error.errors()[0]['msg']}") from error
