import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from onrecord.cli import app
from onrecord.config import resource_root

ROOT = resource_root()
SEED = ROOT / "seeds/000_613e7597b781f811.txt"
SENTENCE = "Armenian Foreign Minister Samvel Tadoyan said on Monday that the talks would go on next week in Moscow."

runner = CliRunner()


def run(*arguments, **options):
    return runner.invoke(app, [str(argument) for argument in arguments], **options)


def test_help_shows_examples():
    result = run("analyze", "--help")
    assert result.exit_code == 0 and "onrecord analyze article.txt --date" in result.output


def test_all_formats_at_once(tmp_path):
    result = run("analyze", SEED, "--date", "2021-11-08", "--out", tmp_path / "s.jsonl", "--out", tmp_path / "s.html")
    assert result.exit_code == 0, result.output
    assert "Dmitry Peskov" in result.output
    text = SEED.read_text(encoding="utf-8")
    for line in (tmp_path / "s.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        for span in record["content"] + record["cue"] + record["source"]:
            assert text[span["start"] : span["end"]] == span["text"]
    page = (tmp_path / "s.html").read_text(encoding="utf-8")
    assert "Peskov" in page and "http://" not in page and "https://" not in page and "<script" not in page
    assert not list(tmp_path.glob("*.part"))


def test_runs_repeat_byte_for_byte(tmp_path):
    for name in ("a.jsonl", "b.jsonl"):
        run("analyze", SEED, "--date", "2021-11-08", "--format", "jsonl", "--out", tmp_path / name)
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


def test_an_article_gives_the_same_records_alone_and_among_others(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.txt").write_text(SENTENCE, encoding="utf-8")
    (tmp_path / "in/b.txt").write_bytes(SEED.read_bytes())
    together = run("analyze", tmp_path / "in", "--format", "jsonl").stdout.splitlines()
    alone = run("analyze", tmp_path / "in/a.txt", "--format", "jsonl").stdout.splitlines()
    assert alone and set(alone) <= set(together)


def test_one_bad_input_is_named_and_the_rest_goes_on(tmp_path):
    (tmp_path / "bad.txt").write_bytes(b"")
    (tmp_path / "good.txt").write_text(SENTENCE, encoding="utf-8")
    result = run("analyze", tmp_path / "bad.txt", tmp_path / "good.txt", "--format", "jsonl")
    assert result.exit_code == 1
    assert "bad.txt: the file is empty" in result.stderr and "1 input rejected" in result.stderr
    assert "Tadoyan" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["x.txt", "--date", "yesterday"], "--date: 'yesterday' is not a date; write YYYY-MM-DD"),
        (["x.txt", "--config", "nowhere.yaml"], "nowhere.yaml: no such config"),
        (["x.txt", "--out", "x.pdf"], "its ending tells no format"),
    ],
)
def test_what_cannot_start_is_one_clear_line(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("analyze", *arguments)
    assert result.exit_code == 2
    assert words in result.stderr and "Traceback" not in result.stderr


def test_a_missing_or_damaged_model_is_named(tmp_path):
    import shutil

    config = tmp_path / "configs/analyze/mine.yaml"
    config.parent.mkdir(parents=True)
    conflict = ROOT / "configs/conflicts/south-caucasus.yaml"
    config.write_text(
        f"kind: analyze\nconflict: {conflict}\nextraction_model: models/extraction\nstance_model: {ROOT / 'models/stance'}\n",
        encoding="utf-8",
    )
    (tmp_path / "a.txt").write_text(SENTENCE, encoding="utf-8")
    result = run("analyze", tmp_path / "a.txt", "--config", config)
    assert result.exit_code == 2 and "no such model folder" in result.stderr and "make models" in result.stderr
    shutil.copytree(ROOT / "models/extraction", tmp_path / "models/extraction")
    with (tmp_path / "models/extraction/model.onnx").open("r+b") as weights:
        weights.seek(1000)
        weights.write(b"damaged")
    result = run("analyze", tmp_path / "a.txt", "--config", config)
    assert result.exit_code == 2 and "the file is damaged" in result.stderr


def test_markup_in_articles_is_escaped(tmp_path):
    text = "Armenian Foreign Minister <script>alert(1)</script> Samvel Tadoyan said that <b>[bold]talks[/bold]</b> would go on in Moscow."
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    result = run("analyze", tmp_path / "a.txt", "--out", tmp_path / "a.html")
    assert result.exit_code == 0
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page and "&lt;script&gt;" in page


def test_the_seed_runs_within_three_seconds():
    command = [sys.executable, "-m", "onrecord", "analyze", str(SEED), "--date", "2021-11-08"]
    times = []
    for _ in range(3):
        start = time.monotonic()
        subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
        times.append(time.monotonic() - start)
    assert min(times) < 3, times


def test_ctrl_c_keeps_what_is_done(tmp_path):
    for number in range(300):
        (tmp_path / f"{number:03}.txt").write_bytes(SEED.read_bytes())
    out = tmp_path / "out.jsonl"
    command = [sys.executable, "-m", "onrecord", "analyze", str(tmp_path), "--format", "jsonl", "--out", str(out)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    part = Path(f"{out}.part")
    for _ in range(200):
        time.sleep(0.1)
        if part.exists() and part.stat().st_size > 0:
            break
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert b"Traceback" not in errors
    lines = part.read_text(encoding="utf-8").splitlines()
    assert lines and all(json.loads(line)["schema"] == "onrecord.statement/1" for line in lines)


def test_below_the_least_confidence_the_stance_is_unknown_and_stays_readable(tmp_path):
    result = run("analyze", SEED, "--min-confidence", "0.9", "--out", tmp_path / "s.jsonl")
    assert result.exit_code == 0, result.output
    stances = [json.loads(line)["stance"] for line in (tmp_path / "s.jsonl").read_text(encoding="utf-8").splitlines()]
    assert all((stance["label"] == "unknown") == (stance["confidence"] < 0.9) for stance in stances)
    assert any(stance["label"] == "unknown" for stance in stances) and "unsure (" in result.output
    assert all(max(stance["probabilities"].values()) == stance["confidence"] for stance in stances)
    assert run("analyze", SEED, "--min-confidence", "2").exit_code == 2
