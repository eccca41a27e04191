"""`onrecord shares`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onrecord.cli.common import deliver, letters


def shares(
    pile: Annotated[
        Path, typer.Argument(help="Statements that `onrecord analyze --format jsonl` found in the articles asked about.")
    ],
    labelled: Annotated[Path, typer.Option(help="Folder that `onrecord evaluate --out` wrote on labelled articles like those.")],
    party: Annotated[list[str] | None, typer.Option(help="Party to report; may be repeated. All by default.")] = None,
    stance: Annotated[list[str] | None, typer.Option(help="Stance to report; may be repeated. All by default.")] = None,
    articles: Annotated[
        int | None, typer.Option(min=1, help="Articles that were analyzed; those with statements by default.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Markdown file to write; the terminal by default.")] = None,
) -> None:
    """Tell what part of a party's statements voices a stance, with intervals that know the models' errors.

    Example:

        onrecord analyze pile/ --format jsonl --out pile.jsonl

        onrecord shares pile.jsonl --labelled out/test
    """
    with letters():
        from onrecord.evaluation.shares import shares as run
        from onrecord.evaluation.shares import shares_markdown

        deliver(shares_markdown(run(labelled, pile, party or [], stance or [], articles), labelled, pile), out)
