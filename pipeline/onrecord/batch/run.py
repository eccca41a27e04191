"""A run: inputs and a config → a run folder, from the beginning or from where an earlier run was stopped."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from onrecord.analyzer import DEFAULT_CONFIG
from onrecord.article import InputFile, Progress, Rejected, find_files, raw_articles, storable
from onrecord.batch.fingerprint import differences, pipeline
from onrecord.batch.folder import BatchError, Format, Mark, RunFolder
from onrecord.batch.shards import Shard, cut
from onrecord.batch.workers import Crew, Job, Workers, cannot_write, one_thread
from onrecord.config import AnalyzeConfig, load, resource_root
from onrecord.stores import is_url, plain

Engine = Literal["local", "ray"]
# How often the manifest says how far the run is, and a watcher is told [seconds].
MANIFEST_EVERY, TELL_EVERY = 5.0, 0.2


@dataclass(frozen=True)
class Status:
    """How far a run is: what is done since its very beginning, and how fast this session does it.

    `seconds_left` is an estimate by how much of the inputs has been read, None before there is one.
    """

    articles: int
    statements: int
    rejected: int
    seconds: float
    articles_per_second: float
    seconds_left: float | None
    workers_lost: int = 0


@dataclass(frozen=True)
class RunSummary:
    """What a finished run holds: articles, rejected ones included; of which `resumed` were done by earlier sessions."""

    folder: Path | str
    articles: int
    statements: int
    rejected: int
    resumed: int
    seconds: float


def run_batch(
    paths: Sequence[str],
    out: Path | str,
    *,
    config: Path | None = None,
    overrides: Sequence[str] = (),
    format: Format = "parquet",
    date: dt.date | None = None,
    workers: int | None = None,
    engine: Engine = "local",
    ray_address: str | None = None,
    watch: Callable[[Status], None] = lambda status: None,
) -> RunSummary:
    """Analyze any pile of articles into the run folder `out`; the same call goes on with a run that was stopped.

    Rows and their order depend on the inputs and the config alone, not on the number of workers or on interruptions.

    Args:
        paths: Files, folders and globs, as `find_files` takes them.
        out: Run folder, or its URL; made, or gone on with.
        config: An analyze config; the shipped one by default.
        overrides: Settings that replace the config's.
        format: What rows are written as.
        date: Day for articles that bring none.
        workers: Processes; by default as many as this one may use processors, or the cluster has.
        engine: Where they run: on this machine, or on a Ray cluster, whose nodes must all see `out`.
        ray_address: The cluster's; by default what RAY_ADDRESS says, else the cluster that this machine is a node of,
            else one of this machine alone.
        watch: Called a few times a second.

    Raises:
        BatchError: when the folder belongs to another run or can't be written.
        ConfigError: when the config can't be used.
        ModelError: when a model folder is missing or damaged.
        StoreError: when what is behind a URL can't be read or written.
        ModuleNotFoundError: when a package of the extra `batch` or `ray` is missing that this run needs.
    """
    if engine == "ray":
        from onrecord.batch.cluster import RayWorkers
    if format == "parquet":
        import pyarrow.parquet  # noqa: F401  # missing, it is missed before anything is made
    if "-" in paths:
        raise BatchError(f"{out}: a run folder is resumed by reading its inputs again, which `-` can't be; give files")
    path = config if config is not None else resource_root() / DEFAULT_CONFIG
    settings = load(path, AnalyzeConfig, one_thread(tuple(overrides)))
    if not is_url(str(out)):
        # A worker may be another machine's, where a relative path would be another place.
        out = Path(plain(str(out))).absolute()
    folder = RunFolder(out, format)
    try:
        folder.manifest()
        with folder.locked():
            run = _Run(folder, _described(path, settings, paths, out, format, date))
            job = Job(config and config.absolute(), tuple(overrides), out, format, date)
            crew: Crew = RayWorkers(job, workers, ray_address) if engine == "ray" else Workers(job, workers or _processors())
            return run.go(paths, settings, crew, watch)
    except OSError as error:
        raise BatchError(cannot_write(out, error)) from error


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Run:
    """A run while it goes on."""

    def __init__(self, folder: RunFolder, about: Mapping[str, Any]) -> None:
        self.folder, self.about = folder, dict(about)
        self.start = self.told = self.noted = time.monotonic()
        before = folder.manifest()
        if before is not None:
            _refuse_to_mix(folder, before, self.about)
            self.about["started"] = before["started"]
        self.complete = bool(before and before["complete"])
        # Numbers only: at a hundred million articles there are hundreds of thousands of shards.
        self.finished: set[int] = set()
        self.rejecting: set[int] = set()
        self.counts: Counter[str] = Counter(articles=0, statements=0, rejected=0)
        for mark in folder.finished():
            self._count(mark)
        self.resumed = self.counts["articles"]
        folder.prepare(self._manifest())
        folder.write_quarantine(sorted(self.rejecting))

    def go(self, paths: Sequence[str], settings: AnalyzeConfig, workers: Crew, watch: Callable[[Status], None]) -> RunSummary:
        """Do what is not done yet."""
        if not self.complete:
            progress = Progress()
            seen = _Inputs(find_files(paths, skip=self.folder.path))
            shards = cut(raw_articles(seen, settings.columns, progress), settings.shard_articles, lambda: progress.read)
            try:
                self._work(shards, workers, watch)
            finally:
                self.folder.clear()
            if seen.digest() != self.about["fingerprint"]["inputs"]:
                raise BatchError(
                    f"{self.folder.path}: the inputs changed while they were read; make the run anew from inputs that stand still"
                )
            # Shards may have been finished in any order.
            self.folder.write_quarantine(sorted(self.rejecting))
            self.complete = True
            self.folder.write_manifest(self._manifest())
        return RunSummary(self.folder.path, **self.counts, resumed=self.resumed, seconds=time.monotonic() - self.start)

    def _work(self, shards: Iterable[Shard], workers: Crew, watch: Callable[[Status], None]) -> None:
        # Bytes of the inputs up to the end of what is done, and where this session began.
        done = 0
        first: int | None = None

        def missing() -> Iterator[Shard]:
            nonlocal first, done
            for shard in shards:
                if shard.number not in self.finished:
                    first = done if first is None else first
                    yield shard
                else:
                    done = shard.read

        total = self.about["inputs"]["bytes"]
        with closing(workers.run(missing())) as events:
            for finished in events:
                now = time.monotonic()
                if finished is not None:
                    shard, mark = finished
                    done = max(done, shard.read)
                    self._finish(mark)
                if now - self.told >= TELL_EVERY:
                    self.told = now
                    part = done - (first or 0)
                    watch(self._status(workers, (now - self.start) * (total - done) / part if part > 0 else None))
                if now - self.noted >= MANIFEST_EVERY:
                    self.noted = now
                    self.folder.write_manifest(self._manifest())
        watch(self._status(workers, 0.0))

    def _count(self, mark: Mark) -> None:
        self.finished.add(mark.shard)
        if mark.rejected:
            self.rejecting.add(mark.shard)
        self.counts.update(articles=mark.articles, statements=mark.statements, rejected=mark.rejected)

    def _finish(self, mark: Mark) -> None:
        self._count(mark)
        if mark.rejected:
            self.folder.add_rejected(mark.shard)

    def _status(self, workers: Crew, left: float | None) -> Status:
        articles, statements, rejected = workers.under_way()
        articles += self.counts["articles"]
        seconds = time.monotonic() - self.start
        return Status(
            articles,
            self.counts["statements"] + statements,
            self.counts["rejected"] + rejected,
            seconds,
            (articles - self.resumed) / max(seconds, 1e-9),
            left,
            workers.lost,
        )

    def _manifest(self) -> dict[str, Any]:
        now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        return {
            "complete": self.complete,
            "counts": dict(self.counts),
            "finished_shards": _ranges(sorted(self.finished)),
            **self.about,
            "started": self.about.get("started", now),
            "updated": now,
        }


class _Inputs:
    """Files as they pass by, hashed by name, size and time of change: a hash of a terabyte's bytes would take hours."""

    def __init__(self, files: Iterable[InputFile | Rejected]) -> None:
        self._files, self._hash = files, hashlib.sha256()
        self.count = self.bytes = 0

    def __iter__(self) -> Iterator[InputFile | Rejected]:
        for file in self._files:
            self.count += 1
            self.bytes += file.size if isinstance(file, InputFile) else 0
            self._hash.update(f"{file!r}\n".encode(errors="surrogateescape"))
            yield file

    def digest(self) -> str:
        return self._hash.hexdigest()[:16]


