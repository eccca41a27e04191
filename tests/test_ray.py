"""The Ray engine: the rows of the local one, also when a node is lost, an article ends its worker, or the run is killed.

A cluster of two nodes with a processor each is started here, once for all tests.
"""

import dataclasses
import errno
import importlib
import itertools
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from onrecord.batch import BatchError, run_batch
from onrecord.batch import run as batch_run
from onrecord.cli import app
from onrecord.config import resource_root
from onrecord.stores import StoreError

ray = pytest.importorskip("ray", reason="needs the extra: pip install 'onrecord[ray]'")
cluster_utils = pytest.importorskip("ray.cluster_utils")
ReadTask = pytest.importorskip("ray.data.datasource").ReadTask

from onrecord.batch import cluster as engine  # noqa: E402  # after the skip

ROOT = resource_root()
TEXT = (
    "Armenian Foreign Minister Samvel Tadoyan said on Monday that the talks would go on for {} days in Moscow. "
    "Baku insisted that in talk {} Armenia must recognise its territorial integrity."
)
ARTICLES, SHARD = 60, 4
# A node that does not answer is given up after this, and not after half a minute; a busy machine may well take seconds to answer.
# Ray's processes are not behind all others, as they are by default.
SYSTEM = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 1000,
    "health_check_failure_threshold": 8,
    "worker_niceness": 0,
}


@pytest.fixture(scope="module")
def cluster():
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # The nodes can't import this file, whose workers they are sent.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    started = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "_system_config": SYSTEM})
    started.add_node(num_cpus=1)
    yield started
    ray.shutdown()
    started.shutdown()


@pytest.fixture
def second_node(cluster):
    """A node that a test may kill; another stands in for it after."""
    (node,) = cluster.worker_nodes
    yield node
    if node not in cluster.worker_nodes:
        cluster.add_node(num_cpus=1)


class _Gathered(engine._Worker):
    """A worker that works once as many nodes have begun to as the file `nodes` beside the run says."""

    def __call__(self, row):
        here = self._job.folder.parent
        (here / f"node-{ray.get_runtime_context().get_node_id()}").touch()
        wait_for(lambda: len(list(here.glob("node-*"))) >= int((here / "nodes").read_text()))
        return super().__call__(row)


class _Doomed(_Gathered):
    """One that stays in the middle of a later shard for as long as its node, which the file `doomed` names, lives."""

    def __call__(self, row):
        here, node = self._job.folder.parent, ray.get_runtime_context().get_node_id()
        if list((self._job.folder / "shards").glob("*.json")) and (here / "doomed").read_text() == node:
            ray.get(self._desk.begins.remote(self._seat, pickle.loads(row["shard"]).number))  # noqa: S301  # the command wrote it
            (here / "held").touch()
            time.sleep(600)
        return super().__call__(row)


