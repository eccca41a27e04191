"""Worker processes: each analyzes a shard at a time with one thread. A lost one is replaced and its shard done again.

Workers are spawned, not forked: a copy of a process that runs ONNX Runtime's threads may hang, and pipes that a fork
copies would keep a worker alive when the run that started it is killed.
"""

from __future__ import annotations

import datetime as dt
import multiprocessing
import signal
from collections import Counter, deque
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Protocol

from onrecord.analyzer import Analyzer
from onrecord.batch.folder import BatchError, Format, Mark, RunFolder
from onrecord.batch.shards import Seen, Shard, write_shard
from onrecord.config import ConfigError
from onrecord.inference import ModelError
from onrecord.stores import StoreError

# An article during which a worker was lost is tried once more, since the cause may have been another (the machine's
# memory, a signal); a worker that can't start, or is lost elsewhere, twice more.
TRIES, STARTS = 2, 3


@dataclass(frozen=True)
class Job:
    """What every worker of a run needs to know."""

    config: Path | None
    overrides: tuple[str, ...]
    folder: Path | str
    format: Format
    date: dt.date | None


class Crew(Protocol):
    """Workers of a run, on this machine or on many. `lost` counts those that were lost and replaced."""

    lost: int

    def under_way(self) -> tuple[int, int, int]:
        """Articles, statements and rejected inputs of shards that are not finished, as far as is known."""
        ...

    def run(self, shards: Iterator[Shard]) -> Generator[tuple[Shard, Mark] | None, None, None]:
        """Have `shards` analyzed; gives each as it is finished, in any order, and None when something else has moved.

        Raises:
            BatchError: when the folder can't be written, the pipeline can't be loaded, or workers are lost over and over.
        """
        ...


class Losses:
    """Where workers were lost, and what follows: an article that ends every worker is not tried again."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._counts: Counter[tuple[int, int]] = Counter()

    def starting(self, how: str) -> None:
        """A worker was lost that had no shard.

        Raises:
            BatchError: when that happens over and over.
        """
        self._count(-1, -1, how)

    def working(self, shard: int, at: int | None, skip: dict[int, str], how: str) -> None:
        """A worker was lost that had `shard`, in its article `at` where that is known; `skip` gains it when it is to blame.

        Raises:
            BatchError: when workers are lost over and over, and it is no article's fault.
        """
        if at is None:
            self._count(shard, -1, how)
            return
        self._counts[shard, at] += 1
        tries = self._counts[shard, at]
        if tries >= TRIES:
            skip[at] = f"the process that analyzed it was lost {tries} times ({how}); is it too large, or no text?"

    def _count(self, shard: int, at: int, how: str) -> None:
        self._counts[shard, at] += 1
        if self._counts[shard, at] >= STARTS:
            raise BatchError(over_and_over(self._job.folder, how))


def over_and_over(folder: Path | str, how: str) -> str:
    """The letter of a run that ends because its workers do."""
    return (
        f"{folder}: workers are lost over and over ({how}); is there memory for all of them? "
        "The same command with fewer --workers goes on from what is finished"
    )


def one_thread(overrides: tuple[str, ...]) -> tuple[str, ...]:
    """`overrides` with one thread a worker: on the same processors, processes do more than threads."""
    return (*(text for text in overrides if text.split("=")[0].strip() != "threads"), "threads=1")


def serve(connection: Connection, job: Job) -> None:
    """What a worker process does: it takes shards from `connection` until that is closed."""
    # Ctrl-C reaches the whole group; the run ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        try:
            analyzer = Analyzer.load(job.config, one_thread(job.overrides))
            folder = RunFolder(job.folder, job.format)
        except (ConfigError, ModelError, StoreError) as error:
            connection.send(("failed", str(error)))
            return
        seen = Seen()
        connection.send(("ready",))
        while True:
            shard, skip = connection.recv()
            try:
                mark = write_shard(
                    analyzer,
                    shard,
                    folder,
                    date=job.date,
                    seen=seen,
                    skip=skip,
                    tell=lambda *state: connection.send(("at", *state)),
                )
            except BrokenPipeError:
                raise
            except StoreError as error:
                connection.send(("failed", str(error)))
                return
            except OSError as error:
                connection.send(("failed", cannot_write(job.folder, error)))
                return
            connection.send(("done", mark))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        # The run has ended, or was killed.
        return


def cannot_write(folder: Path | str, error: OSError) -> str:
    """The letter of a run that stopped because its folder can't be written."""
    return (
        f"{folder}: can't be written: {error.strerror or error}. All finished shards are kept: "
        "make room, and the same command goes on from them"
    )


