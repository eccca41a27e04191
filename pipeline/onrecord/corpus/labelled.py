"""Labelled texts of other subjects: tables with named columns, and public data sets in their own formats.

Every reader gives `LabelledText`s; which one reads is chosen by a name from a closed list.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from onrecord.config import TargetDataConfig
from onrecord.corpus.archives import read_files
from onrecord.corpus.gold import CorpusError, Problem
from onrecord.records import stable_hash
from onrecord.target import TargetText

DEV_NAMES = ("dev", "val", "validation")
MAX_PROBLEMS = 20
_ENDINGS = (".csv", ".jsonl", ".parquet", ".arrow")
_POLARITIES = {2.0: "negative", 4.0: "neutral", 6.0: "positive"}
_TWEETEVAL_LABELS = {"0": "none", "1": "against", "2": "favor"}
# Folder of TweetEval → the target in the words of SemEval-2016 task 6.
_TWEETEVAL_TARGETS = {
    "abortion": "legalization of abortion",
    "atheism": "atheism",
    "climate": "climate change is a real concern",
    "feminist": "feminist movement",
    "hillary": "Hillary Clinton",
}


@dataclass(frozen=True)
class LabelledText:
    """A text with what is asked of it and the answer; `topic` groups scores, `split` is the data's own word for its side."""

    item: TargetText
    label: str
    split: str
    topic: str


def read_labelled(path: Path, data: TargetDataConfig, labels: Iterable[str]) -> list[LabelledText]:
    """Read the labelled texts at `path` as `data` says.

    Raises:
        FileNotFoundError: when `path` is not there.
        CorpusError: naming file, row, column, what was found and what was expected; the first faults of the data.
    """
    known = set(labels)
    readers = {"table": _read_table, "newsmtsc": _read_newsmtsc, "tweeteval": _read_tweeteval}
    rows: list[LabelledText] = []
    problems: list[Problem] = []
    for found in readers[data.format](path, data):
        if isinstance(found, Problem):
            problems.append(found)
        elif found[1].label not in known:
            found_label, place = found[1].label, found[0]
            message = f"the label {found_label!r} is not one of the config's: {', '.join(sorted(known))}; see data.label_map"
            problems.append(Problem(place.path, place.line, message))
        else:
            rows.append(found[1])
        if len(problems) >= MAX_PROBLEMS:
            break
    if problems:
        raise CorpusError(problems)
    if not rows:
        raise CorpusError([Problem(path, 1, "holds no labelled text in this format")])
    return rows


def sides(rows: list[LabelledText], dev_share: float, path: Path) -> dict[str, list[LabelledText]]:
    """The texts to learn from and those that choose the epoch.

    A share is drawn by a hash of the text, so that a text with several targets stays on one side and runs repeat.

    Raises:
        CorpusError: when a side is empty, or a text stands on both with the same target.
    """
    train = [row for row in rows if row.split == "train"]
    if dev_share:
        held = [int(stable_hash(row.item.text, length=8), 16) / 16**8 < dev_share for row in train]
        dev = [row for row, out in zip(train, held, strict=True) if out]
        train = [row for row, out in zip(train, held, strict=True) if not out]
    else:
        dev = [row for row in rows if row.split in DEV_NAMES]
    for name, side in (("train", train), ("dev", dev)):
        if not side:
            found = ", ".join(sorted({row.split for row in rows}))
            raise CorpusError(
                [
                    Problem(
                        path, 1, f"no text for the side {name!r} (splits found: {found}); name data.split or set data.dev_share"
                    )
                ]
            )
    shared = {row.item for row in train} & {row.item for row in dev}
    if shared:
        example = min(shared, key=lambda item: item.text).text[:80]
        raise CorpusError(
            [Problem(path, 1, f"{len(shared)} texts stand in train and in dev, such as {example!r}; keep each once")]
        )
    return {"train": train, "dev": dev}


