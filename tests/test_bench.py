"""`make bench`: it runs, and says what it measured."""

import json
import runpy
from collections import Counter

import numpy as np
import pytest

from onrecord import Article
from onrecord.config import resource_root
from onrecord.inference import load_model

ROOT = resource_root()
BENCH = runpy.run_path(str(ROOT / "docs/make_bench.py"))
KEYS = {
    "machine",
    "characters_per_second",
    "end_to_end",
    "fp32_one_by_one",
    "fp32_batched",
    "speedup_over_fp32_one_by_one",
    "speedup_over_fp32_batched",
    "two_processes_over_one",
    "processes_and_threads",
    "first_record_seconds",
    "model_passes",
    "matrix_peak",
    "share_of_int8_peak",
    "dominant_stage",
    "memory",
}


def test_three_articles_give_every_figure(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(BENCH["main"].__globals__, "PEAK_SECONDS", 0.05)
    monkeypatch.setitem(BENCH["main"].__globals__, "processes_and_threads", _no_processes)
    # With the seed three.
    BENCH["main"](["--limit", "2", "--out", str(tmp_path)])
    figures = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert set(figures) == KEYS
    ours = figures["end_to_end"]
    assert ours["articles"] == 3 and ours["statements"] > 10 and set(ours["stages"]) == {*BENCH["STAGES"], "rest"}
    assert sum(ours["stages"].values()) == pytest.approx(ours["seconds"], rel=0.02)
    assert figures["characters_per_second"] == pytest.approx(ours["characters"] / ours["seconds"])
    assert 0 < figures["share_of_int8_peak"] < 1.5
    # The rows of the measured run and no others.
    assert sum(each["pieces"] for each in figures["model_passes"].values()) < ours["characters"]
    page = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "2.00 | 1.8 | met" in page and f"{figures['dominant_stage'].capitalize()} takes most" in page
    printed = capsys.readouterr().out.splitlines()
    assert Counter(line.split()[0] for line in printed).keys() <= {"met", "missed"} and len(printed) == len(BENCH["TARGETS"])


def _no_processes(articles, config):
    return [
        {"processes": processes, "threads": threads, "characters_per_second": 1000.0 * processes}
        for processes in (1, 2)
        for threads in (1, 2)
    ]


def test_time_is_that_of_the_innermost_stage():
    clock = BENCH["Stopwatch"]()
    inner = clock.timed("inner", lambda: sum(range(300_000)))
    clock.timed("outer", inner)()
    assert clock.seconds["inner"] > 10 * clock.seconds["outer"] > 0


def test_multiply_adds_are_counted_from_the_graph():
    shapes = BENCH["graph_shapes"](load_model(ROOT / "models/stance", 1))
    # Per layer: query, key, value, output, and the two matrices of the feed-forward part; then the heads.
    layer = 4 * 384 * 384 + 2 * 384 * 1536
    assert shapes == {"matrices": 6 * layer + 384 * (5 + 12 + 1), "layers": 6, "width": 384}


def test_made_articles_are_distinct_and_always_the_same():
    corpus = [Article(text="One.\n\nTwo.\n\nThree."), Article(text="Four.\n\nFive.")]
    made = list(BENCH["made_articles"](corpus, 50))
    assert len({article.text for article in made}) == 50 and made == list(BENCH["made_articles"](corpus, 50))


def test_memory_is_that_of_a_worker(tmp_path, monkeypatch):
    BENCH["main"](["--articles", "2", "--workers", "1", "--out", str(tmp_path)])
    figures = json.loads((tmp_path / "memory.json").read_text(encoding="utf-8"))
    assert figures["articles"] == 2 and 50e6 < figures["peak_bytes_of_a_worker"] < 2e9


def test_batches_of_the_baseline_keep_the_budget():
    rows = [BENCH["Row"](np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64)) for size in (10, 20, 30, 40, 200)]
    batches = list(BENCH["_batches"](rows, 100))
    assert [[len(row.ids) for row in batch] for batch in batches] == [[10, 20, 30], [40], [200]]
