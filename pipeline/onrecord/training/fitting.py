"""The one place that runs Trainer: fit a net, keep what a killed run needs, stop early, watch, say how fast it was.

Nothing random depends on how far a process came: the order of an epoch, the draws of a batch and the dropout of a
step are seeded by their own numbers. So a run that was killed anywhere resumes to the weights of one that was not.
"""

from __future__ import annotations

import errno
import importlib.util
import json
import math
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from safetensors import SafetensorError
from safetensors.torch import load_file, load_model
from torch import nn
from torch.utils.data import Sampler
from transformers import PrinterCallback, ProgressCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_pt_utils import get_length_grouped_indices

from onrecord.config import OptimizerConfig
from onrecord.records import write_whole
from onrecord.training.nets import TrainingError

Collate = Callable[[list[dict[str, Any]]], dict[str, torch.Tensor]]
RUN_MARK = "run.json"  # what a folder of checkpoints is of
WHOLE = "whole.json"  # in a checkpoint folder: written last, so a folder without it is half-written
SELECTION = "eval_selection"


@dataclass(frozen=True)
class Progress:
    """How far a training is: optimizer steps done and planned, and the best dev metric so far."""

    step: int
    steps: int
    best: float | None


@dataclass(frozen=True)
class FitSummary:
    """What a training did: steps taken of those planned, the best dev metric, speed without evaluation."""

    steps: int
    planned_steps: int
    selection: float | None
    tokens_per_second: float
    finished: bool


@dataclass(frozen=True)
class Run:
    """A training's folder of checkpoints, who watches it, whether it is only to be read, and the run that it goes on from."""

    folder: Path
    watch: Callable[[Progress], None] | None = None
    read_only: bool = False
    start: Run | None = None

    def checkpoints(self) -> list[Path]:
        """Whole checkpoints, oldest first; half-written ones are left out."""
        found = [path for path in self.folder.glob("checkpoint-*") if (path / WHOLE).is_file()]
        return sorted(found, key=lambda path: int(path.name.rsplit("-", 1)[1]))

    def summary(self) -> FitSummary | None:
        """What the last fit in this folder did; None before one came to its end."""
        path = self.folder / "summary.json"
        return FitSummary(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None

    def write_summary(self, summary: FitSummary) -> None:
        """Store the summary, whole or not at all."""
        write_whole(self.folder / "summary.json", json.dumps(asdict(summary)))


def fit(
    net: nn.Module,
    train: list[dict[str, Any]],
    dev: list[dict[str, Any]],
    collate: Collate,
    metrics: Callable[[Any], dict[str, float]],
    labels: list[str],
    settings: OptimizerConfig,
    run: Run,
) -> nn.Module:
    """Train, keep the epoch that is best on dev, resume from the newest whole checkpoint of an unfinished run.

    Args:
        net: A net whose forward gives `loss`; trained in place.
        train: Examples with `input_ids` and `length`.
        dev: Examples that `metrics` is measured on after every epoch.
        collate: Examples → padded tensors. Its attribute `training`, where it has one, is off for dev.
        metrics: Trainer's prediction → figures; `selection` chooses the epoch, higher is better.
        labels: Names of the tensors that are labels.
        settings: How to fit.
        run: Where checkpoints lie; after fitting it holds the summary too.

    Raises:
        TrainingError: when the loss is not a number, the disk is full, a tracker is not installed, `run` is
            read-only and holds no whole checkpoint, or what it starts from holds none or one of another base.
        KeyboardInterrupt: after Ctrl-C, once the current step is saved.
    """
    for half in set(run.folder.glob("checkpoint-*")) - set(run.checkpoints()):
        shutil.rmtree(half)
    done = run.summary()
    if run.read_only or (done is not None and done.finished):
        return _load_best(net, run)
    _freeze(net, settings.frozen_layers)
    trainer = _trainer(net, train, dev, collate, metrics, labels, settings, run)
    checkpoints = run.checkpoints()
    newest = checkpoints[-1] if checkpoints else None
    if newest is None and run.start is not None:
        _take_over(net, run.start, _answers(run) == _answers(run.start))
    if newest is None or not _stalled(_state(newest)["log_history"], settings.patience):
        with _saving_on_interrupt(trainer):
            try:
                trainer.train(resume_from_checkpoint=str(newest) if newest else None)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
                    raise
                raise _not_written(run.folder, error) from error
    state = _state(run.checkpoints()[-1])
    speed = trainer.tokens / trainer.seconds if trainer.seconds else (done.tokens_per_second if done else 0.0)
    run.write_summary(FitSummary(state["global_step"], state["max_steps"], state["best_metric"], round(speed, 1), True))
    return _load_best(net, run)


def _trainer(
    net: nn.Module,
    train: list[dict[str, Any]],
    dev: list[dict[str, Any]],
    collate: Collate,
    metrics: Callable[[Any], dict[str, float]],
    labels: list[str],
    settings: OptimizerConfig,
    run: Run,
) -> _Trainer:
    arguments = TrainingArguments(
        output_dir=str(run.folder),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.accumulation,
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
        report_to=_tracker(settings.tracker, run.folder),
        run_name=run.folder.name,
        use_cpu=True,
        # Emulated bf16 is several times slower than fp32, so only where the processor has it.
        bf16=settings.precision == "bf16" or (settings.precision == "auto" and torch.cpu._is_avx512_bf16_supported()),
        seed=settings.seed,
        train_sampling_strategy="group_by_length",
        length_column_name="length",
        remove_unused_columns=False,
        label_names=labels,
    )
    trained = [(name, parameter) for name, parameter in net.named_parameters() if parameter.requires_grad]
    heads = [parameter for name, parameter in trained if not name.startswith("encoder.")]
    body = [parameter for name, parameter in trained if name.startswith("encoder.")]
    optimizer = torch.optim.AdamW(
        [{"params": body, "lr": settings.learning_rate}, {"params": heads, "lr": settings.head_learning_rate}],
        weight_decay=settings.weight_decay,
    )
    trainer = _Trainer(
        model=net,
        args=arguments,
        train_dataset=Dataset.from_list([example | {"number": number} for number, example in enumerate(train)]),
        eval_dataset=Dataset.from_list([example | {"number": number} for number, example in enumerate(dev)]),
        data_collator=_SeededCollate(collate, settings.seed),
        compute_metrics=metrics,
        optimizers=(optimizer, None),
        callbacks=[_Keeper(settings, run)],
    )
    # The core prints nothing; who wants a bar passes `watch`.
    trainer.remove_callback(ProgressCallback)
    trainer.remove_callback(PrinterCallback)
    return trainer


class _EpochOrder(Sampler):
    """Examples of like length together, in an order that seed and epoch alone decide."""

    def __init__(self, lengths: list[int], batch: int, seed: int) -> None:
        self._lengths, self._batch, self._seed, self.epoch = lengths, batch, seed, 0

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(_mixed(self._seed, self.epoch))
        return iter(get_length_grouped_indices(self._lengths, self._batch, generator=generator))


class _SeededCollate:
    """Makes batches; what a batch of an epoch draws at random depends on seed, epoch and its first example alone."""

    def __init__(self, collate: Collate, seed: int) -> None:
        self._collate, self._seed, self.epoch, self.training = collate, seed, 0, True

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        if hasattr(self._collate, "training"):
            self._collate.training = self.training
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_mixed(self._seed, self.epoch, examples[0]["number"]))
            return self._collate(examples)


