"""A run folder: what lies where, how a shard is written whole, and what the run was made of.

```
RUN/manifest.json              what the run is: inputs, config, models, versions, and how far it is
RUN/statements/part-000000.*   one row a statement, the record's keys
RUN/articles/part-000000.*     one row an article: where it stood, what it was, what came of it
RUN/shards/000000.json         the mark of a finished shard, written after its rows are in place
RUN/quarantine.jsonl           what was rejected, one line each: place and reason
```
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from onrecord.batch.place import Disk, Occupied, Place, Store
from onrecord.records import Statement
from onrecord.stores import is_url, plain

FORMAT = "onrecord.run/1"
Format = Literal["parquet", "jsonl"]
Room = Literal["statements", "articles"]
ROOMS: tuple[Room, ...] = ("statements", "articles")
MANIFEST, QUARANTINE = "manifest.json", "quarantine.jsonl"
# Rows that are held before they are written, so that memory does not grow with a shard's quotes.
ROWS = 2000


class BatchError(RuntimeError):
    """A run that can't start or go on; the text names the folder and the remedy."""


@dataclass(frozen=True)
class Mark:
    """A finished shard: what it holds, and the size of its files [bytes]."""

    shard: int
    articles: int
    statements: int
    rejected: int
    files: Mapping[str, int]


