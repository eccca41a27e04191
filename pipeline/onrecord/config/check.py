"""Configs and all that they name, before a run: does it load, is it there, does it fit?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from onrecord.analyzer import extraction_misfits, registry_misfits, stance_misfits
from onrecord.config.loading import ConfigError, load, marked, parse, read_source, resolve, schema_of
from onrecord.config.schemas import SCHEMAS, ConflictConfig, LimitedBy, RefersTo, Section
from onrecord.corpus import CorpusError, GoldArticle, read_split
from onrecord.inference import ModelError, load_model

LEARNED_FROM = ("train", "dev")


def check_configs(paths: Sequence[Path]) -> list[str]:
    """Every fault of the YAMLs at `paths` and of what they name, each with its place.

    Args:
        paths: YAML files of any kind, or folders that are searched for .yaml and .yml.

    Raises:
        FileNotFoundError: for a path that is not there, or a folder without YAML.
        ModuleNotFoundError: for a training config where the training extra is not installed.
    """
    checker = _Checker()
    for path in _yaml_files(paths):
        checker.check(path)
    return list(dict.fromkeys(checker.faults))


def _yaml_files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            below = sorted(file for file in path.rglob("*") if file.suffix in (".yaml", ".yml"))
            if not below:
                raise FileNotFoundError(f"{path}: no configs (*.yaml) below this folder")
            yield from below
        elif path.exists():
            yield path
        else:
            raise FileNotFoundError(f"{path}: no such file or folder")


def corpus_misfits(articles: Sequence[GoldArticle], conflict: ConflictConfig) -> Iterator[str]:
    """Labels of gold `articles` that `conflict` lacks, in words that follow the setting that names the corpus."""
    quotes = [quote for gold in articles for quote in gold.quotes]
    for name, used, known in (
        ("party", {quote.party for quote in quotes}, conflict.party_labels),
        ("stance", {quote.stance for quote in quotes}, conflict.stance_labels),
        ("toward", {target for quote in quotes for target in quote.toward}, conflict.targets),
    ):
        strange = sorted(used - set(known))
        if strange:
            yield (
                f"`{name}` {', '.join(strange)} is none of the conflict's ({', '.join(known)}); "
                "`onrecord corpus check` names the lines"
            )


def base_misfits(config: Section, base: Path) -> Iterator[tuple[str, str]]:
    """Settings of a training config that ask more than the base model in the folder `base` has, and why."""
    limits = json.loads((base / "config.json").read_text(encoding="utf-8"))
    for name, mark in marked(type(config), LimitedBy).items():
        value, limit = getattr(config, name), limits.get(mark.key)
        if value is not None and limit is not None and value > limit:
            yield name, f"`{name}`: {value} is more than the {limit} of the base model ({mark.key})"


FITS: dict[str, Any] = {
    "registry": registry_misfits,
    "corpus": corpus_misfits,
    "extraction model": extraction_misfits,
    "stance model": stance_misfits,
}


class _Checker:
    """Checks configs; what several of them name is read once."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self._checked: set[Path] = set()
        self._reached: dict[tuple[str, Path | str], Any] = {}

    def check(self, path: Path) -> None:
        """Note the faults of the config at `path` and of what it names."""
        if path.resolve() in self._checked:
            return
        self._checked.add(path.resolve())
        try:
            schema = schema_of(path)
            source = read_source(path, schema)
            config = parse(source, schema)
        except ConfigError as error:
            self.faults += str(error).splitlines()
            return
        names = {mark.what: name for name, mark in marked(schema, RefersTo).items()}
        if getattr(config, "corpus_format", "gold") != "gold":
            del names["corpus"]  # other people's data, which `train` checks as it reads it
        places = {what: f"{source.place((name,))}: `{name}`" for what, name in names.items()}
        found = {what: self._reach(what, path, getattr(config, name), places[what]) for what, name in names.items()}
        conflict = config if isinstance(config, ConflictConfig) else found.get("conflict")
        for what, thing in found.items():
            if what in FITS and thing is not None and conflict is not None:
                self.faults += [f"{places[what]}: {fault}" for fault in FITS[what](thing, conflict)]
        if found.get("base"):
            self.faults += [f"{source.place((name,))}: {fault}" for name, fault in base_misfits(config, found["base"])]

    def _reach(self, what: str, path: Path, value: Path | str, place: str) -> Any:
        """The thing that the config at `path` names; None, with its faults noted, where it can't be used."""
        beside = what == "base" and resolve(path, Path(value)).is_dir()
        target = resolve(path, Path(value)) if beside or isinstance(value, Path) else value
        if (what, target) not in self._reached:
            try:
                self._reached[what, target] = self._read(what, target)
            except (ConfigError, CorpusError, ModelError, FileNotFoundError) as error:
                self._reached[what, target] = error
        thing = self._reached[what, target]
        if not isinstance(thing, Exception):
            return thing
        # A fault inside a file has its own place; one about the whole thing is named where the config names it.
        inside = isinstance(target, Path) and (target.is_file() or isinstance(thing, CorpusError))
        self.faults += [line if inside else f"{place}: {line}" for line in str(thing).splitlines()]
        return None

    def _read(self, what: str, target: Any) -> Any:
        match what:
            case "conflict" | "registry":
                schema: type[Section] = SCHEMAS[what]
                config = load(target, schema)
                self.check(target)
                return config
            case "corpus":
                return _learned_from(target)
            case "extraction model" | "stance model":
                return load_model(target, threads=1)
            case "base":
                return _base(str(target))
        raise AssertionError(f"no way to look at a {what}")


def _learned_from(corpus: Path) -> list[GoldArticle]:
    """The articles of a corpus folder that trainings read."""
    if not corpus.is_dir():
        raise FileNotFoundError(f"{corpus}: no such corpus folder")
    articles = []
    for split in LEARNED_FROM:
        side = read_split(corpus, split)
        if not side:
            raise FileNotFoundError(f"{corpus}: the split {split!r} is empty; run `onrecord corpus split {corpus}`")
        articles += side
    return articles


def _base(name: str) -> Path | None:
    """The base's folder; None for one that training will fetch, which can't be looked at from here."""
    from onrecord.training import NotFetched, TrainingError, find_base

    try:
        return find_base(name, download=False)
    except NotFetched:
        return None
    except TrainingError as error:
        raise ModelError(str(error)) from error
