"""Model folders as files: which are there, what each is, and whether it is whole."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onrecord.inference import ModelError, read_folder


@dataclass(frozen=True)
class Bundle:
    """A model folder: what kind of training made it, on which data, when, and its size in bytes."""

    folder: Path
    kind: str
    corpus_hash: str
    trained: str
    size: int
    onrecord: str


def find_bundles(roots: Iterable[Path]) -> list[Path]:
    """Model folders at or below `roots`, sorted; a folder counts as one when it holds a settings file.

    Raises:
        ModelError: for a root that is not there or that holds none.
    """
    found: list[Path] = []
    for root in roots:
        # Names with a dot before them are folders that are still being written.
        below = [path.parent for path in sorted(root.rglob("settings.json")) if not path.parent.name.startswith(".")]
        if not below:
            raise ModelError(f"{root}: no model folder here or below; `onrecord train` makes one")
        found += below
    return found


def describe(folder: Path) -> Bundle:
    """What a model folder says of itself; its hashes are not checked.

    Raises:
        ModelError: when its settings can't be read.
    """
    try:
        settings: dict[str, Any] = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
        kind = str(settings["training_config"]["kind"]).removeprefix("train-")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{folder}/settings.json: not the settings of a model: {error!r}. Train or copy it again") from error
    size = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    return Bundle(
        folder, kind, settings.get("corpus_hash", "?"), settings.get("trained", "?"), size, settings.get("onrecord", "?")
    )


def verify(folder: Path) -> str:
    """Check every file's SHA-256; gives that of the weights.

    Raises:
        ModelError: naming the file that is missing, damaged or of another format.
    """
    return read_folder(folder)[1]["model.onnx"]
