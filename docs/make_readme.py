"""Fill README.md with what the commands print: the demo's table and the dev scores. `make report` runs it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SEED = "seeds/000_613e7597b781f811.txt"
ROWS = (
    ("extraction.quotes.f1_iou", "quotes found, content F1 at IoU ≥ 0.5"),
    ("attribution.matched.party", "party right, of quotes found"),
    ("stance.all.model.macro_f1", "stance, macro-F1"),
    ("stance.all.majority.macro_f1", "&nbsp; majority"),
    ("stance.all.party.macro_f1", "&nbsp; party of the speaker"),
    ("stance.all.tfidf.macro_f1", "&nbsp; TF-IDF + logistic regression"),
    ("stance.divergent.model.accuracy", "stance where it is not the party's own, accuracy"),
    ("stance.divergent.party.accuracy", "&nbsp; party of the speaker"),
    ("stance.divergent.tfidf.accuracy", "&nbsp; TF-IDF + logistic regression"),
    ("toward.pooled.model.macro_f1", "attitude toward each party, macro-F1"),
    ("end_to_end.f1_party_stance", "found, with right party and right stance, F1"),
)


def demo() -> str:
    """The table of the demo, as it prints where no terminal is."""
    command = [sys.executable, "-m", "onrecord", "analyze", SEED, "--date", "2021-11-08"]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.rstrip()


def scores() -> str:
    """The headline scores of docs/dev/metrics.json as a Markdown table."""
    metrics = json.loads((ROOT / "docs/dev/metrics.json").read_text(encoding="utf-8"))["scores"]
    lines = ["| measure | value [95 %] | n |", "|---|---|---|"]
    for key, words in ROWS:
        score = metrics[key]
        lines.append(f"| {words} | {score['value']:.3f} [{score['low']:.3f}, {score['high']:.3f}] | {score['n']} |")
    return "\n".join(lines)


def filled(text: str) -> str:
    """`text` with both blocks made anew."""
    for name, block in (("demo", f"```\n{demo()}\n```"), ("scores", scores())):
        text = re.sub(
            rf"<!-- {name} -->.*?<!-- /{name} -->",
            lambda _, name=name, block=block: f"<!-- {name} -->\n{block}\n<!-- /{name} -->",
            text,
            flags=re.DOTALL,
        )
    return text


if __name__ == "__main__":
    path = ROOT / "README.md"
    path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