@dataclass
class _Worker:
    process: Any
    connection: Connection
    ready: bool = False
    shard: Shard | None = None
    skip: dict[int, str] = field(default_factory=dict)
    # Place in the shard, statements and rejected inputs so far.
    state: tuple[int, int, int] = (-1, 0, 0)


class Workers:
    """Processes of this machine."""

    def __init__(self, job: Job, count: int) -> None:
        self._job, self._count = job, count
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker] = []
        self._losses = Losses(job)
        self._again: deque[tuple[Shard, dict[int, str]]] = deque()
        self.lost = 0

    def under_way(self) -> tuple[int, int, int]:
        states = [worker.state for worker in self._workers if worker.shard is not None]
        return sum(max(0, at) for at, _, _ in states), sum(found for _, found, _ in states), sum(bad for _, _, bad in states)

    def run(self, shards: Iterator[Shard]) -> Generator[tuple[Shard, Mark] | None, None, None]:
        ahead: deque[Shard] = deque()
        try:
            while True:
                # As many are read ahead as there are workers, so that none waits for the disk.
                while len(ahead) < self._count and (shard := next(shards, None)) is not None:
                    ahead.append(shard)
                self._hand_out(ahead)
                if not ahead and not self._again and all(worker.shard is None for worker in self._workers):
                    return
                by_connection: dict[Any, _Worker] = {worker.connection: worker for worker in self._workers}
                for connection in wait(list(by_connection)):
                    yield self._receive(by_connection[connection])
        finally:
            self._end()

    def _hand_out(self, ahead: deque[Shard]) -> None:
        for worker in list(self._workers):
            if worker.ready and worker.shard is None and (ahead or self._again):
                worker.shard, worker.skip = self._again.popleft() if self._again else (ahead.popleft(), {})
                worker.state = (-1, 0, 0)
                try:
                    worker.connection.send((worker.shard, worker.skip))
                except OSError:
                    self._replace(worker)
        starting = sum(not worker.ready for worker in self._workers)
        for _ in range(min(self._count - len(self._workers), len(ahead) + len(self._again) - starting)):
            self._start()

    def _start(self) -> None:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=serve, args=(theirs, self._job), daemon=True)
        process.start()
        # Only the worker may hold its end, or its death would not be seen.
        theirs.close()
        self._workers.append(_Worker(process, ours))

    def _receive(self, worker: _Worker) -> tuple[Shard, Mark] | None:
        try:
            kind, *values = worker.connection.recv()
        except (EOFError, OSError):
            self._replace(worker)
            return None
        if kind == "failed":
            raise BatchError(values[0])
        if kind == "ready":
            worker.ready = True
        elif kind == "at":
            worker.state = (values[0], values[1], values[2])
        elif worker.shard is not None:
            shard, worker.shard = worker.shard, None
            return shard, values[0]
        return None

    def _replace(self, worker: _Worker) -> None:
        """Let go of a lost worker and have its shard done again, without an article that ends every worker."""
        worker.process.join(5)
        code = worker.process.exitcode
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        self._workers.remove(worker)
        worker.connection.close()
        self.lost += 1
        if worker.shard is None:
            self._losses.starting(how)
            return
        at = worker.state[0]
        inside = 0 <= at < len(worker.shard.items)
        self._losses.working(worker.shard.number, at if inside else None, worker.skip, how)
        self._again.append((worker.shard, worker.skip))

    def _end(self) -> None:
        for worker in self._workers:
            worker.connection.close()
            # Between shards a worker ends by itself; one in the midst of a shard is of no more use.
            if worker.shard is not None or not worker.ready:
                worker.process.kill()
        for worker in self._workers:
            worker.process.join(10)
            with suppress(ValueError):
                worker.process.close()
