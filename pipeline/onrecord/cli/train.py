"""`onrecord train` and `onrecord learning-curve`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from onrecord.cli.common import errors, letters
from onrecord.inference import ModelError


@contextmanager
def _training_letters() -> Iterator[None]:
    with letters():
        from onrecord.training import TrainingError

        try:
            yield
        except TrainingError as error:
            raise ModelError(str(error)) from error


def train(
    config: Annotated[Path, typer.Argument(help="A train-extraction or train-stance config.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Settings that replace the file's, dotted in sections.")
    ] = None,
) -> None:
    """Train a model from a config and write its folder. The same command resumes an unfinished run.

    Examples:

        onrecord train configs/train/stance.yaml

        onrecord train configs/train/stance.yaml optimizer.epochs=2 output=models/mine
    """
    with _training_letters():
        from onrecord import training

        typer.echo(f"wrote {training.train(config, overrides or ())}")


def learning_curve(
    config: Annotated[Path, typer.Argument(help="A train-extraction or train-stance config.")],
    out: Annotated[Path, typer.Option(help="Folder for the points; the same command resumes an unfinished curve.")],
    shares: Annotated[str, typer.Option(help="Shares of the train quotes.")] = "0.125,0.25,0.5,1",
    seeds: Annotated[str, typer.Option(help="Seeds, one training each.")] = "13,14,15",
) -> None:
    """Train on growing shares of the corpus and score each model on dev: would more data still help?

    Example:

        onrecord learning-curve configs/train/stance-curve.yaml --out out/curve-stance
    """
    with _training_letters():
        from onrecord import training

        try:
            wanted = [float(share) for share in shares.split(",")]
            numbers = [int(seed) for seed in seeds.split(",")]
        except ValueError as error:
            raise typer.BadParameter(f"--shares and --seeds take numbers with commas between: {error}") from error
        if not all(0 < share <= 1 for share in wanted):
            raise typer.BadParameter(f"--shares {shares}: each share is above 0 and at most 1")
        out.mkdir(parents=True, exist_ok=True)
        points = training.learning_curve(
            config, wanted, numbers, out, lambda point: errors.print(f"share {point.share:g}, seed {point.seed}: {point.scores}")
        )
        (out / "curve.md").write_text(training.curve_markdown(points), encoding="utf-8")
        typer.echo(training.curve_markdown(points))
