"""The rooms in a row: articles in, statements out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from onrecord.attribution import Attributor
from onrecord.config import (
    AnalyzeConfig,
    ConfigError,
    ConflictConfig,
    RegistryConfig,
    load,
    load_registry,
    resolve,
    resource_root,
)
from onrecord.extraction import Extractor, Reading
from onrecord.inference import Model, load_model
from onrecord.records import UNKNOWN, Article, Quote, RecordError, Statement, is_divergent, statement_id
from onrecord.stance import StanceClassifier

DEFAULT_CONFIG = Path("configs/analyze/default.yaml")


def registry_misfits(registry: RegistryConfig, conflict: ConflictConfig) -> Iterator[str]:
    """Why `registry` can't serve `conflict`, in words that follow its place."""
    strange = sorted({entry.party for entry in registry.entries} - set(conflict.party_labels))
    if strange:
        yield f"`party` {', '.join(strange)} is none of the conflict's ({', '.join(conflict.party_labels)})"


def extraction_misfits(model: Model, conflict: ConflictConfig) -> Iterator[str]:
    """Why `model` can't find the quotes of articles about `conflict`, in words that follow the setting that names it."""
    if "link_bias" not in model.settings:
        yield f"{model.name} is not an extraction model"
    elif set(model.settings["party_labels"]) != set(conflict.party_labels) - {UNKNOWN}:
        yield (
            f"the model tells apart {', '.join(model.settings['party_labels'])}, the conflict {conflict.name!r} other parties; "
            "train one for it, or name its own"
        )


def stance_misfits(model: Model, conflict: ConflictConfig) -> Iterator[str]:
    """Why `model` can't judge quotes about `conflict`, in words that follow the setting that names it."""
    if "stances" not in model.settings:
        yield f"{model.name} is not a stance model"
    elif (tuple(model.settings["stances"]), tuple(model.settings["targets"])) != (conflict.stance_labels, conflict.targets):
        yield (
            f"the model answers {', '.join(model.settings['stances'])}, the conflict {conflict.name!r} declares "
            f"{', '.join(conflict.stance_labels)}; train a model for it, or name its own"
        )


class Analyzer:
    """The whole pipeline with one config. Holds no state between articles and is safe to share by threads."""

    def __init__(
        self,
        conflict: ConflictConfig,
        extractor: Extractor,
        attributor: Attributor,
        classifier: StanceClassifier,
        settings: AnalyzeConfig,
    ) -> None:
        self.conflict, self.settings = conflict, settings
        self.extractor, self.attributor, self.classifier = extractor, attributor, classifier
        self._one_tokenizer = extractor.model.tokenizer_hash == classifier.model.tokenizer_hash
        self.models = {"extraction": extractor.model.name, "stance": classifier.model.name}

    @classmethod
    def load(cls, config: Path | str | None = None, overrides: Sequence[str] = ()) -> Analyzer:
        """Load the pipeline that an `analyze` config describes; the shipped one by default.

        A model folder that is already loaded in this process is not loaded again.

        Args:
            config: An analyze config.
            overrides: Settings that replace the config's, each `key=value` as `config.load` takes them.

        Raises:
            ConfigError: when a config can't be used, or the models don't fit the conflict.
            ModelError: when a model folder is missing or damaged.
        """
        path = Path(config) if config is not None else resource_root() / DEFAULT_CONFIG
        settings = load(path, AnalyzeConfig, overrides)
        conflict_path = resolve(path, settings.conflict)
        conflict = load(conflict_path, ConflictConfig)
        registry = load_registry(resolve(conflict_path, conflict.registry))
        extraction = load_model(resolve(path, settings.extraction_model), settings.threads)
        stance = load_model(resolve(path, settings.stance_model), settings.threads)
        faults = [f"{resolve(conflict_path, conflict.registry)}: {fault}" for fault in registry_misfits(registry, conflict)]
        faults += [f"{path}: `extraction_model`: {fault}" for fault in extraction_misfits(extraction, conflict)]
        faults += [f"{path}: `stance_model`: {fault}" for fault in stance_misfits(stance, conflict)]
        if faults:
            raise ConfigError("\n".join(faults))
        return cls(
            conflict,
            Extractor(extraction),
            Attributor(conflict, registry, settings.min_context),
            StanceClassifier(stance),
            settings,
        )

    def analyze(self, article: Article) -> list[Statement]:
        """The article's statements, ordered by where their content begins.

        Raises:
            RecordError: when it has more quotes than the config allows.
        """
        reading = self.extractor.read(article.text)
        quotes = self.extractor.extract(reading)
        if len(quotes) > self.settings.max_quotes:
            raise RecordError(
                f"article {article.id}: {len(quotes)} quotes, more than {self.settings.max_quotes} (`max_quotes` of the config); "
                "split it into articles"
            )
        return self.complete(article, quotes, reading)

    def analyze_many(self, articles: Iterable[Article]) -> Iterator[tuple[Article, list[Statement]]]:
        """Each article with its statements, one at a time as the input gives them."""
        for article in articles:
            yield article, self.analyze(article)

    def complete(self, article: Article, quotes: Sequence[Quote], reading: Reading | None = None) -> list[Statement]:
        """Statements for quotes that are already found: speakers, parties, stance and attitudes added.

        `reading` spares a second pass of the extraction model where it has read the article.
        """
        reading = reading or self.extractor.read(article.text)
        attributed = self.attributor.attribute(article, quotes, reading)
        pieces = reading.pieces if self._one_tokenizer else None
        judged = self.classifier.judge(article.text, quotes, [party.label for _, party in attributed], pieces)
        statements = []
        for quote, (speaker, party), (stance, toward) in zip(quotes, attributed, judged, strict=True):
            stance = stance.or_unknown(self.settings.min_confidence)
            statement = Statement(
                id=statement_id(article.id, quote),
                article_id=article.id,
                date=article.date,
                outlet=article.outlet,
                url=article.url,
                type=quote.type,
                content=quote.content,
                cue=quote.cue,
                source=quote.source,
                speaker=speaker,
                party=party,
                stance=stance,
                toward=toward,
                divergent=is_divergent(party.label, stance.label),
                models=self.models,
            )
            statement.check_against(article.text)
            statements.append(statement)
        return statements