def wait_for(what):
    # A process of Ray's may take half a minute to start on a busy machine.
    deadline = time.monotonic() + 300
    while not what() and time.monotonic() < deadline:
        time.sleep(0.05)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "configs/small.yaml"
    path.parent.mkdir()
    lines = ("kind: analyze", f"extends: {ROOT}/configs/analyze/default.yaml", f"shard_articles: {SHARD}")
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def pile(tmp_path_factory):
    """Sixty articles: lines, one of them no article, and one file that is an article itself."""
    folder = tmp_path_factory.mktemp("pile")
    lines = [json.dumps({"text": TEXT.format(n, n + 1), "date": "2021-11-08", "outlet": "Wire"}) for n in range(ARTICLES - 1)]
    lines[10] = "{broken"
    (folder / "a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (folder / "b.txt").write_text(TEXT.format(90, 91), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def local(pile, config, tmp_path_factory):
    """What the local engine makes of the pile."""
    out = tmp_path_factory.mktemp("local") / "run"
    assert run_batch([str(pile)], out, config=config, workers=1).articles == ARTICLES
    return rows(out)


def rows(run):
    """All rows of a run in their order, and its quarantine; how long an article took is nothing to compare."""
    found = {"quarantine": (run / "quarantine.jsonl").read_text(encoding="utf-8")}
    for room in ("statements", "articles"):
        records = [record for part in sorted((run / room).iterdir()) for record in pq.read_table(part).to_pylist()]
        found[room] = [{key: value for key, value in record.items() if key != "seconds"} for record in records]
    return found


def run(pile, out, config, cluster, **more):
    return run_batch([str(pile)], out, config=config, engine="ray", ray_address=cluster.address, **more)


def shards(out):
    return len(list(out.glob("shards/*.json")))


def test_rows_are_those_of_the_local_engine(pile, config, cluster, local, tmp_path):
    seen = []
    summary = run(pile, tmp_path / "run", config, cluster, watch=seen.append)
    assert (summary.articles, summary.rejected, summary.resumed) == (ARTICLES, 1, 0)
    assert rows(tmp_path / "run") == local and seen[-1].articles == ARTICLES and seen[-1].workers_lost == 0
    assert not list(tmp_path.rglob(".*.part"))
    # The local engine goes on where Ray's was, and finds nothing left to do.
    assert run_batch([str(pile)], tmp_path / "run", config=config).resumed == ARTICLES


def test_inputs_and_run_behind_urls(pile, config, cluster, local, tmp_path):
    url = f"fsspec+file://{tmp_path}/run"
    summary = run_batch([f"fsspec+file://{pile}"], url, config=config, engine="ray", ray_address=cluster.address)
    assert (summary.articles, summary.rejected) == (ARTICLES, 1)
    found = rows(tmp_path / "run")
    assert found["statements"] == local["statements"]
    assert [row["hash"] for row in found["articles"]] == [row["hash"] for row in local["articles"]]


def test_a_node_that_is_killed_loses_nothing(pile, config, cluster, second_node, local, tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "_Worker", _Doomed)
    (tmp_path / "nodes").write_text("2")
    (tmp_path / "doomed").write_text(second_node.node_id)
    seen = []

    def kill(status):
        seen.append(status)
        # Not between two shards, where nothing is lost.
        if (tmp_path / "held").exists() and second_node in cluster.worker_nodes:
            cluster.remove_node(second_node, allow_graceful=False)

    summary = run(pile, tmp_path / "run", config, cluster, watch=kill)
    assert second_node not in cluster.worker_nodes and seen[-1].workers_lost >= 1
    assert summary.articles == ARTICLES and rows(tmp_path / "run") == local
    assert not list(tmp_path.rglob(".*.part"))


def test_workers_come_with_a_node(pile, config, cluster, local, tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "_Worker", _Gathered)
    (tmp_path / "nodes").write_text("3")
    added = []

    def add(status):
        if len(list(tmp_path.glob("node-*"))) == 2 and not added:
            added.append(cluster.add_node(num_cpus=1))

    try:
        run(pile, tmp_path / "run", config, cluster, watch=add)
    finally:
        for node in added:
            cluster.remove_node(node)
    assert len(list(tmp_path.glob("node-*"))) == 3 and rows(tmp_path / "run") == local


class _Known(engine._Shards):
    """Shards whose reader writes its process id beside the run."""

    def get_read_tasks(self, *given, **more):
        (task,) = super().get_read_tasks(*given, **more)
        note = self.note

        def read():
            note.write_text(str(os.getpid()), encoding="utf-8")
            yield from task.read_fn()

        return [ReadTask(read, task.metadata)]


def test_a_lost_reader_is_replaced(pile, config, cluster, local, tmp_path, monkeypatch):
    out, note, killed = tmp_path / "run", tmp_path / "reader", []

    def killing(*given):
        for number, raw in enumerate(raw_articles(*given)):
            if number == (engine.AHEAD + 1) * SHARD:
                wait_for(lambda: shards(out) >= 2)
                killed.append(int(note.read_text(encoding="utf-8")))
                os.kill(killed[0], signal.SIGKILL)
            yield raw

    raw_articles = batch_run.raw_articles
    monkeypatch.setattr(batch_run, "raw_articles", killing)
    monkeypatch.setattr(_Known, "note", note, raising=False)
    monkeypatch.setattr(engine, "_Shards", _Known)
    assert run(pile, out, config, cluster).articles == ARTICLES
    assert killed != [int(note.read_text(encoding="utf-8"))] and rows(out) == local


# The command, with workers that take half a second for a shard.
SLOW = """
import time

from onrecord.batch import cluster
from onrecord.cli import app


class Slow(cluster._Worker):
    def __call__(self, row):
        time.sleep(0.5)
        return super().__call__(row)


cluster._Worker = Slow
app()
"""


def words(pile, out, config, cluster):
    where = ["--engine", "ray", "--ray-address", cluster.address]
    return ["analyze", pile, "--out", out, "--config", config, *where, "--quiet"]


def stopped(how, pile, out, config, cluster):
    """The command, stopped by the signal `how` between two shards."""
    process = subprocess.Popen([sys.executable, "-c", SLOW, *words(pile, out, config, cluster)], start_new_session=True)
    wait_for(lambda: process.poll() is not None or shards(out) >= 2)
    assert process.poll() is None, "the run ended before it could be stopped"
    os.killpg(process.pid, how)
    code = process.wait(timeout=60)
    assert 2 <= shards(out) < ARTICLES / SHARD
    return code


def test_a_killed_run_goes_on_to_the_same_rows(pile, config, cluster, local, tmp_path):
    assert stopped(signal.SIGKILL, pile, tmp_path / "run", config, cluster) == -signal.SIGKILL
    summary = run(pile, tmp_path / "run", config, cluster)
    assert 0 < summary.resumed < ARTICLES and rows(tmp_path / "run") == local


def test_an_interrupted_run_leaves_no_worker_and_its_terminal_is_its_own(pile, config, cluster, local, tmp_path):
    out = tmp_path / "run"
    assert stopped(signal.SIGINT, pile, out, config, cluster) == 130
    before = shards(out)
    time.sleep(2)
    assert shards(out) == before and not list(out.rglob(".*.part"))
    # The pile has a line that is no article.
    again = [sys.executable, "-m", "onrecord", *words(pile, out, config, cluster)]
    done = subprocess.run(again, capture_output=True, text=True, timeout=400)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "") and rows(out) == local


