"""Learning curve: would more training articles still help? Each point is a whole training, scored on dev as users run it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from onrecord.config import TargetTrainConfig, resolve
from onrecord.corpus import GoldArticle, corpus_hash, read_split
from onrecord.evaluation import accuracy, f1, macro_f1, match
from onrecord.extraction import Extractor
from onrecord.inference import Model
from onrecord.records import is_divergent, stable_hash
from onrecord.stance import StanceClassifier
from onrecord.training.nets import TrainingError
from onrecord.training.run import train_run
from onrecord.training.studies import recorded


@dataclass(frozen=True)
class CurvePoint:
    """One training: the share of the train quotes, the seed, what it learned from, and its scores on dev."""

    share: float
    seed: int
    train_articles: int
    train_quotes: int
    scores: dict[str, float]


def learning_curve(
    path: Path, base: Any, shares: Sequence[float], seeds: Sequence[int], out: Path, done: Callable[[CurvePoint], None]
) -> list[CurvePoint]:
    """Train once for every share and seed, and score each model on dev.

    A point that `out` holds for the same config and corpus is not trained again, so an interrupted curve goes on.

    Args:
        path: The YAML that relative paths in `base` count from; its name is the points'.
        base: A training config of articles.
        shares: Shares of the train quotes, each above 0 and at most 1.
        seeds: Seeds of draw, initial weights and order.
        out: Folder for one JSON file a point, and for checkpoints and models while they are needed.
        done: Called after each point.

    Raises:
        TrainingError: when the config learns from single texts, or base, corpus or checkpoints don't fit.
    """
    if isinstance(base, TargetTrainConfig):
        raise TrainingError(f"{path}: a learning curve needs a train-extraction or train-stance config, not one of single texts")
    corpus = resolve(path, base.corpus)
    digest = corpus_hash(corpus)
    dev = read_split(corpus, "dev")
    points = []
    for share in shares:
        for seed in seeds:
            optimizer = base.optimizer.model_copy(update={"seed": seed})
            name = f"{path.stem}-{share:g}-{seed}"
            config = base.model_copy(
                update={
                    "train_share": share,
                    "optimizer": optimizer,
                    "output": (out / "models" / name).resolve(),
                    "checkpoints": (out / "checkpoints").resolve(),
                }
            )
            fingerprint = stable_hash(config.model_dump(mode="json", exclude={"output", "checkpoints"}), digest)
            result = recorded(out / f"{name}.json", fingerprint, partial(_point, path, config, name, dev))
            point = CurvePoint(**result)
            points.append(point)
            done(point)
    return points


def _point(path: Path, config: Any, name: str, dev: Sequence[GoldArticle]) -> dict[str, Any]:
    model = Model(train_run(path, config, name, compare=False).folder, threads=1)
    learned = model.settings["train_articles"], model.settings["train_quotes"]
    return asdict(CurvePoint(config.train_share, config.optimizer.seed, *learned, _scores(model, dev)))


def _scores(model: Model, dev: Sequence[GoldArticle]) -> dict[str, float]:
    if "link_bias" in model.settings:
        extractor = Extractor(model)
        right = exact = found = 0
        for gold in dev:
            quotes = extractor.extract(extractor.read(gold.article.text))
            pairs = match(gold.quotes, quotes)
            found, right, exact = found + len(quotes), right + len(pairs), exact + sum(iou == 1.0 for _, _, iou in pairs)
        total = sum(len(gold.quotes) for gold in dev)
        return {"quotes, F1 at IoU ≥ 0.5": f1(right, found, total), "quotes, exact F1": f1(exact, found, total)}
    classifier = StanceClassifier(model)
    judgements: list[tuple[str, str, bool]] = []
    for gold in dev:
        judged = classifier.judge(gold.article.text, gold.quotes, [quote.party for quote in gold.quotes])
        judgements += [
            (quote.stance, stance.label, is_divergent(quote.party, quote.stance))
            for quote, (stance, _) in zip(gold.quotes, judged, strict=True)
        ]
    return {
        "stance given the party, macro-F1": macro_f1([(g, p) for g, p, _ in judgements], classifier.labels),
        "stance given the party, accuracy on divergent quotes": accuracy([(g, p) for g, p, divergent in judgements if divergent]),
    }


def curve_markdown(points: Sequence[CurvePoint]) -> str:
    """The curve as a table: mean and range over seeds for each share."""
    names = list(points[0].scores)
    lines = ["| share of train | quotes | " + " | ".join(names) + " |", "|---" * (len(names) + 2) + "|"]
    for share in sorted({point.share for point in points}):
        here = [point for point in points if point.share == share]
        cells = []
        for name in names:
            values = [point.scores[name] for point in here]
            cells.append(f"{statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f}, {len(values)} seeds)")
        quotes = statistics.mean(point.train_quotes for point in here)
        lines.append(f"| {share:.1%} | {quotes:.0f} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
