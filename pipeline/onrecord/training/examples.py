"""Gold articles → training examples: what the models see at run time, with labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer

from onrecord.config import ConflictConfig, ExtractionTrainConfig, StanceTrainConfig
from onrecord.corpus import GoldArticle, GoldQuote
from onrecord.extraction import (
    PARTS,
    RELATIONS,
    align,
    distance_bucket,
    face_marks,
    sentence_starts,
    span_distance,
    split_words,
    window_row,
    windows,
    word_types,
)
from onrecord.inference import Ints, softmax, special_id, tokenize
from onrecord.records import ATTITUDES, is_divergent
from onrecord.stance import QuotesView, SpecialIds, StanceClassifier
from onrecord.training.nets import IGNORE

TAUGHT = ("taught_stance", "taught_toward")  # what teachers answered, beside the labels


def extraction_examples(
    articles: Sequence[GoldArticle],
    tokenizer: Tokenizer,
    config: ExtractionTrainConfig,
    parties: Sequence[str],
    cuts: int = 1,
) -> list[dict[str, Any]]:
    """One example a window: piece ids, types, tags of the words that begin there, spans and their links.

    Each article is cut in `cuts` ways, the first of which is that of the extractor.
    """
    cls, sep = special_id(tokenizer, "[CLS]"), special_id(tokenizer, "[SEP]")
    examples = []
    for gold in articles:
        text = gold.article.text
        pieces = tokenize(tokenizer, face_marks(text))
        words, first, owner = align(split_words(text), pieces)
        types = word_types(text, words)[owner]

        def word_span(start: int, end: int, ends: Any = words.ends, starts: Any = words.starts) -> tuple[int, int]:
            return int(np.searchsorted(ends, start, side="right")), int(np.searchsorted(starts, end, side="left"))

        spans: dict[str, dict[tuple[int, int], set[str]]] = {part: {} for part in PARTS}
        for quote in gold.quotes:
            for part in PARTS:
                for span in getattr(quote, part):
                    spans[part].setdefault(word_span(span.start, span.end), set()).add(quote.q)
        speaks_for = {
            word_span(span.start, span.end): parties.index(quote.party)
            for quote in gold.quotes
            if quote.party in parties
            for span in quote.source
        }
        layers = np.zeros((len(words), len(PARTS)), dtype=np.int64)
        flat: dict[str, list[tuple[int, int]]] = {}
        for layer, part in enumerate(PARTS):
            flat[part] = _outermost(spans[part])
            for start, end in flat[part]:
                layers[start, layer] = 1
                layers[start + 1 : end, layer] = 2
        starts = sentence_starts(text, pieces)
        for low, high in _cut(len(pieces.ids), config.window_tokens - 2, config.overlap_tokens, starts, cuts):
            row = window_row(cls, sep, pieces.ids, types, low, high)
            labels = np.full((len(row.ids), len(PARTS)), IGNORE, dtype=np.int64)
            inside = np.flatnonzero((first >= low) & (first < high))
            labels[first[inside] - low + 1] = layers[inside]
            example: dict[str, Any] = {
                "input_ids": row.ids.tolist(),
                "token_type_ids": row.types.tolist(),
                "tag_labels": labels.tolist(),
                "length": len(row.ids),
            }
            here = {part: [s for s in flat[part] if low <= first[s[0]] and first[s[1] - 1] < high] for part in PARTS}
            for part in PARTS:
                example[f"{part}s"] = [[int(first[start] - low + 1), int(first[end - 1] - low + 1)] for start, end in here[part]]
            example["source_parties"] = [speaks_for.get(span, IGNORE) for span in here["source"]]
            for name in RELATIONS:
                example |= _link_tables(name, here["content"], here[name], spans["content"], spans[name])
            examples.append(example)
    return examples


def _cut(count: int, size: int, overlap: int, starts: Ints, cuts: int) -> list[tuple[int, int]]:
    """Windows over `count` pieces in `cuts` ways: of n, the k-th begins with a window of k/n of the size, counted from zero."""
    found = windows(count, size, overlap, starts)
    for cut in range(1, cuts):
        first = size * cut // cuts
        shift = first - overlap
        if 0 < shift < count - overlap:
            found.append((0, first))
            found += [(low + shift, high + shift) for low, high in windows(count - shift, size, overlap, starts - shift)]
    return found


def _outermost(spans: dict[tuple[int, int], set[str]]) -> list[tuple[int, int]]:
    """Spans that lie in no other, in text order: a tag layer holds no nesting."""
    ordered = sorted(spans, key=lambda span: (span[0], -span[1]))
    kept: list[tuple[int, int]] = []
    for span in ordered:
        if span[0] < span[1] and (not kept or span[0] >= kept[-1][1]):
            kept.append(span)
    return kept


def _link_tables(
    name: str,
    contents: list[tuple[int, int]],
    others: list[tuple[int, int]],
    content_quotes: dict[tuple[int, int], set[str]],
    other_quotes: dict[tuple[int, int], set[str]],
) -> dict[str, Any]:
    gold, allowed, buckets = [], [], []
    for index, content in enumerate(contents):
        # An earlier content of the same quote is a link to look back to; a later one is not.
        may = [int(name != "content" or other < index) for other in range(len(others))]
        shared = [bool(content_quotes[content] & other_quotes[other]) for other in others]
        gold.append([int(a and s) for a, s in zip(may, shared, strict=True)])
        allowed.append(may)
        buckets.append(distance_bucket(span_distance(content, others)).tolist() if others else [])
    return {f"{name}_gold": gold, f"{name}_allowed": allowed, f"{name}_buckets": buckets}


def stance_examples(
    articles: Sequence[GoldArticle],
    tokenizer: Tokenizer,
    config: StanceTrainConfig,
    conflict: ConflictConfig,
    teachers: Sequence[StanceClassifier] = (),
) -> list[dict[str, Any]]:
    """One example a row of quotes, as the classifier sees it at run time with the right parties, and each quote's labels.

    With `teachers`, each quote also has the mean of their softened answers.
    """
    view = QuotesView(config.window_tokens, config.context_tokens, config.source)
    ids = SpecialIds.of(tokenizer, conflict.party_labels)
    examples = []
    for gold in articles:
        pieces = tokenize(tokenizer, gold.article.text)
        parties = [quote.party for quote in gold.quotes]
        taught = _taught(gold, parties, teachers, config.teacher_temperature)
        for row in view.rows(pieces, gold.quotes, parties, ids):
            quotes = [gold.quotes[number] for number in row.quotes]
            examples.append(
                {
                    "input_ids": row.row.ids.tolist(),
                    "token_type_ids": row.row.types.tolist(),
                    "sources": row.sources.tolist(),
                    "places": [places.tolist() for places in row.places],
                    "stance_labels": [conflict.stance_labels.index(quote.stance) for quote in quotes],
                    "toward_labels": [toward_labels(quote, conflict.targets) for quote in quotes],
                    "divergent": [int(is_divergent(quote.party, quote.stance)) for quote in quotes],
                    "length": len(row.row.ids),
                }
                | {name: [values[number] for number in row.quotes] for name, values in taught.items()}
            )
    return examples


def _taught(
    gold: GoldArticle, parties: Sequence[str], teachers: Sequence[StanceClassifier], temperature: float
) -> dict[str, list[Any]]:
    """The teachers' mean probabilities for each quote of an article: stances, and targets × attitudes."""
    if not teachers or not gold.quotes:
        return {}
    read = [teacher.scores(gold.article.text, gold.quotes, parties) for teacher in teachers]
    return {
        name: [softened_mean([scores[number][index] for scores in read], temperature) for number in range(len(gold.quotes))]
        for index, name in enumerate(TAUGHT)
    }


