"""Workers on a Ray cluster: the same shards, written the same way, by a pool of Ray Data's on any machines of it.

Each row of the data set is a shard, cut by the command: a shard must have the same number and articles in every session,
so that a run goes on where it was stopped, and Ray's blocks are cut as the cluster's load has it. Ray Data hands the rows
out, holds reading back, sizes the pool and does again what was lost. Ours is what it can't know: which machine would write
other rows, and which article ends every process that analyzes it.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import pickle
import socket
import sys
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Thread
from typing import Any

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, DataContext
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from onrecord.analyzer import DEFAULT_CONFIG, Analyzer
from onrecord.article import RawArticle, carried
from onrecord.batch.fingerprint import differences, pipeline
from onrecord.batch.folder import BatchError, Mark, RunFolder
from onrecord.batch.shards import Seen, Shard, write_shard
from onrecord.batch.workers import STARTS, Job, Losses, cannot_write, one_thread, over_and_over
from onrecord.config import AnalyzeConfig, ConfigError, load, resource_root
from onrecord.inference import ModelError
from onrecord.stores import StoreError

# Shards between the command and Ray Data, which holds more of them by the memory that it has.
AHEAD = 8
# How long is waited for a worker before those who watch are told [seconds].
WAIT = 0.2
# How long the cluster may take to answer at all [seconds].
KNOCK = 10.0
# How a loss shows here: Ray tells the reason to nobody but its logs.
LOST = "a Ray worker died"


@dataclass
class _Seat:
    """A place of the pool: the node that its process is on, the shard it works on, and, where it tells, the article."""

    node: str
    shard: int | None = None
    at: int | None = None


class _Desk:
    """An actor beside the command, which outlives the workers: shards pass over it, and it knows where workers were lost."""

    def __init__(self, job: Job) -> None:
        self._ahead: asyncio.Queue[bytes | None] = asyncio.Queue(AHEAD)
        self._losses = Losses(job)
        self._seats: dict[str, _Seat] = {}
        # Shards over which a process was lost, and which of their articles are not tried again.
        self._skip: dict[int, dict[int, str]] = {}
        self._lost = 0
        # The last that were taken, and how many were at all.
        self._kept: deque[bytes | None] = deque(maxlen=AHEAD)
        self._taken = 0
        self._taking = asyncio.Lock()

    async def put(self, shard: bytes | None) -> None:
        """Lay down a shard, or None after the last, once there is room for it."""
        await self._ahead.put(shard)

    async def take(self, place: int) -> bytes | None:
        """The shard at `place` of all in their order, or None after the last, once it is there.

        When the process that takes them is lost, another takes all anew, of which Ray drops what it has. It gets again what
        may have been on its way, a few at most, and nothing in place of what was before.
        """
        async with self._taking:
            if place == self._taken:
                self._kept.append(await self._ahead.get())
                self._taken += 1
            behind = self._taken - place
            return self._kept[-behind] if behind <= len(self._kept) else b""

    def starts(self, seat: str, node: str) -> str:
        """A process has taken `seat`; gives why the run must end, or nothing. Not the first one: the one before was lost."""
        before, self._seats[seat] = self._seats.get(seat), _Seat(node)
        if before is None:
            return ""
        self._lost += 1
        if not any(each["NodeID"] == before.node and each["Alive"] for each in ray.nodes()):
            # The machine was lost, which no article does.
            return ""
        try:
            if before.shard is not None:
                self._losses.working(before.shard, before.at, self._skip.setdefault(before.shard, {}), LOST)
            elif all(each.shard is None for each in self._seats.values()):
                # Machines come and go; nothing is wrong with the run as long as other workers work.
                self._losses.starting(LOST)
        except BatchError as error:
            return str(error)
        return ""

    def begins(self, seat: str, shard: int) -> dict[int, str] | None:
        """The process in `seat` has `shard`; gives what to skip where one was lost over it, and wants to hear of each article."""
        self._seats[seat].shard = shard
        return self._skip.get(shard)

    def note(self, seat: str, at: int | None) -> None:
        """The article `at` of the shard is next, or none is left."""
        self._seats[seat].at = at

    def ends(self, seat: str, shard: int) -> int:
        """The process in `seat` has finished `shard`; gives how many were lost so far."""
        self._seats[seat] = _Seat(self._seats[seat].node)
        self._skip.pop(shard, None)
        return self._lost


class _Shards(Datasource):
    """The shards that come over the desk, each a block of its own."""

    # They are handed out where they are read.
    supports_distributed_reads = False

    def __init__(self, desk: Any) -> None:
        super().__init__()
        self._desk = desk

    def estimate_inmemory_data_size(self) -> int | None:
        return None

    def get_read_tasks(self, parallelism: int, *_: Any, **__: Any) -> list[ReadTask]:
        desk = self._desk

        def read() -> Iterator[pa.Table]:
            place = 0
            while (shard := ray.get(desk.take.remote(place))) is not None:
                yield pa.table({"shard": pa.array([shard], pa.large_binary())})
                place += 1

        return [ReadTask(read, BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None))]


class _Worker:
    """An actor of the pool: a process with one thread, somewhere in the cluster, that holds the models."""

    def __init__(self, job: Job, desk: Any) -> None:
        self._job, self._desk = job, desk
        context = ray.get_runtime_context()
        self._seat = context.get_actor_id()
        self._failed = ray.get(desk.starts.remote(self._seat, context.get_node_id())) or self.load()

    def load(self) -> str:
        """Load the pipeline; gives why rows of this node would not be the run's, or nothing."""
        where = f"the Ray node {ray.util.get_node_ip_address()}"
        path = self._job.config or resource_root() / DEFAULT_CONFIG
        overrides = one_thread(self._job.overrides)
        try:
            self._folder = RunFolder(self._job.folder, self._job.format)
            run = self._folder.manifest()
            if run is None:
                return (
                    f"{self._job.folder}: {where} does not see this folder; put the run where all nodes see it: "
                    "on a shared file system, or an object store"
                )
            here = pipeline(path, load(path, AnalyzeConfig, overrides), self._job.format, self._job.date)
            if found := list(differences(run["fingerprint"], here["fingerprint"])):
                return f"{where} has another pipeline than this machine: {'; '.join(found)}. Install the same on both"
            self._analyzer = Analyzer.load(self._job.config, overrides)
        except (BatchError, ConfigError, ModelError, StoreError) as error:
            return f"{where}: {error}"
        self._seen = Seen()
        return ""

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Analyze the shard of `row`; gives a row with its mark, or with why the run must end."""
        if self._failed:
            return {"failed": self._failed}
        shard: Shard = pickle.loads(row["shard"])  # noqa: S301  # the command wrote it
        skip = ray.get(self._desk.begins.remote(self._seat, shard.number))

        def tell(at: int, *counts: int) -> None:
            if skip is not None:
                ray.get(self._desk.note.remote(self._seat, at if at < len(shard.items) else None))

        try:
            mark = write_shard(
                self._analyzer, shard, self._folder, date=self._job.date, seen=self._seen, skip=skip or {}, tell=tell
            )
        except StoreError as error:
            return {"failed": str(error)}
        except OSError as error:
            return {"failed": cannot_write(self._job.folder, error)}
        lost = ray.get(self._desk.ends.remote(self._seat, shard.number))
        return {"failed": "", "mark": pickle.dumps(mark), "read": shard.read, "lost": lost}


class RayWorkers:
    """Actors of a Ray cluster, one a processor, as `workers.Crew` has it."""

    def __init__(self, job: Job, count: int | None, address: str | None) -> None:
        self._job, self._count, self._address = job, count, address
        self.lost = 0

    def under_way(self) -> tuple[int, int, int]:
        """Nothing: a message for every article would be too much for one who hears from a thousand workers."""
        return 0, 0, 0

    def run(self, shards: Iterator[Shard]) -> Generator[tuple[Shard, Mark] | None, None, None]:
        """As `workers.Crew` has it."""
        if (first := next(shards, None)) is None:
            return
        packed = map(_packed, itertools.chain((first,), shards))
        with _connected(self._job, self._address), self._started() as (desk, told, receiver):
            given = done = 0
            waiting: list[Any] = []
            reading = True
            while receiver.is_alive() or told:
                if reading:
                    for shard in itertools.islice(packed, AHEAD - len(waiting)):
                        waiting.append(desk.put.remote(shard))
                        given += 1
                    # A shard that waits for room may be overtaken, which the end must not do.
                    reading = bool(waiting)
                    _, waiting = ray.wait(waiting or [desk.put.remote(None)], timeout=WAIT)
                else:
                    receiver.join(WAIT)
                yield None
                while told:
                    row = told.popleft()
                    if isinstance(row, BaseException):
                        raise _letter(self._job, row)
                    if row["failed"]:
                        raise BatchError(row["failed"])
                    done += 1
                    self.lost = max(self.lost, row["lost"])
                    mark: Mark = pickle.loads(row["mark"])  # noqa: S301  # a worker of ours wrote it
                    yield Shard(mark.shard, (), row["read"]), mark
            if done != given:
                raise BatchError(f"{self._job.folder}: Ray lost {given - done} shards; the same command goes on with them")

    @contextmanager
    def _started(self) -> Iterator[tuple[Any, deque[Any], Thread]]:
        """Start the work, and end it; gives the desk, where rows and what was raised are told, and the thread that tells."""
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        desk = ray.remote(num_cpus=0, scheduling_strategy=here)(_Desk).remote(self._job)
        with DataContext.current(_context()):
            # With no CPU of its own the reading is not fused with the pool, and leaves its node's to that.
            shards = ray.data.read_datasource(_Shards(desk), num_cpus=0, override_num_blocks=1)
            pool = ActorPoolStrategy(min_size=1, max_size=self._count)
            rows = shards.map(_Worker, fn_constructor_args=(self._job, desk), compute=pool, num_cpus=1)
        told: deque[Any] = deque()
        # What a data set gives to iterate over would let the actors finish their shards when it is left.
        executor = rows._create_executor()
        receiver = Thread(target=_receive, args=(rows._build_bundle_iterator(executor), executor, told), daemon=True)
        receiver.start()
        try:
            yield desk, told, receiver
        finally:
            # Whoever waits for a shard would wait for ever.
            ray.kill(desk)
            executor.shutdown(force=True)
            # Whoever asks Ray for anything after the end would start a cluster.
            executor.join(KNOCK)
            receiver.join(KNOCK)


def _context() -> DataContext:
    """Settings of Ray Data for rows that are shards; it is kept from the terminal, where the command shows its own progress."""
    context = DataContext.get_current().copy()
    # A block is a shard, and goes to a worker alone.
    context.target_max_block_size = 1
    # As `Losses` has it, for workers that can't even tell that they start.
    context.max_consecutive_actor_init_deaths = STARTS - 1
    # A shard may take long, and so may a machine to come.
    context.execution_no_progress_timeout_s = -1
    context.memory_usage_poll_interval_s = None
    context.enable_progress_bars = context.print_on_execution_start = False
    logger = logging.getLogger("ray.data")
    for handler in list(logger.handlers):
        if handler.name == "console":
            logger.removeHandler(handler)
    return context


def _receive(bundles: Iterator[Any], executor: Any, told: deque[Any]) -> None:
    """Put all rows into `told`, or what is raised on the way."""
    try:
        for bundle in bundles:
            for block in ray.get(bundle.block_refs):
                told.extend(block.to_pylist())
            # Kilobytes for each block, for a report at the end: gigabytes for a hundred million articles.
            for operator in executor._topology:
                for stats in operator.get_stats().values():
                    stats.clear()
    # Whoever waits for rows has to know.
    except BaseException as error:  # noqa: BLE001
        told.append(error)


def _letter(job: Job, error: BaseException) -> BaseException:
    """What to raise for what Ray raised: a letter where workers were lost; a fault of ours, raised in one, as it is."""
    if not isinstance(error, RayError) or isinstance(error, RayTaskError):
        return error
    # The last line says what was raised where a worker began, after the way there.
    return BatchError(over_and_over(job.folder, str(error).strip().splitlines()[-1].strip()))


def _packed(shard: Shard) -> bytes:
    """`shard` for another machine, with files of this one, which others may not see, as bytes."""
    items = tuple(carried(item) if isinstance(item, RawArticle) else item for item in shard.items)
    return pickle.dumps(replace(shard, items=items))


@contextmanager
def _connected(job: Job, address: str | None) -> Iterator[None]:
    """Connect this process to a cluster for a while.

    Raises:
        BatchError: when there is none at `address`.
    """
    if ray.is_initialized():
        # Whoever connected it has chosen the cluster, and disconnects it.
        yield
        return
    # Ray tells its makers of every cluster that is started, if not told otherwise.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Its core writes to the terminal, whatever Python's logging is told: of every actor of a pool, that it may be restarted.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    address = address or os.environ.get("RAY_ADDRESS")
    try:
        host, _, port = (address or "").rpartition(":")
        if port.isdigit() and "://" not in host:
            # Ray itself knocks for minutes where nobody answers.
            socket.create_connection((host.strip("[]"), int(port)), KNOCK).close()
        with _muted():
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (OSError, RuntimeError, ValueError) as error:
        raise BatchError(
            f"{job.folder}: no Ray cluster at {address or 'this machine'} ({error}); "
            "`ray start --head` starts one and prints its address for --ray-address"
        ) from error
    # Nor are its messages of lost workers for those who run the command, who are told their number.
    ray._private.worker._worker_logs_enabled = False
    try:
        yield
    finally:
        ray.shutdown()
        ray._private.worker._worker_logs_enabled = True


@contextmanager
def _muted() -> Iterator[None]:
    """Keep from the terminal what is written there past Python, as that this level of logging is set."""
    sys.stderr.flush()
    kept = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
