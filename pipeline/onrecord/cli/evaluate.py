"""`onrecord evaluate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import track

from onrecord.article import ArticleError
from onrecord.cli.common import errors, letters


def evaluate(
    gold: Annotated[list[Path], typer.Option(help="Gold files, or folders of them.")],
    split: Annotated[str | None, typer.Option(help="Only this split of a corpus folder: train, dev or test.")] = None,
    config: Annotated[Path | None, typer.Option(help="The analyze config to score; the shipped one by default.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for report.md and metrics.json.")] = None,
    title: Annotated[str, typer.Option(help="Heading of the report.")] = "Evaluation",
) -> None:
    """Score the pipeline as users run it on gold articles, beside its baselines.

    Examples:

        onrecord evaluate --gold data/corpus --split dev --out docs/dev

        onrecord evaluate --gold my-gold-folder
    """
    with letters():
        from onrecord.analyzer import Analyzer
        from onrecord.corpus import read_corpus, read_split
        from onrecord.evaluation import evaluate as run
        from onrecord.evaluation import markdown

        train_articles = []
        if split is None:
            articles = read_corpus(gold)
        else:
            articles = [article for folder in gold for article in read_split(folder, split)]
            train_articles = [article for folder in gold for article in read_split(folder, "train")]
        if not articles:
            raise ArticleError(f"--split {split}: no article of this split; splits are train, dev and test")
        result = run(
            Analyzer.load(config),
            articles,
            train_articles if split != "train" else [],
            lambda items: track(items, "scoring", console=errors, transient=True),
        )
        command = "onrecord evaluate " + " ".join(f"--gold {path}" for path in gold) + (f" --split {split}" if split else "")
        report = markdown(result, title, command)
        if out:
            out.mkdir(parents=True, exist_ok=True)
            (out / "report.md").write_text(report, encoding="utf-8")
            (out / "metrics.json").write_text(json.dumps(result.as_dict(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            errors.print(f"wrote {out / 'report.md'} and {out / 'metrics.json'}")
        else:
            typer.echo(report)
