"""`onrecord query`."""

from __future__ import annotations

import csv
import datetime as dt
import json
import math
import sys
from collections.abc import Iterable
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from onrecord.cli.common import errors, letters


class QueryFormat(StrEnum):
    """How an answer is printed."""

    table = "table"
    csv = "csv"
    jsonl = "jsonl"


def query(
    sql: Annotated[str, typer.Argument(metavar="SQL", help="One SELECT over the views statements and articles.")],
    run: Annotated[str, typer.Argument(metavar="RUN", help="Folder that `onrecord analyze … --out RUN` wrote, or its URL.")],
    format: Annotated[QueryFormat, typer.Option(help="table, csv or jsonl.")] = QueryFormat.table,
) -> None:
    """Ask a run folder in SQL. The query sees the run and nothing else: no other file, no network.

    Recipes: docs/queries.md.

    Examples:

        onrecord query "SELECT party.label, count(*) FROM statements WHERE divergent GROUP BY 1" run

        onrecord query "DESCRIBE statements" run

        onrecord query "SELECT * FROM articles WHERE status = 'rejected'" run --format csv
    """
    with letters():
        from onrecord.batch import query as ask

        answer = ask(sql, run)
        if not answer.complete:
            errors.print("this run is not finished: its finished shards are asked")
        if format is QueryFormat.table:
            _print_table(answer.columns, answer.rows)
        elif format is QueryFormat.csv:
            writer = csv.writer(sys.stdout, lineterminator="\n")
            writer.writerow(answer.columns)
            for row in answer.rows:
                writer.writerow([_cell(value) for value in row])
        else:
            for row in answer.rows:
                record = {name: _plain(value) for name, value in zip(answer.columns, row, strict=True)}
                sys.stdout.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")


def _print_table(columns: Iterable[str], rows: Iterable[tuple[Any, ...]]) -> None:
    table = Table(*(escape(column) for column in columns))
    count = 0
    for row in rows:
        count += 1
        table.add_row(*(Text("".join(c for c in _cell(value) if c.isprintable() or c == "\n")) for value in row))
    console = Console(width=None if sys.stdout.isatty() else 150, highlight=False)
    console.print(table)
    console.print(f"{count} row{'' if count == 1 else 's'}")


def _cell(value: Any) -> str:
    """A value as one cell: nested ones as JSON."""
    value = _plain(value)
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _plain(value: Any) -> Any:
    """A value of DuckDB as JSON has it."""
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    return value.isoformat() if isinstance(value, dt.date | dt.datetime | dt.time) else str(value)
