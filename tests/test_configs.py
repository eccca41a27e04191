import ast
import json
import shutil
from pathlib import Path

import jsonschema
import pytest
import yaml
from pydantic import BaseModel
from typer.testing import CliRunner

from onrecord.cli import app
from onrecord.config import (
    SCHEMAS,
    AnalyzeConfig,
    ConfigError,
    ConflictConfig,
    OptimizerConfig,
    RegistryConfig,
    StanceTrainConfig,
    as_yaml,
    load,
    load_registry,
    resource_root,
    schema_of,
)
from onrecord.config.reference import json_schema, reference_markdown, settings, split_title

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
        ("kind: [analyze]\n", "`kind` is missing"),
        ("kind: analyze\n1: x\n", r"a\.yaml:2: "),
        ("kind: analyze\nx: !!python/object/apply:os.system [ls]\n", "not valid YAML"),
    ],
)
def test_faults_are_letters(tmp_path, text, words):
    path = tmp_path / "a.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=words):
        load(path, AnalyzeConfig)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kind: analyze\nconflict: &a [*a]\n", r"a\.yaml:2: this anchor holds an alias of itself"),
        ("kind: analyze\nthreads: 2021-02-30\n", r"a\.yaml:2: 2021-02-30 is no timestamp"),
        ("kind: analyze\n[a]: 1\n", r"a\.yaml:2: a list or section can't be the name"),
        ("kind: analyze\nx: " + "[" * 600, "nested too deeply"),
        (
            "kind: analyze\na0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{f'*a{n - 1},' * 9}]\n" for n in range(1, 9)),
            "aliases stand for",
        ),
    ],
    ids=["loop", "date", "key", "depth", "bomb"],
)
def test_a_hostile_yaml_is_one_clear_letter(tmp_path, text, words):
    (tmp_path / "a.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=words):
        load(tmp_path / "a.yaml", AnalyzeConfig)


@pytest.mark.parametrize("overlaps", ["overlap_tokens: 62", "overlap_tokens: 8\nread_overlap_tokens: 62"])
def test_windows_that_do_not_advance_are_a_fault(tmp_path, overlaps):
    (tmp_path / "a.yaml").write_text(f"kind: train-extraction\noutput: x\nwindow_tokens: 64\n{overlaps}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="overlap_tokens: 62 must be below window_tokens - 2 = 62"):
        load(tmp_path / "a.yaml", SCHEMAS["train-extraction"])


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


# What a config extends, and overrides


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / "configs" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


BASE = "# Base\nkind: train-stance\noutput: models/base\noptimizer:\n  epochs: 3\n  seed: 5\n"
CHILD = "kind: train-stance\nextends: configs/base.yaml\noptimizer: {seed: 6}\n"


def test_sections_merge_over_what_a_config_extends(tmp_path):
    write(tmp_path, "base.yaml", BASE)
    write(tmp_path, "middle.yaml", CHILD)
    path = write(tmp_path, "top.yaml", "kind: train-stance\nextends: configs/middle.yaml\noutput: models/top\n")
    config = load(path, StanceTrainConfig)
    assert (config.output, config.optimizer.epochs, config.optimizer.seed) == (Path("models/top"), 3, 6)
    assert config.optimizer.weight_decay == OptimizerConfig().weight_decay
    assert "extends" not in config.model_dump()


def test_a_fault_names_the_file_that_it_stands_in(tmp_path):
    write(tmp_path, "base.yaml", BASE + "  warmpu: 0.1\ntoward_weight: -1\n")
    child = write(tmp_path, "child.yaml", CHILD + "max_token: 5\n")
    with pytest.raises(ConfigError) as caught:
        load(child, StanceTrainConfig, ["optimizer.batch_size=0"])
    letters = str(caught.value).splitlines()
    assert any("base.yaml:7: `warmpu` is not a setting of optimizer. Did you mean `warmup`?" in letter for letter in letters)
    assert any("base.yaml:8: `toward_weight`" in letter for letter in letters)
    assert any("child.yaml:4: `max_token` is not a setting of this file." in letter for letter in letters)
    assert any(letter.startswith("override `optimizer.batch_size=0`: `optimizer.batch_size`") for letter in letters)
    assert len(letters) == 4


@pytest.mark.parametrize(
    ("base", "child", "words"),
    [
        (
            BASE,
            CHILD.replace("base.", "bose."),
            r"child\.yaml:2: `extends`: .*bose\.yaml: no such config\. Did you mean .*base\.yaml",
        ),
        (
            BASE + "extends: configs/child.yaml\n",
            CHILD,
            r"base\.yaml:7: `extends` goes round in a circle: .*child.* → .*base.* → .*child",
        ),
        (
            "kind: analyze\n",
            CHILD,
            r"base\.yaml:1: `kind` is 'analyze', expected `kind: train-stance` like .*child\.yaml, which extends",
        ),
        ("kind: [\n", CHILD, r"base\.yaml:2: not valid YAML"),
        (BASE, "kind: train-stance\nextends: [a, b]\n", r"child\.yaml:2: `extends`: expected the path of one other config"),
    ],
    ids=["missing", "circle", "kind", "yaml", "list"],
)
def test_what_can_not_be_extended_is_a_letter(tmp_path, base, child, words):
    write(tmp_path, "base.yaml", base)
    with pytest.raises(ConfigError, match=words):
        load(write(tmp_path, "child.yaml", child), StanceTrainConfig)


def test_a_conflict_extends_nothing(tmp_path):
    path = write(
        tmp_path, "c.yaml", "kind: conflict\nextends: configs/d.yaml\nname: x\nparties: {}\nstances: {none: x}\nregistry: r\n"
    )
    with pytest.raises(ConfigError, match=r"c\.yaml:2: `extends` is not a setting of this file"):
        load(path, ConflictConfig)


def test_paths_of_another_project_keep_their_project_and_outputs_do_not(tmp_path):
    base = write(tmp_path / "theirs", "base.yaml", BASE + "corpus: gold\n")
    child = write(tmp_path / "mine", "child.yaml", f"kind: train-stance\nextends: {base}\n")
    config = load(child, StanceTrainConfig)
    assert config.corpus == tmp_path / "theirs/gold"
    assert config.conflict == tmp_path / "theirs/configs/conflicts/south-caucasus.yaml"
    assert config.output == Path("models/base")


def test_overrides_are_yaml_values(tmp_path):
    path = write(tmp_path, "base.yaml", BASE)
    config = load(
        path, StanceTrainConfig, ["optimizer.learning_rate=2e-4", "optimizer.epochs=7", "base=my folder", "layers=null"]
    )
    assert (config.optimizer.learning_rate, config.optimizer.epochs, config.optimizer.seed) == (0.0002, 7, 5)
    assert (config.base, config.layers) == ("my folder", None)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            ["optimizer.learning_rat=1"],
            "override `optimizer.learning_rat=1`: `learning_rat` is not a setting of optimizer. Did you mean",
        ),
        (
            ["optimiser.epochs=1"],
            "override `optimiser.epochs=1`: `optimiser` is not a setting of this file. Did you mean `optimizer`?",
        ),
        (["optimizer.epochs=many"], "override `optimizer.epochs=many`: `optimizer.epochs`: Input should be a valid integer"),
        (["optimizer=3"], "override `optimizer=3`: `optimizer`: Input should be"),
        (["epochs"], "override `epochs`: write key=value"),
        (["=1"], "override `=1`: write key=value"),
        (["base=["], "override `base=[`: the value is not valid YAML"),
        (["extends=x"], "override `extends=x`: `extends` stands in the file only"),
        (["base=a", "base=b"], "override `base=b`: `base` is given twice"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_a_bad_override_is_a_letter_that_names_it(tmp_path, overrides, words):
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, "base.yaml", BASE), StanceTrainConfig, overrides)
    assert words in str(caught.value)


