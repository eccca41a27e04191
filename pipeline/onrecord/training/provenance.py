"""What a training was made with: code version, packages, seed."""

from __future__ import annotations

import datetime as dt
import platform
import subprocess
from importlib.metadata import version
from typing import Any

from onrecord import __version__
from onrecord.config import resource_root

PACKAGES = ("torch", "transformers", "accelerate", "datasets", "tokenizers", "onnx", "onnxruntime", "numpy")


def provenance(seed: int) -> dict[str, Any]:
    """Commit of the code and whether it was changed since, versions of what computes, seed, day; for settings.json."""
    return {
        "onrecord": __version__,
        "git": git_state(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "seed": seed,
        "trained": dt.datetime.now(dt.UTC).date().isoformat(),
    }


def git_state() -> dict[str, Any] | None:
    """Commit and dirty flag of the checkout that the code runs from; None where it is not one, or git is not there."""
    root = resource_root()
    if not (root / ".git").exists():
        return None
    try:
        commit = _git("rev-parse", "HEAD")
        return {"commit": commit, "dirty": bool(_git("status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(resource_root()), *arguments], capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
