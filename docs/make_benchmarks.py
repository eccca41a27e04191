"""Write docs/benchmarks.md from the files that `onrecord benchmark` left in docs/benchmarks. `make benchmarks` runs it."""

from __future__ import annotations

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Name of the config → the setting that names the data.
DATA = {"newsmtsc": "data.path=FOLDER", "tweeteval-stance": "data.path=FILE", "polnear": "corpus=FILE"}
HEAD = """# Public benchmarks

Each model was trained and scored by the commands above its table, from the data sets' original files, which the project
does not hold. Our figures are on the part that is named: it was never trained on, and a part of train chose the epoch. Published
figures are on the data's own test parts, which are not at hand: they stand beside ours for scale, not as a duel. Intervals: 95 %,
bootstrap over texts. *Each span* counts the spans of a torn part one by one, as taggers in papers are scored. `make benchmarks BENCHMARKS=FOLDER` makes all of this again.
"""


def page() -> str:
    """The whole page: a section for each benchmark that was run, and the names of those that were not."""
    parts, missing = [HEAD], []
    for name, data in DATA.items():
        folder = ROOT / "docs/benchmarks" / name
        if not (folder / "metrics.json").is_file():
            missing.append(name)
            continue
        result = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        fit = result["trained"]["fit"]
        below = [
            f"{measure} {result['scores'][measure]['value']:.3f}"
            for measure, aim in result["aims"].items()
            if result["scores"][measure]["value"] < aim
        ]
        verdict = f"Below the aim: {', '.join(below)}." if below else "Every aim is met."
        config = f"configs/benchmarks/{name}.yaml"
        taught = result["trained"].get("teachers", [])
        # What a config goes on from, or learns from, is trained first.
        before = [
            path.name for end in ("mpnet", "first") for path in [ROOT / f"configs/benchmarks/{name}-{end}.yaml"] if path.is_file()
        ]
        first = "".join(f"onrecord train configs/benchmarks/{config_name} {data}\n" for config_name in before)
        base = result["trained"]["base"] + (f", taught by {' and '.join(taught)}" if taught else "")
        parts.append(
            f"## {result['benchmark']}\n\n"
            f"```\n{first}onrecord train {config} {data}\nonrecord benchmark {config} {data} --out docs/benchmarks/{name}\n```\n\n"
            f"{(folder / 'report.md').read_text(encoding='utf-8')}\n"
            f"Base {base}, {fit['steps']} of {fit['planned_steps']} steps, "
            f"{fit['tokens_per_second']:.0f} tokens a second. {verdict}\n"
        )
    if missing:
        parts.append(f"Not run yet: {', '.join(missing)}.\n")
    return "\n".join(parts)


if __name__ == "__main__":
    (ROOT / "docs/benchmarks.md").write_text(page(), encoding="utf-8")