class RunFolder:
    """The files of a run, on a disk or behind a URL. Holds no state but its place, so that every process may have its own."""

    def __init__(self, path: Path | str, format: Format) -> None:
        name = plain(str(path))
        self._place: Place = Store(name) if is_url(name) else Disk(Path(name))
        self.path, self.format = name if is_url(name) else Path(name), format

    def part(self, room: Room, shard: int) -> str:
        """Where the rows of a shard lie, below the folder."""
        return f"{room}/part-{shard:06}.{self.format}"

    def arrow(self, room: Room, shard: int) -> tuple[Any, str]:
        """Arrow's file system (None: this machine's), and where the rows of a shard lie in it."""
        return self._place.arrow(self.part(room, shard))

    def read(self, room: Room, shard: int) -> str:
        """The rows of a shard as text, in a folder of JSON Lines."""
        return self._place.read(self.part(room, shard)).decode()

    def manifest(self) -> dict[str, Any] | None:
        """What the folder says of itself; None where there is no run yet.

        Raises:
            BatchError: when the folder is something else.
        """
        file = f"{self.path}/{MANIFEST}"
        try:
            found = json.loads(self._place.read(MANIFEST))
        except FileNotFoundError:
            if self._place.inhabited():
                raise BatchError(f"{self.path}: there are files in it, but no run; name a new folder for --out") from None
            return None
        except (OSError, ValueError) as error:
            raise BatchError(f"{file}: can't be read ({error}); name another folder for --out") from error
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise BatchError(f"{file}: not a run of this version ({FORMAT}); name another folder for --out")
        return found

    def prepare(self, manifest: Mapping[str, Any]) -> None:
        """Make the folder, or clear the one there of what a killed run left half written."""
        self._place.prepare(("statements", "articles", "shards"))
        self.clear()
        self.write_manifest(manifest)

    def clear(self) -> None:
        """Remove what killed processes left half written."""
        self._place.clear()

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Write what the run is and how far it is."""
        self._place.write(MANIFEST, json.dumps({"format": FORMAT, **manifest}, indent=1, ensure_ascii=False) + "\n")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second run out of the folder while this one writes; a killed run lets go of it.

        Raises:
            BatchError: when another run holds it.
        """
        with ExitStack() as held:
            try:
                held.enter_context(self._place.locked())
            except Occupied as error:
                raise BatchError(f"{self.path}: another run is writing to it; wait for it, or name another folder") from error
            yield

    def finished(self) -> Iterator[Mark]:
        """Marks of all shards that are in place whole, in no order."""
        sizes = self._place.sizes("statements") | self._place.sizes("articles")
        for data in self._place.read_all("shards"):
            if (mark := _mark(data)) is not None and mark.files.items() <= sizes.items():
                yield mark

    def _finished(self, shard: int) -> Mark | None:
        """The mark of a shard that is in place whole."""
        try:
            mark = _mark(self._place.read(_mark_of(shard)))
        except FileNotFoundError:
            return None
        if mark is None:
            return None
        for name, size in mark.files.items():
            if self._place.size(name) != size:
                return None
        return mark

    def rejected(self, shard: int) -> list[dict[str, str]]:
        """What a finished shard rejected: place and reason."""
        found: list[dict[str, str]] = json.loads(self._place.read(_mark_of(shard)))["rejected"]
        return found

    def add_rejected(self, shard: int) -> None:
        """Add what a finished shard rejected to the quarantine, for those who read along."""
        self._place.append(QUARANTINE, "".join(quarantine_lines(self.rejected(shard))))

    def write_quarantine(self, shards: Iterable[int]) -> None:
        """Write what finished `shards` rejected, in their order."""
        part = self._place.part(QUARANTINE)
        with part.open("w", encoding="utf-8", newline="\n") as stream:
            for shard in shards:
                stream.writelines(quarantine_lines(self.rejected(shard)))
        self._place.put(part, QUARANTINE)

    @contextmanager
    def shard(self, number: int) -> Iterator[ShardWriter]:
        """Write a shard: its rows appear when all are there, and its mark after them.

        A shard whose writing ends in an exception leaves nothing behind.
        """
        statements, articles = (self._rows(room, number) for room in ROOMS)
        writer = ShardWriter(statements, articles)
        try:
            yield writer
            for rows in (statements, articles):
                rows.close()
        except BaseException:
            for rows in (statements, articles):
                rows.abort()
            raise
        # A worker that was taken for lost may get here after the one in its place: what is marked stays as it is.
        if (mark := self._finished(number)) is not None:
            writer.mark = mark
            for rows in (statements, articles):
                rows.part.unlink()
            return
        sizes = {}
        for rows, room in zip((statements, articles), ROOMS, strict=True):
            name = self.part(room, number)
            sizes[name] = rows.part.stat().st_size
            self._place.put(rows.part, name)
        writer.mark = Mark(number, writer.articles, writer.statements, len(writer.rejected), sizes)
        marked = asdict(writer.mark) | {"rejected": writer.rejected}
        self._place.write(_mark_of(number), json.dumps(marked, ensure_ascii=False) + "\n")

    def _rows(self, room: Room, number: int) -> _Rows:
        part = self._place.part(self.part(room, number))
        if self.format == "jsonl":
            return _Lines(part)
        return _Table(part, statement_schema() if room == "statements" else article_schema())


def _mark_of(shard: int) -> str:
    return f"shards/{shard:06}.json"


def _mark(text: bytes) -> Mark | None:
    """The mark that a file holds as `text`."""
    # A mark that the power cut off is none: its shard is done again.
    with suppress(ValueError, KeyError, TypeError):
        data = json.loads(text)
        return Mark(**data | {"rejected": len(data["rejected"])})
    return None


def quarantine_lines(rejected: Iterable[Mapping[str, str]]) -> Iterator[str]:
    """Rejected inputs as lines of the quarantine file."""
    return (json.dumps(dict(item), ensure_ascii=False) + "\n" for item in rejected)


class ShardWriter:
    """Takes the articles of a shard in their order. `mark` is there once the shard is in place."""

    mark: Mark

    def __init__(self, statements: _Rows, articles: _Rows) -> None:
        self._statements, self._articles = statements, articles
        self.articles = self.statements = 0
        self.rejected: list[dict[str, str]] = []

    def add(self, article: Mapping[str, Any], statements: Iterable[Statement], rejected: Mapping[str, str] | None) -> None:
        """Add an article's row and its statements; `rejected` says where and why there are none."""
        self.articles += 1
        for statement in statements:
            self._statements.add(statement)
            self.statements += 1
        self._articles.add(article)
        if rejected is not None:
            self.rejected.append(dict(rejected))


