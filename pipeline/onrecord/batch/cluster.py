"""Workers on a Ray cluster: the same shards, written the same way, by actors of any machine of it.

Ray's tasks and actors rather than Ray Data: a shard must have the same number and articles in every session, so that a
run goes on where it was stopped and no shard is done twice, and a data set's blocks are cut as the cluster's load has it.
"""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from onrecord.analyzer import DEFAULT_CONFIG, Analyzer
from onrecord.article import RawArticle, carried
from onrecord.batch.fingerprint import differences, pipeline
from onrecord.batch.folder import BatchError, Mark, RunFolder
from onrecord.batch.shards import Seen, Shard, write_shard
from onrecord.batch.workers import Job, Losses, cannot_write, one_thread
from onrecord.config import AnalyzeConfig, ConfigError, load, resource_root
from onrecord.inference import ModelError
from onrecord.stores import StoreError

# How long is waited for a worker before those who watch are told, and how often the cluster is asked for its size [seconds].
WAIT, ASK_EVERY = 0.2, 5.0
# How long the cluster may take to answer at all [seconds].
KNOCK = 10.0


@dataclass(frozen=True)
class _Failed:
    """Why a worker can't go on, and the run with it."""

    reason: str


class _Worker:
    """An actor: a process with one thread, somewhere in the cluster, that holds the models."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def load(self) -> str | _Failed:
        """Load the pipeline; gives the id of the node, or why rows of this one would not be the run's."""
        node: str = ray.get_runtime_context().get_node_id()
        where = f"the Ray node {ray.util.get_node_ip_address()}"
        path = self._job.config or resource_root() / DEFAULT_CONFIG
        overrides = one_thread(self._job.overrides)
        try:
            self._folder = RunFolder(self._job.folder, self._job.format)
            run = self._folder.manifest()
            if run is None:
                return _Failed(
                    f"{self._job.folder}: {where} does not see this folder; put the run where all nodes see it: "
                    "on a shared file system, or an object store"
                )
            here = pipeline(path, load(path, AnalyzeConfig, overrides), self._job.format, self._job.date)
            if found := list(differences(run["fingerprint"], here["fingerprint"])):
                return _Failed(f"{where} has another pipeline than this machine: {'; '.join(found)}. Install the same on both")
            self._analyzer = Analyzer.load(self._job.config, overrides)
        except (BatchError, ConfigError, ModelError, StoreError) as error:
            return _Failed(f"{where}: {error}")
        self._seen = Seen()
        return node

    def write(self, shard: Shard, skip: dict[int, str], diary: Any) -> Mark | _Failed:
        """Analyze a shard; with a `diary`, note there which article is next, before it is."""

        def tell(at: int, *counts: int) -> None:
            if diary is not None:
                ray.get(diary.note.remote(shard.number, at))

        try:
            return write_shard(self._analyzer, shard, self._folder, date=self._job.date, seen=self._seen, skip=skip, tell=tell)
        except StoreError as error:
            return _Failed(str(error))
        except OSError as error:
            return _Failed(cannot_write(self._job.folder, error))


class _Diary:
    """An actor beside the run, which outlives the workers that write in it."""

    def __init__(self) -> None:
        self._at: dict[int, int] = {}

    def note(self, shard: int, at: int) -> None:
        """The article `at` of `shard` is next."""
        self._at[shard] = at

    def last(self, shard: int) -> int:
        """Where in `shard` its last worker was; -1: at its beginning."""
        return self._at.pop(shard, -1)


@dataclass
class _Work:
    """A shard to do: its articles are in the cluster's memory. `watched`: a worker was lost over it, and it may be why."""

    shard: Shard
    count: int
    stored: Any
    skip: dict[int, str] = field(default_factory=dict)
    watched: bool = False


@dataclass
class _Seat:
    """An actor, the node that it is on once it is ready, and what it works on."""

    actor: Any
    node: str | None = None
    work: _Work | None = None


