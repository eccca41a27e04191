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
    ("extraction", "F1 (IoU ≥ 0.5)", "quotes found, content F1 at IoU ≥ 0.5"),
    ("attribution", "party right, of matched", "party right, of quotes found"),
    ("stance", "macro-F1, model", "stance, macro-F1"),
    ("stance", "macro-F1, majority", "&nbsp; majority"),
    ("stance", "macro-F1, party of the speaker", "&nbsp; party of the speaker"),
    ("stance", "macro-F1, TF-IDF + logistic regression", "&nbsp; TF-IDF + logistic regression"),
    ("stance", "accuracy on divergent quotes, model", "stance where it is not the party's own, accuracy"),
    ("stance", "accuracy on divergent quotes, party of the speaker", "&nbsp; party of the speaker"),
    (
        "stance",
        "accuracy on divergent quotes, TF-IDF + logistic regression",
        "&nbsp; TF-IDF + logistic regression",
    ),
    ("toward", "macro-F1, pooled", "attitude toward each party, macro-F1"),
    ("end to end", "F1 of quotes found with the right party and stance", "found, with right party and right stance, F1"),
)


def demo() -> str:
    """The table of the demo, as it prints where no terminal is."""
    command = [sys.executable, "-m", "onrecord", "analyze", SEED, "--date", "2021-11-08"]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.rstrip()


def scores() -> str:
    """The headline scores of docs/dev/metrics.json as a Markdown table."""
    metrics = json.loads((ROOT / "docs/dev/metrics.json").read_text(encoding="utf-8"))["scores"]
    lines = ["| measure | value [95 %] | n |", "|---|---|---|"]
    for stage, name, words in ROWS:
        score = metrics[stage][name]
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
