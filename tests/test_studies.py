"""Several trainings of one config, and the worked example of docs/own-data.md, run for real on a tiny base."""

import json
import re
import shutil

import pytest
import yaml
from typer.testing import CliRunner

from onrecord.cli import app
from onrecord.config import ConfigError, resource_root
from onrecord.inference import load_model
from onrecord.target import TargetClassifier, TargetText
from onrecord.training import load_training, studies
from onrecord.training.studies import cross_validate, tune

ROOT = resource_root()


@pytest.fixture(scope="module")
def example(tmp_path_factory, tiny_base):
    """The documented example with a tiny base and one epoch."""
    root = shutil.copytree(ROOT / "docs/examples", tmp_path_factory.mktemp("docs") / "examples")
    path = root / "configs/town-notes.yaml"
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    settings |= {"base": str(tiny_base), "optimizer": {"epochs": 1, "precision": "fp32"}}
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


def run(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "300"})
    assert result.exit_code == 0, result.output
    return result.output


def test_the_page_about_own_data_is_true(example, tmp_path):
    page = (ROOT / "docs/own-data.md").read_text(encoding="utf-8")
    assert set(re.findall(r"onrecord (\S+)", page)) >= {"train", "benchmark", "models", "cross-validate", "tune"}
    settings = yaml.safe_load((ROOT / "docs/examples/configs/town-notes.yaml").read_text(encoding="utf-8"))
    shown = yaml.safe_load(re.search(r"```yaml\n(.*?)```", page, re.DOTALL).group(1))
    assert {name: settings[name] for name in shown} == shown
    run("train", example)
    assert "town notes | test | macro-F1" in run("benchmark", example, "--out", tmp_path / "o")
    assert json.loads((tmp_path / "o/metrics.json").read_text(encoding="utf-8"))["scores"]["macro-F1"]["n"] == 3
    assert "town-notes" in run("models", "list", example.parents[1] / "out")
    classifier = TargetClassifier(load_model(example.parents[1] / "out/models/town-notes", 1))
    notes = [TargetText("The ferry is a blessing, the pier is a shame.", target) for target in ("ferry", "pier")]
    assert all(judgement.label in ("for", "against", "neutral") for judgement in classifier.classify(notes))


def test_seeds_give_mean_and_spread(example):
    output = run("train", example, "--seeds", 2)
    assert "seed 13" in output and "standard deviation" in output and "n = 2" in output
    assert {path.name for path in (example.parents[1] / "out/models").glob("*seed*")} == {
        "town-notes-seed13",
        "town-notes-seed14",
    }


def test_folds_score_every_text_once_and_resume(example, tmp_path, monkeypatch):
    config = load_training(example)
    runs = cross_validate(example, config, 3, tmp_path, lambda run: None)
    # 39 rows of train and dev; texts with two targets stay together.
    assert sum(run.settings["dev"] for run in runs) == 39 and len(runs) == 3
    assert not list(tmp_path.glob("checkpoints/*"))
    monkeypatch.setattr(studies, "fit_run", None)
    assert cross_validate(example, config, 3, tmp_path, lambda run: None) == runs


def test_a_search_goes_on_where_it_died(example, tmp_path, monkeypatch):
    config = load_training(example)
    plain, calls = studies.fit_run, []

    def dying(*args):
        calls.append(args[1])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return plain(*args)

    monkeypatch.setattr(studies, "fit_run", dying)
    with pytest.raises(KeyboardInterrupt):
        tune(example, config, 3, tmp_path, lambda run: None)
    runs = tune(example, config, 3, tmp_path, lambda run: None)
    # One whole, one interrupted and tried again with the same settings, one more.
    assert len(runs) == 3 and len(calls) == 4 and calls[1] == calls[2]
    assert all(0.00005 <= run.settings["optimizer.learning_rate"] <= 0.0005 for run in runs)
    assert [run.selection for run in runs] == sorted((run.selection for run in runs), reverse=True)
    assert tune(example, config, 3, tmp_path, lambda run: None) == runs and len(calls) == 4


def test_a_space_that_does_not_fit_is_a_letter_before_anything_is_trained(example, tmp_path):
    config = load_training(example)
    for space, words in (
        ({"optimizer.learning_rat": {"choices": [1]}}, "learning_rat"),
        ({"optimiser.learning_rate": {"choices": [1]}}, "is not a setting of this config"),
        ({"optimizer.learning_rate": {"low": -1, "high": 1}}, "greater than 0"),
    ):
        wrong = type(config).model_validate(config.model_dump(mode="json") | {"search": space})
        with pytest.raises(ConfigError, match=words):
            tune(example, wrong, 1, tmp_path, lambda run: None)
    with pytest.raises(ConfigError, match="`search` is empty"):
        tune(example, config.model_copy(update={"search": {}}), 1, tmp_path, lambda run: None)


def test_extraction_learns_from_brat_and_is_scored(tmp_path, tiny_base):
    note = (
        "T1\tContent 8 19\tit would go\nT2\tSource 0 2\tHe\nT3\tCue 3 7\tsaid\nE1\tAttribution:T3 Content:T1 Source:T2 Cue:T3\n"
    )
    for split in ("train", "dev"):
        for number in range(6):
            for folder, name, text in (
                ("text", f"a{number}.txt", "He said it would go."),
                ("attributions", f"a{number}.ann", note),
            ):
                place = tmp_path / "polnear" / split / folder / f"{split}-{name}"
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(text, encoding="utf-8")
    settings = yaml.safe_load((ROOT / "configs/benchmarks/polnear.yaml").read_text(encoding="utf-8"))
    settings |= {"base": str(tiny_base), "start": None, "window_tokens": 64, "overlap_tokens": 16, "dev_share": 0.4}
    settings |= {"conflict": str(ROOT / "configs/conflicts/south-caucasus.yaml"), "optimizer": {"epochs": 1, "precision": "fp32"}}
    path = tmp_path / "configs/polnear.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    run("train", path, f"corpus={tmp_path / 'polnear'}")
    assert "states no licence" in (tmp_path / "out/models/polnear/card.md").read_text(encoding="utf-8")
    output = run("benchmark", path, f"corpus={tmp_path / 'polnear'}")
    assert "| PolNeAR | dev | content, F1 exact |" in output and "source, F1 IoU ≥ 0.5" in output
