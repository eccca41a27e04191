"""Run folders: whatever ends a run, the same command goes on, and the rows are those of a run that nothing ended.

Articles are a sentence or two, so that the shipped models read hundreds in seconds. Marked `nightly` are the same tests
with many more cases.
"""

import csv
import datetime as dt
import gzip
import io
import json
import multiprocessing
import os
import random
import re
import resource
import signal
import subprocess
import sys
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from backports import zstd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from onrecord import Analyzer, Article
from onrecord.article import InputFile, RawArticle, Rejected, find_files, raw_articles
from onrecord.batch import BatchError, QueryError, analyze_raw, query, run_batch
from onrecord.batch.folder import RunFolder
from onrecord.batch.shards import MAX_KEPT, Seen, cut, write_shard
from onrecord.batch.workers import Workers
from onrecord.cli import app
from onrecord.config import resource_root
from onrecord.records import Statement

ROOT = resource_root()
SAID = "Armenian Foreign Minister Samvel Tadoyan said on Monday that the talks would go on for {} days in Moscow. "
INSISTED = "Baku insisted that in talk {} Armenia must recognise its territorial integrity and give up all claims to Karabakh."
PAGE = "<html><head><title>Talks</title></head><body><article><h1>Talks</h1><p>{}</p></article></body></html>"


def text(number):
    return SAID.format(number) + INSISTED.format(number + 1)


def article(number):
    return {"text": text(number), "date": f"2021-11-{number % 28 + 1:02}", "outlet": ("Wire", "Post")[number % 2]}


