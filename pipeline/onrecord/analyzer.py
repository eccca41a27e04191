"""The rooms in a row: articles in, statements out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from onrecord.attribution import Attributor
from onrecord.config import AnalyzeConfig, ConfigError, ConflictConfig, load, load_registry, resolve, resource_root
from onrecord.extraction import Extractor, Reading
from onrecord.inference import ModelError, load_model
from onrecord.records import UNKNOWN, Article, Quote, Statement, is_divergent, stable_hash
from onrecord.stance import StanceClassifier

DEFAULT_CONFIG = Path("configs/analyze/default.yaml")


class Analyzer:
    """The whole pipeline with one config. Holds no state between articles and is safe to share by threads."""

    def __init__(
        self, conflict: ConflictConfig, extractor: Extractor, attributor: Attributor, classifier: StanceClassifier
    ) -> None:
        self.conflict = conflict
        self.extractor, self.attributor, self.classifier = extractor, attributor, classifier
        self.models = {"extraction": extractor.model.name, "stance": classifier.model.name}

    @classmethod
    def load(cls, config: Path | str | None = None) -> Analyzer:
        """Load the pipeline that an `analyze` config describes; the shipped one by default.

        A model folder that is already loaded in this process is not loaded again.

        Raises:
            ConfigError: when a config can't be used, or the models don't fit the conflict.
            ModelError: when a model folder is missing or damaged.
        """
        path = Path(config) if config is not None else resource_root() / DEFAULT_CONFIG
        settings = load(path, AnalyzeConfig)
        conflict_path = resolve(path, settings.conflict)
        conflict = load(conflict_path, ConflictConfig)
        registry = load_registry(resolve(conflict_path, conflict.registry))
        strange = sorted({entry.party for entry in registry.entries} - set(conflict.party_labels))
        if strange:
            raise ConfigError(
                f"{resolve(conflict_path, conflict.registry)}: `party` {', '.join(strange)} is none of the conflict's "
                f"({', '.join(conflict.party_labels)})"
            )
        extraction = load_model(resolve(path, settings.extraction_model), settings.threads)
        stance = load_model(resolve(path, settings.stance_model), settings.threads)
        if "link_bias" not in extraction.settings:
            raise ModelError(f"{resolve(path, settings.extraction_model)}: not an extraction model; check `extraction_model`")
        if set(extraction.settings["party_labels"]) != set(conflict.party_labels) - {UNKNOWN}:
            raise ConfigError(
                f"{path}: the extraction model tells apart {', '.join(extraction.settings['party_labels'])}, the conflict "
                f"{conflict.name!r} other parties; train one for it, or name its own in `extraction_model`"
            )
        if "stances" not in stance.settings:
            raise ModelError(f"{resolve(path, settings.stance_model)}: not a stance model; check `stance_model`")
        classifier = StanceClassifier(stance, settings.batch_tokens)
        if classifier.labels != conflict.stance_labels or classifier.targets != conflict.targets:
            raise ConfigError(
                f"{path}: the stance model answers {', '.join(classifier.labels)}, the conflict {conflict.name!r} declares "
                f"{', '.join(conflict.stance_labels)}; train a model for it, or name its own in `stance_model`"
            )
        return cls(
            conflict,
            Extractor(extraction, settings.batch_tokens),
            Attributor(conflict, registry, settings.min_context),
            classifier,
        )

    def analyze(self, article: Article) -> list[Statement]:
        """The article's statements, ordered by where their content begins."""
        reading = self.extractor.read(article.text)
        return self.complete(article, self.extractor.extract(reading), reading)

    def analyze_many(self, articles: Iterable[Article]) -> Iterator[tuple[Article, list[Statement]]]:
        """Each article with its statements, one at a time as the input gives them."""
        for article in articles:
            yield article, self.analyze(article)

    def complete(self, article: Article, quotes: Sequence[Quote], reading: Reading | None = None) -> list[Statement]:
        """Statements for quotes that are already found: speakers, parties, stance and attitudes added.

        `reading` spares a second pass of the extraction model where it has read the article.
        """
        attributed = self.attributor.attribute(article, quotes, reading or self.extractor.read(article.text))
        judged = self.classifier.judge(article.text, quotes, [party.label for _, party in attributed])
        statements = []
        for quote, (speaker, party), (stance, toward) in zip(quotes, attributed, judged, strict=True):
            places = [(part, span.start, span.end) for part in ("content", "cue", "source") for span in getattr(quote, part)]
            statement = Statement(
                id=stable_hash(article.id, places),
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
