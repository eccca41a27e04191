"""`onrecord config`: list, show, copy, check and describe configs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from onrecord.cli.common import EXIT_SOME_REJECTED, errors, letters

app = typer.Typer(no_args_is_help=True, help="Configs: list, show, copy, check, describe.")


@app.command("list")
def config_list() -> None:
    """List the configs that ship, with kind and first comment line."""
    with letters():
        from onrecord.config.shipped import shipped_configs

        table = Table("name", "kind", "what it is")
        for config in shipped_configs():
            table.add_row(escape(config.name), config.kind, escape(config.about))
        console = Console(highlight=False)
        if not console.is_terminal:
            console.width = 200
        console.print(table)


@app.command("show")
def config_show(
    config: Annotated[str, typer.Argument(help="A config file, or the name of one that ships.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Settings that replace the file's, dotted in sections.")
    ] = None,
) -> None:
    """Print the whole config that a run sees: defaults, what it extends and overrides included, as YAML that loads again.

    Examples:

        onrecord config show configs/train/stance.yaml optimizer.epochs=2

        onrecord config show analyze/default
    """
    with letters():
        from onrecord.config import as_yaml, load, schema_of
        from onrecord.config.shipped import find_shipped

        path = Path(config) if Path(config).suffix in (".yaml", ".yml") and Path(config).exists() else find_shipped(config).path
        typer.echo(as_yaml(load(path, schema_of(path), overrides or ())), nl=False)


@app.command("init")
def config_init(
    name: Annotated[str, typer.Argument(help="Name of a shipped config, or the end of its name.")],
    to: Annotated[Path | None, typer.Option(help="File to write; the same name below the current folder by default.")] = None,
) -> None:
    """Copy a shipped config to edit, comments included. Overwrites nothing.

    What the config reads, and the new place lacks, is written with its full path.

    Example:

        onrecord config init train/stance --to configs/train/mine.yaml
    """
    with letters():
        from onrecord.config.shipped import copy_shipped

        typer.echo(f"wrote {copy_shipped(name, to)}")


@app.command("check")
def config_check(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH…", help="YAML files of any kind, or folders of them.")],
) -> None:
    """Load every YAML, with what it extends, and look at all that it names. All faults at once, each with its place.

    Checked are: each setting's name, type and range; that conflict and registry are there and load, and the registry's
    parties are the conflict's; that a corpus has train and dev articles as they were frozen, with the conflict's labels
    only; that model folders are whole, undamaged, and answer with the conflict's labels; that a base model is there and
    has the layers and the length that are asked of it. A training config needs the training extra.

    Example:

        onrecord config check configs data/registry

    Exit codes: 0 clean; 1 faults found; 2 nothing to check.
    """
    with letters():
        from onrecord.config.check import check_configs

        faults = check_configs(paths)
    for fault in faults:
        typer.echo(fault)
    if faults:
        errors.print(f"{len(faults)} fault{'s' if len(faults) > 1 else ''}")
        raise typer.Exit(EXIT_SOME_REJECTED)
    typer.echo("clean")


@app.command("schema")
def config_schema(kind: Annotated[str, typer.Argument(help="Kind of config, such as train-stance.")]) -> None:
    """Print the JSON Schema of a kind of config, for completion in editors.

    Example:

        onrecord config schema train-stance > train-stance.schema.json
    """
    with letters():
        from onrecord.config.reference import json_schema

        typer.echo(json.dumps(json_schema(kind), indent=1, ensure_ascii=False))


@app.command("reference")
def config_reference() -> None:
    """Print the reference of every setting of every kind, as Markdown: docs/config.md."""
    with letters():
        from onrecord.config.reference import reference_markdown

        typer.echo(reference_markdown(), nl=False)