class RayWorkers:
    """Actors of a Ray cluster, one a processor, as `workers.Crew` has it."""

    def __init__(self, job: Job, count: int | None, address: str | None) -> None:
        self._job, self._count, self._address = job, count, address
        self._losses = Losses(job)
        self._queue: deque[_Work] = deque()
        self._idle: list[_Seat] = []
        # By what is awaited from them.
        self._busy: dict[Any, _Seat] = {}
        self._diary: Any = None
        self._size, self._asked = 1, float("-inf")
        self.lost = 0

    def under_way(self) -> tuple[int, int, int]:
        """Nothing: a message for every article would be too much for one who hears from a thousand workers."""
        return 0, 0, 0

    def run(self, shards: Iterator[Shard]) -> Generator[tuple[Shard, Mark] | None, None, None]:
        """As `workers.Crew` has it."""
        with _connected(self._job, self._address):
            try:
                while True:
                    self._hand_out(shards)
                    if not self._queue and all(seat.work is None for seat in self._busy.values()):
                        return
                    done, _ = ray.wait(list(self._busy), timeout=WAIT)
                    for ref in done:
                        yield self._receive(ref)
                    if not done:
                        yield None
            finally:
                for actor in (*(seat.actor for seat in (*self._idle, *self._busy.values())), self._diary):
                    if actor is not None:
                        ray.kill(actor)

    def _hand_out(self, shards: Iterator[Shard]) -> None:
        while True:
            starting = sum(seat.work is None for seat in self._busy.values())
            # Read ahead is one more than the workers that are starting will take, so that none waits for the disk.
            if len(self._queue) <= starting and (shard := next(shards, None)) is not None:
                self._queue.append(_stored(shard))
            if self._idle and self._queue:
                seat, work = self._idle.pop(), self._queue.popleft()
                seat.work = work
                self._busy[seat.actor.write.remote(work.stored, work.skip, self._diary if work.watched else None)] = seat
            elif len(self._queue) > starting and len(self._busy) + len(self._idle) < self._wanted():
                seat = _Seat(ray.remote(num_cpus=1, scheduling_strategy="SPREAD")(_Worker).remote(self._job))
                self._busy[seat.actor.load.remote()] = seat
            else:
                return

    def _wanted(self) -> int:
        """How many workers there should be; without a number from the user, as the cluster grows and shrinks."""
        if self._count is not None:
            return self._count
        if time.monotonic() - self._asked >= ASK_EVERY:
            self._asked = time.monotonic()
            self._size = max(1, int(ray.cluster_resources().get("CPU", 0)))
        return self._size

    def _receive(self, ref: Any) -> tuple[Shard, Mark] | None:
        seat = self._busy.pop(ref)
        try:
            result = ray.get(ref)
        except RayTaskError:
            # A fault of ours, raised in a worker: it is no loss, and shows as what it is.
            raise
        except RayError as error:
            self._lose(seat, error)
            return None
        if isinstance(result, _Failed):
            raise BatchError(result.reason)
        work, seat.work = seat.work, None
        self._idle.append(seat)
        if work is not None:
            return work.shard, result
        seat.node = result
        return None

    def _lose(self, seat: _Seat, error: RayError) -> None:
        """Let go of a lost worker and have its shard done again, without an article that ends every worker."""
        # It may only be out of reach, and must not go on beside the one that takes its place.
        ray.kill(seat.actor)
        self.lost += 1
        self._asked = float("-inf")
        work = seat.work
        if work is None:
            # Machines come and go; nothing is wrong with the run as long as other workers can start.
            if not self._idle and not any(other.node for other in self._busy.values()):
                # The last line says what was raised where the worker began, after the way there.
                self._losses.starting(str(error).strip().splitlines()[-1].strip())
            return
        self._queue.appendleft(work)
        if not any(node["NodeID"] == seat.node and node["Alive"] for node in ray.nodes()):
            # The machine was lost, which no article does.
            return
        at = ray.get(self._diary.last.remote(work.shard.number)) if work.watched else -1
        self._losses.working(work.shard.number, at if 0 <= at < work.count else None, work.skip, type(error).__name__)
        work.watched = True
        if self._diary is None:
            here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
            self._diary = ray.remote(num_cpus=0, scheduling_strategy=here)(_Diary).remote()


def _stored(shard: Shard) -> _Work:
    """`shard` in the cluster's memory, with files of this machine, which others may not see, as bytes."""
    items = tuple(carried(item) if isinstance(item, RawArticle) else item for item in shard.items)
    return _Work(replace(shard, items=()), len(items), ray.put(replace(shard, items=items)))


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
    address = address or os.environ.get("RAY_ADDRESS")
    try:
        host, _, port = (address or "").rpartition(":")
        if port.isdigit() and "://" not in host:
            # Ray itself knocks for minutes where nobody answers.
            socket.create_connection((host.strip("[]"), int(port)), KNOCK).close()
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (OSError, RuntimeError, ValueError) as error:
        raise BatchError(
            f"{job.folder}: no Ray cluster at {address or 'this machine'} ({error}); "
            "`ray start --head` starts one and prints its address for --ray-address"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()
