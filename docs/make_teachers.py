"""Print the table of docs/decisions/0006-teachers.md: stance models side by side, what each costs and how well it does on dev.

Start: python docs/make_teachers.py MODEL=METRICS…, each a model folder and the metrics.json that
`onrecord evaluate --gold data/corpus --split dev --stage stance --stage toward --model MODEL --out OUT` wrote.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from onrecord.corpus import read_split
from onrecord.inference import load_model
from onrecord.stance import StanceClassifier

ROOT = Path(__file__).resolve().parents[1]
COLUMNS = (
    "model",
    "base",
    "teachers",
    "trained on",
    "size",
    "quotes a second, one thread",
    "stance macro-F1, all",
    "accuracy, divergent",
    "toward macro-F1",
)


def row(folder: Path, metrics: Path) -> list[str]:
    """The cells of one model; speed is measured here, on dev."""
    model = load_model(folder, 1)
    settings = model.settings
    classifier = StanceClassifier(model)
    articles = read_split(ROOT / "data/corpus", "dev")
    start = time.perf_counter()
    for gold in articles:
        classifier.judge(gold.article.text, gold.quotes, [quote.party for quote in gold.quotes])
    speed = sum(len(gold.quotes) for gold in articles) / (time.perf_counter() - start)
    scores = json.loads(metrics.read_text(encoding="utf-8"))["scores"]

    def figure(key: str) -> str:
        score = scores[key]
        return f"{score['value']:.3f} [{score['low']:.3f}, {score['high']:.3f}]"

    return [
        model.name,
        Path(settings["training_config"]["base"]).name,
        ", ".join(settings.get("teachers", ())) or "–",
        f"{settings['train_articles']} articles",
        f"{(folder / 'model.onnx').stat().st_size / 1e6:.0f} MB",
        f"{speed:.0f}",
        figure("stance.all.model.macro_f1"),
        figure("stance.divergent.model.accuracy"),
        figure("toward.pooled.model.macro_f1"),
    ]


if __name__ == "__main__":
    pairs = [argument.split("=", 1) for argument in sys.argv[1:]]
    print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|")  # noqa: T201
    for folder, metrics in pairs:
        print("| " + " | ".join(row(Path(folder), Path(metrics))) + " |")  # noqa: T201
