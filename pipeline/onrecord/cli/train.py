"""`onrecord train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onrecord.cli.common import letters
from onrecord.inference import ModelError


def train(config: Annotated[Path, typer.Argument(help="A train-extraction or train-stance config.")]) -> None:
    """Train a model from a config and write its folder. The same command resumes an unfinished run.

    Example:

        onrecord train configs/train/stance.yaml
    """
    with letters():
        import yaml

        from onrecord import training

        try:
            kind = yaml.safe_load(config.read_text(encoding="utf-8")).get("kind") if config.is_file() else None
        except (yaml.YAMLError, AttributeError, UnicodeDecodeError):
            kind = None
        try:
            folder = training.train(config, kind if kind == "train-extraction" else "train-stance")
        except training.TrainingError as error:
            raise ModelError(str(error)) from error
        typer.echo(f"wrote {folder}")
