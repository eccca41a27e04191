"""Gold articles of other people's data sets, read where they lie, by split."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path

from onrecord.corpus.archives import read_files
from onrecord.corpus.formats import import_corpus, to_plain
from onrecord.corpus.gold import CorpusError, GoldArticle, Problem

_SPLITS = ("train", "dev", "test")


def read_brat_splits(path: Path) -> dict[str, list[GoldArticle]]:
    """Articles of a brat data set by split, from a folder or a `.tar.gz` in which a folder a split is named (PolNeAR).

    Raises:
        CorpusError: when the archive is unsafe or damaged, or no folder is named for a split.
    """
    files = read_files(path, lambda name: name.suffix in (".txt", ".ann") and bool(set(name.parts) & set(_SPLITS)))
    parts: dict[str, list[GoldArticle]] = {}
    for split in _SPLITS:
        with tempfile.TemporaryDirectory() as folder:
            # The importer reads folders; names of an archive are checked where it is read.
            for name, content in files.items():
                if split in name.parts:
                    place = Path(folder, *name.parts)
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.write_bytes(content)
            if any(Path(folder).iterdir()):
                parts[split] = import_corpus("brat", Path(folder))
    if not parts:
        raise CorpusError([Problem(path, 1, f"no folder is named {' or '.join(_SPLITS)} and holds .txt and .ann files")])
    return parts


def articles_hash(parts: dict[str, list[GoldArticle]]) -> str:
    """16 digits of a hash over texts, annotations and splits of imported articles."""
    digest = hashlib.sha256()
    for split, articles in sorted(parts.items()):
        for gold in articles:
            digest.update(json.dumps([split, to_plain(gold)], sort_keys=True).encode())
    return digest.hexdigest()[:16]
