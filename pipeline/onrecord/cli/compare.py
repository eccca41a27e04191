"""`onrecord compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onrecord.cli.common import deliver, letters


def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="Folder that `onrecord evaluate --out` wrote.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another one, of the same gold.")],
    everything: Annotated[bool, typer.Option("--all", help="All measures, not only the chief ones.")] = False,
    out: Annotated[Path | None, typer.Option(help="Markdown file to write; the terminal by default.")] = None,
) -> None:
    """Tell whether run B is better than run A: paired bootstrap and permutation test over articles.

    Refuses runs on unlike gold or by unlike versions of the metrics.

    Example:

        onrecord compare out/old out/new
    """
    with letters():
        from onrecord.evaluation.compare import compare as run
        from onrecord.evaluation.compare import compare_markdown

        deliver(compare_markdown(run(first, second, everything=everything), first, second), out)