def _described(
    path: Path, settings: AnalyzeConfig, paths: Sequence[str], out: Path | str, format: Format, date: dt.date | None
) -> dict[str, Any]:
    """What the manifest says of a run, and the fingerprint of all that its rows depend on."""
    inputs = _Inputs(find_files(paths, skip=out))
    for _ in inputs:
        pass
    about = pipeline(path, settings, format, date)
    return {
        "inputs": {
            "paths": [storable(each) for each in paths],
            "date": date.isoformat() if date else None,
            "files": inputs.count,
            "bytes": inputs.bytes,
        },
        "output": format,
        **about,
        "fingerprint": {"inputs": inputs.digest(), **about["fingerprint"]},
    }


def _refuse_to_mix(folder: RunFolder, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise BatchError, naming each difference, when the run that is there is not this one."""
    then, today = before.get("fingerprint", {}), now["fingerprint"]
    found = []
    if then.get("inputs") != today["inputs"]:
        files = f"{before['inputs']['files']} files in {before['inputs']['paths']}"
        found.append(f"inputs: the folder's are {files}, and have changed, or others are named now")
    found += differences(then, today)
    if found:
        raise BatchError(
            f"{folder.path}: holds a run that is not this one, and outputs are not mixed. " + "; ".join(found) + ". "
            "Name another folder for --out, or run it as before"
        )


def _ranges(numbers: Sequence[int]) -> str:
    """Sorted numbers as ranges: 0-4,7."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(f"{first}-{last}" if last > first else str(first) for first, last in parts)
