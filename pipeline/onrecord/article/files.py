"""Paths, folders and globs → files in a fixed order; packed files → the bytes that were packed in them, within bounds."""

from __future__ import annotations

import glob
import gzip
import io
import os
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from onrecord.article.text import ArticleError, Rejected
from onrecord.stores import file_system, is_url, plain, reached

FORMATS = {
    ".txt": "text",
    ".html": "html",
    ".htm": "html",
    ".jsonl": "jsonl",
    ".csv": "csv",
    ".parquet": "parquet",
    ".warc": "warc",
}
PACKINGS = (".gz", ".zst")
SUFFIXES = tuple(FORMATS)

# Text packs to a tenth, much-repeated text to a hundredth; beyond both bounds a packed file is a bomb.
MAX_UNPACKED = 2_000_000_000
MAX_RATIO = 200
# Frames that ask for more memory than `zstd` itself takes without being told to.
ZSTD_WINDOW_LOG = 27


@dataclass(frozen=True)
class InputFile:
    """A file to read, with its size in bytes and when it was last changed in nanoseconds, as found."""

    path: str
    size: int
    modified: int


class Progress:
    """How far reading has come [bytes, as they lie in the files]."""

    def __init__(self) -> None:
        self._whole = 0
        self._part: Callable[[], int] = int

    @property
    def read(self) -> int:
        """Bytes of files that are read, and of the one that is being read."""
        return self._whole + self._part()

    @contextmanager
    def file(self, size: int, part: Callable[[], int] = int) -> Iterator[None]:
        """Count a file of `size` bytes, of which `part` says how much is read, until it is done."""
        self._part = part
        try:
            yield
        finally:
            self._whole, self._part = self._whole + size, int


def find_files(paths: Iterable[str], skip: Path | str | None = None) -> Iterator[InputFile | Rejected]:
    """The files that `paths` name, in their order and, within a folder or glob, sorted; what is not there is Rejected.

    Args:
        paths: Files of any name; folders, searched below for files whose ending is known; globs with `*`, `?`, `**`;
            each a path or a URL.
        skip: A folder that is no input, such as the one that is written to.

    Raises:
        StoreError: when what is behind a URL can't be listed.
    """
    for path in map(plain, paths):
        if is_url(path):
            yield from _stored(path.rstrip("/"), str(skip).rstrip("/"))
        elif Path(path).is_dir():
            empty = True
            for file in _below(path, Path(os.path.realpath(skip)) if skip else None):
                empty = False
                yield file
            if empty:
                yield _nothing_in(path)
        elif glob.has_magic(path) and not Path(path).exists():
            matches = sorted(match for match in glob.iglob(path, recursive=True) if Path(match).is_file())  # noqa: PTH207  # a pattern may be absolute
            yield from (_stated(match) for match in matches)
            if not matches:
                yield _no_match(path)
        else:
            yield _stated(path)


def _below(folder: str, skip: Path | None) -> Iterator[InputFile | Rejected]:
    """Files below `folder`, an entry at a time: an archive of millions of files is never listed whole."""
    try:
        with os.scandir(folder) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
    except OSError as error:
        yield Rejected(folder, f"{folder}: can't be read: {error.strerror or error}")
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            if skip is None or Path(os.path.realpath(entry.path)) != skip:
                yield from _below(entry.path, skip)
        elif format_of(entry.name) and entry.is_file():
            yield _stated(entry.path)


def _stored(url: str, skip: str) -> Iterator[InputFile | Rejected]:
    """As `find_files`, the files that `url` names."""
    from pyarrow import fs

    files, path = file_system(url)
    with reached(url):
        here = files.get_file_info(path)
    if here.type is fs.FileType.File:
        yield _described(url, here)
    elif here.type is fs.FileType.Directory:
        empty = True
        for file in _stored_below(url, files, path, skip):
            empty = False
            yield file
        if empty:
            yield _nothing_in(url)
    elif glob.has_magic(path):
        from fsspec.implementations.arrow import ArrowFSWrapper

        # What stands before the first mark is the same in the URL and in the store's own path.
        marked = len(path) - len(glob.escape(path).partition("[")[0])
        with reached(url):
            matches = [each for each in files.get_file_info(sorted(ArrowFSWrapper(files).glob(path))) if each.is_file]
        for match in matches:
            yield _described(url[: len(url) - marked] + match.path[len(path) - marked :], match)
        if not matches:
            yield _no_match(url)
    else:
        yield Rejected(url, f"{url}: no such file or folder")