@pytest.fixture(scope="session")
def pile(tmp_path_factory):
    """A folder with articles in every kind of file, repeated ones, and five faults."""
    folder = tmp_path_factory.mktemp("pile")
    lines = [json.dumps(article(number % 30)) for number in range(50)]
    (folder / "a.jsonl").write_text("\n".join([*lines[:20], "{broken", *lines[20:], '{"text": ""}']), encoding="utf-8")
    (folder / "b.jsonl.gz").write_bytes(gzip.compress("\n".join(lines[:10]).replace("Wire", "Sun").encode()))
    with (folder / "c.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, ["text", "date", "outlet"])
        writer.writeheader()
        writer.writerows([article(60), article(61), article(62) | {"date": "soon"}])
    (folder / "d.html").write_text(PAGE.format(text(70) * 2), encoding="utf-8")
    (folder / "e.txt").write_bytes(b"")
    (folder / "f.txt").write_text(text(71), encoding="utf-8")
    pq.write_table(pa.Table.from_pylist([article(80), article(81)]), folder / "g.parquet")
    (folder / "h.parquet").write_bytes(b"PAR1 no table PAR1")
    return folder


ARTICLES, REJECTED = 50 + 2 + 10 + 3 + 1 + 1 + 1 + 2 + 1, 5


@pytest.fixture(scope="session")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "configs/small.yaml"
    path.parent.mkdir()
    path.write_text(f"kind: analyze\nextends: {ROOT}/configs/analyze/default.yaml\nshard_articles: 7\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def whole(pile, config, tmp_path_factory):
    """A run that nothing interrupted, by one process."""
    out = tmp_path_factory.mktemp("whole") / "run"
    summary = run_batch([str(pile)], out, config=config, workers=1)
    assert (summary.articles, summary.rejected, summary.resumed) == (ARTICLES, REJECTED, 0)
    return out


def rows(run):
    """All rows of a run in their order, and its quarantine; how long an article took is nothing to compare."""
    found = {}
    for room in ("statements", "articles"):
        parts = sorted((run / room).iterdir())
        if parts[0].suffix == ".parquet":
            records = [record for part in parts for record in pq.read_table(part).to_pylist()]
        else:
            records = [json.loads(line) for part in parts for line in part.read_text(encoding="utf-8").splitlines()]
        found[room] = [{key: value for key, value in record.items() if key != "seconds"} for record in records]
    return found | {"quarantine": (run / "quarantine.jsonl").read_text(encoding="utf-8")}


def command(pile, out, config, *more):
    return [sys.executable, "-m", "onrecord", "analyze", str(pile), "--out", str(out), "--config", str(config), *more]


def leftovers(run):
    return list(run.rglob(".*.part"))


def test_a_run_folder_holds_every_input_once(whole, pile):
    found = rows(whole)
    assert len(found["articles"]) == ARTICLES
    rejected = [row for row in found["articles"] if row["status"] == "rejected"]
    assert [row["place"] for row in rejected] == [
        f"{pile}/{place}" for place in ("a.jsonl:21", "a.jsonl:52", "c.csv:4", "e.txt", "h.parquet")
    ]
    quarantine = [json.loads(line) for line in found["quarantine"].splitlines()]
    assert quarantine == [{"place": row["place"], "reason": row["reason"]} for row in rejected]
    assert all(row["reason"] and row["statements"] == 0 for row in rejected)
    counts = {}
    for row in found["statements"]:
        counts[row["article_id"]] = counts.get(row["article_id"], 0) + 1
    for row in found["articles"]:
        if row["status"] == "done":
            assert row["statements"] >= 1 and row["characters"] > 100 and re.fullmatch("[0-9a-f]{16}", row["hash"])
            assert counts[row["id"]] % row["statements"] == 0
    manifest = json.loads((whole / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["complete"] and manifest["counts"] == {
        "articles": ARTICLES,
        "statements": len(found["statements"]),
        "rejected": REJECTED,
    }
    assert manifest["finished_shards"] == "0-10" and manifest["models"]["stance"]["sha256"]
    assert not leftovers(whole)


def test_statements_are_the_records_that_analyze_writes(whole, pile, config, tmp_path):
    lines = run_cli("analyze", pile, "--config", config, "--format", "jsonl").stdout.splitlines()
    stored = []
    for row in rows(whole)["statements"]:
        row["stance"]["probabilities"] = dict(row["stance"]["probabilities"])
        row["toward"], row["models"] = dict(row["toward"]), dict(row["models"])
        stored.append(Statement.model_validate(row).to_json())
    assert stored == lines


def run_cli(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_json_lines_and_two_workers_give_the_same_rows(whole, pile, config, tmp_path):
    run_batch([str(pile)], tmp_path / "lines", config=config, workers=2, format="jsonl")
    lines, table = rows(tmp_path / "lines"), rows(whole)
    assert lines["quarantine"] == table["quarantine"]
    assert [row["id"] for row in lines["statements"]] == [row["id"] for row in table["statements"]]
    for sql in ("SELECT * FROM statements", "SELECT * EXCLUDE (seconds) FROM articles"):
        assert list(query(sql, tmp_path / "lines").rows) == list(query(sql, whole).rows)


def kill_and_go_on(pile, config, out, kills, seed):
    """Run the command and kill it `kills` times at random moments, then let it end; workers may outlive it for a while."""
    chance = random.Random(seed)
    done = 0
    while done < kills:
        before = set(out.rglob("*.json"))
        process = subprocess.Popen(
            command(pile, out, config, "--workers", str(chance.choice((1, 2))), "--quiet"), start_new_session=True
        )
        if chance.random() < 0.75:
            # Into the work: once a shard is done. Else anywhere, from the first import on.
            while process.poll() is None and set(out.rglob("*.json")) <= before | {out / "manifest.json"}:
                time.sleep(0.01)
            time.sleep(chance.random() * 0.2)
        else:
            time.sleep(chance.random() * 1.5)
        if process.poll() is not None:
            # It was through: what is left of the kills is for another run.
            assert process.returncode == 1
            return done
        if chance.random() < 0.5:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()
        done += 1
    subprocess.run(command(pile, out, config, "--quiet"), check=False)
    return done


def killed_runs(pile, config, whole, folder, kills, seed):
    number = done = 0
    while done < kills:
        out = folder / f"run-{number}"
        done += kill_and_go_on(pile, config, out, min(4, kills - done), seed + number)
        assert rows(out) == rows(whole), f"kills of seed {seed + number}"
        manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
        assert manifest["complete"] and manifest["finished_shards"] == "0-10"
        number += 1


def test_a_killed_run_goes_on_to_the_same_rows(pile, config, whole, tmp_path):
    killed_runs(pile, config, whole, tmp_path, kills=8, seed=1)


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_a_run_killed_a_hundred_times_goes_on_to_the_same_rows(pile, config, whole, tmp_path):
    killed_runs(pile, config, whole, tmp_path, kills=100, seed=1000)


def test_ctrl_c_keeps_finished_shards(pile, config, whole, tmp_path):
    out = tmp_path / "run"
    process = subprocess.Popen(
        command(pile, out, config, "--workers", "1"), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
    )
    while process.poll() is None and not list(out.glob("shards/*.json")):
        time.sleep(0.01)
    # As a terminal does: to all processes of the group.
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130 and b"Traceback" not in errors and b"interrupted" in errors
    summary = run_batch([str(pile)], out, config=config, workers=1)
    assert 0 < summary.resumed < summary.articles
    assert rows(out) == rows(whole)


def test_a_full_disk_is_a_letter_and_the_same_command_goes_on(pile, config, whole, tmp_path):
    out = tmp_path / "run"
    done = subprocess.run(
        command(pile, out, config, "--workers", "1"),
        capture_output=True,
        check=False,
        # No file may grow beyond this, as if the disk were full.
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000)),
    )
    assert done.returncode == 2 and b"Traceback" not in done.stderr, done.stderr
    assert b"can't be written" in done.stderr and b"the same command goes on" in done.stderr
    assert not leftovers(out)
    run_batch([str(pile)], out, config=config, workers=1)
    assert rows(out) == rows(whole)


def test_a_lost_worker_is_replaced(pile, config, whole, tmp_path):
    seen = []

    def kill_one(status):
        seen.append(status)
        children = multiprocessing.active_children()
        if status.articles > 7 and children and not any(status.workers_lost for status in seen):
            os.kill(children[0].pid, signal.SIGKILL)

    run_batch([str(pile)], tmp_path / "run", config=config, workers=2, watch=kill_one)
    assert seen[-1].workers_lost >= 1 and seen[-1].articles == ARTICLES and not leftovers(tmp_path)
    assert rows(tmp_path / "run") == rows(whole)


def test_an_article_that_ends_every_worker_is_rejected(config, tmp_path, monkeypatch):
    lines = [json.dumps(article(number)) for number in range(10)]
    # Long enough to be killed in its midst.
    lines[4] = json.dumps({"text": text(4) * 200, "id": "poison"})
    (tmp_path / "in.jsonl").write_text("\n".join(lines), encoding="utf-8")
    receive = Workers._receive

    def kill(self, worker):
        result = receive(self, worker)
        if worker.shard is not None and worker.shard.number == 0 and worker.state[0] == 4 and 4 not in worker.skip:
            worker.process.kill()
        return result

    monkeypatch.setattr(Workers, "_receive", kill)
    summary = run_batch([str(tmp_path / "in.jsonl")], tmp_path / "run", config=config, workers=1)
    assert (summary.articles, summary.rejected) == (10, 1)
    (line,) = (tmp_path / "run/quarantine.jsonl").read_text(encoding="utf-8").splitlines()
    assert "in.jsonl:5: the process that analyzed it was lost 2 times (signal 9)" in line


def test_workers_that_are_always_lost_end_the_run(config, pile, tmp_path, monkeypatch):
    receive = Workers._receive

    def kill(self, worker):
        worker.process.kill()
        worker.process.join()
        return receive(self, worker)

    monkeypatch.setattr(Workers, "_receive", kill)
    with pytest.raises(BatchError, match="lost over and over"):
        run_batch([str(pile)], tmp_path / "run", config=config, workers=1)


def test_a_run_is_not_mixed_with_another(whole, pile, config, tmp_path):
    before = rows(whole)
    with pytest.raises(BatchError, match=r"config: `min_confidence` was 0.0, now 0.9"):
        run_batch([str(pile)], whole, config=config, overrides=["min_confidence=0.9"])
    with pytest.raises(BatchError, match="config: `format` was 'parquet', now 'jsonl'"):
        run_batch([str(pile)], whole, config=config, format="jsonl")
    with pytest.raises(BatchError, match="config: `date` was None, now '2021-11-08'"):
        run_batch([str(pile)], whole, config=config, date=dt.date(2021, 11, 8))
    with pytest.raises(BatchError, match=r"inputs: the folder's are 8 files in \["):
        run_batch([str(pile / "a.jsonl")], whole, config=config)
    with pytest.raises(BatchError, match="models: `stance` was"):
        other = tmp_path / "stance"
        other.mkdir()
        for file in (ROOT / "models/stance").iterdir():
            (other / file.name).write_bytes(file.read_bytes())
        sums = json.loads((other / "checksums.json").read_text(encoding="utf-8"))
        (other / "checksums.json").write_text(json.dumps(sums), encoding="utf-8")
        run_batch([str(pile)], whole, config=config, overrides=[f"stance_model={other}"])
    assert rows(whole) == before
    # The same run again finds all done.
    assert run_batch([str(pile)], whole, config=config, workers=1).resumed == ARTICLES


def test_what_is_no_run_folder_is_left_alone(pile, config, tmp_path):
    (tmp_path / "notes.md").write_text("mine", encoding="utf-8")
    with pytest.raises(BatchError, match="files in it, but no run"):
        run_batch([str(pile)], tmp_path, config=config)
    (tmp_path / "manifest.json").write_text("{}", encoding="utf-8")
    with pytest.raises(BatchError, match="not a run of this version"):
        run_batch([str(pile)], tmp_path, config=config)
    with pytest.raises(BatchError, match="resumed by reading its inputs again"):
        run_batch(["-"], tmp_path / "run", config=config)
    folder = RunFolder(tmp_path / "run", "parquet")
    with folder.locked(), pytest.raises(BatchError, match="another run is writing"):
        run_batch([str(pile)], tmp_path / "run", config=config)


def test_a_damaged_mark_or_part_is_done_again(pile, config, whole, tmp_path):
    import shutil

    out = tmp_path / "run"
    shutil.copytree(whole, out)
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    (out / "manifest.json").write_text(json.dumps(manifest | {"complete": False}), encoding="utf-8")
    (out / "shards/000002.json").write_text("{", encoding="utf-8")
    (out / "shards/000003.json").unlink()
    part = out / "statements/part-000004.parquet"
    part.write_bytes(part.read_bytes()[:-9])
    summary = run_batch([str(pile)], out, config=config, workers=1)
    assert summary.resumed == ARTICLES - 3 * 7
    assert rows(out) == rows(whole)


def test_the_run_folder_is_no_input_of_itself(config, tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps(article(1)), encoding="utf-8")
    for _ in range(2):
        summary = run_batch([str(tmp_path)], tmp_path / "run", config=config, workers=1)
        assert summary.articles == 1


def test_shards_are_cut_by_number_and_by_size(monkeypatch):
    items = [Rejected("x", "x") if number % 3 else RawArticle("y", "json", b"", 10) for number in range(10)]
    assert [len(shard.items) for shard in cut(items, 4, int)] == [4, 4, 2]
    monkeypatch.setattr("onrecord.batch.shards.MAX_SHARD_BYTES", 20)
    assert [len(shard.items) for shard in cut(items, 100, int)] == [4, 6]


def test_the_same_text_is_analyzed_once_and_has_rows_each_time(analyzer, monkeypatch, tmp_path):
    calls = []
    analyze = Analyzer.analyze
    monkeypatch.setattr(Analyzer, "analyze", lambda self, item: calls.append(item) or analyze(self, item))
    same = [
        Article(text=text(1), date="2021-11-08", outlet=outlet, url=f"https://{outlet}.example")
        for outlet in ("Wire", "Post", "Sun")
    ]
    other_day = Article(text=text(1), date="2021-11-09")
    seen = Seen()
    found = [seen.analyze(analyzer, item, "hash") for item in [*same, other_day]]
    assert len(calls) == 2
    for item, statements in zip([*same, other_day], found, strict=True):
        assert statements == analyze(analyzer, item)
    for number in range(MAX_KEPT):
        monkeypatch.setattr(Analyzer, "analyze", lambda self, item: [])
        seen.analyze(analyzer, same[0], f"hash {number}")
    assert seen._size <= MAX_KEPT and ("hash", same[0].date) not in seen._kept


def test_bounds_on_quotes_and_faults_of_ours_are_rejections(analyzer, monkeypatch):
    few = Analyzer(
        analyzer.conflict,
        analyzer.extractor,
        analyzer.attributor,
        analyzer.classifier,
        analyzer.settings.model_copy(update={"max_quotes": 1}),
    )
    raw = RawArticle("a.jsonl:1", "json", json.dumps(article(1)).encode(), 1)
    outcome = analyze_raw(few, raw, None)
    assert outcome.statements == [] and re.search(r"a.jsonl:1: article \w+: 2 quotes, more than 1 \(`max_quotes`", outcome.reason)
    assert outcome.article is not None and outcome.row(0.0)["status"] == "rejected"
    monkeypatch.setattr(Analyzer, "analyze", lambda self, item: 1 / 0)
    outcome = analyze_raw(analyzer, raw, None)
    assert "a.jsonl:1: a fault of onrecord, please report it: ZeroDivisionError" in outcome.reason


def test_the_command_tells_what_came_of_it(pile, config, tmp_path):
    (tmp_path / "one.txt").write_text(text(1), encoding="utf-8")
    result = run_cli("analyze", tmp_path / "one.txt", "--out", tmp_path / "run", "--config", config, "--workers", 1)
    assert result.exit_code == 0 and "1 articles, 2 statements" in result.stderr
    result = run_cli("analyze", pile, "--out", tmp_path / "run", "--config", config)
    assert result.exit_code == 2 and "outputs are not mixed" in result.stderr
    (tmp_path / "two.txt").write_bytes(b"")
    arguments = ["analyze", f"{tmp_path}/*.txt", "--config", config, "--workers", 1]
    result = run_cli(*arguments, "--out", tmp_path / "log", "--log-json")
    lines = [json.loads(line) for line in result.stderr.splitlines()]
    assert [line["event"] for line in lines] == ["started", "finished"] and lines[-1]["rejected"] == 1
    result = run_cli(*arguments, "--out", tmp_path / "log")
    assert "1 input rejected; the rest is done. Which and why:" in result.stderr and "2 of them before" in result.stderr
    result = run_cli(*arguments, "--out", tmp_path / "log", "--quiet")
    assert result.exit_code == 1 and result.stderr == ""
    assert run_cli("analyze", pile, "--workers", 2).exit_code == 2
    assert run_cli("analyze", pile, "--out", tmp_path / "x", "--out", tmp_path / "y.jsonl").exit_code == 2


@pytest.mark.parametrize(("missing", "name"), [("warcio", "a.warc"), ("backports", "a.jsonl.zst"), ("pyarrow", "a.parquet")])
def test_a_missing_package_names_the_extra(missing, name, config, tmp_path, monkeypatch):
    (tmp_path / name).write_bytes(b"x")
    for module in [module for module in sys.modules if module.split(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(sys, "meta_path", [_Without(missing), *sys.meta_path])
    result = run_cli("analyze", tmp_path / name)
    assert result.exit_code == 2 and f"needs the package {missing}: pip install 'onrecord[batch]'" in result.stderr


class _Without:
    def __init__(self, missing):
        self.missing = missing

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == self.missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


# Queries.


RECIPES = re.findall(r"```sql\n(.*?)```", (ROOT / "docs/queries.md").read_text(encoding="utf-8"), re.DOTALL)


def test_the_recipes_are_five():
    assert len(RECIPES) == 5


@pytest.mark.parametrize("number", range(5))
def test_recipes_run(number, whole):
    answer = query(RECIPES[number], whole)
    assert list(answer.rows) and answer.complete
    result = run_cli("query", RECIPES[number], whole)
    assert result.exit_code == 0 and " row" in result.stdout


def test_answers_as_table_csv_and_json_lines(whole):
    sql = "SELECT outlet, date, content, stance.probabilities AS p, 0.5 AS half FROM statements ORDER BY id LIMIT 2"
    assert "2 rows" in run_cli("query", sql, whole).stdout
    head, *body = list(csv.reader(io.StringIO(run_cli("query", sql, whole, "--format", "csv").stdout)))
    assert head == ["outlet", "date", "content", "p", "half"] and len(body) == 2 and json.loads(body[0][2])[0]["text"]
    records = [json.loads(line) for line in run_cli("query", sql, whole, "--format", "jsonl").stdout.splitlines()]
    assert records[0]["half"] == 0.5 and sum(records[0]["p"].values()) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_text('{file}')",
        "SELECT * FROM '{file}'",
        "SELECT * FROM read_csv('{file}')",
        "SELECT * FROM glob('{folder}/*')",
        "SELECT * FROM read_parquet('https://example.org/x.parquet')",
        "COPY statements TO '{folder}/out.csv'",
        "ATTACH '{folder}/out.db'",
        "INSTALL httpfs",
        "SET enable_external_access = true",
        "SET lock_configuration = false",
        "DROP VIEW statements",
        "SELECT 1; SELECT 2",
        "SELECT * FROM sql",
        "SELEC 1",
        "",
    ],
)
def test_a_query_reaches_nothing_but_the_run(sql, whole, tmp_path):
    (tmp_path / "secret.csv").write_text("secret\n1\n", encoding="utf-8")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(QueryError):
        list(query(sql.format(file=tmp_path / "secret.csv", folder=tmp_path), whole).rows)
    assert sorted(tmp_path.iterdir()) == before
    assert run_cli("query", sql or " ", whole).exit_code == 2


def test_no_run_no_answer(tmp_path):
    with pytest.raises(BatchError, match="no run folder"):
        query("SELECT 1", tmp_path / "none")


# Bad input.


def _warc():
    stream = io.BytesIO()
    writer = WARCWriter(stream, gzip=False)
    head = StatusAndHeaders("200 OK", [("Content-Type", "text/html; charset=utf-8")], protocol="HTTP/1.0")
    for number in range(2):
        body = io.BytesIO(PAGE.format(text(number)).encode())
        writer.write_record(
            writer.create_warc_record(f"https://wire.example/{number}", "response", payload=body, http_headers=head)
        )
    return stream.getvalue()


def _parquet():
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([article(1), article(2)]), stream)
    return stream.getvalue()


JSONL = "".join(json.dumps(article(number)) + "\n" for number in range(3)).encode()
CSV = "text,date,outlet\n" + "".join(f'"{text(number)}",2021-11-08,Wire\n' for number in range(3))
GOOD = {
    "a.txt": text(1).encode(),
    "a.html": PAGE.format(text(1) * 2).encode(),
    "a.jsonl": JSONL,
    "a.jsonl.gz": gzip.compress(JSONL, mtime=0),
    "a.jsonl.zst": zstd.compress(JSONL),
    "a.csv": CSV.encode(),
    "b.csv": CSV.encode("utf-16"),
    "a.parquet": _parquet(),
    "a.warc": _warc(),
    "a.warc.gz": gzip.compress(_warc(), mtime=0),
}
JUNK = [
    b"\0",
    b"\xff\xfe",
    b'"',
    b"\r\n",
    b"\n\n",
    b"{",
    b"[" * 2000,
    b"<div>" * 300,
    b"\\ud800",
    "“ ” … 😀 \u202e".encode(),
    b"PAR1",
    b"\x1f\x8b",
]


@st.composite
def mutated(draw):
    """A file of some format with a few of its bytes changed, lost, doubled or replaced by junk."""
    name = draw(st.sampled_from(sorted(GOOD)))
    data = bytearray(GOOD[name])
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data)))
        to = min(len(data), at + draw(st.integers(0, 40)))
        kind = draw(st.sampled_from(["flip", "cut", "double", "junk", "random", "end"]))
        if kind == "flip" and at < len(data):
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "cut":
            del data[at:to]
        elif kind == "double":
            data[at:at] = data[at:to] * draw(st.integers(1, 5))
        elif kind == "junk":
            data[at:to] = draw(st.sampled_from(JUNK))
        elif kind == "random":
            data[at:to] = draw(st.binary(max_size=40))
        elif kind == "end":
            del data[at:]
    return name, bytes(data)


