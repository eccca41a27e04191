"""`onrecord benchmark`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import track

from onrecord.cli.common import errors
from onrecord.cli.train import Overrides, training_letters


def benchmark(
    config: Annotated[Path, typer.Argument(help="A training config with a `benchmark` section.")],
    overrides: Overrides = None,
    model: Annotated[Path | None, typer.Option(help="Model folder; what the config's training writes by default.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for metrics.json and report.md.")] = None,
) -> None:
    """Score a trained model on a public data set by its official metric, beside published results.

    Example:

        onrecord benchmark configs/benchmarks/newsmtsc.yaml data.path=FOLDER --out out/newsmtsc
    """
    with training_letters():
        from onrecord.benchmarks import run_benchmark, write_result
        from onrecord.training import load_training

        settings = load_training(config, overrides or ())
        result = run_benchmark(config, settings, model, lambda items: track(items, "scoring", console=errors, transient=True))
        if out:
            write_result(result, out)
            errors.print(f"wrote {out / 'metrics.json'} and {out / 'report.md'}")
        typer.echo(result.markdown())