def test_train_takes_overrides(tiny_project):
    from onrecord.training.run import load_training

    path = tiny_project / "configs/train/stance.yaml"
    assert load_training(path, ["optimizer.epochs=9"]).optimizer.epochs == 9
    result = run("train", path, "optimizer.epoch=9")
    assert result.exit_code == 2 and "`epoch` is not a setting of optimizer. Did you mean `epochs`?" in result.stderr


# The schemas


def sections() -> list[type[BaseModel]]:
    found: list[type[BaseModel]] = list(SCHEMAS.values())
    for section in found:
        for field in section.model_fields.values():
            for kind in (field.annotation, *getattr(field.annotation, "__args__", ())):
                if isinstance(kind, type) and issubclass(kind, BaseModel) and kind not in found:
                    found.append(kind)
    return found


def test_every_setting_has_a_title_of_one_line_with_the_unit_of_its_number():
    rows = [(kind, row) for kind in SCHEMAS for row in settings(kind)]
    assert len(rows) > 60
    untitled = [f"{kind}: {row.name}" for kind, row in rows if not row.title or "\n" in row.title or len(row.title) > 110]
    assert not untitled, "give each Field a one-line title"
    unitless = [f"{kind}: {row.name}" for kind, row in rows if row.type in ("number", "whole number") and not row.unit]
    assert not unitless, "end the title of a number with its unit: title='Passes over the corpus [epochs]'"
    assert split_title("Peak rate [per step]") == ("Peak rate", "per step")


