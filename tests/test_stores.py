"""Inputs and run folders behind URLs: what is read and written there is what it is on a disk.

`memory://` is a store that lives in this process; `fsspec+file://` opens a disk as a store, for runs of several processes.
"""

import gzip
import json
import os
import shutil

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from backports import zstd

from onrecord.article import InputFile, Rejected, find_files, raw_articles, read_raw
from onrecord.batch import BatchError, query, run_batch
from onrecord.batch.folder import RunFolder
from onrecord.batch.place import Disk, Store
from onrecord.config import resource_root
from onrecord.stores import StoreError, is_url, open_file, plain
from test_batch import JSONL, PAGE, article, rows, run_cli, text

ROOT = resource_root()


@pytest.fixture(scope="module")
def pile(tmp_path_factory):
    """A folder with articles in several kinds of file, and in one below it."""
    folder = tmp_path_factory.mktemp("pile")
    (folder / "b").mkdir()
    (folder / "a.jsonl").write_bytes(JSONL + b"{broken\n")
    (folder / "b/a b.jsonl.gz").write_bytes(gzip.compress(JSONL))
    (folder / "b/c.jsonl.zst").write_bytes(zstd.compress(JSONL))
    (folder / "b.txt").write_text(text(7), encoding="utf-8")
    (folder / "c.html.gz").write_bytes(gzip.compress(PAGE.format(text(8) * 2).encode()))
    (folder / "d.csv").write_text(f'text,date\n"{text(9)}",2021-11-08\n', encoding="utf-8")
    pq.write_table(pa.Table.from_pylist([article(10), article(11)]), folder / "e.parquet")
    (folder / "notes.md").write_text("no article", encoding="utf-8")
    return folder


