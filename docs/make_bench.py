"""Measure speed on this machine and write docs/bench/metrics.json and docs/bench/report.md. `make bench` runs it.

Start: python docs/make_bench.py [--out docs/bench] [--corpus data/corpus] [--limit N] [--config CONFIG]
       python docs/make_bench.py --articles 100000 --paragraphs 1   # memory: the workers' peak over so many made articles

Every figure comes from one run, on the same articles. Seconds are of the clock, so other work on the machine shows in them.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper

from onrecord import Analyzer, Article
from onrecord.article import read_articles
from onrecord.batch import run_batch
from onrecord.config import ExtractionTrainConfig, StanceTrainConfig, load, resource_root
from onrecord.corpus import read_corpus
from onrecord.inference import Model, Row

ROOT = resource_root()
SEED = ROOT / "seeds/000_613e7597b781f811.txt"
STAGES = ("read", "tokenize", "extraction", "linking", "attribution", "stance", "write")
# Word pieces of a batch, padding included, in the baseline that takes batches; the best of these is what counts.
BUDGETS = (1024, 4096)
PEAK_SIZE, PEAK_SECONDS = 1024, 1.0


@dataclass(frozen=True)
class Target:
    """A figure that the project aims at; `least` says whether more is better."""

    key: str
    words: str
    aim: float
    least: bool = True


TARGETS = (
    Target("speedup_over_fp32_one_by_one", "(a) is so many times as fast as (b)", 6),
    Target("speedup_over_fp32_batched", "(a) is so many times as fast as (c)", 3),
    Target("two_processes_over_one", "two processes do so many times what one does", 1.8),
    Target("first_record_seconds", "first record of a cold start [s]", 2, least=False),
    Target("characters_per_second", "(a) characters a second, one process, one thread", 25_000),
    Target("share_of_int8_peak", "share of the machine's matrix peak that the model passes reach", 0.40),
)


class Stopwatch:
    """Time by stage: wraps methods of the pipeline's rooms, and leaves a stage's time out of the stage that called it."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._running: list[list[float]] = []

    def timed(self, stage: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """`call`, with its time on this watch."""

        def wrapped(*given: Any, **named: Any) -> Any:
            start = time.perf_counter()
            self._running.append([0.0])
            try:
                return call(*given, **named)
            finally:
                whole = time.perf_counter() - start
                self.seconds[stage] += whole - self._running.pop()[0]
                if self._running:
                    self._running[-1][0] += whole

        return wrapped

    @contextmanager
    def on(self, analyzer: Analyzer) -> Iterator[None]:
        """Time the rooms of `analyzer` as long as this lasts."""
        extractor, classifier = analyzer.extractor, analyzer.classifier
        rooms = [
            ("tokenize", extractor.model, "tokenize"),
            ("tokenize", classifier.model, "tokenize"),
            ("extraction", extractor, "read"),
            ("linking", extractor, "extract"),
            ("attribution", analyzer.attributor, "attribute"),
            ("stance", classifier, "judge"),
        ]
        with ExitStack() as stack:
            for stage, room, name in rooms:
                stack.enter_context(patch.object(room, name, self.timed(stage, getattr(room, name))))
            yield


def fresh(config: Path | None, threads: int) -> Analyzer:
    """A pipeline whose models were not asked anything yet: a row that comes again is not computed again."""
    loaded = Analyzer.load(config, [f"threads={threads}"])
    for model in (loaded.extractor.model, loaded.classifier.model):
        model.forget()
    return loaded


def end_to_end(articles: Sequence[Article], config: Path | None, folder: Path) -> tuple[dict[str, Any], dict[str, list[Row]]]:
    """(a): articles from a file to lines of JSON in one process with one thread; and the rows that the models were given."""
    lines = folder / "articles.jsonl"
    lines.write_text("".join(article.model_dump_json() + "\n" for article in articles), encoding="utf-8")
    analyzer = fresh(config, 1)
    warm_up(analyzer)
    rows: dict[str, list[Row]] = {"extraction": [], "stance": []}
    watch, each = Stopwatch(), []
    read = iter(read_articles([str(lines)], sys.stdin.buffer, None, analyzer.settings))
    take = watch.timed("read", lambda: next(read, None))
    with ExitStack() as stack:
        for name, model in (("extraction", analyzer.extractor.model), ("stance", analyzer.classifier.model)):
            stack.enter_context(patch.object(model, "run", _recorded(model.run, rows[name])))
        stack.enter_context(watch.on(analyzer))
        out = stack.enter_context((folder / "out.jsonl").open("w", encoding="utf-8"))
        write = watch.timed("write", lambda found: out.writelines(statement.to_json() + "\n" for statement in found))
        start = time.perf_counter()
        while (article := take()) is not None:
            begun = time.perf_counter()
            found = analyzer.analyze(article)
            write(found)
            each.append((len(article.text), len(found), time.perf_counter() - begun))
        seconds = time.perf_counter() - start
    characters = sum(size for size, _, _ in each)
    per_stage = {stage: watch.seconds[stage] for stage in STAGES}
    per_stage["rest"] = max(0.0, seconds - sum(per_stage.values()))
    sizes, quotes, spent = (np.array(column, dtype=float) for column in zip(*each, strict=True))
    base = np.stack([np.ones_like(sizes), sizes / 1000, quotes], axis=1)
    fixed, by_length, by_quote = np.linalg.lstsq(base, spent, rcond=None)[0]
    return {
        "articles": len(each),
        "characters": characters,
        "statements": int(quotes.sum()),
        "seconds": seconds,
        "characters_per_second": characters / seconds,
        "stages": per_stage,
        "cost": {"article": fixed, "thousand_characters": by_length, "quote": by_quote},
        "by_length": _by_thirds(sizes, sizes, spent),
        "by_quotes": _by_thirds(quotes, sizes, spent),
    }, rows


def _recorded(run: Callable[..., Any], kept: list[Row]) -> Callable[..., Any]:
    def recorded(rows: Any) -> Iterator[Any]:
        given = list(rows)
        kept.extend(given)
        return run(given)

    return recorded


def _by_thirds(by: np.ndarray, sizes: np.ndarray, spent: np.ndarray) -> list[dict[str, float]]:
    """Speed of the third of the articles with the least of something, of the middle third, and of that with the most."""
    parts = [part for part in np.array_split(np.argsort(by, kind="stable"), 3) if len(part)]
    return [
        {
            "from": float(by[part].min()),
            "to": float(by[part].max()),
            "seconds_an_article": float(spent[part].mean()),
            "characters_per_second": float(sizes[part].sum() / spent[part].sum()),
        }
        for part in parts
    ]


def warm_up(analyzer: Analyzer) -> None:
    """Let memory be taken and code be loaded, with a text that no measurement has."""
    analyzer.analyze(
        Article(text="A mayor said on Tuesday that the bridge would open. “It is ready,” she added.", date="2021-11-08")
    )


def quote_rows(articles: Sequence[Article], config: Path | None) -> list[Row]:
    """The stance model's rows when each quote has a row of its own: what (b) and (c) are given."""
    analyzer = Analyzer.load(config, ["threads=1"])
    classifier, rows = analyzer.classifier, []
    for article in articles:
        reading = analyzer.extractor.read(article.text)
        quotes = analyzer.extractor.extract(reading)
        parties = [party.label for _, party in analyzer.attributor.attribute(article, quotes, reading)]
        pieces = classifier.model.tokenize(article.text)
        for quote, party in zip(quotes, parties, strict=True):
            rows += [row.row for row in classifier.rows(pieces, [quote], [party])]
    return rows


def plain_nets(models: dict[str, Model]) -> dict[str, Any]:
    """Nets of the shipped shapes in PyTorch and fp32, their heads untrained: speed does not depend on weights."""
    import torch
    from transformers.utils import logging

    from onrecord.training import find_base
    from onrecord.training.nets import ExtractionNet, StanceNet

    # It warns of weights of the base that our nets leave out.
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    nets: dict[str, Any] = {}
    for name, kind in (("extraction", ExtractionTrainConfig), ("stance", StanceTrainConfig)):
        settings = models[name].settings
        known = settings["training_config"]
        path = ROOT / f"configs/train/{name}.yaml"
        config: Any = load(path, kind, [f"layers={'null' if known['layers'] is None else known['layers']}"])
        base = find_base(known["base"], path, download=False)
        if name == "extraction":
            nets[name] = ExtractionNet(base, config, len(settings["party_labels"])).eval()
        else:
            nets[name] = StanceNet(base, config, torch.nn.Identity(), len(settings["stances"]), len(settings["targets"])).eval()
    return nets


def plain_seconds(net: Any, rows: Sequence[Row], budget: int | None) -> float:
    """Seconds that a PyTorch net takes for `rows`: one by one, or in batches of `budget` pieces, sorted by length."""
    import torch

    batches = [[row] for row in rows] if budget is None else list(_batches(sorted(rows, key=lambda row: len(row.ids)), budget))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        start = time.perf_counter()
        with torch.inference_mode():
            for batch in batches:
                longest = max(len(row.ids) for row in batch)
                ids, types, mask = (np.zeros((len(batch), longest), dtype=np.int64) for _ in range(3))
                for index, row in enumerate(batch):
                    ids[index, : len(row.ids)], types[index, : len(row.ids)], mask[index, : len(row.ids)] = row.ids, row.types, 1
                net.scores(torch.from_numpy(ids), torch.from_numpy(mask), torch.from_numpy(types))
        return time.perf_counter() - start
    finally:
        # Threads are the whole process's.
        torch.set_num_threads(threads)


def _batches(rows: Sequence[Row], budget: int) -> Iterator[list[Row]]:
    batch: list[Row] = []
    for row in rows:
        if batch and len(row.ids) * (len(batch) + 1) > budget:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def model_work(model: Model, rows: Sequence[Row]) -> dict[str, float]:
    """Multiply-adds and seconds of a model over `rows`, one thread."""
    model.forget()
    start = time.perf_counter()
    for _ in model.run(rows):
        pass
    seconds = time.perf_counter() - start
    pieces = sum(len(row.ids) for row in rows)
    shapes = graph_shapes(model)
    # Each matrix once a piece; attention meets every piece with every other, twice a layer.
    adds = pieces * shapes["matrices"] + sum(len(row.ids) ** 2 for row in rows) * 2 * shapes["layers"] * shapes["width"]
    return {
        "rows": len(rows),
        "pieces": pieces,
        "seconds": seconds,
        "pieces_per_second": pieces / seconds,
        "multiply_adds_per_second": adds / seconds,
    }


def graph_shapes(model: Model) -> dict[str, int]:
    """Multiply-adds a piece of all constant matrices of a model's graph, its encoder layers, and their width."""
    import onnx

    graph = onnx.load(str(model.folder / "model.onnx")).graph
    shapes = {each.name: tuple(each.dims) for each in graph.initializer}
    used = [shapes[name] for node in graph.node for name in node.input[1:2] if "MatMul" in node.op_type and name in shapes]
    width = min(first for first, _ in used)
    return {
        "matrices": sum(first * second for first, second in used),
        "layers": sum(first == 4 * width and second == width for first, second in used),
        "width": width,
    }


def matrix_peak(kind: str) -> float:
    """Multiply-adds a second of a large square matrix product on one thread, int8 or fp32, in ONNX Runtime."""
    size = PEAK_SIZE
    values = np.random.default_rng(1).integers(-100, 100, (size, size))
    if kind == "int8":
        weight = helper.make_tensor("w", TensorProto.INT8, (size, size), values.astype(np.int8).tobytes(), raw=True)
        node, given, made = helper.make_node("MatMulInteger", ["x", "w"], ["y"]), TensorProto.UINT8, TensorProto.INT32
        entry = (values + 100).astype(np.uint8)
    else:
        weight = helper.make_tensor("w", TensorProto.FLOAT, (size, size), values.astype(np.float32).tobytes(), raw=True)
        node, given, made = helper.make_node("MatMul", ["x", "w"], ["y"]), TensorProto.FLOAT, TensorProto.FLOAT
        entry = values.astype(np.float32)
    shape = (size, size)
    ends = [helper.make_tensor_value_info(name, type_, shape) for name, type_ in (("x", given), ("y", made))]
    graph = helper.make_model(
        helper.make_graph([node], "peak", ends[:1], ends[1:], [weight]), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    best, until = float("inf"), time.perf_counter() + PEAK_SECONDS
    while time.perf_counter() < until:
        start = time.perf_counter()
        session.run(None, {"x": entry})
        best = min(best, time.perf_counter() - start)
    return size**3 / best


def cold_start(config: Path | None) -> float:
    """Seconds from the start of `onrecord analyze` on the seed article to its first line: the median of three."""
    command = [sys.executable, "-m", "onrecord", "analyze", str(SEED), "--date", "2021-11-08", "--format", "jsonl"]
    command += ["--config", str(config)] if config else []
    taken = []
    for _ in range(3):
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert process.stdout is not None
        first = process.stdout.readline()
        taken.append(time.perf_counter() - start)
        process.communicate()
        if not first.startswith(b"{"):
            raise SystemExit(f"{' '.join(command)}: gave no record; run it to see why")
    return statistics.median(taken)


_own: list[Analyzer] = []


def _start(config: Path | None, threads: int) -> None:
    _own.append(fresh(config, threads))
    warm_up(_own[0])


def _share(articles: Sequence[Article]) -> tuple[float, float]:
    start = time.time()
    for article in articles:
        _own[0].analyze(article)
    return start, time.time()


def processes_and_threads(articles: Sequence[Article], config: Path | None) -> list[dict[str, float]]:
    """Characters a second of one and two processes, of one and two threads each, on the same articles."""
    results: list[dict[str, float]] = []
    for processes in (1, 2):
        for threads in (1, 2):
            shares = [articles[number::processes] for number in range(processes)]
            pools = [ProcessPoolExecutor(1, get_context("spawn"), initializer=_start, initargs=(config, threads)) for _ in shares]
            # Started first, so that loading is not measured.
            for ready in [pool.submit(os.getpid) for pool in pools]:
                ready.result()
            ends = [work.result() for work in [pool.submit(_share, share) for pool, share in zip(pools, shares, strict=True)]]
            for pool in pools:
                pool.shutdown()
            seconds = max(end for _, end in ends) - min(start for start, _ in ends)
            characters = sum(len(article.text) for article in articles)
            results.append({"processes": processes, "threads": threads, "characters_per_second": characters / seconds})
    return results


def bench(corpus: Path, config: Path | None, limit: int | None) -> dict[str, Any]:
    """All figures; keys are stable."""
    gold = read_corpus([corpus])
    articles = [each.article for each in gold][:limit]
    articles.append(Article(text=SEED.read_text(encoding="utf-8"), date="2021-11-08"))
    with tempfile.TemporaryDirectory() as folder:
        ours, rows = end_to_end(articles, config, Path(folder))
    analyzer = Analyzer.load(config, ["threads=1"])
    models = {"extraction": analyzer.extractor.model, "stance": analyzer.classifier.model}
    rows_alone = {"extraction": rows["extraction"], "stance": quote_rows(articles, config)}
    nets = plain_nets(models)
    for name, net in nets.items():
        plain_seconds(net, rows_alone[name][:2], None)
    one = sum(plain_seconds(nets[name], rows_alone[name], None) for name in nets)
    batched = {budget: sum(plain_seconds(nets[name], rows_alone[name], budget) for name in nets) for budget in BUDGETS}
    work = {name: model_work(model, rows[name]) for name, model in models.items()}
    peaks = {kind: matrix_peak(kind) for kind in ("int8", "fp32")}
    adds = sum(each["multiply_adds_per_second"] * each["seconds"] for each in work.values())
    passes = sum(each["seconds"] for each in work.values())
    table = processes_and_threads(articles, config)
    by_count = {(each["processes"], each["threads"]): each["characters_per_second"] for each in table}
    # Where int8 is no faster than fp32, the processor has no instructions for it, and fp32 is the peak to compare with.
    peak = max(peaks.values())
    characters = ours["characters"]
    return {
        "machine": {"processors": os.cpu_count(), "onnxruntime": ort.__version__, "models": analyzer.models},
        "characters_per_second": ours["characters_per_second"],
        "end_to_end": ours,
        "fp32_one_by_one": {"seconds": one, "characters_per_second": characters / one},
        "fp32_batched": {
            "seconds": min(batched.values()),
            "characters_per_second": characters / min(batched.values()),
            "seconds_by_budget": {str(budget): seconds for budget, seconds in batched.items()},
        },
        "speedup_over_fp32_one_by_one": one / ours["seconds"],
        "speedup_over_fp32_batched": min(batched.values()) / ours["seconds"],
        "two_processes_over_one": by_count[2, 1] / by_count[1, 1],
        "processes_and_threads": table,
        "first_record_seconds": cold_start(config),
        "model_passes": work,
        "matrix_peak": peaks,
        "share_of_int8_peak": adds / passes / peak,
        "dominant_stage": max(ours["stages"], key=lambda stage: ours["stages"][stage]),
    }


def verdicts(figures: dict[str, Any]) -> list[tuple[str, float, float, bool]]:
    """Each target: its words, what was measured, the aim, and whether it is met."""
    return [
        (each.words, figures[each.key], each.aim, figures[each.key] >= each.aim if each.least else figures[each.key] <= each.aim)
        for each in TARGETS
    ]


def report(figures: dict[str, Any], command: str) -> str:
    """The page: every sentence with a figure is made from the figures."""
    ours, stages = figures["end_to_end"], figures["end_to_end"]["stages"]
    whole = sum(stages.values())
    best = max(figures["processes_and_threads"], key=lambda each: each["characters_per_second"])
    cost = ours["cost"]
    lines = [
        "# Speed",
        "",
        f"`{command}` on a machine with {figures['machine']['processors']} processors: {ours['articles']} articles, "
        f"{ours['characters']:,} characters, {ours['statements']} statements, models {', '.join(figures['machine']['models'].values())}.",
        "",
        "| target | measured | aim | |",
        "|---|---|---|---|",
    ]
    for words, value, aim, met in verdicts(figures):
        lines.append(f"| {words} | {value:,.2f} | {aim:,g} | {'met' if met else '**missed**'} |")
    lines += [
        "",
        "| | seconds | characters a second |",
        "|---|---|---|",
        f"| (a) this pipeline, articles to JSON Lines, one process, one thread | {ours['seconds']:.1f} | {ours['characters_per_second']:,.0f} |",
    ]
    for words, key in (
        ("(b) fp32 PyTorch, a window and a quote at a time", "fp32_one_by_one"),
        ("(c) as b, batched", "fp32_batched"),
    ):
        lines.append(f"| {words} | {figures[key]['seconds']:.1f} | {figures[key]['characters_per_second']:,.0f} |")
    lines += [
        "",
        "(b) and (c) are the same two encoders in `transformers`, given the extraction windows of (a) and each quote in a row of its "
        "own. Their heads are untrained, since speed does not depend on weights, and what is not a model pass costs them nothing. (c) is "
        "sorted by length, in the faster of batches of " + " and ".join(map(str, BUDGETS)) + " word pieces.",
        "",
        "## Where the time goes",
        "",
        f"{figures['dominant_stage'].capitalize()} takes most: {stages[figures['dominant_stage']] / whole:.0%} of the time. The passes of the "
        f"two models together take {sum(each['seconds'] for each in figures['model_passes'].values()) / ours['seconds']:.0%}.",
        "",
        "| stage | share | milliseconds an article |",
        "|---|---|---|",
        *(f"| {stage} | {spent / whole:.1%} | {1000 * spent / ours['articles']:.2f} |" for stage, spent in stages.items()),
        "",
        f"By least squares an article costs {1000 * cost['article']:.1f} ms, {1000 * cost['thousand_characters']:.1f} ms for each thousand "
        f"characters, and {1000 * cost['quote']:.1f} ms for each quote.",
        "",
        "| third of the articles | characters | ms an article | characters a second | quotes | ms an article | characters a second |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, length, quotes in zip(("least", "middle", "most"), ours["by_length"], ours["by_quotes"], strict=False):
        cells = [
            f"{each['from']:.0f}–{each['to']:.0f} | {1000 * each['seconds_an_article']:.0f} | {each['characters_per_second']:,.0f}"
            for each in (length, quotes)
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += [
        "",
        "## Processes and threads",
        "",
        "| processes | threads each | characters a second |",
        "|---|---|---|",
        *(
            f"| {each['processes']} | {each['threads']} | {each['characters_per_second']:,.0f} |"
            for each in figures["processes_and_threads"]
        ),
        "",
        f"Most come of {best['processes']} process{'es' if best['processes'] > 1 else ''} with {best['threads']} "
        f"thread{'s' if best['threads'] > 1 else ''} each.",
        "",
        "## Model passes",
        "",
        "| model | rows | word pieces | word pieces a second | billion multiply-adds a second |",
        "|---|---|---|---|---|",
        *(
            f"| {name} | {each['rows']} | {each['pieces']} | {each['pieces_per_second']:,.0f} | {each['multiply_adds_per_second'] / 1e9:.0f} |"
            for name, each in figures["model_passes"].items()
        ),
        "",
        f"A square product of {PEAK_SIZE} on one thread: int8 {figures['matrix_peak']['int8'] / 1e9:.0f}, "
        f"fp32 {figures['matrix_peak']['fp32'] / 1e9:.0f} billion multiply-adds a second.",
        "",
    ]
    if held := figures.get("memory"):
        lines += [
            "## Memory",
            "",
            f"A worker took at most **{held['peak_bytes_of_a_worker'] / 2**20:.0f} MiB** over a run folder of "
            f"{held['articles']:,} made articles of {held['characters'] / held['articles']:.0f} characters with {held['workers']} "
            f"workers ({held['statements']:,} statements), a run of its own.",
            "",
        ]
    return "\n".join(lines)


def made_articles(articles: Sequence[Article], count: int, size: int | None = None) -> Iterator[Article]:
    """Articles of `size` shuffled paragraphs of the corpus, by default as many as its own have; each is of another text."""
    chance = random.Random(1)
    paragraphs = [part for article in articles for part in article.text.split("\n\n") if part.strip()]
    size = size or max(1, round(len(paragraphs) / len(articles)))
    for number in range(count):
        yield Article(
            text="\n\n".join([f"Report {number}.", *chance.sample(paragraphs, size)]), id=f"made-{number}", date="2021-11-08"
        )


def memory(corpus: Path, config: Path | None, count: int, paragraphs: int | None, workers: int) -> dict[str, Any]:
    """Peak memory of the largest worker [bytes] over a run of `count` made articles, and the run's characters a second."""
    import resource

    articles = [each.article for each in read_corpus([corpus])]
    with tempfile.TemporaryDirectory() as folder:
        lines, characters = Path(folder) / "made.jsonl", 0
        with lines.open("w", encoding="utf-8") as stream:
            for article in made_articles(articles, count, paragraphs):
                stream.write(article.model_dump_json() + "\n")
                characters += len(article.text)
        summary = run_batch([str(lines)], Path(folder) / "run", config=config, workers=workers)
    # The largest of the processes that this one started and that have ended [KiB on Linux].
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    return {
        "articles": summary.articles,
        "characters": characters,
        "statements": summary.statements,
        "workers": workers,
        "characters_per_second": characters / summary.seconds,
        "peak_bytes_of_a_worker": peak,
    }


def main(arguments: Sequence[str]) -> None:
    """Measure, print the targets and write the files."""
    parser = argparse.ArgumentParser(description="Measure speed on this machine.")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/bench")
    parser.add_argument("--corpus", type=Path, default=ROOT / "data/corpus")
    parser.add_argument("--config", type=Path, help="an analyze config; the shipped one by default")
    parser.add_argument("--limit", type=int, help="only the first so many articles of the corpus, and the seed")
    parser.add_argument("--articles", type=int, help="measure memory instead, over so many made articles")
    parser.add_argument("--paragraphs", type=int, help="of each made article; by default as many as the corpus has")
    parser.add_argument("--workers", type=int, default=2, help="processes of the run whose memory is measured")
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    if given.articles is not None:
        figures = memory(given.corpus, given.config, given.articles, given.paragraphs, given.workers)
        met = figures["peak_bytes_of_a_worker"] <= 2**30
        print(f"peak of a worker {figures['peak_bytes_of_a_worker'] / 2**20:.0f} MiB, aim 1024: {'met' if met else 'missed'}")  # noqa: T201
        (given.out / "memory.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        return
    figures = bench(given.corpus, given.config, given.limit)
    held = given.out / "memory.json"
    figures["memory"] = json.loads(held.read_text(encoding="utf-8")) if held.is_file() else None
    (given.out / "metrics.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    shown = "make bench" if not arguments else "python docs/make_bench.py " + " ".join(arguments)
    (given.out / "report.md").write_text(report(figures, shown), encoding="utf-8")
    for words, value, aim, met in verdicts(figures):
        print(f"{'met   ' if met else 'missed'} {words}: {value:,.2f}, aim {aim:,g}")  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
