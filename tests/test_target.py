"""Text + any target → label: what the model sees, the readers of others' data, the benchmarks' metrics."""

import csv
import gzip
import io
import json
import tarfile

import numpy as np
import pytest
import yaml
from tokenizers import Tokenizer
from typer.testing import CliRunner

from onrecord.benchmarks import span_counts, target_score
from onrecord.cli import app
from onrecord.config import TargetDataConfig, TargetTrainConfig, load, resource_root
from onrecord.corpus import CorpusError, archives
from onrecord.corpus.archives import read_files
from onrecord.corpus.labelled import read_labelled, sides
from onrecord.inference import ModelError, load_model, tokenize
from onrecord.records import Quote, Span
from onrecord.target import TARGET, TEXT, WORDS, TargetClassifier, TargetText, TargetView

ROOT = resource_root()
LABELS = ("good", "bad")


@pytest.fixture(scope="module")
def trained(target_project):
    result = CliRunner().invoke(app, ["train", str(target_project / "configs/train/target.yaml")])
    assert result.exit_code == 0 and "tokens a second" in result.output, result.output
    return target_project / "models/target"


@pytest.fixture(scope="module")
def tokenizer(tiny_base):
    tokenizer = Tokenizer.from_file(str(tiny_base / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def row_of(tokenizer, item, most=32):
    words = tokenize(tokenizer, item.target) if item.target else None
    return TargetView(most).row(tokenize(tokenizer, item.text), item, words, 101, 102)


def test_a_target_in_the_text_is_marked_there(tokenizer):
    text = "The ferry is late. A ferryman waits."
    for item in (TargetText(text, None, ((4, 9),)), TargetText(text, "FERRY")):
        row = row_of(tokenizer, item)
        assert tokenizer.decode(row.ids[row.types == TARGET].tolist()) == "ferry"
        assert (row.types != WORDS).all() and row.ids[0] == 101 and row.ids[-1] == 102


def test_a_target_that_the_text_lacks_follows_it(tokenizer):
    row = row_of(tokenizer, TargetText("It is late.", "the ferry"))
    assert tokenizer.decode(row.ids[row.types == WORDS].tolist()) == "the ferry"
    assert (row.types[: len(row.ids) - 3] == TEXT).all()


def test_a_long_text_is_cut_around_its_target(tokenizer):
    text = "word " * 300 + "the ferry is late " + "word " * 300
    for target, spans in (("ferry", ()), (None, ((1504, 1509),))):
        row = row_of(tokenizer, TargetText(text, target, spans))
        assert len(row.ids) == 32 and (row.types == TARGET).sum() == 1 and "is late" in tokenizer.decode(row.ids.tolist())
    assert len(row_of(tokenizer, TargetText("word " * 300, "ship " * 300)).ids) <= 32


def test_the_bundle_labels_any_stream_in_order(trained):
    classifier = TargetClassifier(load_model(trained, 1))
    items = [TargetText(f"the ferry is late {number}", "the ferry" if number % 2 else None) for number in range(300)]
    judged = list(classifier.classify(iter(items)))
    assert len(judged) == 300 and list(classifier.classify([])) == []
    assert all(j.label in LABELS and abs(sum(j.probabilities.values()) - 1) < 1e-3 for j in judged)
    settings = load_model(trained, 1).settings
    assert settings["temperature"]["label"] > 0 and settings["agreement_on_dev"]["label"]["decisions"] == 6


@pytest.mark.parametrize("kind", ["csv", "jsonl", "jsonl.gz", "parquet", "datasets", "dict"])
def test_tables_are_read_with_named_columns(tmp_path, kind):
    rows = [
        {"body": "A fine day, “sir”.", "answer": "1", "about": "day", "from": 7, "to": 10, "side": "train"},
        {"body": "Second", "answer": "0", "about": "", "from": 0, "to": 6, "side": "dev"},
    ]
    path = tmp_path / f"rows.{kind}"
    if kind == "csv":
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif kind.startswith("jsonl"):
        text = "".join(json.dumps(row) + "\n" for row in rows).encode()
        path.write_bytes(gzip.compress(text) if kind.endswith("gz") else text)
    else:
        from datasets import Dataset, DatasetDict

        if kind == "parquet":
            Dataset.from_list(rows).to_parquet(str(path))
        elif kind == "datasets":
            Dataset.from_list(rows).save_to_disk(str(path))
        else:
            DatasetDict({row["side"]: Dataset.from_list([row]) for row in rows}).save_to_disk(str(path))
    data = TargetDataConfig(
        path=path,
        text="body",
        label="answer",
        target="about",
        target_start="from",
        target_end="to",
        split="side",
        label_map={"1": "good", "0": "bad"},
    )
    found = read_labelled(path, data, LABELS)
    assert [(r.label, r.split, r.item.target, r.item.spans) for r in found] == [
        ("good", "train", "day", ((7, 10),)),
        ("bad", "dev", None, ((0, 6),)),
    ]
    assert found[0].item.text == rows[0]["body"]


@pytest.mark.parametrize(
    ("content", "changes", "words"),
    [
        (
            "text,label\nhi,fine\n",
            {},
            r"rows\.csv:2: the label 'fine' is not one of the config's: bad, good; see data\.label_map",
        ),
        ("text,lable\nhi,good\n", {}, r"rows\.csv:2: no column label; the columns are text, lable"),
        ("text,label\n ,good\n", {}, r"rows\.csv:2: `text` is empty"),
        ("text,label\n", {}, "holds no labelled text"),
        ("text,label,a,b\nhi,good,1,9\n", {"target_start": "a", "target_end": "b"}, r"\[1, 9\) lies outside the text of 2"),
        ("text,label,a,b\nhi,good,x,9\n", {"target_start": "a", "target_end": "b"}, "not whole numbers"),
        (b"text,label\n\xff,good\n", {}, r"rows\.csv:2: not UTF-8"),
        ('text,label\n"hi"x,good\n', {}, "not CSV"),
    ],
)
def test_faults_of_a_table_name_the_row(tmp_path, content, changes, words):
    path = tmp_path / "rows.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(CorpusError, match=words):
        read_labelled(path, TargetDataConfig(path=path, **changes), LABELS)


def test_sides_never_share_a_text_and_are_never_empty(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("text,label,split\n" + "".join(f"t{n},good,train\n" for n in range(40)), encoding="utf-8")
    rows = read_labelled(path, TargetDataConfig(path=path), LABELS)
    parts = sides(rows, 0.25, path)
    assert 3 < len(parts["dev"]) < 20 and not {r.item for r in parts["dev"]} & {r.item for r in parts["train"]}
    assert parts == sides(rows, 0.25, path)
    with pytest.raises(CorpusError, match=r"no text for the side 'dev' .*set data\.dev_share"):
        sides(rows, 0.0, path)
    path.write_text("text,label,split\na,good,train\na,bad,dev\n", encoding="utf-8")
    with pytest.raises(CorpusError, match="1 texts stand in train and in dev"):
        sides(read_labelled(path, TargetDataConfig(path=path), LABELS), 0.0, path)


def test_an_empty_class_is_a_letter(target_project, tmp_path):
    text = (target_project / "configs/train/target.yaml").read_text(encoding="utf-8").replace("[good, bad]", "[good, bad, mixed]")
    path = tmp_path / "configs/x.yaml"
    path.parent.mkdir()
    path.write_text(text, encoding="utf-8")
    result = CliRunner().invoke(app, ["train", str(path), f"data.path={target_project / 'rows.csv'}"])
    assert result.exit_code == 2 and "no training example is labelled mixed" in result.stderr, result.output


def archive(path, files, **odd):
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for field, value in odd.items():
                setattr(info, field, value)
            tar.addfile(info, io.BytesIO(content))
    return path


def test_archives_are_read_within_bounds(tmp_path, monkeypatch):
    def take(path):
        return read_files(path, lambda name: True)

    assert list(take(archive(tmp_path / "a.tar.gz", {"b/x.txt": b"1", "a.jsonl.gz": gzip.compress(b"2")})).values()) == [
        b"2",
        b"1",
    ]
    for name in ("../x.txt", "/x.txt"):
        with pytest.raises(CorpusError, match="unsafe name"):
            take(archive(tmp_path / "b.tar.gz", {name: b"1"}))
    assert take(archive(tmp_path / "c.tar.gz", {"x.txt": b""}, type=tarfile.SYMTYPE, linkname="/etc/hostname")) == {}
    monkeypatch.setattr(archives, "MAX_BYTES", 1000)
    for files in ({"x.txt": b"0" * 1001}, {"x.txt.gz": gzip.compress(b"0" * 1001)}, {"x": b"0" * 600, "y": b"0" * 600}):
        with pytest.raises(CorpusError, match="unpacks to more than 1000 bytes"):
            take(archive(tmp_path / "d.tar.gz", files))
    monkeypatch.setattr(archives, "MAX_FILES", 2)
    with pytest.raises(CorpusError, match="more than 2 files"):
        take(archive(tmp_path / "e.tar.gz", {"x": b"", "y": b"", "z": b""}))
    (tmp_path / "f.tar.gz").write_bytes(b"no archive")
    with pytest.raises(CorpusError, match="can't be read"):
        take(tmp_path / "f.tar.gz")


def newsmtsc(folder):
    lines = [
        {
            "sentence_normalized": f"Mr Oak praised Ms Elm {n}.",
            "targets": [{"from": 3, "to": 6, "polarity": 2.0 + 2 * (n % 3)}, {"from": 18, "to": 21, "polarity": 6.0}],
        }
        for n in range(9)
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines).encode()
    (folder / "newsmtsc-train.jsonl.gz").write_bytes(gzip.compress(text))
    (folder / "newsmtsc-devtest_mt.jsonl").write_bytes(text)
    return folder


def test_newsmtsc_is_read(tmp_path):
    rows = read_labelled(
        newsmtsc(tmp_path), TargetDataConfig(path=tmp_path, format="newsmtsc"), ("negative", "neutral", "positive")
    )
    assert len(rows) == 36 and {row.split for row in rows} == {"train", "devtest_mt"}
    assert [(r.label, [r.item.text[a:b] for a, b in r.item.spans]) for r in rows[:2]] == [
        ("negative", ["Oak"]),
        ("positive", ["Elm"]),
    ]
    (tmp_path / "newsmtsc-bad.jsonl").write_text('{"sentence_normalized": "x", "targets": [{"from": 0}]}', encoding="utf-8")
    with pytest.raises(CorpusError, match=r"newsmtsc-bad\.jsonl:1: not a line of NewsMTSC"):
        read_labelled(tmp_path, TargetDataConfig(path=tmp_path, format="newsmtsc"), ("negative", "neutral", "positive"))


def test_tweeteval_trains_and_is_scored_from_its_archive(tmp_path, target_project, tiny_base, trained):
    files = {}
    for topic in ("atheism", "climate"):
        for split, count in (("train", 12), ("val", 6)):
            files[f"stance/{topic}/{split}_text.txt"] = "".join(f"tweet {split} {n} of {topic}\n" for n in range(count)).encode()
            files[f"stance/{topic}/{split}_labels.txt"] = "".join(f"{n % 3}\n" for n in range(count)).encode()
    data = archive(tmp_path / "tweets.tar.gz", files)
    settings = load(ROOT / "configs/benchmarks/tweeteval-stance.yaml", TargetTrainConfig).model_dump(mode="json")
    settings |= {"base": str(tiny_base), "teachers": [], "optimizer": {"epochs": 1, "precision": "fp32"}}
    settings["data"]["dev_share"] = 0.3
    path = tmp_path / "configs/tweets.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    for command in (
        ["train", str(path), f"data.path={data}"],
        ["benchmark", str(path), f"data.path={data}", "--out", str(tmp_path / "o")],
    ):
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.output
    metrics = json.loads((tmp_path / "o/metrics.json").read_text(encoding="utf-8"))
    names = list(metrics["scores"])
    assert names[0] == "mean F1 of against and favor, mean over targets" and metrics["scores"][names[0]]["n"] == 12
    assert {"mean F1, atheism", "mean F1, climate", "F1, favor"} <= set(names) and metrics["split"] == "val"
    # Each topic's labels come round equally often, so the baseline gives each its first: none.
    assert metrics["baselines"]["majority"]["value"] == 0 and "TF-IDF + logistic regression" in metrics["baselines"]
    assert "| TweetEval stance | val |" in result.output and "SVM 67.3" in result.output
    result = CliRunner().invoke(app, ["benchmark", str(ROOT / "configs/benchmarks/polnear.yaml"), "--model", str(trained)])
    assert result.exit_code == 2 and "needs one of train-extraction" in result.stderr
    result = CliRunner().invoke(app, ["benchmark", str(target_project / "configs/train/target.yaml")])
    assert result.exit_code == 2 and "has no `benchmark` section" in result.stderr


def test_the_metric_of_tweeteval_by_hand():
    config = TargetTrainConfig(
        kind="train-target",
        output="x",
        data={"path": "x"},
        labels=("none", "against", "favor"),
        scored_labels=("against", "favor"),
        score_per_target=True,
    )
    answers = [
        ("favor", "favor", "a"),
        ("against", "favor", "a"),
        ("none", "none", "a"),
        ("favor", "favor", "b"),
        ("against", "against", "b"),
    ]
    # a: favor 2/3, against 0 → 1/3; b: 1 and 1 → 1; none counts nowhere.
    assert np.isclose(target_score(answers, config), (1 / 3 + 1) / 2)
    pooled = target_score(answers, config.model_copy(update={"score_per_target": False}))
    assert np.isclose(pooled, (4 / 5 + 2 / 3) / 2)


def test_spans_are_counted_exact_and_by_overlap():
    text = "x" * 100

    def quote(content, source=()):
        return Quote(
            type="direct", content=tuple(Span.of(text, *s) for s in content), source=tuple(Span.of(text, *s) for s in source)
        )

    gold = [quote([(0, 10), (20, 30)], [(40, 44)]), quote([(50, 60)], [(40, 44)])]
    found = [quote([(0, 10), (20, 30)], [(40, 45)]), quote([(50, 58)]), quote([(90, 95)])]
    counts = span_counts(gold, found)
    assert counts["content, F1 exact"] == (1, 3, 2) and counts["content, F1 IoU ≥ 0.5"] == (2, 3, 2)
    assert counts["source, F1 exact"] == (0, 1, 1) and counts["source, F1 IoU ≥ 0.5"] == (1, 1, 1)
    assert counts["cue, F1 exact"] == (0, 0, 0)
    # Each span by itself: three in gold, of which two are found, and the source that two quotes share once.
    assert counts["content, F1 exact, each span"] == (2, 4, 3) and counts["source, F1 exact, each span"] == (0, 1, 1)


def test_polnear_is_read_by_split(tmp_path):
    from onrecord.corpus.imported import articles_hash, read_brat_splits

    note = (
        "T1\tContent 8 20\tit would go\nT2\tSource 0 2\tHe\nT3\tCue 3 7\tsaid\nE1\tAttribution:T3 Content:T1 Source:T2 Cue:T3\n"
    )
    files = {}
    for split in ("train", "dev"):
        files[f"polnear/{split}/text/a_{split}.txt"] = b"He said it would go."
        files[f"polnear/{split}/attributions/a_{split}_one.ann"] = note.replace("8 20", "8 19").encode()
    parts = read_brat_splits(archive(tmp_path / "p.tar.gz", files))
    assert {name: [q.content[0].text for g in part for q in g.quotes] for name, part in parts.items()} == {
        "train": ["it would go"],
        "dev": ["it would go"],
    }
    assert articles_hash(parts) == articles_hash(read_brat_splits(tmp_path / "p.tar.gz"))
    with pytest.raises(CorpusError, match="no folder is named train or dev or test"):
        read_brat_splits(archive(tmp_path / "q.tar.gz", {"text/a.txt": b"x"}))


def test_models_are_listed_and_verified(trained, tmp_path):
    listed = CliRunner().invoke(app, ["models", "list", str(trained.parent)], env={"COLUMNS": "300"})
    assert listed.exit_code == 0 and "target" in listed.output
    assert CliRunner().invoke(app, ["models", "verify", str(trained)]).exit_code == 0
    import shutil

    broken = shutil.copytree(trained, tmp_path / "broken")
    (broken / "settings.json").write_text((broken / "settings.json").read_text(encoding="utf-8") + " ", encoding="utf-8")
    result = CliRunner().invoke(app, ["models", "verify", str(tmp_path)])
    assert result.exit_code == 1 and "settings.json: its SHA-256 is not" in result.stderr
    with pytest.raises(ModelError):
        load_model(broken, 1)
    assert CliRunner().invoke(app, ["models", "list", str(tmp_path / "none")]).exit_code == 2
    assert CliRunner().invoke(app, ["models", "export", str(tmp_path)]).exit_code == 2


def test_a_target_model_learns_from_teachers(target_project, tmp_path):
    command = ["train", str(target_project / "configs/train/target.yaml"), f"checkpoints={tmp_path / 'runs'}"]

    def weights(name, *overrides):
        result = CliRunner().invoke(app, [*command, f"output={tmp_path / name}", *overrides])
        assert result.exit_code == 0, result.stderr
        return json.loads((tmp_path / name / "checksums.json").read_text(encoding="utf-8"))["model.onnx"]

    alone = weights("teacher")
    taught = weights("taught", f"teachers=[{tmp_path / 'teacher'}]")
    assert len({alone, taught, weights("half", f"teachers=[{tmp_path / 'teacher'}]", "teacher_share=0.1")}) == 3
    settings = json.loads((tmp_path / "taught/settings.json").read_text(encoding="utf-8"))
    assert settings["teachers"] == [f"teacher@{alone[:12]}"]
    other = CliRunner().invoke(app, [*command, f"output={tmp_path / 'other'}", f"teachers=[{ROOT / 'models/stance'}]"])
    assert other.exit_code == 2 and "labels" in other.stderr and "Traceback" not in other.stderr
