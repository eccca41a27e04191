"""Folders, globs and files of every format → the articles in them, in a fixed order, in a stream, within bounds.

No file but a single article is held whole: a line, a row or a page at a time is, and each has a bound. What is
damaged is rejected at its place; what stands before it, and after it where the format allows, is read.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections.abc import Iterable, Iterator, Mapping
from contextlib import redirect_stderr
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, Literal

from onrecord.article.files import PACKINGS, InputFile, Progress, find_files, format_of, unpacked
from onrecord.article.text import (
    MAX_BYTES,
    ArticleError,
    Rejected,
    from_html,
    from_json,
    from_row,
    from_text,
    guess_encoding,
)
from onrecord.config import AnalyzeConfig, ColumnsConfig
from onrecord.records import Article
from onrecord.stores import StoreError, is_url, open_file

# In a table a row is an article: a quote that is never closed must not swallow the file.
MAX_CELL = 5_000_000
MAX_COLUMNS = 10_000
PARQUET_ROWS = 16

_DEFAULTS = AnalyzeConfig(kind="analyze")


@dataclass(frozen=True)
class RawArticle:
    """An article as it lies in its file, found but not yet made sense of.

    Args:
        place: File, with line, row or record where it holds several.
        form: What `data` is.
        data: Bytes or named values; None: the file at `place` is the article.
        size: What it takes [bytes].
        charset: Encoding that came with it.
        address: Where it was found on the web.
    """

    place: str
    form: Literal["text", "html", "json", "row"]
    data: bytes | Mapping[str, object] | None
    size: int
    charset: str | None = None
    address: str | None = None


def read_articles(
    paths: Iterable[str], stdin: BinaryIO, date: dt.date | None = None, settings: AnalyzeConfig = _DEFAULTS
) -> Iterator[Article | Rejected]:
    """Read every article that `paths` name, in order; what can't be read comes as Rejected.

    Args:
        paths: Files, folders (searched below, by name), globs, also as URLs; `-` for a text on `stdin`.
        stdin: What `-` reads.
        date: Date for articles that bring none.
        settings: Where columns stand, and the longest article.
    """
    for path in paths:
        if path == "-":
            data = stdin.read(MAX_BYTES + 1)
            yield read_raw(RawArticle("standard input", "text", data, len(data)), date, settings)
            continue
        for raw in raw_articles(find_files([path]), settings.columns):
            yield raw if isinstance(raw, Rejected) else read_raw(raw, date, settings)


def raw_articles(
    files: Iterable[InputFile | Rejected], columns: ColumnsConfig = _DEFAULTS.columns, progress: Progress | None = None
) -> Iterator[RawArticle | Rejected]:
    """The articles in `files`, found but not made sense of; each input gives at least one article or Rejected.

    Args:
        files: What to read, in this order.
        columns: Where the fields of an article stand in tables; checked against each table's head.
        progress: Is told how far reading has come.

    Raises:
        ModuleNotFoundError: when a file's format needs a package of the extra `batch` that is not installed.
    """
    progress = progress or Progress()
    for file in files:
        if isinstance(file, Rejected):
            yield file
            continue
        format = format_of(file.path) or "text"
        if format in ("text", "html") and not file.path.lower().endswith(PACKINGS):
            with progress.file(file.size):
                yield RawArticle(file.path, "html" if format == "html" else "text", None, file.size)
            continue
        found = False
        for raw in _guarded(file, _streamed(file, format, columns, progress)):
            found = True
            yield raw
        if not found:
            yield Rejected(file.path, f"{file.path}: there is no article in it")


def read_raw(raw: RawArticle, date: dt.date | None = None, settings: AnalyzeConfig = _DEFAULTS) -> Article | Rejected:
    """Make an Article of what was found, or say why it is none.

    Args:
        raw: What was found.
        date: Day for an article that brings none.
        settings: Where columns stand, and the longest article.
    """
    try:
        article = _article(raw, date, settings.columns)
    except (ArticleError, OSError) as error:
        return _unreadable(raw, error)
    if len(article.text) > settings.max_characters:
        return Rejected(
            raw.place,
            f"{raw.place}: {len(article.text)} characters, more than {settings.max_characters} (`max_characters` of the config); "
            "split it into articles",
        )
    return article


def carried(raw: RawArticle) -> RawArticle | Rejected:
    """`raw` with the bytes of its file, to be made sense of where the file can't be opened; or why it can't be read.

    What is behind a URL can be opened anywhere, and stays there.
    """
    try:
        return raw if raw.data is not None or is_url(raw.place) else replace(raw, data=_bytes(raw.place))
    except (ArticleError, OSError) as error:
        return _unreadable(raw, error)


def _unreadable(raw: RawArticle, error: Exception) -> Rejected:
    if isinstance(error, OSError):
        return Rejected(raw.place, f"{raw.place}: can't be read: {error.strerror or error}")
    return Rejected(raw.place, str(error))


def _article(raw: RawArticle, date: dt.date | None, columns: ColumnsConfig) -> Article:
    data = _bytes(raw.place) if raw.data is None else raw.data
    if not isinstance(data, bytes):
        return from_row(raw.place, data, date, columns)
    if raw.form == "json":
        return from_json(raw.place, data, date, columns)
    if raw.form == "html":
        return from_html(raw.place, data, date, raw.charset, raw.address)
    article = from_text(raw.place, data, date, raw.charset)
    return article if raw.address is None else Article(text=article.text, date=date, url=raw.address)


def _bytes(path: str) -> bytes:
    with open_file(path) as stream:
        # A pipe has no size.
        size = stream.seek(0, io.SEEK_END) if stream.seekable() else 0
        if size > MAX_BYTES:
            raise ArticleError(f"{path}: {size} bytes, more than {MAX_BYTES}; split it into articles")
        if size:
            stream.seek(0)
        return stream.read(MAX_BYTES + 1)


def _guarded(file: InputFile, articles: Iterator[RawArticle | Rejected]) -> Iterator[RawArticle | Rejected]:
    """`articles` up to where their file is damaged, and then why the rest can't be read."""
    try:
        yield from articles
    except ArticleError as error:
        yield Rejected(file.path, str(error))
    except OSError as error:
        yield Rejected(file.path, f"{file.path}: can't be read: {error.strerror or error}")


