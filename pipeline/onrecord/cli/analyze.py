"""`onrecord analyze`."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TextIO

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from onrecord.article import ArticleError, Rejected, parse_date, read_articles
from onrecord.cli.common import EXIT_SOME_REJECTED, errors, letters
from onrecord.records import Article, RecordError, Statement
from onrecord.stores import is_url, plain


class Engine(StrEnum):
    """Where a run folder's workers run."""

    local = "local"
    ray = "ray"


class Format(StrEnum):
    """What a run writes."""

    table = "table"
    jsonl = "jsonl"
    html = "html"
    parquet = "parquet"


def analyze(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH…",
            help="Files, folders and globs, also as URLs: .txt, .html, .jsonl, .csv, .parquet, .warc, packed as .gz or .zst; "
            "- for standard input.",
        ),
    ],
    date: Annotated[str | None, typer.Option(help="Date of articles that bring none, YYYY-MM-DD.")] = None,
    config: Annotated[Path | None, typer.Option(help="An analyze config; the shipped one by default.")] = None,
    min_confidence: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Abstain from stances of less confidence: their label becomes unknown. As the config says by default.",
        ),
    ] = None,
    format: Annotated[Format | None, typer.Option(help="table (default), jsonl, html, or parquet for a run folder.")] = None,
    out: Annotated[
        list[str] | None,
        typer.Option(
            help="File to write; may be repeated. Without --format its ending decides, and the table is printed too. "
            "Without an ending: a run folder, or its URL, which the same command goes on with when it was stopped."
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that write a run folder; one a processor by default.")
    ] = None,
    engine: Annotated[
        Engine, typer.Option(help="Where the processes of a run folder run: on this machine, or on a Ray cluster.")
    ] = Engine.local,
    ray_address: Annotated[
        str | None,
        typer.Option(help="Address of the Ray cluster; by default RAY_ADDRESS, or the one that this machine is a node of."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress and no summary.")] = False,
    log_json: Annotated[
        bool, typer.Option("--log-json", help="Tell of a run folder's progress as JSON Lines on stderr.")
    ] = False,
) -> None:
    """Find who said what in articles, for which party, and whose position it voices.

    Examples:

        onrecord analyze article.txt --date 2021-11-08

        onrecord analyze articles/ --format jsonl --out statements.jsonl

        onrecord analyze page.html --out page-statements.html --out page.jsonl

        cat article.txt | onrecord analyze - --format jsonl

        onrecord analyze articles/ --min-confidence 0.8 --out sure.jsonl

        onrecord analyze "archive/**/*.jsonl.gz" --out run --workers 4

        onrecord analyze s3://bucket/archive --out s3://bucket/run

        onrecord analyze archive/ --out /shared/run --engine ray --ray-address 10.0.0.1:6379

    A run folder holds statements/ and articles/ as Parquet (--format jsonl: as JSON Lines), quarantine.jsonl and
    manifest.json; `onrecord query` asks it.

    Exit codes: 0 all inputs read; 1 some inputs were rejected, the others are done; 2 nothing could start
    (option, config or model), or the run folder can't be written; 130 interrupted.
    """
    with letters():
        from onrecord.analyzer import Analyzer

        day = parse_date(date, "--date") if date else None
        overrides = [] if min_confidence is None else [f"min_confidence={min_confidence}"]
        out = [plain(path) for path in out or ()]
        folder = _run_folder(format, out)
        if folder is not None:
            from onrecord.cli.runs import analyze_into

            if ray_address is not None and engine is not Engine.ray:
                raise ArticleError("--ray-address is for --engine ray")
            rows = "jsonl" if format is Format.jsonl else "parquet"
            how = {"config": config, "overrides": overrides, "format": rows, "date": day, "workers": workers}
            how |= {"engine": engine.value, "ray_address": ray_address}
            analyze_into(folder, paths, quiet=quiet, log_json=log_json, **how)
            return
        if workers is not None or log_json or engine is not Engine.local or ray_address is not None:
            raise ArticleError(
                "--workers, --engine, --ray-address and --log-json are for run folders: "
                "give --out a name without an ending, such as run"
            )
        outputs = _outputs(format, out)
        analyzer = Analyzer.load(config, overrides)
        rejected = _analyze(analyzer, paths, day, outputs, quiet)
    if rejected and not quiet:
        errors.print(f"{rejected} input{'s' if rejected > 1 else ''} rejected; the rest is done")
    if rejected:
        raise typer.Exit(EXIT_SOME_REJECTED)


def _run_folder(format: Format | None, out: list[str]) -> str | None:
    """The run folder that the options ask for: always so for Parquet, else where --out is a folder or has no ending."""
    folders = [path for path in out if format is Format.parquet or Path(path).is_dir() or not Path(path).suffix]
    if format in (Format.table, Format.html) or (not folders and format is not Format.parquet):
        return None
    if len(out) != 1:
        raise ArticleError("a run folder is a run's only output: give --out once, a name without an ending, such as run")
    return folders[0]


def _outputs(format: Format | None, out: list[str]) -> list[tuple[Format, Path | None]]:
    if not out:
        return [(format or Format.table, None)]
    if behind := [path for path in out if is_url(path)]:
        raise ArticleError(f"--out {behind[0]}: only a run folder can be behind a URL: give a name without an ending")
    if format is not None:
        return [(format, Path(path)) for path in out]
    endings = {".jsonl": Format.jsonl, ".html": Format.html, ".htm": Format.html, ".txt": Format.table}
    result: list[tuple[Format, Path | None]] = [(Format.table, None)]
    for path in map(Path, out):
        if path.suffix.lower() not in endings:
            raise ArticleError(f"--out {path}: its ending tells no format; add --format, or end it in .jsonl, .html or .txt")
        result.append((endings[path.suffix.lower()], path))
    return result


def _analyze(analyzer, paths: list[str], day: dt.date | None, outputs: list[tuple[Format, Path | None]], quiet: bool) -> int:  # type: ignore[no-untyped-def]
    """Run and write all outputs; returns how many inputs were rejected."""
    from onrecord.reports import article_page, statement_table

    rejected = 0
    kept: list[tuple[Article, list[Statement]]] = []
    keep = any(format is Format.html for format, _ in outputs)
    with _streams(outputs) as streams, _progress(quiet) as progress:
        task = progress.add_task("analyzing", total=None)
        for item in read_articles(paths, sys.stdin.buffer, day, analyzer.settings):
            try:
                if isinstance(item, Rejected):
                    raise RecordError(item.reason)
                statements = analyzer.analyze(item)
            except RecordError as error:
                rejected += 1
                errors.print(f"[yellow]rejected:[/] {escape(str(error))}")
                continue
            progress.advance(task)
            if keep:
                kept.append((item, statements))
            for format, stream in streams:
                if format is Format.jsonl:
                    stream.writelines(statement.to_json() + "\n" for statement in statements)
                elif format is Format.table:
                    console = Console(file=stream, width=None if stream.isatty() else 150, highlight=False)
                    console.print(statement_table(statements, analyzer.conflict))
                    console.print(
                        f"{len(statements)} statements in {escape(item.title or item.id)}"
                        + ("" if item.date else " (no date: the registry is read as of today; give --date)"),
                    )
        for format, stream in streams:
            if format is Format.html:
                stream.write(article_page(kept, analyzer.conflict))
    for _, path in outputs:
        if path is not None and not quiet:
            errors.print(f"wrote {escape(str(path))}")
    return rejected


@contextmanager
def _streams(outputs: list[tuple[Format, Path | None]]) -> Iterator[list[tuple[Format, TextIO]]]:
    """Open outputs; a file appears under its name only when it is whole, until then as `NAME.part`."""
    opened: list[tuple[Format, TextIO]] = []
    parts: list[tuple[Path, Path]] = []
    try:
        for format, path in outputs:
            if path is None:
                opened.append((format, sys.stdout))
                continue
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                part = path.with_name(path.name + ".part")
                opened.append((format, part.open("w", encoding="utf-8", newline="\n")))
            except OSError as error:
                raise ArticleError(f"--out {path}: can't be written: {error.strerror}") from error
            parts.append((part, path))
        yield opened
    finally:
        for _, stream in opened:
            if stream is not sys.stdout:
                stream.close()
    for part, path in parts:
        part.replace(path)


@contextmanager
def _progress(quiet: bool) -> Iterator[Progress]:
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=errors,
        transient=True,
        disable=quiet or not (errors.is_terminal and not sys.stdout.isatty()),
    ) as progress:
        yield progress
