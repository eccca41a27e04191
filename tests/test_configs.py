from pathlib import Path

import pytest
import yaml

from onrecord.config import (
    SCHEMAS,
    AnalyzeConfig,
    ConfigError,
    ConflictConfig,
    StanceTrainConfig,
    load,
    load_registry,
    resource_root,
)

ROOT = resource_root()
SHIPPED = sorted([*(ROOT / "configs").rglob("*.yaml"), *(ROOT / "data/registry").rglob("*.yaml")])


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_every_shipped_yaml_loads(path: Path):
    kind = yaml.safe_load(path.read_text(encoding="utf-8"))["kind"]
    load(path, SCHEMAS[kind])


def test_a_misspelt_key_names_line_and_nearest_setting(tmp_path):
    path = tmp_path / "stance.yaml"
    path.write_text("kind: train-stance\noutput: models/x\noptimizer:\n  learning_rat: 0.1\n", encoding="utf-8")
    with pytest.raises(
        ConfigError, match=r"stance\.yaml:4: `learning_rat` is not a setting of optimizer\. Did you mean `learning_rate`\?"
    ):
        load(path, StanceTrainConfig)


def test_all_faults_come_at_once(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("kind: analyze\nconflikt: x\nthreads: none\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(path, AnalyzeConfig)
    assert "a.yaml:2" in str(caught.value) and "a.yaml:3" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kind: analyse\n", "expected `kind: analyze`"),
        ("kind: analyze\nthreads: 1\nthreads: 2\n", "stands twice"),
        ("kind: [\n", "not valid YAML"),
        ("- a\n", "expected settings"),
        ("kind: analyze\nx: !!python/object/apply:os.system [ls]\n", "not valid YAML"),
    ],
)
def test_faults_are_letters(tmp_path, text, words):
    path = tmp_path / "a.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=words):
        load(path, AnalyzeConfig)


def test_a_missing_config_suggests_the_nearest(tmp_path):
    (tmp_path / "stance.yaml").write_text("kind: analyze\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"Did you mean .*stance\.yaml"):
        load(tmp_path / "stanse.yaml", AnalyzeConfig)


def test_registry_has_dated_offices_for_every_party():
    conflict = load(ROOT / "configs/conflicts/south-caucasus.yaml", ConflictConfig)
    entries = load_registry(ROOT / conflict.registry).entries
    dated = [entry for entry in entries if entry.start]
    assert len(dated) >= 120
    assert {entry.party for entry in dated} >= set(conflict.parties)
    assert all(entry.reference for entry in entries)
    assert all(entry.end is None or entry.start is None or entry.start <= entry.end for entry in entries)


def test_no_party_name_stands_in_code():
    conflict = load(ROOT / "configs/conflicts/south-caucasus.yaml", ConflictConfig)
    words = {word for party in conflict.parties.values() for word in (*party.names, *party.demonyms, *party.metonyms)}
    for path in (ROOT / "pipeline").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert not [word for word in words if word in text], path
