"""The configs that ship: finding them, and copying one to edit."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from onrecord.config.loading import ConfigError, input_paths, project_root, read_tree, resolve, resource_root, schema_of

FOLDERS = ("configs", "data/registry")


@dataclass(frozen=True)
class Shipped:
    """A config that ships: its name (a path below the shipped files), its kind, and its first comment line."""

    name: str
    kind: str
    about: str

    @property
    def path(self) -> Path:
        """Where it lies."""
        return resource_root() / self.name


def shipped_configs() -> list[Shipped]:
    """All configs that ship, by name.

    Raises:
        ConfigError: when one of them can't be read.
    """
    return list(_shipped())


def _shipped() -> Iterator[Shipped]:
    root = resource_root()
    for path in sorted(path for folder in FOLDERS for path in (root / folder).rglob("*.yaml")):
        kind = schema_of(path).model_fields["kind"].annotation
        lines = path.read_text(encoding="utf-8").splitlines()
        about = next((line.lstrip("# ") for line in lines if line.startswith("#")), "")
        yield Shipped(path.relative_to(root).as_posix(), kind.__args__[0], about)  # type: ignore[union-attr]


def find_shipped(name: str) -> Shipped:
    """The shipped config called `name`: its whole name, or as much of its end as is unique, with or without .yaml.

    Raises:
        ConfigError: when none or several are called so.
    """
    wanted = name.removesuffix(".yaml")
    configs = shipped_configs()
    ends = [config for config in configs if f"/{config.name}".removesuffix(".yaml").endswith(f"/{wanted}")]
    exact = [config for config in ends if config.name.removesuffix(".yaml") == wanted]
    if len(exact or ends) == 1:
        return (exact or ends)[0]
    if ends:
        raise ConfigError(f"{name}: {len(ends)} shipped configs are called so: {', '.join(config.name for config in ends)}")
    parts = {config.name: Path(config.name).with_suffix("").parts for config in configs}
    endings = {"/".join(words[start:]): whole for whole, words in parts.items() for start in range(len(words))}
    near = [endings[ending] for ending in difflib.get_close_matches(wanted, endings, n=1)]
    raise ConfigError(
        f"{name}: no config of this name ships.{f' Did you mean {near[0]}?' if near else ''} `onrecord config list` shows all."
    )


def copy_shipped(name: str, to: Path | None) -> Path:
    """Copy a shipped config with its comments; what it names and the new place lacks is named by its full path.

    Args:
        name: See `find_shipped`.
        to: File to write; by default the config's own name, below the current folder.

    Returns:
        The file written.

    Raises:
        ConfigError: when there is no such config, or the file is there already or can't be written.
    """
    config = find_shipped(name)
    target = to if to is not None else Path(config.name)
    if target.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"--to {target}: a config's name ends in .yaml")
    text = _moved(config.path, target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError as error:
        raise ConfigError(f"{target}: is there already; name another file with --to") from error
    except OSError as error:
        raise ConfigError(f"{target}: can't be written: {error.strerror}") from error
    return target


def _moved(path: Path, target: Path) -> str:
    """The text of the config at `path`, so that its references hold at `target` too."""
    text = path.read_text(encoding="utf-8")
    if project_root(path) == project_root(target):
        return text
    written = {key.value: value for key, value in read_tree(path).value}
    added, edits = [], []
    for name, default in {"extends": None, **input_paths(schema_of(path))}.items():
        # What a config that extends another leaves out comes from there, with that one's project.
        value = Path(written[name].value) if name in written else None if "extends" in written else default
        if value is None or resolve(target, value).exists() or not resolve(path, value).exists():
            continue
        full = json.dumps(str(resolve(path, value)), ensure_ascii=False)
        if name in written:
            edits.append((written[name].start_mark.index, written[name].end_mark.index, full))
        else:
            added.append(f"{name}: {full}\n")
    for start, end, full in sorted(edits, reverse=True):
        text = text[:start] + full + text[end:]
    return text + "".join(added)
