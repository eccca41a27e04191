"""What `onrecord analyze` shows of a run folder while it is written, and after."""

from __future__ import annotations

import datetime as dt
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn

from onrecord.batch import RunSummary, Status, run_batch
from onrecord.batch.folder import QUARANTINE
from onrecord.cli.common import EXIT_SOME_REJECTED, errors

# How often a log for machines, which is kept, says how far a run is [seconds].
LOG_EVERY = 10.0


def analyze_into(out: str, paths: list[str], *, quiet: bool, log_json: bool, **how: Any) -> None:
    """Run `run_batch(paths, out, **how)`, show how it goes, and leave with its exit code."""
    with _watching(quiet, log_json) as watch:
        summary = run_batch(paths, out, watch=watch, **how)
    if log_json:
        _log(
            "finished", folder=str(summary.folder), **_counts(summary), resumed=summary.resumed, seconds=round(summary.seconds, 1)
        )
    elif not quiet:
        for line in _letter(summary):
            errors.print(line)
    if summary.rejected:
        raise typer.Exit(EXIT_SOME_REJECTED)


def _letter(summary: RunSummary) -> Iterator[str]:
    done = summary.articles - summary.resumed
    before = f", {summary.resumed} of them before" if summary.resumed else ""
    pace = f" ({done / summary.seconds:.1f} a second)" if done else ""
    yield (
        f"{escape(str(summary.folder))}: {summary.articles} articles{before}, {summary.statements} statements, "
        f"{_clock(summary.seconds)}{pace}"
    )
    if summary.rejected:
        inputs = f"{summary.rejected} input{'s' if summary.rejected > 1 else ''}"
        yield f"{inputs} rejected; the rest is done. Which and why: {escape(f'{summary.folder}/{QUARANTINE}')}"


def _counts(state: RunSummary | Status) -> dict[str, int]:
    return {"articles": state.articles, "statements": state.statements, "rejected": state.rejected}


def _log(event: str, **values: Any) -> None:
    line = {"time": dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds"), "event": event, **values}
    sys.stderr.write(json.dumps(line, ensure_ascii=False) + "\n")
    sys.stderr.flush()


@contextmanager
def _watching(quiet: bool, log_json: bool) -> Iterator[Callable[[Status], None]]:
    """Something to call with each status: a bar for people, lines for machines, or nothing."""
    if log_json:
        logged = time.monotonic()

        def log(status: Status) -> None:
            nonlocal logged
            if time.monotonic() - logged >= LOG_EVERY:
                logged = time.monotonic()
                left = None if status.seconds_left is None else round(status.seconds_left)
                pace = round(status.articles_per_second, 2)
                _log("progress", **_counts(status), articles_per_second=pace, seconds_left=left, workers_lost=status.workers_lost)

        _log("started")
        yield log
        return
    columns = (BarColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=errors, transient=True, disable=quiet or not errors.is_terminal) as progress:
        task = progress.add_task("reading", total=None)

        def show(status: Status) -> None:
            left = status.seconds_left
            words = [
                f"{status.articles} articles",
                f"{status.articles_per_second:.1f}/s",
                f"{status.statements} statements",
                f"{status.rejected} quarantined",
                "…" if left is None else f"{_clock(left)} left",
            ]
            # The bar is of time, which is what one waits for.
            total = None if left is None else status.seconds + left
            progress.update(task, total=total, completed=status.seconds, description=", ".join(words))

        yield show


def _clock(seconds: float) -> str:
    return str(dt.timedelta(seconds=round(seconds)))
