"""The loss of a head that chooses one of n labels: class weights, focal, label smoothing; and of learning from teachers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from onrecord.config import LossConfig, StanceTrainConfig
from onrecord.records import ATTITUDES
from onrecord.training.nets import IGNORE, TrainingError


class LabelLoss(nn.Module):
    """Mean loss of the examples that have a label.

    Args:
        settings: Which loss.
        gold: The training data's labels as indices; balanced weights are made of their counts.
        labels: Names of the labels, in the order of the scores.
        groups: The group of each training example, below `group_count`, where each group has class weights of its own.
        complete: Whether every label must have a training example.

    Raises:
        TrainingError: when `complete`, and a label has no training example.
    """

    def __init__(
        self,
        settings: LossConfig,
        gold: Sequence[int],
        labels: Sequence[str],
        *,
        groups: Sequence[int] | None = None,
        group_count: int = 1,
        complete: bool = True,
    ) -> None:
        super().__init__()
        counts = torch.zeros(group_count, len(labels))
        for group, label in zip(groups or [0] * len(gold), gold, strict=True):
            counts[group, label] += 1
        if complete:
            _check_classes([int(count) for count in counts.sum(0)], labels)
        self._settings = settings
        # n / (classes · count), so that the weights' mean over a group's examples is 1 (King & Zeng 2001).
        weights = counts.sum(1, keepdim=True) / (len(labels) * counts.clamp(min=1))
        powers = {"none": torch.ones_like(weights), "root": weights.sqrt(), "balanced": weights}
        self.weights: torch.Tensor
        self.register_buffer("weights", powers[settings.class_weights], persistent=False)

    def forward(self, scores: torch.Tensor, gold: torch.Tensor, groups: torch.Tensor | None = None) -> torch.Tensor:
        """The loss of `scores` (examples × labels) for `gold` (indices; IGNORE: no label) in `groups` (0 if not given)."""
        known = gold != IGNORE
        scores, gold = scores[known], gold[known]
        weights = self.weights[0 if groups is None else groups[known], gold]
        losses = weights * nn.functional.cross_entropy(
            scores, gold, label_smoothing=self._settings.label_smoothing, reduction="none"
        )
        if self._settings.focal_gamma:
            # Lin et al. 2017, Focal Loss for Dense Object Detection, equation 4.
            right = torch.softmax(scores, -1).gather(1, gold.unsqueeze(1)).squeeze(1)
            losses = losses * (1 - right) ** self._settings.focal_gamma
        return losses.sum() / weights.sum().clamp(min=1e-8)


class StanceLoss(nn.Module):
    """The loss of stance and attitudes together, from labels and, where there are any, teachers' answers.

    Args:
        config: The losses of both, their weights and the teachers' share.
        gold: For each train quote, its stance and its attitudes toward the targets, as indices.
        stances: Names of the stances, in the order of the scores.
        targets: Names of the targets, in the order of the scores.

    Raises:
        TrainingError: when a stance has no training example. An attitude toward a target may lack one.
    """

    def __init__(
        self, config: StanceTrainConfig, gold: Sequence[tuple[int, Sequence[int]]], stances: Sequence[str], targets: Sequence[str]
    ) -> None:
        super().__init__()
        self.stance = LabelLoss(config.loss, [stance for stance, _ in gold], stances)
        self.toward = nn.ModuleList(
            LabelLoss(config.toward_loss, [toward[number] for _, toward in gold], ATTITUDES, complete=False)
            for number in range(len(targets))
        )
        self._toward_weight = config.toward_weight
        self._share, self._temperature = config.teacher_share, config.teacher_temperature

    def forward(
        self,
        stance: torch.Tensor,
        toward: torch.Tensor,
        stance_labels: torch.Tensor,
        toward_labels: torch.Tensor,
        taught_stance: torch.Tensor | None = None,
        taught_toward: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The loss of a batch of quotes; those whose label is IGNORE don't count.

        Args:
            stance: Scores, quotes × stances.
            toward: Scores, quotes × targets × attitudes.
            stance_labels: Indices, one a quote.
            toward_labels: Indices, quotes × targets.
            taught_stance: The teachers' softened probabilities, as `stance`.
            taught_toward: The same, as `toward`.
        """
        real = stance_labels != IGNORE
        by_target = [loss(toward[:, number], toward_labels[:, number]) for number, loss in enumerate(self.toward)]
        loss: torch.Tensor = self.stance(stance, stance_labels) + self._toward_weight * torch.stack(by_target).mean()
        if taught_stance is None or taught_toward is None:
            return loss
        taught = divergence(stance[real], taught_stance[real], self._temperature)
        attitudes, answers = toward[real].flatten(0, 1), taught_toward[real].flatten(0, 1)
        taught = taught + self._toward_weight * divergence(attitudes, answers, self._temperature)
        return (1 - self._share) * loss + self._share * taught


def divergence(scores: torch.Tensor, taught: torch.Tensor, temperature: float) -> torch.Tensor:
    """Kullback-Leibler divergence from teachers' answers, times T² (Hinton et al. 2015, *Distilling the Knowledge*).

    Args:
        scores: The net's scores, examples × labels.
        taught: The teachers' probabilities, softened by the same temperature T.
        temperature: T.
    """
    own = torch.log_softmax(scores / temperature, -1)
    return nn.functional.kl_div(own, taught, reduction="batchmean") * temperature**2


def _check_classes(counts: Sequence[int], labels: Sequence[str]) -> None:
    # A net can't learn a label that it never sees.
    empty = [label for label, count in zip(labels, counts, strict=True) if not count]
    if empty:
        raise TrainingError(
            f"no training example is labelled {', '.join(empty)}: add some, or take the label out of the config; "
            f"found {', '.join(f'{label} {count}' for label, count in zip(labels, counts, strict=True))}"
        )
