"""The command line: argument reading and printing only, a module a group of commands."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from onrecord import __version__
from onrecord.cli import analyze, benchmark, compare, config, corpus, evaluate, models, query, shares, train
from onrecord.records import json_schema

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Who said it, for whom, and whose position it voices.",
)
app.command()(analyze.analyze)
app.command()(query.query)
app.command()(train.train)
app.command()(train.learning_curve)
app.command()(train.cross_validate)
app.command()(train.tune)
app.command()(evaluate.evaluate)
app.command()(compare.compare)
app.command()(shares.shares)
app.command()(benchmark.benchmark)
app.add_typer(config.app, name="config")
app.add_typer(corpus.app, name="corpus")
app.add_typer(models.app, name="models")


def _version(show: bool) -> None:
    if show:
        typer.echo(f"onrecord {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    pass


@app.command()
def schema() -> None:
    """Print the JSON Schema of a statement line."""
    typer.echo(json.dumps(json_schema(), indent=1, ensure_ascii=False))
