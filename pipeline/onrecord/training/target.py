"""The target task: examples, net, and how a dev set is scored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import nn

from onrecord.benchmarks import target_score
from onrecord.config import TargetTrainConfig
from onrecord.corpus.labelled import LabelledText
from onrecord.inference import special_id, tokenize
from onrecord.target import OUTPUT, TEXT, TYPES, TargetClassifier, TargetView
from onrecord.training.examples import collate_ids, softened_mean
from onrecord.training.fitting import Run, fit
from onrecord.training.losses import LabelLoss, divergence
from onrecord.training.nets import Encoder

TAUGHT = "taught"  # what teachers answered, beside the label


def target_examples(
    rows: Sequence[LabelledText],
    tokenizer: Tokenizer,
    config: TargetTrainConfig,
    topics: Sequence[str],
    teachers: Sequence[TargetClassifier] = (),
) -> list[dict[str, Any]]:
    """One example a labelled text: the row that the classifier sees at run time, its label, and its topic's place in `topics`.

    With `teachers`, each text also has the mean of their softened answers.
    """
    view = TargetView(config.max_tokens)
    answers = [list(teacher.scores(row.item for row in rows)) for teacher in teachers]
    cls, sep = special_id(tokenizer, "[CLS]"), special_id(tokenizer, "[SEP]")
    examples = []
    for number, labelled in enumerate(rows):
        words = tokenize(tokenizer, labelled.item.target) if labelled.item.target else None
        row = view.row(tokenize(tokenizer, labelled.item.text), labelled.item, words, cls, sep)
        examples.append(
            {
                "input_ids": row.ids.tolist(),
                "token_type_ids": row.types.tolist(),
                "label": config.labels.index(labelled.label),
                "topic": topics.index(labelled.topic),
                "length": len(row.ids),
            }
        )
        if teachers:
            examples[-1][TAUGHT] = softened_mean([scores[number] for scores in answers], config.teacher_temperature)
    return examples


def collate_target(examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """A batch of texts as padded tensors."""
    batch = collate_ids(examples, max(len(example["input_ids"]) for example in examples))
    batch["label"] = torch.tensor([example["label"] for example in examples])
    batch["topic"] = torch.tensor([example["topic"] for example in examples])
    if TAUGHT in examples[0]:
        batch[TAUGHT] = torch.tensor([example[TAUGHT] for example in examples])
    return batch


class TargetNet(nn.Module):
    """One encoder; a head over the first piece, the mean of the target's pieces, and the mean of all."""

    def __init__(self, base: Path, config: TargetTrainConfig, loss: LabelLoss) -> None:
        super().__init__()
        self.encoder = Encoder(base, TYPES, config.layers)
        self.dropout = nn.Dropout(config.optimizer.dropout)
        self.label = nn.Linear(self.encoder.width * 3, len(config.labels))
        self.loss = loss
        self._by_topic = config.score_per_target
        self._share, self._temperature = config.teacher_share, config.teacher_temperature

    def scores(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> tuple[torch.Tensor, ...]:
        """Label scores of each row: what the exported graph gives."""
        hidden = self.encoder(input_ids, attention_mask, token_type_ids)
        every = attention_mask.unsqueeze(-1).to(hidden.dtype)
        target = ((token_type_ids != TEXT) & (attention_mask == 1)).unsqueeze(-1).to(hidden.dtype)
        # Without a target the whole text stands for it.
        has_target = (target.sum(1, keepdim=True) > 0).to(hidden.dtype)
        target = target * has_target + every * (1 - has_target)
        means = [(hidden * mask).sum(1) / mask.sum(1).clamp(min=1) for mask in (target, every)]
        return (self.label(self.dropout(torch.cat([hidden[:, 0], *means], dim=-1))),)

    def forward(
        self, input_ids: Any, attention_mask: Any, token_type_ids: Any, label: Any, topic: Any = None, taught: Any = None
    ) -> dict[str, torch.Tensor]:
        """Loss and scores; `topic` rides along to the metrics too, `taught` is the teachers' softened probabilities."""
        (scores,) = self.scores(input_ids, attention_mask, token_type_ids)
        loss = self.loss(scores, label, topic if self._by_topic else None)
        if taught is not None:
            loss = (1 - self._share) * loss + self._share * divergence(scores, taught, self._temperature)
        return {"loss": loss, "scores": scores}


def train_target(
    config: TargetTrainConfig,
    splits: dict[str, list[LabelledText]],
    tokenizer: Tokenizer,
    base: Path,
    run: Run,
    teachers: Sequence[TargetClassifier],
) -> tuple[nn.Module, dict[str, Any], list[dict[str, Any]]]:
    """Fit the net; gives it with the settings that the classifier reads and the dev examples."""
    topics = sorted({row.topic for rows in splits.values() for row in rows})
    examples = {
        "train": target_examples(splits["train"], tokenizer, config, topics, teachers),
        "dev": target_examples(splits["dev"], tokenizer, config, topics),
    }
    gold = [example["label"] for example in examples["train"]]
    # Where each target is scored for itself, a label that is rare toward one target counts more there.
    of_topic = [example["topic"] for example in examples["train"]] if config.score_per_target else None
    loss = LabelLoss(config.loss, gold, config.labels, groups=of_topic, group_count=len(topics))
    net = TargetNet(base, config, loss)
    fit(net, examples["train"], examples["dev"], collate_target, _metrics(config), ["label", "topic"], config.optimizer, run)
    settings = {"labels": list(config.labels), "max_tokens": config.max_tokens, "temperature": {OUTPUT: 1.0}}
    return net, settings, examples["dev"]


def _metrics(config: TargetTrainConfig) -> Callable[[Any], dict[str, float]]:
    def metrics(prediction: Any) -> dict[str, float]:
        gold, topics = prediction.label_ids
        predicted = prediction.predictions.argmax(-1)
        rows = [(config.labels[g], config.labels[p], str(t)) for g, p, t in zip(gold, predicted, topics, strict=True)]
        return {"selection": target_score(rows, config), "accuracy": float((gold == predicted).mean())}

    return metrics


def read_label(example: dict[str, Any], output: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The row's scores as one decision."""
    return {OUTPUT: output[OUTPUT][None]}
