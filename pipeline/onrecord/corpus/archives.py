"""Files of a user's data folder or tar archive, read whole and within bounds; nothing is written or run."""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from onrecord.corpus.gold import CorpusError, Problem

MAX_FILES = 20_000
MAX_BYTES = 512_000_000  # all files together, unpacked


def read_files(path: Path, wanted: Callable[[PurePosixPath], bool]) -> dict[PurePosixPath, bytes]:
    """Contents of the `wanted` files by their path below `path`, sorted; `.gz` files are unpacked and lose the ending.

    Args:
        path: A folder, a `.tar.gz` or `.tgz`, or one file.
        wanted: Whether a file is read, by its path below `path` and without `.gz`.

    Raises:
        FileNotFoundError: when `path` is not there.
        CorpusError: when the archive is damaged, holds unsafe names or links, or is larger than the bounds.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    try:
        if path.is_dir():
            files = _from_folder(path, wanted)
        elif path.name.endswith((".tar.gz", ".tgz", ".tar")):
            files = _from_archive(path, wanted)
        else:
            name = _bare(PurePosixPath(path.name))
            files = {name: _unpacked(path.read_bytes(), path.suffix == ".gz", MAX_BYTES, path)} if wanted(name) else {}
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise CorpusError([Problem(path, 1, f"can't be read: {error}")]) from error
    return dict(sorted(files.items()))


def _from_folder(path: Path, wanted: Callable[[PurePosixPath], bool]) -> dict[PurePosixPath, bytes]:
    files: dict[PurePosixPath, bytes] = {}
    left = MAX_BYTES
    for file in path.rglob("*"):
        name = PurePosixPath(file.relative_to(path).as_posix())
        if file.is_file() and wanted(_bare(name)):
            _check_count(len(files), path)
            files[_bare(name)] = _unpacked(file.read_bytes(), name.suffix == ".gz", left, file)
            left -= len(files[_bare(name)])
    return files


def _from_archive(path: Path, wanted: Callable[[PurePosixPath], bool]) -> dict[PurePosixPath, bytes]:
    files: dict[PurePosixPath, bytes] = {}
    left, seen = MAX_BYTES, 0
    with tarfile.open(path, "r|*") as archive:
        for member in archive:
            seen += 1
            _check_count(seen, path)
            name = PurePosixPath(member.name)
            if name.is_absolute() or ".." in name.parts:
                raise CorpusError([Problem(path, 1, f"holds the unsafe name {member.name!r}; is it the original file?")])
            if member.size > left:
                raise CorpusError([Problem(path, 1, f"unpacks to more than {MAX_BYTES} bytes; is it the original file?")])
            left -= member.size
            # Links and devices are never followed: only plain files are data.
            stream = archive.extractfile(member) if member.isreg() and wanted(_bare(name)) else None
            if stream is not None:
                files[_bare(name)] = _unpacked(stream.read(), name.suffix == ".gz", left, path)
    return files


def _bare(name: PurePosixPath) -> PurePosixPath:
    return name.with_suffix("") if name.suffix == ".gz" else name


def _check_count(count: int, path: Path) -> None:
    if count >= MAX_FILES:
        raise CorpusError([Problem(path, 1, f"holds more than {MAX_FILES} files; name the data set's own folder")])


def _unpacked(data: bytes, packed: bool, most: int, path: Path) -> bytes:
    if packed:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
            data = stream.read(most + 1)
    if len(data) > most:
        raise CorpusError([Problem(path, 1, f"unpacks to more than {MAX_BYTES} bytes; is it the original file?")])
    return data
