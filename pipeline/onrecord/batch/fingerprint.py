"""What decides the rows of a run beside its inputs, so that no two pipelines write into one folder, on whatever machines."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from onrecord import __version__
from onrecord.batch.folder import Format
from onrecord.config import AnalyzeConfig, ConflictConfig, load, resolve
from onrecord.inference import read_folder

# What else decides a row, beside our own code.
PACKAGES = ("lxml", "numpy", "onnxruntime", "tokenizers", "trafilatura")


def pipeline(path: Path, settings: AnalyzeConfig, format: Format, date: dt.date | None) -> dict[str, Any]:
    """Config, models and versions as the manifest tells them, and under `fingerprint` their hashes.

    Args:
        path: Where `settings` were read from; other paths count from it.
        settings: The analyze config.
        format: What rows are written as.
        date: Day for articles that bring none.

    Raises:
        ConfigError: when a config that it refers to can't be used.
        ModelError: when a model folder is missing or damaged.
    """
    conflict_path = resolve(path, settings.conflict)
    registry = resolve(conflict_path, load(conflict_path, ConflictConfig).registry)
    models = {}
    for name, place in (("extraction", settings.extraction_model), ("stance", settings.stance_model)):
        about, sums = read_folder(resolve(path, place))
        models[name] = {"name": about["name"], "folder": str(resolve(path, place)), "sha256": sums["model.onnx"]}
    chosen = settings.model_dump(mode="json", exclude={"conflict", "extraction_model", "stance_model"})
    chosen |= {"format": format, "date": date.isoformat() if date else None}
    chosen |= {name: _digest(file) for name, file in (("conflict", conflict_path), ("registry", registry))}
    versions = {"onrecord": __version__} | {name: version(name) for name in PACKAGES}
    return {
        "config": settings.model_dump(mode="json") | {"file": str(path)},
        "models": models,
        "versions": versions,
        "fingerprint": {
            "config": chosen,
            # The folder's other files are settings, which decide as much as the weights.
            "models": {name: _digest(Path(model["folder"]) / "checksums.json") for name, model in models.items()},
            "versions": versions,
        },
    }


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Each setting, model and version in which two fingerprints of pipelines differ, in words."""
    for part in ("config", "models", "versions"):
        old, new = then.get(part) or {}, now[part]
        for name in {**old, **new}:
            if old.get(name) != new.get(name):
                yield f"{part}: `{name}` was {old.get(name)!r}, now {new.get(name)!r}"


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]
