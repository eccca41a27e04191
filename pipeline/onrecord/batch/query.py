"""SQL over a run folder: DuckDB with the views `statements` and `articles`, and nothing else in reach."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onrecord.batch.folder import ROOMS, BatchError, Room, RunFolder, article_schema, statement_schema

# Rows that are in memory at once, on their way out.
FETCH = 1000


class QueryError(ValueError):
    """A query that can't be answered; the text says what is wrong with it."""


@dataclass(frozen=True)
class Answer:
    """Columns of a query's answer, its rows as they come, and whether the run that was asked is finished."""

    columns: tuple[str, ...]
    rows: Iterator[tuple[Any, ...]]
    complete: bool


def query(sql: str, run: Path | str) -> Answer:
    """Ask a run folder.

    The query sees the views `statements` and `articles`, whose columns are those of the run's files. It can read no
    other file, write none, and reach no network: rows come to DuckDB through Arrow, and its own doors are locked.

    Args:
        sql: One SELECT (or DESCRIBE, SUMMARIZE, EXPLAIN), as DuckDB has it.
        run: A run folder, finished or not, or its URL; only finished shards are seen.

    Raises:
        BatchError: when `run` is no run folder.
        StoreError: when what is behind a URL can't be read.
        QueryError: when DuckDB can't answer.
        ModuleNotFoundError: without the extra `batch`.
    """
    import duckdb

    found = RunFolder(run, "parquet").manifest()
    if found is None:
        raise BatchError(f"{run}: no run folder; `onrecord analyze … --out {run}` makes one")
    folder = RunFolder(run, found["output"])
    connection = duckdb.connect(":memory:", config={"autoinstall_known_extensions": False, "autoload_known_extensions": False})
    try:
        statements = connection.extract_statements(sql)
        if len(statements) != 1 or statements[0].type not in (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN):
            raise QueryError("one SELECT at a time: a query reads the run and changes nothing")
        shards = sorted(mark.shard for mark in folder.finished())
        for room in ROOMS:
            connection.register(f"{room}_rows", _rows(folder, room, shards))
            # Rows of a Parquet run are read when they are asked for; those of JSON Lines can be read only once.
            kind = "VIEW" if folder.format == "parquet" else "TABLE"
            connection.execute(f"CREATE {kind} {room} AS SELECT * FROM {room}_rows")
        for name, value in (("python_enable_replacements", "false"), ("enable_external_access", "false")):
            connection.execute(f"SET {name} = {value}")
        connection.execute("SET lock_configuration = true")
        cursor = connection.execute(statements[0])
    except duckdb.Error as error:
        raise QueryError(f"the query can't be answered: {error}") from error
    return Answer(
        tuple(column[0] for column in cursor.description or ()), _fetched(cursor, duckdb.Error), bool(found["complete"])
    )


def _fetched(cursor: Any, fault: type[Exception]) -> Iterator[tuple[Any, ...]]:
    try:
        while rows := cursor.fetchmany(FETCH):
            yield from rows
    except fault as error:
        raise QueryError(f"the query can't be answered: {error}") from error


def _rows(folder: RunFolder, room: Room, shards: list[int]) -> Any:
    """Rows of finished shards, in their order, as something that DuckDB reads through Arrow."""
    import pyarrow as pa
    import pyarrow.dataset as ds

    schema = statement_schema() if room == "statements" else article_schema()
    if not shards:
        return schema.empty_table()
    if folder.format == "parquet":
        files, _ = folder.arrow(room, shards[0])
        paths = [folder.arrow(room, shard)[1] for shard in shards]
        return ds.dataset(paths, schema=schema, format="parquet", filesystem=files)
    return pa.RecordBatchReader.from_batches(schema, (_batch(folder.read(room, shard), schema) for shard in shards))


def _batch(text: str, schema: Any) -> Any:
    """JSON Lines as one Arrow batch of the schema that a Parquet run has."""
    import pyarrow as pa

    rows = [_typed(json.loads(line), schema) for line in text.split("\n") if line]
    return pa.RecordBatch.from_pylist(rows, schema=schema)


def _typed(row: dict[str, Any], schema: Any) -> dict[str, Any]:
    """A JSON object with its days as days and its maps as pairs."""
    import datetime as dt

    if row.get("date"):
        row["date"] = dt.date.fromisoformat(row["date"])
    if "stance" in row:
        row["stance"]["probabilities"] = list(row["stance"]["probabilities"].items())
        row["toward"], row["models"] = list(row["toward"].items()), list(row["models"].items())
    return row