def _streamed(file: InputFile, format: str, columns: ColumnsConfig, progress: Progress) -> Iterator[RawArticle | Rejected]:
    if format == "parquet":
        yield from _parquet(file, columns, progress)
        return
    with open_file(file.path) as packed, progress.file(file.size, packed.tell), unpacked(file.path, packed) as stream:
        if format == "jsonl":
            yield from _jsonl(file.path, stream)
        elif format == "csv":
            yield from _csv(file.path, stream, columns)
        elif format == "warc":
            yield from _warc(file.path, stream)
        else:
            data = stream.read(MAX_BYTES + 1)
            yield RawArticle(file.path, "html" if format == "html" else "text", data, len(data))


def _jsonl(path: str, stream: BinaryIO) -> Iterator[RawArticle | Rejected]:
    number = 0
    while line := stream.readline(MAX_BYTES + 1):
        number += 1
        if len(line) > MAX_BYTES:
            while line and not line.endswith(b"\n"):
                line = stream.readline(1 << 20)
            yield Rejected(f"{path}:{number}", f"{path}:{number}: a line of more than {MAX_BYTES} bytes; split it into articles")
        elif line.strip():
            yield RawArticle(f"{path}:{number}", "json", line, len(line))


def _csv(path: str, stream: BinaryIO, columns: ColumnsConfig) -> Iterator[RawArticle | Rejected]:
    # A limit of the whole process; nobody else here reads CSV with a lower one.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_CELL))
    lines = _Lines(stream)
    try:
        start = lines.readline()
    except (csv.Error, UnicodeError) as error:
        raise ArticleError(f"{path}:1: not the head of a CSV table: {error}") from error
    if not start.strip():
        return
    header, delimiter = _header(start, columns.text)
    missing = [name for name in _chosen(columns) if name not in header]
    if missing:
        raise ArticleError(_no_column(path, missing, header))
    if len(header) > MAX_COLUMNS:
        raise ArticleError(f"{path}: {len(header)} columns; is it a table of articles?")
    wanted = {name: header.index(name) for name in _mapped(columns) if name in header}
    # Strict: else a quote that the file never closes makes one article of all that follow.
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        # Where a row begins, not where it ends: cells may hold newlines.
        place = f"{path}:{lines.number + 1}"
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield Rejected(place, f"{place}: not a row of a CSV table: {error}")
            continue
        except UnicodeError as error:
            raise ArticleError(f"{place}: not {lines.encoding} from here on; save the file as UTF-8") from error
        if any(cell.strip() for cell in row):
            data = {name: row[index] for name, index in wanted.items() if index < len(row)}
            try:
                size = len("".join(data.values()).encode())
            except UnicodeEncodeError:
                yield Rejected(place, f"{place}: not {lines.encoding} throughout; save the file as UTF-8")
            else:
                yield RawArticle(place, "row", data, size)


class _Lines:
    """Lines of a text file in whatever encoding it is, each within a bound, for `csv`."""

    def __init__(self, stream: BinaryIO) -> None:
        buffered = stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(stream)  # type: ignore[type-var]
        head = buffered.peek(1 << 16)[: 1 << 16]
        self.number = 0
        self.encoding = _table_encoding(head)
        # What does not decode is marked, so that one bad row is one rejected row.
        self._stream = io.TextIOWrapper(buffered, self.encoding, errors="surrogateescape", newline="")

    def readline(self) -> str:
        line = self._stream.readline(MAX_CELL + 1)
        self.number += 1
        if len(line) > MAX_CELL:
            while line and not line.endswith(("\n", "\r")):
                line = self._stream.readline(1 << 20)
            raise csv.Error(f"a line of more than {MAX_CELL} characters; split it into articles")
        return line

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        if line := self.readline():
            return line
        raise StopIteration