# Most articles of a damaged file are whole, and the same in the next one.
REMEMBERED = Seen()


def check_any_input(analyzer, folder, name, data):
    """Each input becomes records or a reason; both can be stored."""
    path = folder / name
    path.write_bytes(data)
    items = list(raw_articles([InputFile(str(path), len(data), 0)]))
    assert items
    run = RunFolder(folder / "run", "parquet" if len(data) % 2 else "jsonl")
    for room in ("statements", "articles", "shards"):
        (run.path / room).mkdir(parents=True, exist_ok=True)
    # The shard of the case before would stay as it is.
    (run.path / "shards/000000.json").unlink(missing_ok=True)
    (shard,) = cut(items, 1_000_000, int)
    mark = write_shard(analyzer, shard, run, date=None, seen=REMEMBERED, skip={}, tell=lambda *state: None)
    rejected = run.rejected(0)
    assert mark.articles == len(items) and mark.rejected == len(rejected)
    assert all(item["place"].startswith(str(path)) and item["reason"] for item in rejected)
    assert not [item for item in rejected if "a fault of onrecord" in item["reason"]], rejected
    assert not leftovers(run.path)


@pytest.fixture(scope="session")
def short_analyzer():
    """The shipped pipeline with a bound on length: mutations may repeat text."""
    return Analyzer.load(None, ["threads=1", "max_characters=20000"])