def test_every_setting_is_read_somewhere():
    """A setting that no code reads is accepted and does nothing."""
    read = {
        node.attr
        for path in (ROOT / "pipeline/onrecord").rglob("*.py")
        if path.parent.name != "config"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
    }
    # Read by `load`; for people who read the file; what Wikidata or Wikipedia calls the person.
    spared = {"kind", "extends", "definition", "reference"}
    unread = [
        f"{section.__name__}.{name}" for section in sections() for name in section.model_fields if name not in read | spared
    ]
    assert not unread


def test_the_reference_of_settings_is_current():
    text = (ROOT / "docs/config.md").read_text(encoding="utf-8")
    assert text == reference_markdown(), "run: make report"
    assert "| `optimizer.epochs` | whole number | ≥ 1 | epochs | `8` | Passes over the training articles |" in text


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_editors_accept_what_ships_and_mark_what_is_misspelt(path):
    kind = yaml.safe_load(path.read_text(encoding="utf-8"))["kind"]
    schema = json_schema(kind)
    jsonschema.Draft202012Validator.check_schema(schema)
    # JSON has no dates.
    data = json.loads(json.dumps(yaml.safe_load(path.read_text(encoding="utf-8")), default=str))
    jsonschema.validate(data, schema)
    with pytest.raises(jsonschema.ValidationError, match="knid"):
        jsonschema.validate({**data, "knid": 1}, schema)
    if kind.startswith("train"):
        # Only a config that extends another may leave out what it must have.
        needed = {name: value for name, value in data.items() if name not in ("output", "extends")}
        with pytest.raises(jsonschema.ValidationError, match="output"):
            jsonschema.validate(needed, schema)
        jsonschema.validate({**needed, "extends": "configs/train/stance.yaml"}, schema)


# The commands


def run(*arguments):
    return CliRunner().invoke(app, ["config", *map(str, arguments)] if arguments[0] != "train" else [*map(str, arguments)])


def test_list_finds_all_that_ships():
    result = run("list")
    assert result.exit_code == 0
    for path in SHIPPED:
        assert path.relative_to(ROOT).as_posix() in result.output
    assert "The run that `onrecord analyze` makes by default" in result.output


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_show_prints_what_loads_again(path, tmp_path):
    result = run("show", path)
    assert result.exit_code == 0, result.output
    shown = write(tmp_path, "shown.yaml", result.output)
    assert load(shown, schema_of(shown)) == load(path, schema_of(path))
    assert as_yaml(load(shown, schema_of(shown))) == result.output


def test_show_takes_names_and_overrides(tmp_path):
    data = yaml.safe_load(run("show", "train/stance", "optimizer.seed=99").output)
    assert data["optimizer"]["seed"] == 99 and data["optimizer"]["warmup"] == OptimizerConfig().warmup
    result = run("show", "train/stanse")
    assert result.exit_code == 2 and "Did you mean configs/train/stance.yaml?" in result.stderr
    result = run("show", "south-caucasus")
    assert result.exit_code == 2 and "2 shipped configs are called so" in result.stderr


