"""One training from its config to a model folder with checkpoints, card and checksums."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError
from tokenizers import Tokenizer
from torch import nn
from transformers import set_seed

from onrecord.config import (
    ConflictConfig,
    ExtractionTrainConfig,
    StanceTrainConfig,
    TargetTrainConfig,
    config_kind,
    load,
    project_root,
    resolve,
)
from onrecord.corpus import GoldArticle, corpus_hash, read_split, share_of
from onrecord.corpus.imported import articles_hash, read_brat_splits
from onrecord.corpus.labelled import data_hash, read_labelled, sides
from onrecord.evaluation import macro_f1
from onrecord.extraction import PARTS, viterbi_spans
from onrecord.inference import FORMAT, Model, Row, load_model, special_id
from onrecord.records import UNKNOWN, stable_hash, write_whole
from onrecord.stance import OUTPUTS as STANCE_OUTPUTS
from onrecord.stance import StanceClassifier, read_off
from onrecord.target import OUTPUT as TARGET_OUTPUT
from onrecord.target import TargetClassifier
from onrecord.training.bundle import finish, whole_folder
from onrecord.training.examples import StanceCollator, collate_extraction, extraction_examples, stance_examples
from onrecord.training.export import Precision, agreement, export_onnx, fit_temperature
from onrecord.training.fitting import RUN_MARK, FitSummary, Progress, Run, best_checkpoint, fit
from onrecord.training.losses import StanceLoss
from onrecord.training.nets import (
    BIAS_SCALE,
    EXTRACTION_OUTPUTS,
    IGNORE,
    ExtractionNet,
    StanceNet,
    TrainingError,
    find_base,
)
from onrecord.training.provenance import provenance
from onrecord.training.target import read_label, train_target

TRAINING_KINDS: dict[str, Any] = {
    "train-extraction": ExtractionTrainConfig,
    "train-stance": StanceTrainConfig,
    "train-target": TargetTrainConfig,
}


def tag_f1(tags: np.ndarray, labels: np.ndarray) -> float:
    """Mean over the parts of exact span F1 within windows; `tags` and `labels` as the model takes them."""
    scores = []
    for layer in range(len(PARTS)):
        found = right = gold = 0
        for window_tags, window_labels in zip(tags, labels, strict=True):
            known = window_labels[:, layer] != IGNORE
            layer_tags = window_tags.reshape(len(window_tags), len(PARTS), 3)[known, layer]
            predicted = set(viterbi_spans(layer_tags.astype(np.float32)))
            onehot = np.eye(3, dtype=np.float32)[window_labels[known, layer]] * 20
            expected = set(viterbi_spans(onehot))
            found, gold, right = found + len(predicted), gold + len(expected), right + len(predicted & expected)
        scores.append(2 * right / max(1, found + gold))
    return float(np.mean(scores))


@dataclass(frozen=True)
class Trained:
    """A finished training: its model folder, and what fitting did."""

    folder: Path
    summary: FitSummary


@dataclass(frozen=True)
class Data:
    """What a training learns from: its sides `train` and `dev`, and one hash over all of it."""

    splits: dict[str, list[Any]]
    digest: str


def load_training(path: Path, overrides: Sequence[str] = ()) -> Any:
    """Read the training config at `path`, of any kind; `overrides` as `load` takes them.

    Raises:
        ConfigError: with every fault of the file and the overrides.
    """
    return load(path, TRAINING_KINDS.get(config_kind(path) or "", StanceTrainConfig), overrides)


def train(path: Path, overrides: Sequence[str] = (), watch: Callable[[Progress], None] | None = None) -> Trained:
    """Train the model of the config at `path`, with `overrides`, and write its folder; see `load_training` and `train_run`."""
    return train_run(path, load_training(path, overrides), path.stem, watch=watch)


def train_run(
    path: Path,
    config: Any,
    name: str,
    *,
    data: Data | None = None,
    watch: Callable[[Progress], None] | None = None,
    read_only: bool = False,
    compare: bool = True,
    precision: Precision = "int8",
) -> Trained:
    """Train what `config` says; an unfinished run of the same config and data goes on.

    Args:
        path: The YAML that relative paths in `config` count from.
        config: Its settings, or settings made from them.
        name: Name of the run: its checkpoints lie in a folder of this name.
        data: What to learn from; read as the config says where it is not given.
        watch: Called after every step.
        read_only: Take the weights that the run's checkpoints hold; train no further.
        compare: Compare the exported model with the net on dev, and calibrate it; labels need neither.
        precision: What the exported matrices are.

    Returns:
        The model folder, complete and with checksums, and what fitting did.

    Raises:
        TrainingError: when base, data or checkpoints don't fit, the loss is not a number, or the disk is full.
    """
    data = data or read_data(path, config)
    fitted = _fit(path, config, name, data, watch, read_only)
    outputs, read = fitted.outputs, fitted.read
    folder = resolve(path, config.output)
    with whole_folder(folder) as draft:
        rows = [_row(example) for example in fitted.examples]
        export_onnx(fitted.net, outputs, draft / "model.onnx", rows, precision)
        fitted.tokenizer.save(str(draft / "tokenizer.json"))
        settings = fitted.settings | provenance(config.optimizer.seed)
        settings |= {
            "format": FORMAT,
            "name": folder.name,
            "precision": precision,
            "corpus_hash": data.digest,
            "data_note": config.data_note,
            "fit": asdict(fitted.summary),
            "training_config": _portable(config.model_dump(mode="json"), project_root(path)),
        }
        finish(draft, settings)
        if compare:
            settings["agreement_on_dev"] = agreement(fitted.net, Model(draft, threads=2), rows, outputs, fitted.examples, read)
        if compare and fitted.gold:
            settings["temperature"] = _calibrate(Model(draft, threads=2), fitted.examples, read, fitted.gold)
        finish(draft, settings)
    return Trained(folder, fitted.summary)


def fit_run(path: Path, config: Any, name: str, data: Data, watch: Callable[[Progress], None] | None = None) -> FitSummary:
    """Fit what `config` says and keep only what fitting did, not the model; otherwise like `train_run`."""
    return _fit(path, config, name, data, watch, read_only=False).summary


@dataclass(frozen=True)
class _Fitted:
    """A fitted net with what its model folder is made of; `gold` names the dev examples' labels of each calibrated head."""

    net: nn.Module
    settings: dict[str, Any]
    examples: list[dict[str, Any]]
    outputs: tuple[str, ...]
    read: Callable[..., dict[str, np.ndarray]]
    gold: dict[str, str]
    tokenizer: Tokenizer
    summary: FitSummary


