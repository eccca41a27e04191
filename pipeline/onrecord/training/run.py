"""One training from its config to a model folder with checkpoints, card and checksums."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from tokenizers import Tokenizer
from torch import nn
from transformers import Trainer, TrainingArguments, set_seed

from onrecord import __version__
from onrecord.config import (
    ConflictConfig,
    ExtractionTrainConfig,
    OptimizerConfig,
    StanceTrainConfig,
    config_kind,
    load,
    resolve,
)
from onrecord.corpus import GoldArticle, corpus_hash, read_split, share_of
from onrecord.evaluation import macro_f1
from onrecord.extraction import PARTS, viterbi_spans
from onrecord.inference import FORMAT, Model, Row, special_id, write_checksums
from onrecord.records import UNKNOWN
from onrecord.stance import OUTPUTS as STANCE_OUTPUTS
from onrecord.stance import read_off
from onrecord.training.examples import StanceCollator, collate_extraction, extraction_examples, stance_examples
from onrecord.training.export import agreement, export_onnx, fit_temperature
from onrecord.training.nets import (
    BIAS_SCALE,
    EXTRACTION_OUTPUTS,
    IGNORE,
    ExtractionNet,
    StanceNet,
    TrainingError,
    find_base,
)


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


def fit(
    net: nn.Module,
    train: list[dict[str, Any]],
    dev: list[dict[str, Any]],
    collate: Callable[[list[dict[str, Any]]], dict[str, torch.Tensor]],
    metrics: Callable[[Any], dict[str, float]],
    labels: list[str],
    settings: OptimizerConfig,
    checkpoints: Path,
) -> nn.Module:
    """Train, keep the epoch that is best on dev, resume from checkpoints of an unfinished run."""
    arguments = TrainingArguments(
        output_dir=str(checkpoints),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=32,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        warmup_steps=settings.warmup,
        lr_scheduler_type="linear",
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="selection",
        greater_is_better=True,
        logging_strategy="epoch",
        report_to=[],
        use_cpu=True,
        # Emulated bf16 is several times slower than fp32, so only where the processor has it.
        bf16=settings.precision == "bf16" or (settings.precision == "auto" and torch.cpu._is_avx512_bf16_supported()),
        seed=settings.seed,
        data_seed=settings.seed,
        train_sampling_strategy="group_by_length",
        length_column_name="length",
        remove_unused_columns=False,
        label_names=labels,
    )
    heads = [parameter for name, parameter in net.named_parameters() if not name.startswith("encoder.")]
    body = [parameter for name, parameter in net.named_parameters() if name.startswith("encoder.")]
    optimizer = torch.optim.AdamW(
        [{"params": body, "lr": settings.learning_rate}, {"params": heads, "lr": settings.head_learning_rate}],
        weight_decay=settings.weight_decay,
    )
    trainer = Trainer(
        model=net,
        args=arguments,
        train_dataset=Dataset.from_list(train),
        eval_dataset=Dataset.from_list(dev),
        data_collator=collate,
        compute_metrics=metrics,
        optimizers=(optimizer, None),
    )
    unfinished = sorted(checkpoints.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    trainer.train(resume_from_checkpoint=str(unfinished[-1]) if unfinished else None)
    return net.eval()


def load_training(path: Path, overrides: Sequence[str] = ()) -> Any:
    """Read the training config at `path`, of either kind; `overrides` as `load` takes them.

    Raises:
        ConfigError: with every fault of the file and the overrides.
    """
    return load(path, ExtractionTrainConfig if config_kind(path) == "train-extraction" else StanceTrainConfig, overrides)


def train(path: Path, overrides: Sequence[str] = ()) -> Path:
    """Train the model of the config at `path`, with `overrides`, and write its folder; see `load_training` and `train_run`."""
    return train_run(path, load_training(path, overrides), path.stem)


def train_run(path: Path, config: Any, name: str) -> Path:
    """Train what `config` says.

    Args:
        path: The YAML that relative paths in `config` count from.
        config: Its settings, or settings made from them.
        name: Name of the run: its checkpoints lie in a folder of this name.

    Returns:
        The model folder, complete and with checksums.

    Raises:
        TrainingError: when base, corpus or checkpoints don't fit.
    """
    conflict = load(resolve(path, config.conflict), ConflictConfig)
    corpus = resolve(path, config.corpus)
    base = find_base(config.base)
    set_seed(config.optimizer.seed)
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    splits = {name: read_split(corpus, name) for name in ("train", "dev")}
    for side, articles in splits.items():
        if not articles:
            raise TrainingError(f"{corpus}: the split {side!r} is empty; run `onrecord corpus split {corpus}`")
    splits["train"] = share_of(splits["train"], config.train_share, config.optimizer.seed)
    digest = corpus_hash(corpus)
    checkpoints = resolve(path, config.checkpoints) / name
    _claim(checkpoints, {"config": config.model_dump(mode="json"), "corpus": digest})
    net: nn.Module
    outputs: tuple[str, ...]
    read: Callable[..., dict[str, np.ndarray]]
    if isinstance(config, ExtractionTrainConfig):
        net, settings, examples = _train_extraction(config, conflict, splits, tokenizer, base, checkpoints)
        outputs, read = EXTRACTION_OUTPUTS, partial(_read_pieces, parties=len(settings["party_labels"]))
    else:
        net, settings, examples = _train_stance(config, conflict, splits, tokenizer, base, checkpoints)
        outputs, read = STANCE_OUTPUTS, _read_quotes
    folder = resolve(path, config.output)
    with tempfile.TemporaryDirectory() as temporary:
        draft = Path(temporary) / folder.name
        draft.mkdir()
        export_onnx(net, outputs, draft / "model.onnx")
        tokenizer.save(str(draft / "tokenizer.json"))
        settings |= {
            "format": FORMAT,
            "name": folder.name,
            "conflict": conflict.name,
            "corpus_hash": digest,
            "train_articles": len(splits["train"]),
            "trained_on": [gold.article.id for gold in splits["train"]],
            "train_quotes": sum(len(gold.quotes) for gold in splits["train"]),
            "onrecord": __version__,
            "training_config": config.model_dump(mode="json"),
        }
        _finish(draft, settings)
        settings["agreement_on_dev"] = agreement(
            net, Model(draft, threads=2), [_row(example) for example in examples], outputs, examples, read
        )
        if isinstance(config, StanceTrainConfig):
            settings["temperature"] = _calibrate(Model(draft, threads=2), examples)
        _finish(draft, settings)
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.exists():
            shutil.rmtree(folder)
        shutil.copytree(draft, folder)
    return folder


def _claim(checkpoints: Path, fingerprint: dict[str, Any]) -> None:
    """Keep checkpoints of the same config and corpus to resume from; start anew for any other."""
    mark = checkpoints / "fingerprint.json"
    text = json.dumps(fingerprint, sort_keys=True, indent=1)
    if checkpoints.exists() and (not mark.is_file() or mark.read_text(encoding="utf-8") != text):
        shutil.rmtree(checkpoints)
    checkpoints.mkdir(parents=True, exist_ok=True)
    mark.write_text(text, encoding="utf-8")


def _finish(folder: Path, settings: dict[str, Any]) -> None:
    (folder / "settings.json").write_text(json.dumps(settings, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "card.md").write_text(model_card(settings), encoding="utf-8")
    write_checksums(folder)


def _train_extraction(
    config: ExtractionTrainConfig,
    conflict: ConflictConfig,
    splits: dict[str, list[GoldArticle]],
    tokenizer: Tokenizer,
    base: Path,
    checkpoints: Path,
) -> tuple[ExtractionNet, dict[str, Any], list[dict[str, Any]]]:
    parties = _source_parties(conflict)
    examples = {name: extraction_examples(articles, tokenizer, config, parties) for name, articles in splits.items()}
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
        checkpoints,
    )
    settings = {
        "window_tokens": config.window_tokens,
        "overlap_tokens": config.overlap_tokens,
        "link_bias": (BIAS_SCALE * net.bias).detach().numpy().round(5).tolist(),
        "min_content_probability": 0.5,
        "party_labels": list(parties),
        "per_piece_outputs": list(EXTRACTION_OUTPUTS),
    }
    return net, settings, examples["dev"]


def _train_stance(
    config: StanceTrainConfig,
    conflict: ConflictConfig,
    splits: dict[str, list[GoldArticle]],
    tokenizer: Tokenizer,
    base: Path,
    checkpoints: Path,
) -> tuple[StanceNet, dict[str, Any], list[dict[str, Any]]]:
    examples = {name: stance_examples(articles, tokenizer, config, conflict) for name, articles in splits.items()}
    net = StanceNet(base, config, len(conflict.stance_labels), len(conflict.targets))
    labels = conflict.stance_labels

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
        checkpoints,
    )
    settings = {
        "stances": list(conflict.stance_labels),
        "targets": list(conflict.targets),
        "party_labels": list(conflict.party_labels),
        "window_tokens": config.window_tokens,
        "context_tokens": config.context_tokens,
        "source": config.source,
        "per_piece_outputs": list(STANCE_OUTPUTS),
        "temperature": {"stance": 1.0, "toward": 1.0},
    }
    return net, settings, examples["dev"]


def _source_parties(conflict: ConflictConfig) -> tuple[str, ...]:
    """Labels that a source's surroundings are classified into; `unknown` is what stays when none is sure."""
    return tuple(label for label in conflict.party_labels if label != UNKNOWN)


