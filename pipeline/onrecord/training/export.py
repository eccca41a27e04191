"""Trained nets → ONNX with int8 weights, compared with PyTorch and calibrated."""

from __future__ import annotations

import copy
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import nn
from transformers.models.bert.modeling_bert import BertSelfAttention

from onrecord.inference import Model, Row, softmax

Precision = Literal["int8", "fp32"]
# Channels of a layer that one scale would lose the others for, and rows of examples that tell which they are.
OUTLIERS, MEASURED = 4, 200


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


class _AttentionOp(torch.autograd.Function):
    """Attention as one operator of ONNX Runtime: half the time of the eight that PyTorch's own export writes.

    It takes no mask: a row goes through the model alone and has no padding.
    """

    @staticmethod
    def forward(context: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, heads: int) -> torch.Tensor:
        query, key, value = (each.reshape(*each.shape[:2], heads, -1).transpose(1, 2) for each in (query, key, value))
        return nn.functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)

    @staticmethod
    def symbolic(graph: Any, query: Any, key: Any, value: Any, heads: int) -> Any:
        return graph.op("com.microsoft::MultiHeadAttention", query, key, value, num_heads_i=heads).setType(query.type())


class _Attention(nn.Module):
    """BERT's self-attention with one matrix for query, key and value, so that their input is quantized once."""

    def __init__(self, attention: BertSelfAttention) -> None:
        super().__init__()
        parts = (attention.query, attention.key, attention.value)
        self.all = nn.Linear(parts[0].in_features, sum(part.out_features for part in parts))
        self.all.weight.data = torch.cat([part.weight.data for part in parts])
        self.all.bias.data = torch.cat([part.bias.data for part in parts])
        self.heads = attention.num_attention_heads

    def forward(self, hidden_states: torch.Tensor, *_: Any, **__: Any) -> tuple[Any, None]:
        return _AttentionOp.apply(*self.all(hidden_states).chunk(3, -1), self.heads), None  # type: ignore[no-untyped-call]


class _Exported(nn.Module):
    """The net with only the outputs that the runtime reads."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
        return self.net.scores(input_ids, attention_mask, token_type_ids)


class _Narrowing(nn.Module):
    """A layer's narrowing matrix behind a scale for each input channel, so that one range fits them all when it is quantized.

    A few channels are several times as large as all others: they are made as large as the largest of those, and the
    matrix makes up for it (Xiao et al. 2023, *SmoothQuant*).
    """

    def __init__(self, narrow: nn.Linear, largest: torch.Tensor) -> None:
        super().__init__()
        scale = torch.clamp(largest.sort(descending=True).values[OUTLIERS] / largest, max=1.0)
        self.register_buffer("scale", scale)
        self.narrow = narrow
        self.narrow.weight.data /= scale

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.narrow(values * self.scale)  # type: ignore[no-any-return, operator]


def _largest_inputs(net: Any, rows: Sequence[Row]) -> list[torch.Tensor]:
    """For each encoder layer the largest size of each channel that its narrowing matrix reads in `rows`."""
    layers = [layer.output.dense for layer in net.encoder.model.encoder.layer]
    largest = [torch.full((layer.in_features,), 1e-3) for layer in layers]

    def watch(number: int, inputs: tuple[torch.Tensor, ...]) -> None:
        largest[number] = torch.maximum(largest[number], inputs[0].abs().flatten(0, -2).amax(0))

    hooks = [
        layer.register_forward_pre_hook(lambda _, inputs, number=number: watch(number, inputs))
        for number, layer in enumerate(layers)
    ]
    with torch.no_grad():
        for row in rows:
            ids = torch.from_numpy(row.ids).unsqueeze(0)
            net.scores(ids, torch.ones_like(ids), torch.from_numpy(row.types).unsqueeze(0))
    for hook in hooks:
        hook.remove()
    return largest


def export_onnx(net: Any, outputs: Sequence[str], path: Path, rows: Sequence[Row], precision: Precision = "int8") -> None:
    """Write `net` as ONNX.

    Args:
        net: A trained net with `scores`; left as it was.
        outputs: Names of what `scores` returns, in order.
        path: File to write.
        rows: Examples of its input, which tell how large activations are; the first few hundred are read.
        precision: What the matrices are: int8, or fp32 to compare with.
    """
    net = copy.deepcopy(net).eval()
    # Where an encoder keeps PyTorch's attention, its fused form would export with shapes that are fixed to the example's.
    net.encoder.model.set_attn_implementation("eager")
    for layer in net.encoder.model.encoder.layer:
        if isinstance(attention := getattr(layer.attention, "self", None), BertSelfAttention):
            layer.attention.self = _Attention(attention)
    if precision == "int8":
        embeddings = net.encoder.model.embeddings
        embeddings.word_embeddings = _RowwiseEmbedding(embeddings.word_embeddings)
        for layer, largest in zip(net.encoder.model.encoder.layer, _largest_inputs(net, rows[:MEASURED]), strict=True):
            layer.output.dense = _Narrowing(layer.output.dense, largest)
    example = torch.ones((2, 16), dtype=torch.int64)
    names = ["input_ids", "attention_mask", "token_type_ids"]
    axes = {name: {0: "rows", 1: "pieces"} for name in names} | {name: {0: "rows"} for name in outputs}
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw.onnx"
        torch.onnx.export(
            _Exported(net),
            (example, example, torch.zeros_like(example)),
            str(raw),
            dynamo=False,
            input_names=names,
            output_names=list(outputs),
            dynamic_axes=axes,
            opset_version=17,
        )
        if precision == "fp32":
            shutil.copyfile(raw, path)
            return
        quantize_dynamic(
            raw,
            path,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True},
        )


def agreement(
    net: Any,
    model: Model,
    rows: Sequence[Row],
    outputs: Sequence[str],
    examples: Sequence[dict[str, Any]],
    read: Callable[[dict[str, Any], dict[str, np.ndarray]], dict[str, np.ndarray]],
) -> dict[str, Any]:
    """How the exported model's decisions compare with the PyTorch net's on the same rows.

    Args:
        net: The trained net.
        model: The exported model folder, loaded.
        rows: Model inputs.
        outputs: Names of the net's outputs, in order.
        examples: What each row was made from.
        read: Example, and the outputs for its row → for each head the scores of its decisions, decisions × labels.

    Returns:
        For each head: decisions compared, share of equal labels, largest gap between probabilities.
    """
    ours: dict[str, list[np.ndarray]] = {}
    theirs: dict[str, list[np.ndarray]] = {}
    for row, example, output in zip(rows, examples, model.run(rows), strict=True):
        ids = torch.from_numpy(row.ids).unsqueeze(0)
        with torch.no_grad():
            scores = net.scores(ids, torch.ones_like(ids), torch.from_numpy(row.types).unsqueeze(0))
        plain = {name: score[0].numpy() for name, score in zip(outputs, scores, strict=True)}
        for name, values in read(example, plain).items():
            ours.setdefault(name, []).append(values)
        for name, values in read(example, output).items():
            theirs.setdefault(name, []).append(values)
    result: dict[str, Any] = {}
    for name in ours:
        a, b = softmax(np.concatenate(ours[name])), softmax(np.concatenate(theirs[name]))
        result[name] = {
            "decisions": len(a),
            "same_labels": round(float((a.argmax(-1) == b.argmax(-1)).mean()), 5),
            "largest_probability_gap": round(float(np.abs(a - b).max()), 4),
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