def _fit(path: Path, config: Any, name: str, data: Data, watch: Callable[[Progress], None] | None, read_only: bool) -> _Fitted:
    base = find_base(config.base, path)
    set_seed(config.optimizer.seed)
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    start = Run(resolve(path, config.start)) if config.start else None
    run = Run(resolve(path, config.checkpoints) / name, watch, read_only, start)
    _claim(run, {"config": config.model_dump(mode="json", exclude={"search", "benchmark"}), "corpus": data.digest}, path)
    net: nn.Module
    outputs: tuple[str, ...]
    read: Callable[..., dict[str, np.ndarray]]
    if isinstance(config, TargetTrainConfig):
        models = [_teacher(resolve(path, folder), {"labels": config.labels}) for folder in config.teachers]
        # Weights that are only read were taught already.
        asked = [] if read_only else [TargetClassifier(model) for model in models]
        net, settings, examples = train_target(config, data.splits, tokenizer, base, run, asked)
        settings |= {"train_texts": len(data.splits["train"])}
        outputs, read, gold = (TARGET_OUTPUT,), read_label, {TARGET_OUTPUT: "label"}
    else:
        conflict = load(resolve(path, config.conflict), ConflictConfig)
        models = []
        train_one: Callable[..., Any] = _train_extraction
        if isinstance(config, StanceTrainConfig):
            answers = {"stances": conflict.stance_labels, "targets": conflict.targets}
            models = [_teacher(resolve(path, folder), answers) for folder in config.teachers]
            train_one = partial(_train_stance, teachers=[] if read_only else [StanceClassifier(m) for m in models])
        net, settings, examples = train_one(config, conflict, data.splits, tokenizer, base, run)
        settings |= {
            "conflict": conflict.name,
            "train_articles": len(data.splits["train"]),
            "trained_on": [gold.article.id for gold in data.splits["train"]],
            "train_quotes": sum(len(gold.quotes) for gold in data.splits["train"]),
        }
        outputs, read, gold = STANCE_OUTPUTS, _read_quotes, {"stance": "stance_labels", "toward": "toward_labels"}
        if isinstance(config, ExtractionTrainConfig):
            outputs, gold = EXTRACTION_OUTPUTS, {}
            read = partial(_read_pieces, parties=len(settings["party_labels"]))
    if models:
        settings |= {"teachers": [model.name for model in models]}
    summary = run.summary()
    if summary is None:
        raise TrainingError(f"{run.folder}: fitting left no summary; train again with the same command")
    return _Fitted(net, settings, examples, outputs, read, gold, tokenizer, summary)


