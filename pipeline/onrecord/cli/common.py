"""What every command shares: the consoles, the exit codes, and faults as letters to the user."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console
from rich.markup import escape

from onrecord.article import ArticleError
from onrecord.batch import BatchError, QueryError
from onrecord.config import ConfigError
from onrecord.corpus import CorpusError
from onrecord.inference import ModelError
from onrecord.records import RecordError
from onrecord.stores import StoreError

EXIT_SOME_REJECTED = 1
EXIT_CANNOT_START = 2
EXIT_INTERRUPTED = 130

# Which extra brings what the base install is without.
_EXTRAS = {
    "batch": ("backports", "compression", "duckdb", "fsspec", "pyarrow", "warcio"),
    "ray": ("pandas", "ray"),
    "train": ("datasets", "krippendorff", "matplotlib", "optuna", "scipy", "sklearn", "torch", "transformers", "vaderSentiment"),
}

# Faults whose text is all that a user needs.
_LETTERS = (ArticleError, BatchError, ConfigError, CorpusError, ModelError, QueryError, RecordError, StoreError)

errors = Console(stderr=True, highlight=False, soft_wrap=True)


def deliver(report: str, out: Path | None) -> None:
    """Print a report, or write it to the file `out`."""
    if out is None:
        typer.echo(report)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(report, encoding="utf-8")
    errors.print(f"wrote {escape(str(out))}")


@contextmanager
def letters() -> Iterator[None]:
    """Print a known fault as its own clear text and leave with exit code 2; anything else is a bug and shows."""
    try:
        yield
    except (
        ArticleError,
        BatchError,
        ConfigError,
        CorpusError,
        ModelError,
        QueryError,
        RecordError,
        StoreError,
        FileNotFoundError,
    ) as error:
        errors.print(f"[bold red]error:[/] {escape(str(error))}")
        raise typer.Exit(EXIT_CANNOT_START) from error
    except ModuleNotFoundError as error:
        missing = (error.name or "").split(".")[0]
        extra = next((extra for extra, modules in _EXTRAS.items() if missing in modules), None)
        if extra is None:
            raise
        errors.print(f"[bold red]error:[/] this needs the package {missing}: pip install 'onrecord\\[{extra}]'")
        raise typer.Exit(EXIT_CANNOT_START) from error
    except KeyboardInterrupt as error:
        errors.print("interrupted")
        raise typer.Exit(EXIT_INTERRUPTED) from error
    except BrokenPipeError:
        # The reader of a pipe (head, less) has enough; that is no fault.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
