"""Where a run folder lies: on a disk, or in a store behind a URL. Files in it appear whole, or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from onrecord.records import part_of, write_whole
from onrecord.stores import file_system, reached

# Files of a store that are asked for at once: an answer takes some 30 ms, and a large run has 400,000 marks.
AT_ONCE = 32


class Occupied(RuntimeError):
    """Another run writes to the place."""


class Place(Protocol):
    """The files of a run, by their names below it, such as `shards/000000.json`."""

    def read(self, name: str) -> bytes:
        """What is in a file; FileNotFoundError where there is none."""
        ...

    def read_all(self, room: str) -> Iterator[bytes]:
        """What is in each of the files in `room`, in no order."""
        ...

    def sizes(self, room: str) -> dict[str, int]:
        """Sizes of the files in `room`, by name below the run [bytes]."""
        ...

    def size(self, name: str) -> int | None:
        """A file's size [bytes]; None where there is none."""
        ...

    def write(self, name: str, text: str) -> None:
        """Write a file whole."""
        ...

    def part(self, name: str) -> Path:
        """A path of this machine for a file to be written at, until `put`."""
        ...

    def put(self, part: Path, name: str) -> None:
        """Have what was written at `part` appear as `name`."""
        ...

    def append(self, name: str, text: str) -> None:
        """Add lines to a file, where that can be done."""
        ...

    def inhabited(self) -> bool:
        """Whether there is anything."""
        ...

    def prepare(self, rooms: Iterable[str]) -> None:
        """Make the folder and its rooms."""
        ...

    def clear(self) -> None:
        """Remove what killed processes left half written."""
        ...

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second run out, where that can be done; Occupied when one is there."""
        ...

    def arrow(self, name: str) -> tuple[Any, str]:
        """Arrow's file system and the path there of `name`."""
        ...


class Disk:
    """A folder of this machine, or of a file system that machines share."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()

    def read_all(self, room: str) -> Iterator[bytes]:
        for name in self.sizes(room):
            yield self.read(name)

    def sizes(self, room: str) -> dict[str, int]:
        try:
            with os.scandir(self.path / room) as entries:
                return {f"{room}/{each.name}": each.stat().st_size for each in entries if not each.name.startswith(".")}
        except FileNotFoundError:
            return {}

    def size(self, name: str) -> int | None:
        try:
            return (self.path / name).stat().st_size
        except FileNotFoundError:
            return None

    def write(self, name: str, text: str) -> None:
        write_whole(self.path / name, text)

    def part(self, name: str) -> Path:
        return part_of(self.path / name)

    def put(self, part: Path, name: str) -> None:
        part.replace(self.path / name)

    def append(self, name: str, text: str) -> None:
        with (self.path / name).open("a", encoding="utf-8", newline="\n") as stream:
            stream.write(text)

    def inhabited(self) -> bool:
        return self.path.is_dir() and any(not entry.name.startswith(".") for entry in self.path.iterdir())

    def prepare(self, rooms: Iterable[str]) -> None:
        for room in rooms:
            (self.path / room).mkdir(parents=True, exist_ok=True)

    def clear(self) -> None:
        for left in self.path.rglob(".*.part"):
            left.unlink(missing_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            import fcntl
        except ImportError:
            # Not there on Windows, where two runs at once would only do the work twice.
            yield
            return
        with (self.path / ".lock").open("w") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise Occupied from error
            yield

    def arrow(self, name: str) -> tuple[Any, str]:
        return None, str(self.path / name)


class Store:
    """A prefix of an object store. A put is whole or nothing, so that files need no second name, and no moving."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._files, self._root = file_system(self.url)

    def read(self, name: str) -> bytes:
        try:
            with self._files.open_input_file(self._at(name)) as stream:
                return bytes(stream.read())
        except FileNotFoundError:
            raise
        except OSError as error:
            with reached(f"{self.url}/{name}"):
                raise error

    def read_all(self, room: str) -> Iterator[bytes]:
        names = iter(self.sizes(room))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            while some := list(islice(names, 1000)):
                yield from pool.map(self.read, some)

    def sizes(self, room: str) -> dict[str, int]:
        from pyarrow import fs

        with reached(f"{self.url}/{room}"):
            found = self._files.get_file_info(fs.FileSelector(self._at(room), allow_not_found=True))
        return {f"{room}/{PurePosixPath(each.path).name}": each.size for each in found if each.type is fs.FileType.File}

    def size(self, name: str) -> int | None:
        with reached(f"{self.url}/{name}"):
            size: int | None = self._files.get_file_info(self._at(name)).size
        return size

    def write(self, name: str, text: str) -> None:
        with reached(f"{self.url}/{name}"), self._files.open_output_stream(self._at(name)) as stream:
            stream.write(text.encode())

    def part(self, name: str) -> Path:
        # Parquet is written in many small steps, and an upload that was begun can't be taken back.
        number, part = tempfile.mkstemp(prefix="onrecord-", suffix=".part")
        os.close(number)
        return Path(part)

    def put(self, part: Path, name: str) -> None:
        with part.open("rb") as source, reached(f"{self.url}/{name}"), self._files.open_output_stream(self._at(name)) as stream:
            while data := source.read(1 << 23):
                stream.write(data)
        part.unlink()

    def append(self, name: str, text: str) -> None:
        """Nothing: an object can't grow. Such a file is written whole when a run ends, or goes on."""

    def inhabited(self) -> bool:
        from pyarrow import fs

        with reached(self.url):
            return bool(self._files.get_file_info(fs.FileSelector(self._root, allow_not_found=True)))

    def prepare(self, rooms: Iterable[str]) -> None:
        for room in rooms:
            # A store has no folders and needs none, but not all that fsspec opens is one.
            with reached(self.url):
                self._files.create_dir(self._at(room), recursive=True)

    def clear(self) -> None:
        """Nothing: what was not put is not there. Its parts lie where each machine has its temporary files."""

    @contextmanager
    def locked(self) -> Iterator[None]:
        # Stores have no locks; two runs at once do the work twice and write the same rows.
        yield

    def arrow(self, name: str) -> tuple[Any, str]:
        return self._files, self._at(name)

    def _at(self, name: str) -> str:
        return f"{self._root}/{name}"