def softened_mean(scores: Sequence[np.ndarray], temperature: float) -> list[Any]:
    """The mean of several models' probabilities for one example, each softened by `temperature`; in the shape of the scores."""
    mean: list[Any] = np.mean([softmax(one, temperature) for one in scores], axis=0).tolist()
    return mean


def toward_labels(quote: GoldQuote, targets: Sequence[str]) -> list[int]:
    """The attitude toward each target, as its number."""
    return [ATTITUDES.index(quote.toward.get(target, "neutral")) for target in targets]  # type: ignore[arg-type]


def _pad(values: Sequence[Any], shape: tuple[int, ...], fill: int, dtype: type[np.generic] = np.int64) -> torch.Tensor:
    result = np.full((len(values), *shape), fill, dtype=dtype)
    for index, value in enumerate(values):
        array = np.asarray(value, dtype=dtype)
        if array.size:
            result[index][tuple(slice(size) for size in array.shape)] = array
    return torch.from_numpy(result)


def collate_extraction(examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """A batch of windows as padded tensors."""
    length = max(len(example["input_ids"]) for example in examples)
    batch = collate_ids(examples, length)
    batch["tag_labels"] = _pad([example["tag_labels"] for example in examples], (length, len(PARTS)), IGNORE)
    counts = {name: max(1, *(len(example[f"{name}s"]) for example in examples)) for name in PARTS}
    for name in PARTS:
        batch[f"{name}s"] = _pad([example[f"{name}s"] for example in examples], (counts[name], 2), -1)
    batch["source_parties"] = _pad([example["source_parties"] for example in examples], (counts["source"],), IGNORE)
    for name in RELATIONS:
        for table in ("gold", "allowed", "buckets"):
            key = f"{name}_{table}"
            batch[key] = _pad([example[key] for example in examples], (counts["content"], counts[name]), 0)
    return batch


class StanceCollator:
    """Makes batches of rows of quotes; hides the party of a share of the sources, anew in each training batch.

    Draws come from torch's generator, which the caller seeds.
    """

    def __init__(self, mask: int, hide_party: float) -> None:
        self._mask, self._hide = mask, hide_party
        self.training = True

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """A batch: padded rows, and for each the places and labels of its quotes."""
        batch = collate_ids(examples, max(len(example["input_ids"]) for example in examples))
        if self.training:
            for row, example in enumerate(examples):
                sources = torch.tensor(example["sources"], dtype=torch.int64)
                batch["input_ids"][row, sources[torch.rand(len(sources)) < self._hide]] = self._mask
        quotes = max(len(example["places"]) for example in examples)
        longest = max(len(places) for example in examples for places in example["places"])
        places = np.full((len(examples), quotes, longest), -1, dtype=np.int64)
        for row, example in enumerate(examples):
            for number, where in enumerate(example["places"]):
                places[row, number, : len(where)] = where
        batch["places"] = torch.from_numpy(places)
        batch["stance_labels"] = _pad([example["stance_labels"] for example in examples], (quotes,), IGNORE)
        targets = len(examples[0]["toward_labels"][0])
        batch["toward_labels"] = _pad([example["toward_labels"] for example in examples], (quotes, targets), IGNORE)
        batch["divergent"] = _pad([example["divergent"] for example in examples], (quotes,), 0)
        for name in TAUGHT:
            if name in examples[0]:
                answers = [example[name] for example in examples]
                batch[name] = _pad(answers, (quotes, *np.shape(answers[0])[1:]), 0, np.float32)
        return batch


def collate_ids(examples: list[dict[str, Any]], length: int) -> dict[str, torch.Tensor]:
    """The rows of `examples`, padded to `length` word pieces."""
    return {
        "input_ids": _pad([example["input_ids"] for example in examples], (length,), 0),
        "token_type_ids": _pad([example["token_type_ids"] for example in examples], (length,), 0),
        "attention_mask": _pad([[1] * len(example["input_ids"]) for example in examples], (length,), 0),
    }
