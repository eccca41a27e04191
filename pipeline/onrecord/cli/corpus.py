"""`onrecord corpus`: check, split, describe, compare, import and export gold articles."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from onrecord.article import ArticleError
from onrecord.cli.common import EXIT_SOME_REJECTED, deliver, errors, letters

app = typer.Typer(no_args_is_help=True, help="Gold articles: check, split, describe, compare, import, export.")


@app.command("check")
def corpus_check(
    paths: Annotated[list[Path], typer.Argument(help="Gold files, or folders of them.")],
    conflict: Annotated[Path | None, typer.Option(help="Conflict config with the labels; the shipped one by default.")] = None,
) -> None:
    """Check every rule of the gold format and the codebook that a program can check; faults by file and line.

    Example:

        onrecord corpus check data/corpus

    Exit codes: 0 clean; 1 faults found; 2 nothing to check.
    """
    with letters():
        from onrecord.config import ConflictConfig, load, resource_root
        from onrecord.corpus import Labels, check

        labels = load(conflict or resource_root() / "configs/conflicts/south-caucasus.yaml", ConflictConfig)
        problems = check(paths, Labels(labels.party_labels, labels.stance_labels, labels.targets))
    for problem in problems:
        typer.echo(str(problem))
    if problems:
        errors.print(f"{len(problems)} faults")
        raise typer.Exit(EXIT_SOME_REJECTED)
    typer.echo("clean")


@app.command("split")
def corpus_split(corpus: Annotated[Path, typer.Argument(help="Corpus folder.")] = Path("data/corpus")) -> None:
    """Give new articles a side (train, dev, test) by story and freeze it; articles that have one keep it."""
    with letters():
        from onrecord.corpus import split_corpus

        for name, count in split_corpus(corpus).items():
            typer.echo(f"{name}: {count} articles")


@app.command("stats")
def corpus_stats(
    corpus: Annotated[Path, typer.Argument(help="Corpus folder.")] = Path("data/corpus"),
    out: Annotated[Path | None, typer.Option(help="File to write, .md or .html; the terminal by default.")] = None,
) -> None:
    """Describe a corpus: sizes, shares, variety, near pairs, near duplicates.

    Example:

        onrecord corpus stats data/corpus --out stats.html
    """
    with letters():
        from onrecord.corpus import read_corpus, read_splits
        from onrecord.corpus.stats import corpus_stats as describe
        from onrecord.corpus.stats import stats_markdown
        from onrecord.reports import stats_page, stats_tables

        splits = {name: entry["split"] for name, entry in read_splits(corpus).items()}
        stats = describe(read_corpus([corpus / "articles"]), splits)
        if out is None:
            console = Console(highlight=False)
            for table in stats_tables(stats):
                console.print(table)
        elif out.suffix.lower() in (".html", ".md"):
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(stats_page(stats) if out.suffix.lower() == ".html" else stats_markdown(stats), encoding="utf-8")
            errors.print(f"wrote {escape(str(out))}")
        else:
            raise ArticleError(f"--out {out}: end it in .md or .html")


@app.command("agreement")
def corpus_agreement(
    first: Annotated[Path, typer.Argument(help="Folder of gold files.")],
    second: Annotated[Path, typer.Argument(help="Folder of other annotations of the same texts.")],
    conflict: Annotated[Path | None, typer.Option(help="Conflict config with the labels; the shipped one by default.")] = None,
    out: Annotated[Path | None, typer.Option(help="Markdown file to write; the terminal by default.")] = None,
) -> None:
    """Compare two annotations: span F1, and Krippendorff's alpha for party, stance and toward, with intervals.

    Example:

        onrecord corpus agreement data/annotations/first data/annotations/second
    """
    with letters():
        from onrecord.config import ConflictConfig, load, resource_root
        from onrecord.corpus import read_corpus
        from onrecord.corpus.agreement import agreement, agreement_markdown

        labels = load(conflict or resource_root() / "configs/conflicts/south-caucasus.yaml", ConflictConfig)
        result = agreement(read_corpus([first]), read_corpus([second]), labels.stance_labels, labels.targets)
        deliver(agreement_markdown(result), out)


class CorpusFormat(StrEnum):
    """Formats of other annotation tools."""

    brat = "brat"
    label_studio = "label-studio"
    conll = "conll"
    datasets = "datasets"


@app.command("export")
def corpus_export(
    corpus: Annotated[Path, typer.Argument(help="Gold file, or folder of them.")],
    out: Annotated[Path, typer.Argument(help="File to write; for brat a folder.")],
    format: Annotated[CorpusFormat, typer.Option(help="brat, label-studio (JSON), conll (CoNLL-U) or datasets (Parquet).")],
    allow_loss: Annotated[bool, typer.Option("--allow-loss", help="Write although the format can't carry everything.")] = False,
) -> None:
    """Write gold articles in another tool's format; stops and says so where something would be lost.

    Example:

        onrecord corpus export data/corpus/articles corpus.parquet --format datasets
    """
    with letters():
        from onrecord.corpus import read_corpus
        from onrecord.corpus.formats import export_corpus

        articles = read_corpus([corpus])
        lost = export_corpus(articles, format.value, out, allow_loss=allow_loss)
        errors.print(f"wrote {len(articles)} articles to {escape(str(out))}" + (f"; lost: {'; '.join(lost)}" if lost else ""))


@app.command("import")
def corpus_import(
    source: Annotated[Path, typer.Argument(help="File or folder in the other format.")],
    out: Annotated[Path, typer.Argument(help="Folder for gold files.")],
    format: Annotated[CorpusFormat, typer.Option(help="brat (also PolNeAR), label-studio, conll or datasets.")],
) -> None:
    """Read gold articles from another tool's format and write gold files.

    Example:

        onrecord corpus import polnear/ gold/ --format brat
    """
    with letters():
        from onrecord.corpus import write_gold
        from onrecord.corpus.formats import import_corpus

        articles = import_corpus(format.value, source)
        out.mkdir(parents=True, exist_ok=True)
        for gold in articles:
            write_gold(gold, out / f"{gold.article.id}.xml")
        errors.print(f"wrote {len(articles)} articles with {sum(len(g.quotes) for g in articles)} quotes to {escape(str(out))}")