def _table_encoding(head: bytes) -> str:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    try:
        head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # A character that the end of `head` cuts is no fault.
        if error.start < len(head) - 4:
            return guess_encoding(head)
    return "utf-8-sig"


def _header(line: str, text: str) -> tuple[list[str], str]:
    """The columns that a table's first line names, and the mark that parts them."""
    for delimiter in (",", ";", "\t"):
        try:
            names = [name.strip() for name in next(csv.reader([line], delimiter=delimiter))]
        except csv.Error:
            continue
        if text in names:
            return names, delimiter
    return line.strip().split(","), ","


def _mapped(columns: ColumnsConfig) -> list[str]:
    return list(columns.model_dump().values())


def _chosen(columns: ColumnsConfig) -> list[str]:
    """Columns that must be there: the text's, and all that the config names otherwise than by default."""
    plain = ColumnsConfig().model_dump()
    return [name for field, name in columns.model_dump().items() if field == "text" or name != plain[field]]


def _no_column(path: str, missing: list[str], there: list[str]) -> str:
    shown = ", ".join(there[:20])[:500]
    return (
        f"{path}: no column {', '.join(f'`{name}`' for name in missing)}; its columns are {shown}. "
        "Say under `columns` of the config where the articles stand"
    )


def _parquet(file: InputFile, columns: ColumnsConfig, progress: Progress) -> Iterator[RawArticle | Rejected]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path, number = file.path, 0
    try:
        with (
            open_file(path) as stream,
            pq.ParquetFile(stream) as table,
            progress.file(file.size, lambda: file.size * number // max(1, table.metadata.num_rows)),
        ):
            there = table.schema_arrow.names
            missing = [name for name in _chosen(columns) if name not in there]
            if missing:
                raise ArticleError(_no_column(path, missing, there))
            wanted = [name for name in _mapped(columns) if name in there]
            for batch in table.iter_batches(PARQUET_ROWS, columns=wanted, use_threads=False):
                for row in batch.to_pylist():
                    number += 1
                    size = sum(len(value) for value in row.values() if isinstance(value, str))
                    yield RawArticle(f"{path}:{number}", "row", row, size)
    except (pa.ArrowException, ValueError, OverflowError) as error:
        if isinstance(error, ArticleError):
            raise
        raise ArticleError(f"{path}: can't be read as Parquet, or is damaged ({error})") from error


def _warc(path: str, stream: BinaryIO) -> Iterator[RawArticle | Rejected]:
    """Pages of a web archive: HTML and plain text that was there (status 200), or that was converted from it (WET).

    Other records (requests, pictures, redirects) are no articles and are passed over.
    """
    from warcio.archiveiterator import ArchiveIterator

    number = 0
    said = io.StringIO()
    try:
        records = ArchiveIterator(stream)
        while True:
            # What is odd in a record the parser prints, when it comes to the next one.
            with redirect_stderr(said):
                record = next(records, None)
            if said.getvalue():
                place, oddity = f"{path}:{number}", " ".join(said.getvalue().split("Remainder")[0].split())
                yield Rejected(place, f"{place}: this record, or what follows it, is damaged ({oddity})")
                said.seek(0)
                said.truncate()
            if record is None:
                return
            number += 1
            raw = _page(record, f"{path}:{number}")
            if raw is not None:
                yield raw
    except (ArticleError, OSError, StoreError):
        raise
    # The parser is plain Python that raises whatever a damaged header leads to (AttributeError, ValueError, …).
    except Exception as error:
        raise ArticleError(f"{path}: damaged after record {number}: {type(error).__name__}: {error}") from error


def _page(record: Any, place: str) -> RawArticle | Rejected | None:
    http = record.http_headers
    if record.rec_type == "response":
        if http is None or http.get_statuscode() != "200":
            return None
        kind = http.get_header("Content-Type") or ""
    elif record.rec_type in ("resource", "conversion"):
        kind = record.rec_headers.get_header("Content-Type") or ""
    else:
        return None
    media, _, parameters = kind.lower().partition(";")
    form = {"text/html": "html", "application/xhtml+xml": "html", "text/plain": "text"}.get(media.strip())
    if form is None:
        return None
    data = record.content_stream().read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        return Rejected(place, f"{place}: a page of more than {MAX_BYTES} bytes")
    charset = parameters.partition("charset=")[2].split(";")[0].strip(" \"'") or None
    address = record.rec_headers.get_header("WARC-Target-URI")
    return RawArticle(place, "html" if form == "html" else "text", data, len(data), charset, address)