FUZZ = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow], "database": None}


@settings(max_examples=500, **FUZZ)
@given(mutated())
def test_no_input_ends_a_run(short_analyzer, tmp_path, case):
    check_any_input(short_analyzer, tmp_path, *case)


@pytest.mark.nightly
@pytest.mark.timeout(7200)
@settings(max_examples=10_000, **FUZZ)
@given(mutated())
def test_no_input_of_ten_thousand_ends_a_run(short_analyzer, tmp_path, case):
    check_any_input(short_analyzer, tmp_path, *case)


@pytest.mark.parametrize("name", sorted(GOOD))
def test_what_is_mutated_is_good_before(name, short_analyzer, tmp_path):
    (tmp_path / name).write_bytes(GOOD[name])
    items = list(raw_articles(find_files([str(tmp_path)])))
    outcomes = [analyze_raw(short_analyzer, item, None) for item in items]
    assert outcomes and all(outcome.reason is None and outcome.statements for outcome in outcomes)


def test_names_that_are_no_text_can_be_stored(config, tmp_path):
    folder = tmp_path / os.fsdecode(b"in-\xff")
    folder.mkdir()
    (folder / "a.txt").write_text(text(1), encoding="utf-8")
    (folder / "b.csv").write_bytes(b"caf\xc3,\xff\n1,2\n")
    summary = run_batch([str(folder)], tmp_path / "run", config=config, workers=1)
    assert (summary.articles, summary.rejected) == (2, 1)
    assert [row["place"].rsplit("/", 2)[1] for row in rows(tmp_path / "run")["articles"]] == ["in-\\udcff"] * 2


def test_a_line_of_a_million_characters(short_analyzer, tmp_path):
    line = {"text": "x" * 1_000_000}
    (tmp_path / "a.jsonl").write_text(json.dumps(line) + "\n" + json.dumps(article(1)), encoding="utf-8")
    long, short = (analyze_raw(short_analyzer, item, None) for item in raw_articles(find_files([str(tmp_path)])))
    assert "1000000 characters, more than 20000 (`max_characters`" in long.reason and short.statements
