"""Files behind URLs: object stores and other file systems, through pyarrow, and through fsspec what pyarrow does not know.

Nothing is opened that the user did not name. Keys, regions and endpoints come from where a store's own tools look for
them, such as AWS_* and GOOGLE_APPLICATION_CREDENTIALS in the environment.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote

# A store answers each read with a message of its own, so that short ones pay [bytes].
READ = 8_000_000
# A drive's letter is no scheme.
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


class StoreError(RuntimeError):
    """A store that can't be read or written just now, or at all; the text names the URL. What is done is kept."""


def is_url(place: str) -> bool:
    """Whether `place` is behind a URL, and not a path of this machine."""
    return _SCHEME.match(place) is not None


def plain(place: str) -> str:
    """`place`, and as a path if it is a URL of this machine's own files."""
    return unquote(place.removeprefix("file://")) if place.startswith("file:///") else place


def file_system(url: str) -> tuple[Any, str]:
    """The pyarrow file system that `url` is of, and its path there.

    Raises:
        StoreError: when there is no such kind of store, or it can't be reached.
        ModuleNotFoundError: without the extra `batch`.
    """
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    # Without a name of its own, such as a bucket's, a store begins at its root.
    files, root = _connection(f"{scheme}://{authority or '/'}")
    return files, root.rstrip("/") + slash + path


@lru_cache
def _connection(root: str) -> tuple[Any, str]:
    # One for all files of a store: each has its own pool of connections.
    import pyarrow as pa
    from pyarrow import fs

    with reached(root):
        try:
            found: tuple[Any, str] = fs.FileSystem.from_uri(root)
            return found
        except pa.ArrowInvalid:
            # Not one of pyarrow's own.
            import fsspec

        try:
            other, path = fsspec.url_to_fs(root)
        except (ValueError, ImportError) as error:
            raise StoreError(f"{root}: no store of this kind can be opened ({error})") from error
        return fs.PyFileSystem(fs.FSSpecHandler(other)), path


@contextmanager
def reached(url: str) -> Iterator[None]:
    """Turn what a store answers with into StoreError: a network that fails is no damage to a file."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{url}: {error}. The same command goes on from what is finished") from error


def open_file(place: str) -> BinaryIO:
    """Open a path or URL to be read.

    Raises:
        OSError: when the file at a path can't be read.
        StoreError: here or while it is read, when what is behind a URL can't be.
    """
    return io.BufferedReader(_Remote(place), READ) if is_url(place) else Path(place).open("rb")


class _Remote(io.RawIOBase):
    """A file of a store, its faults told from those of the file."""

    def __init__(self, url: str) -> None:
        files, path = file_system(url)
        self._url = url
        with reached(url):
            self._file = files.open_input_file(path)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        with reached(self._url):
            data = self._file.read(len(view))
        view[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with reached(self._url):
            return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()
