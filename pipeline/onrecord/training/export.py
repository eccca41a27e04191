"""Trained nets → ONNX with int8 weights, compared with PyTorch and calibrated."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import nn

from onrecord.inference import Model, Row, softmax


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
    # Fused attention trains faster, but exports with shapes that are fixed to the example's.
    fused = net.encoder.model.config._attn_implementation
    net.encoder.model.set_attn_implementation("eager")
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
        net.encoder.model.set_attn_implementation(fused)


def _kept_fp32(path: Path, layers: int) -> list[str]:
    import onnx

    kept = [f"layer.{layer}/output/dense/MatMul" for layer in range(layers)]
    names = [node.name for node in onnx.load(str(path)).graph.node if node.op_type == "MatMul"]
    return [name for name in names if any(part in name for part in kept) and "attention" not in name]


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
