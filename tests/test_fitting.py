"""What a training survives: being killed anywhere, Ctrl-C, a full disk, a loss that is no number."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from onrecord.cli import app
from onrecord.config import LossConfig, OptimizerConfig, StanceTrainConfig
from onrecord.inference import load_model
from onrecord.training import TrainingError, export_run, train
from onrecord.training.fitting import WHOLE, Run, _mixed, _stalled, _take_over, _Trainer, best_checkpoint
from onrecord.training.losses import LabelLoss, StanceLoss, divergence
from onrecord.training.run import fit_run, load_training, read_data

# Fifteen steps: three epochs of five. The copy dies by SIGKILL in the middle of the step that is asked for.
KILLED = """
import os, signal, sys, torch
from pathlib import Path
from onrecord.training import train
from onrecord.training.fitting import _Trainer
plain, wanted, by = _Trainer.training_step, int(sys.argv[2]), int(sys.argv[3])
def step(self, *args, **kwargs):
    loss = plain(self, *args, **kwargs)
    if self.state.global_step + 1 == wanted:
        os.kill(os.getpid(), by)
    return loss
_Trainer.training_step = step
train(Path(sys.argv[1]))
"""


def weights(folder: Path) -> str:
    return hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()


def fitted(path: Path) -> str:
    """Hash of the best weights of a run that makes no model folder."""
    config = load_training(path)
    fit_run(path, config, "fit", read_data(path, config))
    newest = Run(path.parents[2] / "out/train/fit").checkpoints()[-1]
    return hashlib.sha256((newest / "model.safetensors").read_bytes()).hexdigest()


def copied(project: Path, to: Path, **changes) -> Path:
    """A copy of the project; `changes` are settings of its optimizer."""
    shutil.copytree(project, to, ignore=shutil.ignore_patterns("out", "models"))
    path = to / "configs/train/target.yaml"
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    settings["optimizer"] |= changes
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def whole(target_project, tmp_path_factory):
    """An uninterrupted run."""
    path = copied(target_project, tmp_path_factory.mktemp("whole") / "p")
    return path, train(path)


@pytest.mark.parametrize(("step", "by", "code"), [(9, signal.SIGKILL, -9), (7, signal.SIGINT, 130)], ids=["kill", "ctrl-c"])
def test_a_run_that_died_resumes_to_the_same_weights(target_project, whole, tmp_path, step, by, code):
    path = copied(target_project, tmp_path / "p")
    program = KILLED if by == signal.SIGKILL else KILLED.replace("train(Path(sys.argv[1]))", "") + COMMAND
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    died = subprocess.run([sys.executable, "-c", program, path, str(step), str(int(by))], env=environment, capture_output=True)
    assert died.returncode == code, died.stderr
    checkpoints = Run(path.parents[2] / "out/train/target").checkpoints()
    assert checkpoints[-1].name == ("checkpoint-6" if by == signal.SIGKILL else "checkpoint-7")
    assert not (path.parents[2] / "models/target").exists()
    if by == signal.SIGINT:
        exported = CliRunner().invoke(app, ["models", "export", str(checkpoints[-1].parent)])
        assert exported.exit_code == 0, exported.output
        load_model(path.parents[2] / "models/target", 1)
        assert "not trained to its end" in (path.parents[2] / "models/target/card.md").read_text(encoding="utf-8")
    # A checkpoint that was being written when the process died is not taken for a whole one.
    half = shutil.copytree(checkpoints[-1], checkpoints[-1].with_name("checkpoint-14"))
    (half / WHOLE).unlink()
    (half / "model.safetensors").write_bytes(b"half")
    again = train(path)
    assert again.summary.steps == 15 and again.summary.finished
    assert weights(again.folder) == weights(whole[1].folder)


COMMAND = """
sys.argv = ["onrecord", "train", sys.argv[1]]
from onrecord.cli import app
app()
"""


def test_the_bundle_says_what_it_was_made_with(whole):
    settings = json.loads((whole[1].folder / "settings.json").read_text(encoding="utf-8"))
    assert settings["fit"]["tokens_per_second"] > 0 and settings["fit"]["steps"] == 15
    assert settings["seed"] == 13 and settings["packages"]["torch"] and settings["training_config"]["optimizer"]["epochs"] == 3
    assert settings["git"] is None or set(settings["git"]) == {"commit", "dirty"}


def test_a_seed_decides_the_weights(target_project, whole, tmp_path):
    # That equal seeds give equal weights, the resumed runs above show too; here without a resume.
    assert weights(train(copied(target_project, tmp_path / "same")).folder) == weights(whole[1].folder)
    fingerprints = [fitted(copied(target_project, tmp_path / str(seed), seed=seed, epochs=1)) for seed in (13, 14)]
    assert fingerprints[0] != fingerprints[1]


def test_a_finished_run_is_exported_again_without_training(whole):
    path, trained = whole
    before = weights(trained.folder)
    shutil.rmtree(trained.folder)
    again = export_run(path.parents[2] / "out/train/target")
    assert weights(again.folder) == before and again.summary == trained.summary


def test_settings_of_fitting_do_what_they_say(target_project, tmp_path):
    changes = {
        "patience": 1,
        "learning_rate": 1e-9,
        "head_learning_rate": 1e-9,
        "accumulation": 2,
        "frozen_layers": 1,
        "epochs": 6,
    }
    seen = []
    path = copied(target_project, tmp_path / "p", tracker="tensorboard", **changes)
    config = load_training(path)
    summary = fit_run(path, config, "target", read_data(path, config), seen.append)
    # A rate of nothing gains nothing: the second epoch is no better and the last.
    assert (summary.steps, summary.planned_steps) == (6, 18)
    assert [progress.step for progress in seen] == list(range(7)) and seen[-1].steps == 18
    assert list((path.parents[2] / "out/train/target").rglob("events.out.tfevents*"))


def test_frozen_layers_keep_the_base(target_project, tmp_path, tiny_base):
    from safetensors.torch import load_file

    path = copied(target_project, tmp_path / "p", frozen_layers=1, epochs=1)
    fitted(path)
    got = load_file(Run(path.parents[2] / "out/train/fit").checkpoints()[-1] / "model.safetensors")
    base = load_file(tiny_base / "model.safetensors")
    moved = {name: not torch.equal(got[f"encoder.model.{name}"], base[name]) for name in base if f"encoder.model.{name}" in got}
    assert not moved["embeddings.word_embeddings.weight"] and not moved["encoder.layer.0.output.dense.weight"]
    assert moved["encoder.layer.1.output.dense.weight"]
    with pytest.raises(TrainingError, match=r"frozen_layers is 3, but the net has 2"):
        train(copied(target_project, tmp_path / "q", frozen_layers=3))


def test_a_run_goes_on_from_another(target_project, whole, tmp_path):
    first = whole[0].parents[2] / "out/train/target"
    path = copied(target_project, tmp_path / "p", epochs=1, learning_rate=1e-12, head_learning_rate=1e-12, weight_decay=0.0)

    def fitted_from(start, name, *overrides):
        config = load_training(path, (f"start={start}", *overrides))
        fit_run(path, config, name, read_data(path, config))
        return load_file(best_checkpoint(Run(path.parents[2] / "out/train" / name)) / "model.safetensors")

    # At a rate of nothing it stays what it started from.
    own = fitted_from(first, "second")
    kept = load_file(best_checkpoint(Run(first)) / "model.safetensors")
    assert all(torch.allclose(own[name], value, atol=1e-5) for name, value in kept.items())
    # What another config left is not given up for a start that is not there, or that is it.
    second = path.parents[2] / "out/train/second"
    for start, words in ((tmp_path / "none", "no whole checkpoint"), (second, "own checkpoints go; move it")):
        with pytest.raises(TrainingError, match=words):
            fitted_from(start, "second")
        assert Run(second).checkpoints()
    fitted_from(first, "flat", "layers=1")
    with pytest.raises(TrainingError, match=r"has another base than this config \(encoder\.model\.encoder\.layer\.1"):
        fitted_from(path.parents[2] / "out/train/flat", "fourth")


def test_heads_of_other_labels_start_anew(tmp_path):
    class Net(torch.nn.Module):
        def __init__(self, labels):
            super().__init__()
            self.encoder, self.label = torch.nn.Linear(2, 2), torch.nn.Linear(2, labels)

    old, new = Net(2), Net(3)
    folder = tmp_path / "checkpoint-1"
    folder.mkdir()
    save_file(old.state_dict(), folder / "model.safetensors")
    (folder / WHOLE).write_text("{}", encoding="utf-8")
    (folder / "trainer_state.json").write_text('{"best_global_step": 1}', encoding="utf-8")
    before = new.label.weight.clone()
    _take_over(new, Run(tmp_path), heads=True)
    assert torch.equal(new.encoder.weight, old.encoder.weight) and torch.equal(new.label.weight, before)
    # As many labels, but others: what the old head says of the first is nothing to the new one.
    other, same = Net(2), Net(2)
    _take_over(other, Run(tmp_path), heads=False)
    _take_over(same, Run(tmp_path), heads=True)
    assert torch.equal(other.encoder.weight, old.encoder.weight) and torch.equal(same.label.weight, old.label.weight)
    assert not torch.equal(other.label.weight, old.label.weight)


def test_a_start_with_other_labels_gives_its_encoder_only(target_project, whole, tmp_path):
    first = whole[0].parents[2] / "out/train/target"
    path = copied(target_project, tmp_path / "p", epochs=1, learning_rate=1e-12, head_learning_rate=1e-12, weight_decay=0.0)
    mark = first / "run.json"
    known = mark.read_text(encoding="utf-8")
    renamed = json.loads(known)
    renamed["config"]["labels"] = [f"{label} of another task" for label in renamed["config"]["labels"]]
    mark.write_text(json.dumps(renamed), encoding="utf-8")
    try:
        config = load_training(path, (f"start={first}",))
        fit_run(path, config, "second", read_data(path, config))
    finally:
        mark.write_text(known, encoding="utf-8")
    own = load_file(best_checkpoint(Run(path.parents[2] / "out/train/second")) / "model.safetensors")
    kept = load_file(best_checkpoint(Run(first)) / "model.safetensors")
    alike = {name: torch.allclose(own[name], value, atol=1e-5) for name, value in kept.items()}
    assert all(same for name, same in alike.items() if name.startswith("encoder."))
    assert not all(same for name, same in alike.items() if not name.startswith("encoder."))


def test_a_loss_that_is_no_number_stops_the_run(target_project, tmp_path, monkeypatch):
    monkeypatch.setattr(LabelLoss, "forward", lambda self, scores, *labels: scores.sum() * float("nan"))
    path = copied(target_project, tmp_path / "p")
    result = CliRunner().invoke(app, ["train", str(path)])
    assert result.exit_code == 2 and "the loss of step 1 is nan" in result.stderr and "learning_rate" in result.stderr
    assert not (path.parents[2] / "models/target").exists()


def test_a_full_disk_is_a_letter_and_leaves_no_checkpoint_and_no_model(target_project, tmp_path, monkeypatch):
    def full(self, folder):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_Trainer, "_save_rng_state", full)
    path = copied(target_project, tmp_path / "p")
    result = CliRunner().invoke(app, ["train", str(path)])
    assert result.exit_code == 2 and "No space left" in result.stderr and "Is the disk full?" in result.stderr
    assert Run(path.parents[2] / "out/train/target").checkpoints() == [] and not (path.parents[2] / "models/target").exists()


def test_mlflow_gets_the_figures(target_project, tmp_path):
    path = copied(target_project, tmp_path / "p", tracker="mlflow", epochs=2)
    config = load_training(path)
    fit_run(path, config, "target", read_data(path, config))
    import mlflow  # only now: fitting tells it first to keep off the network

    [store] = (path.parents[2] / "out/train/target").glob("mlflow.db")
    runs = mlflow.MlflowClient(f"sqlite:///{store}").search_runs(["0"])
    assert [run.data.params["num_train_epochs"] for run in runs] == ["2"]
    assert {"eval_selection", "eval_loss"} <= set(runs[0].data.metrics)
    mlflow.set_tracking_uri(None)


def test_an_absent_tracker_names_the_extra(target_project, tmp_path, monkeypatch):
    monkeypatch.setattr("onrecord.training.fitting.importlib.util.find_spec", lambda name: None)
    with pytest.raises(TrainingError, match=r"pip install 'onrecord\[trackers\]'"):
        from onrecord.training.fitting import _tracker

        _tracker("mlflow", tmp_path)


def test_stopping_counts_epochs_without_gain():
    def history(*values):
        return [{"eval_selection": value} for value in values] + [{"loss": 1.0}]

    assert not _stalled(history(0.1, 0.2, 0.2), 2) and _stalled(history(0.1, 0.2, 0.2, 0.1), 2)
    assert not _stalled(history(0.5, 0.1, 0.1), 0) and not _stalled([], 1)


def test_seeds_of_neighbours_differ():
    seeds = {_mixed(seed, epoch, number) for seed in range(5) for epoch in range(5) for number in range(40)}
    assert len(seeds) == 1000 and all(0 <= seed < 2**63 for seed in seeds)


def test_losses_by_hand():
    scores, gold = torch.tensor([[2.0, 0.0], [0.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1, -100])
    each = torch.nn.functional.cross_entropy(scores[:2], gold[:2], reduction="none")
    assert torch.isclose(LabelLoss(LossConfig(), [0, 1], "ab")(scores, gold), each.mean())
    # Three of four examples are a: its weight is 4/(2·3), that of b is 2.
    balanced = LabelLoss(LossConfig(class_weights="balanced"), [0, 0, 0, 1], "ab")(scores, gold)
    assert torch.isclose(balanced, (each[0] * 2 / 3 + each[1] * 2) / (2 / 3 + 2))
    # By the root: √(2/3) and √2.
    rooted = LabelLoss(LossConfig(class_weights="root"), [0, 0, 0, 1], "ab")(scores, gold)
    assert torch.isclose(rooted, (each[0] * (2 / 3) ** 0.5 + each[1] * 2**0.5) / ((2 / 3) ** 0.5 + 2**0.5))
    # In groups: the first has a twice and b once, the second b alone, whose weight there is 1/(2·1).
    grouped = LabelLoss(LossConfig(class_weights="balanced"), [0, 0, 1, 1], "ab", groups=[0, 0, 0, 1], group_count=2)
    own = grouped(scores, gold, torch.tensor([0, 1, 0]))
    assert torch.isclose(own, (each[0] * 3 / 4 + each[1] / 2) / (3 / 4 + 1 / 2))
    focal = LabelLoss(LossConfig(focal_gamma=2), [0, 1], "ab")(scores, gold)
    assert torch.isclose(focal, (each * (1 - torch.exp(-each)) ** 2).mean())
    assert LabelLoss(LossConfig(label_smoothing=0.2), [0, 1], "ab")(scores, gold) > each.mean()
    with pytest.raises(TrainingError, match=r"no training example is labelled c: .*found a 1, b 1, c 0"):
        LabelLoss(LossConfig(), [0, 1], "abc")


def test_what_agrees_with_a_teacher_costs_nothing_more():
    scores = torch.tensor([[2.0, 0.0], [-1.0, 1.0]])
    assert divergence(scores, torch.softmax(scores / 2, -1), 2.0).abs() < 1e-6
    # By hand: T² · mean over examples of Σ p (log p - log q), with q even and p = (0.9, 0.1).
    taught = torch.tensor([[0.9, 0.1], [0.9, 0.1]])
    even = divergence(torch.zeros(2, 2), taught, 2.0)
    assert torch.isclose(even, 4 * (0.9 * torch.log(torch.tensor(1.8)) + 0.1 * torch.log(torch.tensor(0.2))))


def test_an_attitude_that_one_party_never_gets_stops_no_training():
    config = StanceTrainConfig(kind="train-stance", output="x", toward_loss=LossConfig(class_weights="balanced"))
    # Toward the second target only the first attitude is ever voiced.
    loss = StanceLoss(config, [(0, (0, 0)), (1, (1, 0)), (1, (2, 0))], "ab", ("X", "Y"))
    stance, toward = torch.zeros(3, 2), torch.zeros(3, 2, 3)
    labels = (torch.tensor([0, 1, -100]), torch.tensor([[0, 0], [1, 0], [-100, -100]]))
    assert torch.isfinite(loss(stance, toward, *labels))
    # Teachers who answer as the net does leave half of the labels' loss, as their share is a half.
    evenly = loss(stance, toward, *labels, torch.full((3, 2), 0.5), torch.full((3, 2, 3), 1 / 3))
    assert torch.isclose(evenly, loss(stance, toward, *labels) / 2)


def test_optimizer_defaults_freeze_and_accumulate_nothing():
    assert (OptimizerConfig().frozen_layers, OptimizerConfig().accumulation, OptimizerConfig().patience) == (0, 1, 0)