def test_init_copies_what_runs_from_its_new_place_and_overwrites_nothing(tmp_path):
    target = tmp_path / "configs/mine.yaml"
    assert run("init", "analyze/default", "--to", target).exit_code == 0
    assert target.read_text(encoding="utf-8").startswith("# The run that `onrecord analyze` makes by default")
    config = load(target, AnalyzeConfig)
    assert config.conflict == ROOT / "configs/conflicts/south-caucasus.yaml" and config.stance_model == ROOT / "models/stance"
    assert run("check", target).output == "clean\n"
    before = target.read_bytes()
    result = run("init", "analyze/default", "--to", target)
    assert result.exit_code == 2 and "is there already" in result.stderr and target.read_bytes() == before


def test_init_adds_what_a_default_names_and_keeps_what_the_place_has(tmp_path, monkeypatch):
    (tmp_path / "data/corpus").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert run("init", "train/stance").output == "wrote configs/train/stance.yaml\n"
    config = load(Path("configs/train/stance.yaml"), StanceTrainConfig)
    assert config.conflict == ROOT / "configs/conflicts/south-caucasus.yaml"
    assert (config.corpus, config.output) == (Path("data/corpus"), Path("out/models/stance"))


def test_a_copy_of_a_config_that_extends_another_still_extends_it(tmp_path):
    from onrecord.config.shipped import _moved

    (tmp_path / "theirs/gold").mkdir(parents=True)
    base = write(tmp_path / "theirs", "base.yaml", BASE + "corpus: gold\n")
    child = write(tmp_path / "theirs", "child.yaml", CHILD)
    copy = write(tmp_path / "mine", "copy.yaml", _moved(child, tmp_path / "mine/configs/copy.yaml"))
    assert copy.read_text(encoding="utf-8") == CHILD.replace("configs/base.yaml", f'"{base}"')
    config = load(copy, StanceTrainConfig)
    assert config.corpus == tmp_path / "theirs/gold" and config.optimizer.seed == 6


def test_schema_names_the_kinds():
    assert json.loads(run("schema", "train-stance").output)["additionalProperties"] is False
    result = run("schema", "train-stanse")
    assert result.exit_code == 2 and "Did you mean train-stance?" in result.stderr


# The check


@pytest.fixture
def project(tiny_project, tmp_path) -> Path:
    """A copy of the tiny project with its own conflict and registry, that a test may break."""
    root = tmp_path / "project"
    shutil.copytree(tiny_project, root, ignore=shutil.ignore_patterns("out", "models"))
    conflict = (ROOT / "configs/conflicts/south-caucasus.yaml").read_text(encoding="utf-8")
    write(root, "conflict.yaml", conflict)
    (root / "data/registry").mkdir()
    shutil.copy(ROOT / "data/registry/south-caucasus.yaml", root / "data/registry")
    for path in (root / "configs/train").glob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        path.write_text(
            text.replace(str(ROOT / "configs/conflicts/south-caucasus.yaml"), "configs/conflict.yaml"), encoding="utf-8"
        )
    models = f"extraction_model: {ROOT / 'models/extraction'}\nstance_model: {ROOT / 'models/stance'}\n"
    write(root, "analyze.yaml", f"kind: analyze\nconflict: configs/conflict.yaml\n{models}")
    return root


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_check_says_clean(project):
    assert run("check", project / "configs", project / "data/registry").output == "clean\n"