class _Rows(Protocol):
    """Rows on their way into the file `part`."""

    part: Path

    def add(self, row: Statement | Mapping[str, Any]) -> None: ...

    def close(self) -> None: ...

    def abort(self) -> None: ...


class _Lines:
    """Rows as JSON Lines."""

    def __init__(self, part: Path) -> None:
        self.part = part
        self._stream = part.open("w", encoding="utf-8", newline="\n")

    def add(self, row: Statement | Mapping[str, Any]) -> None:
        text = row.to_json() if isinstance(row, Statement) else json.dumps(row, ensure_ascii=False, default=str)
        self._stream.write(text + "\n")

    def close(self) -> None:
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()

    def abort(self) -> None:
        with suppress(OSError):
            self._stream.close()
        self.part.unlink(missing_ok=True)


class _Table:
    """Rows as Parquet, some thousand at a time."""

    def __init__(self, part: Path, schema: Any) -> None:
        import pyarrow.parquet as pq

        self.part, self._schema = part, schema
        self._stream = part.open("wb")
        self._writer = pq.ParquetWriter(self._stream, schema, compression="zstd")
        self._held: list[Mapping[str, Any]] = []

    def add(self, row: Statement | Mapping[str, Any]) -> None:
        self._held.append(_statement_row(row) if isinstance(row, Statement) else row)
        if len(self._held) == ROWS:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        self._writer.write_table(pa.Table.from_pylist(self._held, schema=self._schema))
        self._held = []

    def close(self) -> None:
        if self._held:
            self._flush()
        self._writer.close()
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()

    def abort(self) -> None:
        import pyarrow as pa

        # The end of the file goes nowhere, and on a full disk can't even be written.
        with suppress(OSError, ValueError, pa.ArrowException):
            self._writer.close()
        self._writer.is_open = False
        with suppress(OSError):
            self._stream.close()
        self.part.unlink(missing_ok=True)


def statement_schema() -> Any:
    """Arrow's schema of a statement: the record's keys, those that a conflict names as maps."""
    import pyarrow as pa

    text = pa.string()
    spans = pa.list_(pa.struct([("start", pa.int64()), ("end", pa.int64()), ("text", text)]))
    judgement = pa.struct([("label", text), ("confidence", pa.float64())])
    stance = [("label", text), ("confidence", pa.float64()), ("probabilities", pa.map_(text, pa.float64())), ("basis", text)]
    return pa.schema(
        [
            ("schema", text),
            ("id", text),
            ("article_id", text),
            ("date", pa.date32()),
            ("outlet", text),
            ("url", text),
            ("type", text),
            ("content", spans),
            ("cue", spans),
            ("source", spans),
            ("speaker", pa.struct([("name", text), ("kind", text), ("office", text), ("registry_id", text)])),
            ("party", pa.struct([("label", text), ("evidence", text)])),
            ("stance", pa.struct(stance)),
            ("toward", pa.map_(text, judgement)),
            ("divergent", pa.bool_()),
            ("models", pa.map_(text, text)),
        ]
    )


def article_schema() -> Any:
    """Arrow's schema of an article's row."""
    import pyarrow as pa

    text, count = pa.string(), pa.int64()
    return pa.schema(
        [
            ("place", text),
            ("id", text),
            ("hash", text),
            ("title", text),
            ("date", pa.date32()),
            ("outlet", text),
            ("url", text),
            ("status", text),
            ("reason", text),
            ("characters", count),
            ("statements", count),
            ("seconds", pa.float64()),
        ]
    )


def _statement_row(statement: Statement) -> dict[str, Any]:
    """A statement as Arrow takes it: its maps as lists of pairs."""
    row = statement.model_dump(by_alias=True)
    row["stance"]["probabilities"] = list(row["stance"]["probabilities"].items())
    row["toward"], row["models"] = list(row["toward"].items()), list(row["models"].items())
    return row
