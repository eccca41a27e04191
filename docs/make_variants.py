"""Write the tables of docs/decisions/0007-speed.md: how models and ways to run them differ in speed and in F1 on dev.

Start: python docs/make_variants.py MODEL=METRICS…, each a model folder and the metrics.json that
`onrecord evaluate --gold data/corpus --split dev --model MODEL --out OUT` wrote (`--stage extraction`, or `--stage stance
--stage toward`). The first extraction model and the first stance model are also run in batches, and int8 extraction models with
windows that share more and less.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from unittest.mock import patch

import numpy as np
import onnxruntime as ort

from onrecord.benchmarks import span_counts, summed_f1
from onrecord.corpus import GoldArticle, read_split
from onrecord.evaluation import bootstrap
from onrecord.extraction import Extractor
from onrecord.inference import Floats, Model, Row, load_model
from onrecord.stance import StanceClassifier

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/decisions/0007-speed.md"
# Models are measured in turns, so that what else the machine does falls on all of them; the best turn counts.
TURNS = 3
# Speed is measured on the first so many articles of dev; scores are of all.
ARTICLES = 40
BUDGETS = (512, 1024, 2048, 4096, 8192)
OVERLAPS = (16, 32, 48, 64, 96)
# `shared or around`: pieces that two extraction windows share, or that stand around the quotes of a stance row.
COLUMNS = ("model", "weights", "layers", "row", "shared or around", "MB", "word pieces", "pieces a second", "seconds")
SCORES = {
    "extraction": ("extraction.quotes.f1_iou", "extraction.cue.f1_iou", "extraction.source.f1_iou"),
    "stance": ("stance.all.model.macro_f1", "stance.divergent.model.accuracy", "toward.pooled.model.macro_f1"),
}


def kind(model: Model) -> str:
    """Which of the two models it is."""
    return "stance" if "stances" in model.settings else "extraction"


def rows_of(model: Model, articles: Sequence[GoldArticle]) -> list[Row]:
    """What `model` is given to read for `articles`, quotes and parties as annotated."""
    if kind(model) == "extraction":
        extractor, kept, run = Extractor(model), [], model.run

        def recorded(rows: Iterable[Row]) -> Iterator[dict[str, Floats]]:
            given = list(rows)
            kept.extend(given)
            return run(given)

        with patch.object(model, "run", recorded):
            for gold in articles:
                extractor.read(gold.article.text)
        return kept
    classifier = StanceClassifier(model)
    return [
        row.row
        for gold in articles
        for row in classifier.rows(model.tokenize(gold.article.text), gold.quotes, [quote.party for quote in gold.quotes])
    ]


def seconds(model: Model, rows: Sequence[Row]) -> float:
    """One thread, each row for the first time."""
    model.forget()
    start = time.perf_counter()
    for _ in model.run(rows):
        pass
    return time.perf_counter() - start


def batch_seconds(session: ort.InferenceSession, rows: Sequence[Row], budget: int) -> float:
    """The same in batches of at most `budget` word pieces, padding included, sorted by length."""
    names = {each.name for each in session.get_inputs()}
    start = time.perf_counter()
    for batch in batches(sorted(rows, key=lambda row: len(row.ids)), budget):
        shape = (len(batch), len(batch[-1].ids))
        inputs = {name: np.zeros(shape, dtype=np.int64) for name in ("input_ids", "token_type_ids", "attention_mask")}
        for index, row in enumerate(batch):
            inputs["input_ids"][index, : len(row.ids)] = row.ids
            inputs["token_type_ids"][index, : len(row.ids)] = row.types
            inputs["attention_mask"][index, : len(row.ids)] = 1
        session.run(None, {name: values for name, values in inputs.items() if name in names})
    return time.perf_counter() - start


def batches(rows: Sequence[Row], budget: int) -> Iterator[list[Row]]:
    """Rows of growing length, cut so that each part padded to its longest row keeps the budget."""
    batch: list[Row] = []
    for row in rows:
        if batch and len(row.ids) * (len(batch) + 1) > budget:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def variants(pairs: Sequence[tuple[Path, Path]], articles: Sequence[GoldArticle]) -> Iterator[str]:
    """A table for each kind: speed and scores of its models."""
    models = [(load_model(folder, 1), folder, metrics) for folder, metrics in pairs]
    for name, scores in SCORES.items():
        mine = [(model, folder, metrics) for model, folder, metrics in models if kind(model) == name]
        rows = {folder: rows_of(model, articles) for model, folder, _ in mine}
        best = {folder: float("inf") for _, folder, _ in mine}
        for _ in range(TURNS):
            for model, folder, _ in mine:
                best[folder] = min(best[folder], seconds(model, rows[folder]))
        head = (*COLUMNS, *scores)
        yield "| " + " | ".join(head) + " |"
        yield "|---" * len(head) + "|"
        for model, folder, metrics in mine:
            pieces = sum(len(row.ids) for row in rows[folder])
            figures = json.loads(metrics.read_text(encoding="utf-8"))["scores"]
            cells = [
                model.name,
                # Models of before this was written down are int8.
                model.settings.get("precision", "int8"),
                str(model.settings["training_config"]["layers"] or "all"),
                str(model.settings["window_tokens"]),
                str(model.settings.get("overlap_tokens", model.settings.get("context_tokens"))),
                f"{(folder / 'model.onnx').stat().st_size / 1e6:.0f}",
                f"{pieces:,}",
                f"{pieces / best[folder]:,.0f}",
                f"{best[folder]:.1f}",
            ]
            cells += [f"{figures[key]['value']:.3f} [{figures[key]['low']:.3f}, {figures[key]['high']:.3f}]" for key in scores]
            yield "| " + " | ".join(cells) + " |"
        yield ""


def batch_table(folders: Sequence[Path], articles: Sequence[GoldArticle]) -> Iterator[str]:
    """Word pieces a second of the first model of each kind: a row alone, and batches of so many word pieces."""
    yield "| model | a row alone | " + " | ".join(f"batches of {budget}" for budget in BUDGETS) + " |"
    yield "|---" * (2 + len(BUDGETS)) + "|"
    done: set[str] = set()
    for folder in folders:
        model = load_model(folder, 1)
        if kind(model) in done:
            continue
        done.add(kind(model))
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        session = ort.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"], disabled_optimizers=["SkipLayerNormFusion"]
        )
        rows = rows_of(model, articles)
        best = [float("inf")] * (1 + len(BUDGETS))
        for _ in range(TURNS):
            taken = [seconds(model, rows), *(batch_seconds(session, rows, budget) for budget in BUDGETS)]
            best = [min(pair) for pair in zip(best, taken, strict=True)]
        pieces = sum(len(row.ids) for row in rows)
        yield f"| {model.name} | " + " | ".join(f"{pieces / each:,.0f}" for each in best) + " |"


def overlap_table(models: Sequence[Model], articles: Sequence[GoldArticle]) -> Iterator[str]:
    """F1 of extraction models and the word pieces that they read, by how many of them neighbouring windows share at least."""
    yield "| model | cuts it learned from | least shared | word pieces | content F1 at IoU ≥ 0.5 | source F1 at IoU ≥ 0.5 |"
    yield "|---|---|---|---|---|---|"
    for model, overlap in product(models, OVERLAPS):
        with patch.dict(model.settings, overlap_tokens=overlap):
            pieces = sum(len(row.ids) for row in rows_of(model, articles))
            extractor = Extractor(model)
            counts = [[span_counts(gold.quotes, extractor.extract(extractor.read(gold.article.text)))] for gold in articles]
        scores = [bootstrap(counts, partial(summed_f1, measure=f"{part}, F1 IoU ≥ 0.5")) for part in ("content", "source")]
        cuts = model.settings["training_config"].get("cuts", 1)
        yield f"| {model.name} | {cuts} | {overlap} | {pieces:,} | {scores[0]} | {scores[1]} |"


def put(mark: str, lines: Sequence[str]) -> None:
    """Put `lines` in the page, between its marks of that name."""
    block = f"<!-- {mark} -->\n" + "\n".join(lines).strip() + f"\n<!-- /{mark} -->"
    page = PAGE.read_text(encoding="utf-8")
    page = re.sub(rf"<!-- {mark} -->.*?<!-- /{mark} -->", lambda _: block, page, flags=re.DOTALL)
    PAGE.write_text(page, encoding="utf-8")


def main(arguments: Sequence[str]) -> None:
    """Put the tables in the page, between its marks."""
    pairs = [(Path(folder), Path(metrics)) for folder, metrics in (argument.split("=", 1) for argument in arguments)]
    dev = read_split(ROOT / "data/corpus", "dev")
    articles = dev[:ARTICLES]
    models = [load_model(folder, 1) for folder, _ in pairs]
    extraction = [model for model in models if kind(model) == "extraction" and model.settings.get("precision", "int8") == "int8"]
    put("variants", list(variants(pairs, articles)))
    put("batches", list(batch_table([folder for folder, _ in pairs], articles)))
    put("windows", list(overlap_table(extraction, dev)))


if __name__ == "__main__":
    main(sys.argv[1:])