def _mixed(*numbers: int) -> int:
    """One seed from several numbers, well apart for neighbours (the mixing step of SplitMix64, Steele et al. 2014)."""
    seed = 0
    for number in numbers:
        seed = (seed ^ (number + 0x9E3779B97F4A7C15)) * 0xBF58476D1CE4E5B9 % 2**64
        seed ^= seed >> 31
    return seed % 2**63


class _Trainer(Trainer):
    """Trainer with random draws that resume, whole checkpoints only, and faults that say what happened."""

    tokens = 0
    seconds = 0.0
    interrupted = False
    _pass = (0, 0)  # the step that a pass belongs to, and its number there

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler:
        batch = self.args.train_batch_size * self.args.gradient_accumulation_steps
        self.order = _EpochOrder(list(self.train_dataset["length"]), batch, self.args.seed)
        return self.order

    def begin_epoch(self, epoch: int) -> None:
        self.order.epoch = self.data_collator.epoch = epoch

    def training_step(self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        began = time.perf_counter()
        step = self.state.global_step
        self._pass = (step, self._pass[1] + 1 if self._pass[0] == step else 0)
        torch.manual_seed(_mixed(self.args.seed, *self._pass))
        loss: torch.Tensor = super().training_step(model, inputs, num_items_in_batch)
        if not math.isfinite(float(loss)):
            raise TrainingError(
                f"the loss of step {step + 1} is {float(loss)}: nothing of it was kept. Lower "
                "optimizer.learning_rate, or set optimizer.precision to fp32; the same command goes on from the last checkpoint."
            )
        self.tokens += int(inputs["attention_mask"].sum())
        self.seconds += time.perf_counter() - began
        return loss

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        self.data_collator.training = False
        try:
            figures: dict[str, float] = super().evaluate(*args, **kwargs)
        finally:
            self.data_collator.training = True
        return figures

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        (folder / WHOLE).unlink(missing_ok=True)
        try:
            super()._save_checkpoint(model, trial)
            (folder / WHOLE).write_text(json.dumps({"step": self.state.global_step}), encoding="utf-8")
        except (OSError, SafetensorError, RuntimeError) as error:
            raise _not_written(folder, error) from error
        if self.interrupted:
            raise KeyboardInterrupt


class _Keeper(TrainerCallback):
    """Numbers the epochs, saves between them, stops where dev no longer gains, and tells who watches."""

    def __init__(self, settings: OptimizerConfig, run: Run) -> None:
        self._settings, self._run = settings, run
        self.trainer: _Trainer | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._epoch_steps = state.max_steps // self._settings.epochs
        self._tell(state)

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.trainer is not None:
            self.trainer.begin_epoch(state.global_step // self._epoch_steps)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._tell(state)
        every, interrupted = self._settings.save_steps, self.trainer is not None and self.trainer.interrupted
        # The last step of an epoch is saved with its dev score, a moment later; a checkpoint without one would lose it.
        if state.global_step % self._epoch_steps and (interrupted or (every and state.global_step % every == 0)):
            control.should_save = True

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if _stalled(state.log_history, self._settings.patience):
            control.should_training_stop = True

    def _tell(self, state: Any) -> None:
        if self._run.watch is not None:
            self._run.watch(Progress(state.global_step, state.max_steps, state.best_metric))


@contextmanager
def _saving_on_interrupt(trainer: _Trainer) -> Iterator[None]:
    """The first Ctrl-C ends the current step, saves and stops; a second one stops at once."""
    keeper = next(callback for callback in trainer.callback_handler.callbacks if isinstance(callback, _Keeper))
    keeper.trainer = trainer
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(signum: int, frame: Any) -> None:
        trainer.interrupted = True
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _stalled(history: list[dict[str, Any]], patience: int) -> bool:
    """Whether the dev metric did not rise in the last `patience` epochs; never for 0."""
    values = [entry[SELECTION] for entry in history if SELECTION in entry]
    return bool(patience and values) and len(values) - 1 - values.index(max(values)) >= patience


def _state(checkpoint: Path) -> dict[str, Any]:
    state: dict[str, Any] = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    return state


def _load_best(net: nn.Module, run: Run) -> nn.Module:
    """Load the run's best weights into `net`."""
    best = best_checkpoint(run)
    load_model(net, best / "model.safetensors")
    if run.summary() is None:
        newest = _state(run.checkpoints()[-1])
        run.write_summary(FitSummary(newest["global_step"], newest["max_steps"], newest["best_metric"], 0.0, False))
    return net.eval()


def best_checkpoint(run: Run) -> Path:
    """The checkpoint of the best epoch, or the newest one where no epoch is whole yet.

    Raises:
        TrainingError: when the run has no whole checkpoint.
    """
    checkpoints = run.checkpoints()
    if not checkpoints:
        raise TrainingError(f"{run.folder}: no whole checkpoint to take weights from; train first")
    best = run.folder / f"checkpoint-{_state(checkpoints[-1])['best_global_step']}"
    return best if best in checkpoints else checkpoints[-1]


def _freeze(net: nn.Module, layers: int) -> None:
    """Keep the tables of words and places and the lowest `layers` layers as the base has them."""
    if not layers:
        return
    model: Any = net.encoder.model  # type: ignore[union-attr]
    there = len(model.encoder.layer)
    if layers > there:
        raise TrainingError(f"optimizer.frozen_layers is {layers}, but the net has {there}; set it to {there} or less")
    frozen = [model.embeddings.word_embeddings, model.embeddings.position_embeddings, *model.encoder.layer[:layers]]
    for module in frozen:
        module.requires_grad_(False)


def _answers(run: Run) -> dict[str, Any]:
    """What the heads of a run's net stand for, by the settings that it was claimed with."""
    mark = run.folder / RUN_MARK
    config = json.loads(mark.read_text(encoding="utf-8"))["config"] if mark.is_file() else {}
    return {name: config.get(name) for name in ("kind", "labels", "conflict")}


def _take_over(net: nn.Module, start: Run, heads: bool) -> None:
    """Give `net` the best weights of another run; those outside the encoder only if `heads`, and where the shapes agree."""
    own = net.state_dict()
    kept = load_file(best_checkpoint(start) / "model.safetensors")
    fitting = {
        name: value
        for name, value in kept.items()
        if name in own and own[name].shape == value.shape and (heads or name.startswith("encoder."))
    }
    strange = [name for name in own if name.startswith("encoder.") and name not in fitting]
    if strange:
        raise TrainingError(
            f"start: {start.folder} has another base than this config ({strange[0]} differs); set `base` and `layers` to its own"
        )
    net.load_state_dict(own | fitting)


def _tracker(name: str, folder: Path) -> list[str]:
    """Trainer's `report_to`; what it needs is looked for first, and MLflow writes beside the checkpoints."""
    if name == "none":
        return []
    if importlib.util.find_spec(name) is None:
        raise TrainingError(f"optimizer.tracker is {name}, which is not installed: pip install 'onrecord[trackers]'")
    if name == "mlflow":
        # It reports its own use over the network unless told not to, before it is imported.
        os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
        import mlflow

        if not mlflow.is_tracking_uri_set():
            mlflow.set_tracking_uri(f"sqlite:///{(folder / 'mlflow.db').resolve()}")
    return [name]


def _not_written(place: Path, error: Exception) -> TrainingError:
    return TrainingError(
        f"{place}: can't be written: {error}. Is the disk full? Free some room; the same command goes on from the last "
        "whole checkpoint."
    )
