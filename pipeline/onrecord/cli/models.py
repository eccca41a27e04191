"""`onrecord models`: list, verify, export."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from onrecord.cli.common import EXIT_SOME_REJECTED, errors, letters
from onrecord.cli.train import training_letters

app = typer.Typer(no_args_is_help=True, help="Model folders: list, verify, export.")

Roots = Annotated[list[Path] | None, typer.Argument(help="Model folders, or folders of them; the shipped ones by default.")]


def _roots(roots: list[Path] | None) -> list[Path]:
    from onrecord.config import resource_root

    return roots or [resource_root() / "models"]


@app.command("list")
def models_list(roots: Roots = None) -> None:
    """List model folders: kind, data hash, day of training, size.

    Example:

        onrecord models list out/
    """
    with letters():
        from onrecord.bundles import describe, find_bundles

        table = Table("Model", "Kind", "Data hash", "Trained", "MB", "onrecord")
        for folder in find_bundles(_roots(roots)):
            bundle = describe(folder)
            size = f"{bundle.size / 1e6:.1f}"
            table.add_row(escape(str(folder)), bundle.kind, bundle.corpus_hash, bundle.trained, size, bundle.onrecord)
        Console(highlight=False).print(table)


@app.command("verify")
def models_verify(roots: Roots = None) -> None:
    """Check the SHA-256 of every file of model folders.

    Example:

        onrecord models verify models/stance

    Exit codes: 0 all whole; 1 some damaged; 2 no model folder.
    """
    with letters():
        from onrecord.bundles import find_bundles, verify
        from onrecord.inference import ModelError

        damaged = 0
        for folder in find_bundles(_roots(roots)):
            try:
                typer.echo(f"{folder}: whole, weights {verify(folder)[:12]}")
            except ModelError as error:
                damaged += 1
                errors.print(escape(str(error)))
    if damaged:
        raise typer.Exit(EXIT_SOME_REJECTED)


class Precision(StrEnum):
    """What a model's matrices are."""

    int8 = "int8"
    fp32 = "fp32"


@app.command("export")
def models_export(
    run: Annotated[Path, typer.Argument(help="A run's folder of checkpoints, such as out/train/stance.")],
    out: Annotated[Path | None, typer.Option(help="Model folder to write; where the run's config says by default.")] = None,
    precision: Annotated[
        Precision, typer.Option(help="fp32 is to compare with: four times as large and half as fast.")
    ] = Precision.int8,
) -> None:
    """Make the model folder of a run from its checkpoints, finished or not: the best epoch so far, quantized, with its card.

    Examples:

        onrecord models export out/train/stance

        onrecord models export out/train/stance --precision fp32 --out out/variants/stance-fp32
    """
    with training_letters():
        from onrecord import training

        trained = training.export_run(run, out, precision.value)
    typer.echo(f"wrote {trained.folder} from {trained.summary.steps} of {trained.summary.planned_steps} steps")