def read_data(path: Path, config: Any) -> Data:
    """What the config says to learn from; dev chooses the epoch, so a part that is scored later can stay apart.

    Raises:
        TrainingError: when a side is empty.
        CorpusError: when the data can't be read.
    """
    if isinstance(config, TargetTrainConfig):
        place = resolve(path, config.data.path)
        rows = read_labelled(place, config.data, config.labels)
        return Data(dict(sides(rows, config.data.dev_share, place)), data_hash(rows))
    corpus = resolve(path, config.corpus)
    if config.corpus_format == "brat":
        parts = read_brat_splits(corpus)
        splits, digest = {name: parts.get(name, []) for name in ("train", "dev")}, articles_hash(parts)
    else:
        splits, digest = {name: read_split(corpus, name) for name in ("train", "dev")}, corpus_hash(corpus)
    if config.dev_share:
        splits = hold_out(splits["train"], config.dev_share)
    for side, articles in splits.items():
        if not articles:
            raise TrainingError(f"{corpus}: the split {side!r} is empty; run `onrecord corpus split {corpus}`, or set dev_share")
    splits["train"] = share_of(splits["train"], config.train_share, config.optimizer.seed)
    return Data(dict(splits), digest)


def hold_out(articles: Sequence[GoldArticle], share: float) -> dict[str, list[GoldArticle]]:
    """Articles parted by story into train and dev; a hash of the story decides, so that runs repeat."""
    held = [int(stable_hash(gold.story, length=8), 16) / 16**8 < share for gold in articles]
    return {
        "train": [gold for gold, out in zip(articles, held, strict=True) if not out],
        "dev": [gold for gold, out in zip(articles, held, strict=True) if out],
    }


def export_run(folder: Path, out: Path | None = None, precision: Precision = "int8") -> Trained:
    """Make the model folder of a run from the checkpoints in `folder`: the best epoch, or the newest of an unfinished run.

    Args:
        folder: The run's checkpoints.
        out: Where to put the model folder; where the run's config says by default.
        precision: What its matrices are: int8, or fp32 to compare with.

    Raises:
        TrainingError: when `folder` is no run, or holds no whole checkpoint.
    """
    mark = folder / RUN_MARK
    if not mark.is_file():
        raise TrainingError(f"{folder}: no run of `onrecord train` ({RUN_MARK} is missing); runs lie in out/train by default")
    known = json.loads(mark.read_text(encoding="utf-8"))
    try:
        config = TRAINING_KINDS[known["config"]["kind"]].model_validate(known["config"])
    except (KeyError, ValidationError) as error:
        raise TrainingError(f"{mark}: its settings are not of this version of onrecord; train again with its config") from error
    config = config.model_copy(update={"checkpoints": folder.parent.resolve()} | ({"output": out.resolve()} if out else {}))
    return train_run(Path(known["path"]), config, folder.name, read_only=True, precision=precision)


def _portable(settings: Any, root: Path) -> Any:
    """Settings whose paths inside the project count from its root, so that they mean the same wherever it lies."""
    if isinstance(settings, dict):
        return {name: _portable(value, root) for name, value in settings.items()}
    if isinstance(settings, list):
        return [_portable(value, root) for value in settings]
    if isinstance(settings, str) and Path(settings).is_relative_to(root):
        return Path(settings).relative_to(root).as_posix()
    return settings


def _claim(run: Run, fingerprint: dict[str, Any], path: Path) -> None:
    """Keep checkpoints of the same config and data to resume from; start anew for any other."""
    mark = run.folder / RUN_MARK
    known = json.loads(mark.read_text(encoding="utf-8")) if mark.is_file() else {}
    same = {name: known.get(name) for name in fingerprint} == json.loads(json.dumps(fingerprint))
    if run.read_only:
        if known.get("corpus") != fingerprint["corpus"]:
            raise TrainingError(f"{run.folder}: the data changed since this run; train again with the same command")
        return
    if run.start is not None and not same:
        # Before anything is deleted, for a name that was mistyped.
        best_checkpoint(run.start)
        if run.start.folder.resolve() == run.folder.resolve():
            raise TrainingError(f"start: {run.folder} is where this run's own checkpoints go; move it, or set `checkpoints`")
    if run.folder.exists() and not same:
        shutil.rmtree(run.folder)
    run.folder.mkdir(parents=True, exist_ok=True)
    if not same:
        write_whole(mark, json.dumps(fingerprint | {"path": str(path.resolve())}, sort_keys=True, indent=1))


def _train_extraction(
    config: ExtractionTrainConfig,
    conflict: ConflictConfig,
    splits: dict[str, list[GoldArticle]],
    tokenizer: Tokenizer,
    base: Path,
    run: Run,
) -> tuple[ExtractionNet, dict[str, Any], list[dict[str, Any]]]:
    parties = _source_parties(conflict)
    examples = {
        name: extraction_examples(articles, tokenizer, config, parties, config.cuts if name == "train" else 1)
        for name, articles in splits.items()
    }
    net = ExtractionNet(base, config, len(parties))

    def metrics(prediction: Any) -> dict[str, float]:
        tags = prediction.predictions
        return {"selection": tag_f1(tags, prediction.label_ids)}

    fit(
        net,
        examples["train"],
        examples["dev"],
        collate_extraction,
        metrics,
        ["tag_labels"],
        config.optimizer,
        run,
    )
    settings = {
        "window_tokens": config.window_tokens,
        "overlap_tokens": config.read_overlap_tokens or config.overlap_tokens,
        "link_bias": (BIAS_SCALE * net.bias).detach().numpy().round(5).tolist(),
        "party_labels": list(parties),
    }
    return net, settings, examples["dev"]