@pytest.fixture
def memory(pile):
    """The same files in a store of this process."""
    store = fsspec.filesystem("memory")
    for path in pile.rglob("*.*"):
        if path.is_file():
            store.pipe_file(f"/pile/{path.relative_to(pile)}", path.read_bytes())
    yield store
    store.rm("/", recursive=True)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "configs/small.yaml"
    path.parent.mkdir()
    path.write_text(f"kind: analyze\nextends: {ROOT}/configs/analyze/default.yaml\nshard_articles: 4\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def whole(pile, config, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "run"
    run_batch([str(pile)], out, config=config, workers=1)
    return out


def read(paths):
    return [raw if isinstance(raw, Rejected) else read_raw(raw) for raw in raw_articles(find_files(paths))]


@pytest.mark.parametrize("below", ["", "/b", "/a.jsonl", "/*.jsonl*", "/**/*.jsonl*", "/b/a b*", "/none", "/*.none"])
def test_a_store_is_read_as_a_disk_is(below, pile, memory):
    there, here = read([f"memory://pile{below}"]), read([f"{pile}{below}"])
    assert here
    assert repr(there).replace("memory://pile", str(pile)) == repr(here)


def test_urls_and_paths():
    assert [is_url(name) for name in ("s3://a/b", "fsspec+file:///x", "C:/x", "a/b.txt", "-", "a:b//c")] == [1, 1, 0, 0, 0, 0]
    assert plain("file:///a%20b/c") == "/a b/c" and plain("s3://a%20b") == "s3://a%20b"


def test_a_url_of_a_file_of_this_machine_is_its_path(pile, whole, config, tmp_path):
    assert list(find_files([f"file://{pile}"])) == list(find_files([str(pile)]))
    run_batch([f"file://{pile}"], f"file://{tmp_path}/run", config=config, workers=1)
    assert rows(tmp_path / "run") == rows(whole) and (tmp_path / "run/.lock").exists()
    assert list(query("SELECT count(*) FROM articles", f"file://{tmp_path}/run").rows) == [(len(rows(whole)["articles"]),)]


@pytest.mark.parametrize("format", ["parquet", "jsonl"])
def test_a_run_in_a_store_has_the_rows_of_one_on_a_disk(format, pile, config, whole, tmp_path):
    url = f"fsspec+file://{tmp_path}"
    summary = run_batch([str(pile)], f"{url}/run/", config=config, workers=2, format=format)
    assert summary.rejected == 1 and not list(tmp_path.rglob("*.part"))
    for sql in ("SELECT * FROM statements", "SELECT * EXCLUDE (seconds) FROM articles"):
        assert list(query(sql, f"{url}/run").rows) == list(query(sql, whole).rows)
    assert (tmp_path / "run/quarantine.jsonl").read_bytes() == (whole / "quarantine.jsonl").read_bytes()
    # Two marks are lost and a part is cut off: three shards are done again.
    manifest = json.loads((tmp_path / "run/manifest.json").read_text(encoding="utf-8"))
    (tmp_path / "run/manifest.json").write_text(json.dumps(manifest | {"complete": False}), encoding="utf-8")
    (tmp_path / "run/shards/000000.json").unlink()
    (tmp_path / "run/shards/000001.json").write_bytes(b"\xff")
    os.truncate(tmp_path / f"run/statements/part-000002.{format}", 9)
    again = run_batch([str(pile)], f"{url}/run", config=config, workers=1, format=format)
    assert again.resumed == summary.articles - 12
    assert list(query("SELECT * FROM statements", f"{url}/run").rows) == list(query("SELECT * FROM statements", whole).rows)


def test_the_command_takes_urls(pile, config, whole, tmp_path):
    url = f"fsspec+file://{tmp_path}/run"
    # The run lies below one of its inputs, and is none of them.
    shutil.copytree(pile, tmp_path / "pile")
    arguments = ["analyze", f"fsspec+file://{tmp_path}", "--config", config, "--out", url, "--workers", 1]
    for resumed in ("", "of them before"):
        result = run_cli(*arguments)
        assert result.exit_code == 1 and resumed in result.stderr and f"{url}/quarantine.jsonl" in result.stderr.replace("\n", "")
    result = run_cli("query", "SELECT count(*) AS n FROM articles", url, "--format", "csv")
    assert result.stdout.split() == ["n", str(len(rows(whole)["articles"]))]
    result = run_cli("analyze", pile, "--out", "s3://bucket/out.jsonl")
    assert result.exit_code == 2 and "only a run folder can be behind a URL" in result.stderr


def test_a_run_in_memory_is_written_whole(memory):
    folder = RunFolder("memory://runs/one", "jsonl")
    assert folder.manifest() is None
    folder.prepare({"complete": False})
    assert folder.manifest() == {"format": "onrecord.run/1", "complete": False}
    row = {"place": "here", "status": "done"}
    with pytest.raises(ZeroDivisionError), folder.shard(0) as writer:
        writer.add(row, [], None)
        raise ZeroDivisionError
    assert list(folder.finished()) == []
    with folder.shard(0) as writer:
        writer.add(row, [], {"place": "here", "reason": "why"})
    assert list(folder.finished()) == [writer.mark]
    folder.write_quarantine([0])
    assert memory.cat_file("/runs/one/quarantine.jsonl") == b'{"place": "here", "reason": "why"}\n'
    memory.pipe_file("/other/file", b"x")
    with pytest.raises(BatchError, match="files in it, but no run"):
        RunFolder("memory://other", "jsonl").manifest()


@pytest.mark.parametrize("kind", ["disk", "store"])
def test_a_finished_shard_is_not_replaced_by_a_worker_that_comes_late(kind, memory, tmp_path):
    folder = RunFolder("memory://runs/one" if kind == "store" else tmp_path / "run", "jsonl")
    folder.prepare({})
    with folder.shard(0) as late:
        late.add({"place": "late and long"}, [], None)
        with folder.shard(0) as first:
            first.add({"place": "first"}, [], None)
    assert late.mark == first.mark and list(folder.finished()) == [first.mark]
    assert json.loads(folder.read("articles", 0)) == {"place": "first"}


@pytest.mark.parametrize("kind", [Disk, Store])
def test_places_say_the_same(kind, memory, tmp_path):
    place = kind(tmp_path / "run") if kind is Disk else kind("memory://place/run")
    assert not place.inhabited() and place.sizes("shards") == {} and place.size("shards/a") is None
    with pytest.raises(FileNotFoundError):
        place.read("shards/a")
    place.prepare(["shards", "statements"])
    place.write("shards/a", "ä")
    place.write("shards/a", "äö")
    part = place.part("shards/b")
    part.write_bytes(b"part")
    assert place.sizes("shards") == {"shards/a": 4}
    place.put(part, "shards/b")
    assert not part.exists() and place.sizes("shards") == {"shards/a": 4, "shards/b": 4} and place.size("shards/b") == 4
    assert sorted(place.read_all("shards")) == [b"part", "äö".encode()] and place.inhabited()
    with place.locked():
        place.clear()


class _Failing:
    """A file of a store whose network ends after some bytes."""

    def __init__(self, data, last):
        self._data, self._last, self._at = data, last, 0

    def read(self, size):
        if self._at >= self._last:
            raise OSError("curlCode: 28, Timeout was reached")
        start, self._at = self._at, min(self._at + size, self._last)
        return self._data[start : self._at]

    def seek(self, offset, whence=0):
        self._at = offset + (0, self._at, len(self._data))[whence]
        return self._at

    def tell(self):
        return self._at

    def close(self):
        pass


@pytest.mark.parametrize("name", ["a.jsonl", "b/a b.jsonl.gz", "b/c.jsonl.zst", "d.csv", "e.parquet", "c.html.gz", "b.txt"])
def test_a_network_that_fails_is_no_damaged_file(name, pile, memory, monkeypatch):
    url, data = f"memory://pile/{name}", (pile / name).read_bytes()
    opened = type("Files", (), {"open_input_file": lambda self, path: _Failing(data, len(data) // 2)})()
    monkeypatch.setattr("onrecord.stores.file_system", lambda url: (opened, url))
    with pytest.raises(StoreError, match=r"Timeout was reached\. The same command goes on"):
        for raw in raw_articles([InputFile(url, len(data), 0)]):
            assert not isinstance(read_raw(raw), Rejected)


def test_what_is_no_store_is_a_letter(tmp_path):
    for url in ("nowhere://bucket/a.txt", "nowhere://bucket/*.txt"):
        with pytest.raises(StoreError, match="no store of this kind"):
            list(find_files([url]))
    with pytest.raises(StoreError, match="none"):
        open_file("memory://none")
    result = run_cli("analyze", "nowhere://bucket/a.txt")
    assert result.exit_code == 2 and "no store of this kind" in result.stderr
    result = run_cli("analyze", tmp_path, "--out", "nowhere://bucket/run")
    assert result.exit_code == 2 and "no store of this kind" in result.stderr