def _row(example: dict[str, Any]) -> Row:
    return Row(np.asarray(example["input_ids"], dtype=np.int64), np.asarray(example["token_type_ids"], dtype=np.int64))


def _calibrate(model: Model, examples: list[dict[str, Any]]) -> dict[str, float]:
    outputs = model.run([_row(example) for example in examples], batch_tokens=4096)
    read = [_read_quotes(example, output) for example, output in zip(examples, outputs, strict=True)]
    gold = {name: np.concatenate([np.ravel(example[f"{name}_labels"]) for example in examples]) for name in ("stance", "toward")}
    return {name: fit_temperature(np.concatenate([scores[name] for scores in read]), gold[name]) for name in gold}


def _read_quotes(example: dict[str, Any], output: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Scores of a row's quotes: quotes × stances, and (quotes · targets) × attitudes."""
    read = [read_off(output, np.asarray(places)) for places in example["places"]]
    return {"stance": np.stack([stance for stance, _ in read]), "toward": np.concatenate([toward for _, toward in read])}


def _read_pieces(example: dict[str, Any], output: dict[str, np.ndarray], parties: int) -> dict[str, np.ndarray]:
    """Tag scores of all pieces, and party scores at the ends of the row's sources."""
    ends = [place for span in example["sources"] for place in span]
    return {"tags": output["tags"].reshape(-1, 3), "parties": output["parties"][ends].reshape(-1, parties)}


def model_card(settings: dict[str, Any]) -> str:
    """The card of a model folder, from its settings alone."""
    lines = [
        f"# {settings['name']}",
        "",
        f"Fine-tuned from `{settings['training_config']['base']}` (all-MiniLM-L6-v2) for the conflict `{settings['conflict']}`,",
        f"on {settings['train_quotes']} quotes of {settings['train_articles']} articles. The articles were written and labelled",
        "by a language model about invented people in real offices; expect real news to be harder than the figures on such text.",
        "ONNX with int8 weights; holds no code. Scores: see docs/dev/report.md, which `make report` makes.",
        "",
        f"- corpus hash: `{settings['corpus_hash']}`",
        f"- onrecord: {settings['onrecord']}",
    ]
    for head, figures in settings.get("agreement_on_dev", {}).items():
        lines.append(
            f"- agreement with the PyTorch net on dev, {head}: {figures['same_labels']:.2%} of {figures['decisions']} "
            f"decisions, largest probability gap {figures['largest_probability_gap']}"
        )
    return "\n".join(lines) + "\n"
