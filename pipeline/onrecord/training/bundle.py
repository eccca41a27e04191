"""A model folder as training writes it: whole or not at all, with settings, card and checksums."""

from __future__ import annotations

import errno
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from onrecord.inference import write_checksums
from onrecord.training.nets import TrainingError


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill that takes the place of `folder` when it is complete, and never before."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield draft
        draft.chmod(0o755)
        old = folder.with_name(f".{folder.name}-old")
        if old.exists():
            shutil.rmtree(old)
        if folder.exists():
            folder.rename(old)
        draft.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            raise TrainingError(f"{folder}: can't be written: {error}. Free some room; the same command goes on") from error
        raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def finish(folder: Path, settings: dict[str, Any]) -> None:
    """Write settings, card and checksums beside the weights and the tokenizer."""
    (folder / "settings.json").write_text(json.dumps(settings, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "card.md").write_text(model_card(settings), encoding="utf-8")
    write_checksums(folder)


def model_card(settings: dict[str, Any]) -> str:
    """The card of a model folder, from its settings alone."""
    config = settings["training_config"]
    if config["kind"] == "train-target":
        learned = (
            f"on {settings['train_texts']} labelled texts: which of {', '.join(settings['labels'])} a text is toward a target."
        )
    else:
        size = f"{settings['train_quotes']} quotes of {settings['train_articles']} articles"
        learned = f"for the conflict `{settings['conflict']}`, on {size}."
    lines = [f"# {settings['name']}", "", f"Fine-tuned from `{config['base']}` {learned}"]
    if config.get("corpus") == "data/corpus":
        lines += [
            "The articles were written and labelled by a language model about invented people in real offices; expect real",
            "news to be harder than the figures on such text. Scores: see docs/dev/report.md, which `make report` makes.",
        ]
    if settings["data_note"]:
        lines += [settings["data_note"]]
    if settings.get("teachers"):
        lines += [f"Beside the labels it learned from the answers of {', '.join(settings['teachers'])}."]
    fitted = settings["fit"]
    lines += [
        f"ONNX with {settings['precision']} weights; holds no code.",
        "",
        f"- data hash: `{settings['corpus_hash']}`",
        f"- onrecord: {settings['onrecord']}"
        + (f", commit `{settings['git']['commit'][:12]}`" if settings["git"] else "")
        + (", with changes that are not committed" if settings["git"] and settings["git"]["dirty"] else ""),
        f"- trained: {settings['trained']}, seed {settings['seed']}, {fitted['steps']} of {fitted['planned_steps']} steps, "
        f"{fitted['tokens_per_second']:.0f} tokens a second" + ("" if fitted["finished"] else "; not trained to its end"),
    ]
    for head, figures in settings.get("agreement_on_dev", {}).items():
        lines.append(
            f"- agreement with the PyTorch net on dev, {head}: {figures['same_labels']:.2%} of {figures['decisions']} "
            f"decisions, largest probability gap {figures['largest_probability_gap']}"
        )
    return "\n".join(lines) + "\n"