class _Fatal(engine._Worker):
    """A worker whose process ends in an article, as when memory runs out in it."""

    def load(self):
        from onrecord import Analyzer

        analyze = Analyzer.analyze
        Analyzer.analyze = lambda analyzer, article: os._exit(9) if article.id == "fatal" else analyze(analyzer, article)
        return super().load()


def test_an_article_that_ends_every_worker_is_rejected(config, cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "_Worker", _Fatal)
    lines = [json.dumps({"text": TEXT.format(n, n + 1), "id": "fatal" if n == 1 else str(n)}) for n in range(6)]
    (tmp_path / "in.jsonl").write_text("\n".join(lines), encoding="utf-8")
    summary = run(tmp_path / "in.jsonl", tmp_path / "run", config, cluster)
    assert (summary.articles, summary.rejected) == (6, 1)
    (line,) = (tmp_path / "run/quarantine.jsonl").read_text(encoding="utf-8").splitlines()
    assert "in.jsonl:2: the process that analyzed it was lost 2 times" in line


class _Unready(engine._Worker):
    """A worker that is lost before it has loaded anything."""

    def load(self):
        os._exit(9)


def test_workers_that_never_start_end_the_run(pile, config, cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "_Worker", _Unready)
    with pytest.raises(BatchError, match="lost over and over"):
        run(pile, tmp_path / "run", config, cluster)


class _Strange(engine._Worker):
    """A worker of a machine that lacks what this one has installed."""

    def __init__(self, *_):
        importlib.import_module("onrecord.not_installed")


def test_why_no_worker_starts_is_told(pile, config, cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "_Worker", _Strange)
    with pytest.raises(BatchError, match="No module named 'onrecord"):
        run(pile, tmp_path / "run", config, cluster)


class _Elsewhere(engine._Worker):
    """A worker of a machine that has another release, or does not see the run's folder."""

    def load(self):
        if self._job.folder.name == "hidden":
            self._job = dataclasses.replace(self._job, folder=Path("/nowhere"))
        import onrecord.batch.fingerprint as fingerprint

        fingerprint.__version__ = "9.9"
        return super().load()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("hidden", "does not see this folder; put the run where all"),
        ("run", "versions: `onrecord` was .*, now '9.9'. Install the"),
    ],
)
def test_a_node_whose_rows_would_be_others_is_refused(name, reason, pile, config, cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "_Worker", _Elsewhere)
    with pytest.raises(BatchError, match=reason):
        run(pile, tmp_path / name, config, cluster)


class _Full(engine._Worker):
    """A worker of a machine whose disk is full."""

    def load(self):
        from onrecord.batch.folder import RunFolder

        def shard(*_):
            raise OSError(errno.ENOSPC, "No space left on device")

        RunFolder.shard = shard
        return super().load()


def test_a_full_disk_ends_the_run_with_a_letter(pile, config, cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "_Worker", _Full)
    with pytest.raises(BatchError, match=r"No space left on device\. All finished shards are kept"):
        run(pile, tmp_path / "run", config, cluster)


class _Faulty(engine._Worker):
    """A worker with a fault of ours outside of the articles."""

    def __call__(self, row):
        return 1 / 0


def test_a_fault_of_ours_shows_as_what_it_is(pile, config, cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "_Worker", _Faulty)
    with pytest.raises(ray.exceptions.RayTaskError, match="ZeroDivisionError"):
        run(pile, tmp_path / "run", config, cluster)


def test_what_reading_raises_arrives_as_itself(pile, config, cluster, tmp_path, monkeypatch):
    def broken(*_):
        yield from itertools.islice(raw_articles(*_), 2 * SHARD)
        raise StoreError("s3://bucket: the network is gone")

    raw_articles = batch_run.raw_articles
    monkeypatch.setattr(batch_run, "raw_articles", broken)
    with pytest.raises(StoreError, match=r"^s3://bucket: the network is gone$"):
        run(pile, tmp_path / "run", config, cluster)
    assert not ray.is_initialized()


def test_a_missing_extra_and_idle_options_are_letters(pile, tmp_path, monkeypatch):
    def invoke(*more):
        return CliRunner().invoke(app, ["analyze", str(pile), "--out", str(tmp_path / "run"), *more])

    result = invoke("--ray-address", "10.0.0.1:6379")
    assert result.exit_code == 2 and "--ray-address is for --engine ray" in result.stderr
    # Nobody listens there.
    result = invoke("--engine", "ray", "--ray-address", "127.0.0.1:9")
    assert result.exit_code == 2 and "no Ray cluster at 127.0.0.1:9" in result.stderr
    shutil.rmtree(tmp_path / "run")
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "onrecord.batch.cluster")
    result = invoke("--engine", "ray")
    assert result.exit_code == 2 and "needs the package ray: pip install 'onrecord[ray]'" in result.stderr
    assert not (tmp_path / "run").exists()