def data_hash(rows: Iterable[LabelledText]) -> str:
    """16 digits of a hash over all texts, targets, labels and splits."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps([row.item.text, row.item.target, row.item.spans, row.label, row.split]).encode())
    return digest.hexdigest()[:16]


Found = tuple[Problem, LabelledText] | Problem


def _read_table(path: Path, data: TargetDataConfig) -> Iterator[Found]:
    for place, row in _table_rows(path):
        yield _labelled(place, row, data)


def _table_rows(path: Path) -> Iterator[tuple[Problem, dict[str, Any]]]:
    if path.is_dir() and ((path / "dataset_info.json").is_file() or (path / "dataset_dict.json").is_file()):
        yield from _datasets_rows(path)
        return
    files = read_files(path, lambda name: name.suffix in _ENDINGS)
    if not files:
        raise CorpusError(
            [Problem(path, 1, f"no table here: expected a file ending in {', '.join(_ENDINGS[:3])} (or .jsonl.gz)")]
        )
    for name, content in files.items():
        file = path if path.is_file() else path / name
        if name.suffix == ".csv":
            yield from _csv_rows(file, content)
        elif name.suffix == ".jsonl":
            yield from _jsonl_rows(file, content)
        elif name.suffix == ".parquet":
            yield from _parquet_rows(file, content)


def _csv_rows(file: Path, content: bytes) -> Iterator[tuple[Problem, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(_decoded(file, content), newline=""), strict=True)
    try:
        for row in reader:
            yield Problem(file, reader.line_num, ""), {name: value for name, value in row.items() if name is not None}
    except csv.Error as error:
        raise CorpusError([Problem(file, reader.line_num, f"not CSV: {error}")]) from error


def _jsonl_rows(file: Path, content: bytes) -> Iterator[tuple[Problem, dict[str, Any]]]:
    for number, line in enumerate(_decoded(file, content).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise CorpusError([Problem(file, number, f"not JSON: {error}")]) from error
        if not isinstance(row, dict):
            raise CorpusError([Problem(file, number, "expected an object `{…}` a line")])
        yield Problem(file, number, ""), row


def _parquet_rows(file: Path, content: bytes) -> Iterator[tuple[Problem, dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(io.BytesIO(content)).to_pylist()
    except pa.ArrowException as error:
        raise CorpusError([Problem(file, 1, f"not a Parquet file: {error}")]) from error
    for number, row in enumerate(rows, start=1):
        yield Problem(file, number, ""), row


def _datasets_rows(path: Path) -> Iterator[tuple[Problem, dict[str, Any]]]:
    from datasets import DatasetDict, load_from_disk

    loaded = load_from_disk(str(path))
    # A dictionary's split names are the split, under the name that a config may give as its column.
    parts = loaded.items() if isinstance(loaded, DatasetDict) else [(None, loaded)]
    for name, part in parts:
        for number, row in enumerate(part, start=1):
            yield Problem(path / (name or ""), number, ""), row if name is None else {"split": name, **row}


def _decoded(file: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise CorpusError([Problem(file, line, f"not UTF-8: {error.reason}; save the file as UTF-8")]) from error


def _labelled(place: Problem, row: dict[str, Any], data: TargetDataConfig) -> Found:
    wanted = [data.text, data.label, data.target, data.target_start, data.target_end, data.split]
    missing = [name for name in wanted if name is not None and name not in row]
    if missing:
        message = f"no column {', '.join(missing)}; the columns are {', '.join(map(str, row))}. Name them under `data`"
        return Problem(place.path, place.line, message)
    text, raw = row[data.text], row[data.label]
    if not isinstance(text, str) or not text.strip():
        return Problem(place.path, place.line, f"`{data.text}` is empty; every row needs a text")
    label = data.label_map.get(str(raw), str(raw))
    target = str(row[data.target]).strip() if data.target and row[data.target] is not None else ""
    spans: tuple[tuple[int, int], ...] = ()
    if data.target_start and data.target_end:
        try:
            start, end = int(row[data.target_start]), int(row[data.target_end])
        except (TypeError, ValueError):
            return Problem(place.path, place.line, f"`{data.target_start}` and `{data.target_end}` are not whole numbers")
        if not 0 <= start < end <= len(text):
            return Problem(place.path, place.line, f"the target [{start}, {end}) lies outside the text of {len(text)} characters")
        spans = ((start, end),)
    split = str(row[data.split]) if data.split else str(row.get("split") or "train")
    return place, LabelledText(TargetText(text, target or None, spans), label, split, target)


def _read_newsmtsc(path: Path, data: TargetDataConfig) -> Iterator[Found]:
    """NewsMTSC (Hamborg & Donnay 2021): a sentence a line with its targets; the file's name says the split."""
    for name, content in read_files(path, lambda name: name.suffix == ".jsonl").items():
        split = name.stem.removeprefix("newsmtsc-")
        file = path if path.is_file() else path / name
        for place, row in _jsonl_rows(file, content):
            try:
                text = row["sentence_normalized"]
                for target in row["targets"]:
                    item = TargetText(text, None, ((int(target["from"]), int(target["to"])),))
                    yield place, LabelledText(item, _POLARITIES[float(target["polarity"])], split, "")
            except (KeyError, TypeError, ValueError) as error:
                yield Problem(file, place.line, f"not a line of NewsMTSC: {error!r}")


def _read_tweeteval(path: Path, data: TargetDataConfig) -> Iterator[Found]:
    """TweetEval stance (Barbieri et al. 2020): a folder a target with SPLIT_text.txt and SPLIT_labels.txt."""
    files = read_files(path, lambda name: name.parent.name in _TWEETEVAL_TARGETS and name.suffix == ".txt")
    for name, content in files.items():
        if not name.stem.endswith("_text"):
            continue
        split = name.stem.removesuffix("_text")
        answers = files.get(name.with_name(f"{split}_labels.txt"))
        place = path / PurePosixPath(*name.parts)
        if answers is None:
            yield Problem(place, 1, f"has no {split}_labels.txt beside it")
            continue
        texts, labels = _lines(place, content), _lines(place, answers)
        if len(texts) != len(labels):
            yield Problem(place, 1, f"{len(texts)} texts but {len(labels)} labels; is it the original file?")
            continue
        for number, (text, label) in enumerate(zip(texts, labels, strict=True), start=1):
            item = TargetText(text, _TWEETEVAL_TARGETS[name.parent.name])
            yield Problem(place, number, ""), LabelledText(item, _TWEETEVAL_LABELS.get(label, label), split, name.parent.name)


def _lines(file: Path, content: bytes) -> list[str]:
    lines = _decoded(file, content).split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    return [line.strip() for line in lines]
