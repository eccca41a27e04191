"""The loss of a head that chooses one of n labels: class weights, focal, label smoothing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from onrecord.config import LossConfig
from onrecord.training.nets import IGNORE, TrainingError


class LabelLoss(nn.Module):
    """Mean loss of the examples that have a label.

    Args:
        settings: Which loss.
        gold: The training data's labels as indices; balanced weights are made of their counts.
        labels: Names of the labels, in the order of the scores.

    Raises:
        TrainingError: when a label has no training example.
    """

    def __init__(self, settings: LossConfig, gold: Sequence[int], labels: Sequence[str]) -> None:
        super().__init__()
        counts = check_classes(gold, labels)
        self._settings = settings
        self.weights: torch.Tensor | None
        # n / (classes · count), so that the weights' mean over examples is 1 (King & Zeng 2001).
        weights = len(gold) / (len(labels) * torch.tensor(counts, dtype=torch.float32))
        self.register_buffer("weights", weights if settings.class_weights == "balanced" else None, persistent=False)

    def forward(self, scores: torch.Tensor, gold: torch.Tensor) -> torch.Tensor:
        """The loss of `scores` (examples × labels) for `gold` (indices, IGNORE where there is none)."""
        known = gold != IGNORE
        scores, gold = scores[known], gold[known]
        losses = nn.functional.cross_entropy(
            scores, gold, weight=self.weights, label_smoothing=self._settings.label_smoothing, reduction="none"
        )
        if self._settings.focal_gamma:
            # Lin et al. 2017, Focal Loss for Dense Object Detection, equation 4.
            right = torch.softmax(scores, -1).gather(1, gold.unsqueeze(1)).squeeze(1)
            losses = losses * (1 - right) ** self._settings.focal_gamma
        total = self.weights[gold].sum() if self.weights is not None else torch.tensor(float(len(gold)))
        return losses.sum() / total.clamp(min=1e-8)


def check_classes(gold: Sequence[int], labels: Sequence[str]) -> list[int]:
    """Training examples of each label.

    Raises:
        TrainingError: naming every label that has none, since a net can't learn it.
    """
    counts = [0] * len(labels)
    for index in gold:
        counts[index] += 1
    empty = [label for label, count in zip(labels, counts, strict=True) if not count]
    if empty:
        raise TrainingError(
            f"no training example is labelled {', '.join(empty)}: add some, or take the label out of the config; "
            f"found {', '.join(f'{label} {count}' for label, count in zip(labels, counts, strict=True))}"
        )
    return counts