def _train_stance(
    config: StanceTrainConfig,
    conflict: ConflictConfig,
    splits: dict[str, list[GoldArticle]],
    tokenizer: Tokenizer,
    base: Path,
    run: Run,
    teachers: Sequence[StanceClassifier],
) -> tuple[StanceNet, dict[str, Any], list[dict[str, Any]]]:
    examples = {
        "train": stance_examples(splits["train"], tokenizer, config, conflict, teachers),
        "dev": stance_examples(splits["dev"], tokenizer, config, conflict),
    }
    labels = conflict.stance_labels
    gold = [
        pair for example in examples["train"] for pair in zip(example["stance_labels"], example["toward_labels"], strict=True)
    ]
    net = StanceNet(base, config, StanceLoss(config, gold, labels, conflict.targets), len(labels), len(conflict.targets))

    def metrics(prediction: Any) -> dict[str, float]:
        gold, _, divergent = prediction.label_ids
        real = gold != IGNORE
        predicted = prediction.predictions.argmax(-1)
        right, apart = (gold == predicted)[real], divergent[real].astype(bool)
        macro = macro_f1([(labels[g], labels[p]) for g, p in zip(gold[real], predicted[real], strict=True)], labels)
        accuracy = float(right[apart].mean()) if apart.any() else 0.0
        # Both must be high, so an epoch is chosen by their mean.
        return {"macro_f1": macro, "divergent_accuracy": accuracy, "selection": (macro + accuracy) / 2}

    fit(
        net,
        examples["train"],
        examples["dev"],
        StanceCollator(special_id(tokenizer, "[MASK]"), config.hide_party if config.source == "party" else 0.0),
        metrics,
        ["stance_labels", "toward_labels", "divergent"],
        config.optimizer,
        run,
    )
    settings = {
        "stances": list(conflict.stance_labels),
        "targets": list(conflict.targets),
        "party_labels": list(conflict.party_labels),
        "window_tokens": config.window_tokens,
        "context_tokens": config.context_tokens,
        "source": config.source,
        "temperature": {"stance": 1.0, "toward": 1.0},
    }
    return net, settings, examples["dev"]


def _teacher(folder: Path, answers: Mapping[str, Sequence[str]]) -> Model:
    """The model in `folder`, once it is sure that it answers with the labels of `answers`."""
    model = load_model(folder, threads=2)
    for name, labels in answers.items():
        if tuple(model.settings.get(name, ())) != tuple(labels):
            raise TrainingError(
                f"teachers: {folder} answers with the {name} {model.settings.get(name)}, and this config has {list(labels)}; "
                "name a model of this task with these labels"
            )
    return model


def _source_parties(conflict: ConflictConfig) -> tuple[str, ...]:
    """Labels that a source's surroundings are classified into; `unknown` is what stays when none is sure."""
    return tuple(label for label in conflict.party_labels if label != UNKNOWN)


def _row(example: dict[str, Any]) -> Row:
    return Row(np.asarray(example["input_ids"], dtype=np.int64), np.asarray(example["token_type_ids"], dtype=np.int64))


def _calibrate(
    model: Model, examples: list[dict[str, Any]], read: Callable[..., dict[str, np.ndarray]], gold: dict[str, str]
) -> dict[str, float]:
    """A temperature for each head; `gold` names the examples' labels by head."""
    outputs = model.run(_row(example) for example in examples)
    scores = [read(example, output) for example, output in zip(examples, outputs, strict=True)]
    return {
        head: fit_temperature(
            np.concatenate([one[head] for one in scores]), np.concatenate([np.ravel(example[labels]) for example in examples])
        )
        for head, labels in gold.items()
    }


def _read_quotes(example: dict[str, Any], output: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Scores of a row's quotes: quotes × stances, and (quotes · targets) × attitudes."""
    read = [read_off(output, np.asarray(places)) for places in example["places"]]
    return {"stance": np.stack([stance for stance, _ in read]), "toward": np.concatenate([toward for _, toward in read])}


def _read_pieces(example: dict[str, Any], output: dict[str, np.ndarray], parties: int) -> dict[str, np.ndarray]:
    """Tag scores of all pieces, and party scores at the ends of the row's sources."""
    ends = [place for span in example["sources"] for place in span]
    return {"tags": output["tags"].reshape(-1, 3), "parties": output["parties"][ends].reshape(-1, parties)}
