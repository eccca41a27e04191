"""`onrecord train`, `learning-curve`, `cross-validate` and `tune`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from onrecord.cli.common import errors, letters
from onrecord.inference import ModelError

if TYPE_CHECKING:
    from onrecord import training


@contextmanager
def training_letters() -> Iterator[None]:
    """Like `letters`, and a fault of training is a letter too."""
    with letters():
        from onrecord.training import TrainingError

        try:
            yield
        except TrainingError as error:
            raise ModelError(str(error)) from error


@contextmanager
def step_bar() -> Iterator[Callable[[training.Progress], None]]:
    """A bar with steps done, time left and the best dev metric; silent where the error stream is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bar:
        task = bar.add_task("training", total=None)

        def watch(progress: training.Progress) -> None:
            best = "" if progress.best is None else f", best dev {progress.best:.3f}"
            bar.update(task, completed=progress.step, total=progress.steps, description=f"training{best}")

        yield watch


Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Settings that replace the file's, dotted in sections.")
]


def train(
    config: Annotated[Path, typer.Argument(help="A train-extraction, train-stance or train-target config.")],
    overrides: Overrides = None,
    seeds: Annotated[int | None, typer.Option(min=2, help="Train this many, seed after seed; mean and spread of dev.")] = None,
) -> None:
    """Train a model from a config and write its folder. The same command resumes an unfinished run.

    Ctrl-C keeps a checkpoint and leaves with exit code 130; `onrecord models export` makes a model of it.

    Examples:

        onrecord train configs/train/stance.yaml

        onrecord train configs/train/stance.yaml optimizer.epochs=2 output=models/mine

        onrecord train configs/benchmarks/newsmtsc.yaml data.path=FOLDER

        onrecord train configs/train/stance.yaml --seeds 5
    """
    with training_letters():
        from onrecord import training

        if seeds is not None:
            runs = training.train_seeds(config, training.load_training(config, overrides or ()), seeds, _say)
            typer.echo(training.study_markdown(runs))
            return
        with step_bar() as watch:
            trained = training.train(config, overrides or (), watch)
        typer.echo(f"wrote {trained.folder}")
        typer.echo(f"{trained.summary.steps} steps, {trained.summary.tokens_per_second:.0f} tokens a second")


Out = Annotated[Path, typer.Option(help="Folder for the study; the same command resumes an unfinished one.")]


def cross_validate(
    config: Annotated[Path, typer.Argument(help="A training config of any kind.")],
    out: Out,
    folds: Annotated[int, typer.Option(min=2, help="Parts, made of whole stories.")] = 5,
    overrides: Overrides = None,
) -> None:
    """Train and score on every part of train and dev in turn; test is not touched.

    Example:

        onrecord cross-validate configs/train/stance.yaml --folds 5 --out out/folds
    """
    with training_letters():
        from onrecord import training

        _write_study(training.cross_validate(config, training.load_training(config, overrides or ()), folds, out, _say), out)


def tune(
    config: Annotated[Path, typer.Argument(help="A training config with a `search` section.")],
    out: Out,
    trials: Annotated[int, typer.Option(min=1, help="Settings to try in all, those already in --out counted.")] = 20,
    overrides: Overrides = None,
) -> None:
    """Search the config's space for the settings that are best on dev.

    Example:

        onrecord tune configs/benchmarks/newsmtsc.yaml data.path=FOLDER --trials 20 --out out/tune
    """
    with training_letters():
        from onrecord import training

        runs = training.tune(config, training.load_training(config, overrides or ()), trials, out, _say)
        _write_study(runs, out)
        typer.echo("best: " + " ".join(f"{name}={value}" for name, value in runs[0].settings.items()))


def _say(run: training.StudyRun) -> None:
    errors.print(f"{run.name}: {run.selection:.4f}")


def _write_study(runs: list[training.StudyRun], out: Path) -> None:
    from onrecord import training

    report = training.study_markdown(runs)
    out.mkdir(parents=True, exist_ok=True)
    (out / "study.json").write_text(json.dumps(training.study_dict(runs), indent=1) + "\n", encoding="utf-8")
    (out / "study.md").write_text(report, encoding="utf-8")
    typer.echo(report)


def learning_curve(
    config: Annotated[Path, typer.Argument(help="A train-extraction or train-stance config.")],
    out: Annotated[Path, typer.Option(help="Folder for the points; the same command resumes an unfinished curve.")],
    shares: Annotated[str, typer.Option(help="Shares of the train quotes.")] = "0.125,0.25,0.5,1",
    seeds: Annotated[str, typer.Option(help="Seeds, one training each.")] = "13,14,15",
    overrides: Overrides = None,
) -> None:
    """Train on growing shares of the corpus and score each model on dev: would more data still help?

    Example:

        onrecord learning-curve configs/train/stance-curve.yaml --out out/curve-stance
    """
    with training_letters():
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
            config,
            training.load_training(config, overrides or ()),
            wanted,
            numbers,
            out,
            lambda point: errors.print(f"share {point.share:g}, seed {point.seed}: {point.scores}"),
        )
        (out / "curve.md").write_text(training.curve_markdown(points), encoding="utf-8")
        typer.echo(training.curve_markdown(points))
