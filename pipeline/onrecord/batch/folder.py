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
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from onrecord.records import Statement, part_of, write_whole

FORMAT = "onrecord.run/1"
Format = Literal["parquet", "jsonl"]
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
    """The files of a run. Holds no state but its place, so that every process may have its own."""

    def __init__(self, path: Path, format: Format) -> None:
        self.path, self.format = path, format
        self.manifest_file, self.quarantine = path / "manifest.json", path / "quarantine.jsonl"

    def part(self, room: Literal["statements", "articles"], shard: int) -> Path:
        """Where the rows of a shard lie."""
        return self.path / room / f"part-{shard:06}.{self.format}"

    def _mark(self, shard: int) -> Path:
        return self.path / "shards" / f"{shard:06}.json"

    def manifest(self) -> dict[str, Any] | None:
        """What the folder says of itself; None where there is no run yet.

        Raises:
            BatchError: when the folder is something else.
        """
        try:
            found = json.loads(self.manifest_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            if self.path.is_dir() and any(not entry.name.startswith(".") for entry in self.path.iterdir()):
                raise BatchError(f"{self.path}: there are files in it, but no run; name a new folder for --out") from None
            return None
        except (OSError, ValueError) as error:
            raise BatchError(f"{self.manifest_file}: can't be read ({error}); name another folder for --out") from error
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise BatchError(f"{self.manifest_file}: not a run of this version ({FORMAT}); name another folder for --out")
        return found

    def prepare(self, manifest: Mapping[str, Any]) -> None:
        """Make the folder, or clear the one there of what a killed run left half written."""
        for room in ("statements", "articles", "shards"):
            (self.path / room).mkdir(parents=True, exist_ok=True)
        self.clear()
        self.write_manifest(manifest)

    def clear(self) -> None:
        """Remove what killed processes left half written."""
        for left in self.path.rglob(".*.part"):
            left.unlink(missing_ok=True)

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Write what the run is and how far it is."""
        write_whole(self.manifest_file, json.dumps({"format": FORMAT, **manifest}, indent=1, ensure_ascii=False) + "\n")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second run out of the folder while this one writes; a killed run lets go of it.

        Raises:
            BatchError: when another run holds it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            import fcntl
        except ImportError:
            # Not there on Windows, where two runs at once would only do the work twice.
            yield
            return
        with (self.path / ".lock").open("w") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise BatchError(f"{self.path}: another run is writing to it; wait for it, or name another folder") from error
            yield

    def finished(self) -> Iterator[Mark]:
        """Marks of all shards that are in place whole, in no order."""
        for file in (self.path / "shards").glob("*.json"):
            if (mark := self._whole(file)) is not None:
                yield mark

    def _whole(self, file: Path) -> Mark | None:
        """The mark in `file`, if its shard is in place whole."""
        # A mark that the power cut off is none: its shard is done again.
        with suppress(OSError, ValueError, KeyError, TypeError):
            mark = self._read_mark(file)[0]
            if all((self.path / name).stat().st_size == size for name, size in mark.files.items()):
                return mark
        return None

    def rejected(self, shard: int) -> list[dict[str, str]]:
        """What a finished shard rejected: place and reason."""
        return self._read_mark(self._mark(shard))[1]

    @staticmethod
    def _read_mark(file: Path) -> tuple[Mark, list[dict[str, str]]]:
        data = json.loads(file.read_text(encoding="utf-8"))
        rejected = data.pop("rejected")
        return Mark(**data, rejected=len(rejected)), rejected

    def write_quarantine(self, shards: Iterable[int]) -> None:
        """Write what finished `shards` rejected, in their order."""
        part = part_of(self.quarantine)
        with part.open("w", encoding="utf-8", newline="\n") as stream:
            for shard in shards:
                stream.writelines(quarantine_lines(self.rejected(shard)))
        part.replace(self.quarantine)

    @contextmanager
    def shard(self, number: int) -> Iterator[ShardWriter]:
        """Write a shard: its rows appear when all are there, and its mark after them.

        A shard whose writing ends in an exception leaves nothing behind.
        """
        statements, articles = (self._rows(room, number) for room in ("statements", "articles"))
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
        if (mark := self._whole(self._mark(number))) is not None:
            writer.mark = mark
            for rows in (statements, articles):
                rows.part.unlink()
            return
        sizes = {}
        for rows, room in ((statements, "statements"), (articles, "articles")):
            path = self.part(room, number)  # type: ignore[arg-type]  # the two rooms
            sizes[path.relative_to(self.path).as_posix()] = rows.part.stat().st_size
            rows.part.replace(path)
        writer.mark = Mark(number, writer.articles, writer.statements, len(writer.rejected), sizes)
        write_whole(
            self._mark(number), json.dumps(asdict(writer.mark) | {"rejected": writer.rejected}, ensure_ascii=False) + "\n"
        )

    def _rows(self, room: Literal["statements", "articles"], number: int) -> _Rows:
        path = self.part(room, number)
        part = part_of(path)
        if self.format == "jsonl":
            return _Lines(part)
        return _Table(part, statement_schema() if room == "statements" else article_schema())


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
