"""The one place that runs a model: load a model folder, check it, tokenize, run row by row, give scores.

A model folder holds `model.onnx`, `tokenizer.json`, `settings.json`, `card.md` and `checksums.json`
(SHA-256 of every other file). Nothing in it is executed but the ONNX graph.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from tokenizers import Tokenizer

FORMAT = "onrecord.model/1"
FILES = ("model.onnx", "tokenizer.json", "settings.json", "card.md")
# Outputs of the last rows that are kept, should the same row come again, as in a report that two papers carry [bytes].
REMEMBERED = 32_000_000

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


class ModelError(RuntimeError):
    """A model folder that can't be used; the text names the folder, the file and the remedy."""


@dataclass(frozen=True)
class Pieces:
    """A text as word pieces: ids, and the code points `[start, end)` that each stands for."""

    ids: Ints
    starts: Ints
    ends: Ints


@dataclass(frozen=True)
class Row:
    """One model input: word-piece ids, special ones included, and the type id of each."""

    ids: Ints
    types: Ints


class Model:
    """A loaded model folder. Safe to use from several threads."""

    def __init__(self, folder: Path, threads: int) -> None:
        self.folder = folder
        self.settings, sums = read_folder(folder)
        self.name = f"{self.settings['name']}@{sums['model.onnx'][:12]}"
        self.tokenizer_hash = sums["tokenizer.json"]
        self.card = (folder / "card.md").read_text(encoding="utf-8")
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = ort.InferenceSession(
            str(folder / "model.onnx"),
            options,
            providers=["CPUExecutionProvider"],
            # The fused operator is slower than the two that it replaces: docs/decisions/0007-speed.md.
            disabled_optimizers=["SkipLayerNormFusion"],
        )
        self._inputs = [each.name for each in self._session.get_inputs()]
        self._outputs = [each.name for each in self._session.get_outputs()]
        self._memory: OrderedDict[bytes, dict[str, Floats]] = OrderedDict()
        self._bytes, self._lock = 0, threading.Lock()
        self.cls, self.sep, self.pad, self.mask = (
            special_id(self.tokenizer, token) for token in ("[CLS]", "[SEP]", "[PAD]", "[MASK]")
        )

    def tokenize(self, text: str) -> Pieces:
        """Cut `text` into word pieces, without special ones and without a limit of length."""
        return tokenize(self.tokenizer, text)

    def run(self, rows: Iterable[Row]) -> Iterator[dict[str, Floats]]:
        """Scores of each row, in the order given.

        Each row is a pass of its own. Batches were measured (docs/decisions/0007-speed.md) and are slower on a processor: one
        row fills its caches and has no padding. It also makes a quantized model's scores depend on the row alone.

        Returns:
            For each row, the model's outputs by name; the first axis is the row's pieces where they are per piece.
        """
        for row in rows:
            yield self._remembered(row)

    def forget(self) -> None:
        """Let go of the rows that are kept: what is measured after it is computed."""
        with self._lock:
            self._memory.clear()
            self._bytes = 0

    def _remembered(self, row: Row) -> dict[str, Floats]:
        key = row.ids.tobytes() + row.types.tobytes()
        with self._lock:
            if key in self._memory:
                self._memory.move_to_end(key)
                return self._memory[key]
        inputs = {"input_ids": row.ids[None], "token_type_ids": row.types[None]}
        if "attention_mask" in self._inputs:
            # Which pieces are no padding: all.
            inputs["attention_mask"] = np.ones_like(row.ids)[None]
        outputs = self._session.run(self._outputs, inputs)
        found = {name: values[0] for name, values in zip(self._outputs, outputs, strict=True)}
        with self._lock:
            if key not in self._memory:
                self._memory[key] = found
                self._bytes += _size(key, found)
            while self._bytes > REMEMBERED:
                self._bytes -= _size(*self._memory.popitem(last=False))
        return found


def _size(key: bytes, outputs: dict[str, Floats]) -> int:
    return len(key) + sum(values.nbytes for values in outputs.values())


# MPNet kept BERT's pieces in its vocabulary but was trained on pieces of its own, so those go first.
_OTHER_NAMES = {"[CLS]": "<s>", "[SEP]": "</s>", "[PAD]": "<pad>", "[MASK]": "<mask>"}


def special_id(tokenizer: Tokenizer, token: str) -> int:
    """The id of a special piece, by BERT's name for it.

    Raises:
        ModelError: when the tokenizer has no such piece.
    """
    for name in (_OTHER_NAMES.get(token, token), token):
        number = tokenizer.token_to_id(name)
        if number is not None:
            return int(number)
    raise ModelError(f"the tokenizer has no piece {token!r}; use a base model with a vocabulary of BERT or MPNet")


def tokenize(tokenizer: Tokenizer, text: str) -> Pieces:
    """Cut `text` into word pieces with their offsets in code points, special pieces left out."""
    encoding = tokenizer.encode(text, add_special_tokens=False)
    offsets = np.asarray(encoding.offsets, dtype=np.int64).reshape(-1, 2)
    return Pieces(np.asarray(encoding.ids, dtype=np.int64), offsets[:, 0], offsets[:, 1])


def softmax(scores: Floats, temperature: float = 1.0) -> Floats:
    """Probabilities over the last axis; `temperature` above one makes them less sure."""
    scaled = scores / temperature
    scaled = scaled - scaled.max(axis=-1, keepdims=True)
    exponents = np.exp(scaled)
    result: Floats = exponents / exponents.sum(axis=-1, keepdims=True)
    return result


_loaded: dict[tuple[str, int, int], Model] = {}
_loading = threading.Lock()


def load_model(folder: Path, threads: int) -> Model:
    """Load a model folder; the same unchanged folder is loaded once a process.

    Raises:
        ModelError: when the folder or a file is missing, damaged or of another format.
    """
    checksums = folder / "checksums.json"
    stamp = checksums.stat().st_mtime_ns if checksums.is_file() else 0
    key = (os.path.realpath(folder), stamp, threads)
    with _loading:
        if key not in _loaded:
            _loaded[key] = Model(folder, threads)
        return _loaded[key]


def write_checksums(folder: Path) -> None:
    """Write `checksums.json` for a model folder whose other files are in place."""
    sums = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES}
    (folder / "checksums.json").write_text(json.dumps(sums, indent=1) + "\n", encoding="utf-8")


def read_folder(folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Settings of a model folder and the SHA-256 of each file, once every one is checked.

    Raises:
        ModelError: naming the file that is missing, damaged or of another format.
    """
    remedy = "Train it with `make models`, or name another folder in the config."
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such model folder. {remedy}")
    try:
        sums = json.loads((folder / "checksums.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder}/checksums.json: missing or damaged. {remedy}") from error
    for name in FILES:
        path = folder / name
        if not path.is_file():
            raise ModelError(f"{path}: missing. {remedy}")
        if hashlib.sha256(path.read_bytes()).hexdigest() != sums.get(name):
            raise ModelError(f"{path}: its SHA-256 is not the one in checksums.json; the file is damaged. {remedy}")
    settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    if settings.get("format") != FORMAT:
        raise ModelError(f"{folder}/settings.json: format {settings.get('format')!r}, expected {FORMAT!r}. {remedy}")
    return settings, sums