def _stored_below(url: str, files: Any, path: str, skip: str) -> Iterator[InputFile]:
    """As `_below`, of a store."""
    from pyarrow import fs

    with reached(url):
        entries = sorted(files.get_file_info(fs.FileSelector(path)), key=lambda entry: str(entry.base_name))
    for entry in entries:
        inner = f"{url}/{entry.base_name}"
        if entry.type is fs.FileType.Directory:
            if inner != skip:
                yield from _stored_below(inner, files, entry.path, skip)
        elif format_of(entry.base_name):
            yield _described(inner, entry)


def _described(url: str, found: Any) -> InputFile:
    # Not every store tells when a file was changed.
    return InputFile(url, found.size or 0, found.mtime_ns or 0)


def _nothing_in(folder: str) -> Rejected:
    return Rejected(folder, f"{folder}: the folder has no {', '.join(SUFFIXES)} files")


def _no_match(pattern: str) -> Rejected:
    return Rejected(pattern, f"{pattern}: no file matches")


def _stated(path: str) -> InputFile | Rejected:
    try:
        found = os.stat(path)  # noqa: PTH116  # a Path for each of millions of files doubles the time
    except FileNotFoundError:
        return Rejected(path, f"{path}: no such file or folder")
    except (OSError, ValueError) as error:
        return Rejected(path, f"{path}: can't be read: {getattr(error, 'strerror', None) or error}")
    return InputFile(path, found.st_size, found.st_mtime_ns)


def format_of(name: str) -> str | None:
    """The format that a file's name tells, packed or not."""
    name = name.lower()
    for packing in PACKINGS:
        name = name.removesuffix(packing)
    return FORMATS.get(os.path.splitext(name)[1])  # noqa: PTH122  # see _stated


class _Unpacked(io.RawIOBase):
    """A packed stream, read unpacked and counted: damage and bombs are faults of the article, not of the program."""

    def __init__(self, path: str, packed: BinaryIO, stream: Any, faults: tuple[type[Exception], ...]) -> None:
        self._path, self._packed, self._stream, self._faults = path, packed, stream, faults
        self._unpacked = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        try:
            data = self._stream.read(len(view))
        except self._faults as error:
            raise ArticleError(f"{self._path}: the packed file is damaged or cut off ({error}); get it again") from error
        self._unpacked += len(data)
        if self._unpacked > max(MAX_UNPACKED, MAX_RATIO * self._packed.tell()):
            raise ArticleError(
                f"{self._path}: unpacks to more than {MAX_UNPACKED} bytes and {MAX_RATIO} times its size, as a zip bomb does; "
                "unpack it yourself if you trust it"
            )
        view[: len(data)] = data
        return len(data)


@contextmanager
def unpacked(path: str, packed: BinaryIO) -> Iterator[BinaryIO]:
    """What was packed in the open file `packed`, by the ending of its `path`, or the file as it is.

    Reading raises ArticleError where the file is damaged, cut off, or a bomb.
    """
    faults: tuple[type[Exception], ...]
    if path.lower().endswith(".gz"):
        faults = (EOFError, zlib.error, gzip.BadGzipFile)
        yield io.BufferedReader(_Unpacked(path, packed, gzip.GzipFile(fileobj=packed), faults), 1 << 17)
    elif path.lower().endswith(".zst"):
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
        with zstd.ZstdFile(packed, options={zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG}) as stream:
            yield io.BufferedReader(_Unpacked(path, packed, stream, (EOFError, zstd.ZstdError)), 1 << 17)
    else:
        yield packed