def test_check_names_all_faults_of_all_files_at_once(project):
    edit(project / "configs/analyze.yaml", "kind: analyze", "kind: analyze\nthread: 1")
    edit(project / "configs/train/stance.yaml", "configs/conflict.yaml", "configs/conflikt.yaml")
    write(project, "strange.yaml", "kind: analyse\n")
    (project / "data/corpus/articles/tiny-0.xml").unlink()
    (project / "data/corpus/articles/tiny-4.xml").unlink()
    edit(project / "data/corpus/articles/tiny-1.xml", "Border talks", "Border talk")
    write(
        project,
        "train/nobase.yaml",
        "kind: train-stance\nextends: configs/train/extraction.yaml\noutput: x\nbase: no_such_base\n",
    )
    result = run("check", project / "configs")
    assert result.exit_code == 1, result.output
    for words in (
        "analyze.yaml:2: `thread` is not a setting of this file. Did you mean `threads`?",
        "stance.yaml:2: `conflict`: ",
        "conflikt.yaml: no such config. Did you mean",
        "strange.yaml:1: `kind` is 'analyse', expected one of conflict, registry, analyze",
        "Did you mean `analyze`?",
        "tiny-1.xml:1: changed since the splits were frozen",
        "extraction.yaml:1: `kind` is 'train-extraction', expected `kind: train-stance` like",
    ):
        assert words in result.output, (words, result.output)
    assert result.output.count("changed since") == 1


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (lambda root: edit(root / "configs/analyze.yaml", "models/stance", "models/extraction"), "stance_model`: extraction@"),
        (
            lambda root: edit(root / "configs/analyze.yaml", "models/stance", "models/none"),
            "`stance_model`: {root}/models/none: no such",
        ),
        (
            lambda root: edit(root / "configs/conflict.yaml", "stances:\n  Armenia", "stances:\n  none: x\n  Armenia"),
            "`none` stands twice",
        ),
        (
            lambda root: edit(root / "configs/conflict.yaml", "data/registry/south", "data/registry/north"),
            "`registry`: {root}/data/registry/north",
        ),
        (
            lambda root: edit(root / "data/registry/south-caucasus.yaml", "party: Armenia", "party: Armania"),
            "conflict.yaml:5: `registry`: `party` Armania is none of the conflict's",
        ),
        (
            lambda root: edit(root / "data/registry/south-caucasus.yaml", "from: 2018-05-08", "from: 2018-05-38"),
            "south-caucasus.yaml:5: 2018-05-38 is no timestamp",
        ),
        (lambda root: shutil.rmtree(root / "data/corpus"), "stance.yaml:1: `corpus`: {root}/data/corpus: no such corpus folder"),
        (lambda root: (root / "data/corpus/splits.json").unlink(), "splits.json:1: no splits file"),
        (
            lambda root: edit(root / "configs/train/stance.yaml", "kind:", "base: no_such_base\nkind:"),
            "stance.yaml:1: `base`: base model 'no_such_base'",
        ),
        (
            lambda root: edit(root / "configs/train/stance.yaml", "kind:", "layers: 60\nkind:"),
            "stance.yaml:1: `layers`: 60 is more than the 6 of the base model (num_hidden_layers)",
        ),
    ],
    ids=[
        "other model",
        "no model",
        "twice",
        "no registry",
        "strange party",
        "no day",
        "no corpus",
        "no splits",
        "no base",
        "layers",
    ],
)
def test_check_looks_at_all_that_its_help_names(project, break_it, words):
    break_it(project)
    result = run("check", project / "configs")
    assert result.exit_code == 1
    assert words.replace("{root}", "") in result.output.replace(str(project), "").replace(str(ROOT), ""), result.output


def test_check_compares_the_labels_of_corpus_models_and_conflict(project):
    """A conflict without one of the parties: its registry, its corpus and both models know one too many."""
    conflict = yaml.safe_load((project / "configs/conflict.yaml").read_text(encoding="utf-8"))
    gone = list(conflict["parties"])[-1]
    del conflict["parties"][gone], conflict["stances"][gone]
    write(project, "conflict.yaml", yaml.safe_dump(conflict, allow_unicode=True, sort_keys=False))
    lines = run("check", project / "configs").output.splitlines()
    for words in (
        f"`registry`: `party` {gone} is none of",
        f"`corpus`: `stance` {gone} is none of",
        f"`corpus`: `toward` {gone} is none of",
        "`extraction_model`: the model tells apart",
        "`stance_model`: the model answers",
    ):
        assert [line for line in lines if words in line], (words, lines)


def test_check_of_nothing_is_no_success(tmp_path):
    assert run("check", tmp_path / "none.yaml").exit_code == 2
    result = run("check", tmp_path)
    assert result.exit_code == 2 and "no configs (*.yaml) below this folder" in result.stderr


def test_the_default_registry_and_conflict_check_clean():
    result = run("check", ROOT / "configs/conflicts", ROOT / "configs/analyze", ROOT / "data/registry")
    assert result.output == "clean\n"
    assert load(ROOT / "data/registry/south-caucasus.yaml", RegistryConfig).entries
