"""The command line: argument reading and printing only."""

from __future__ import annotations

import datetime as dt
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TextIO

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn, track

from onrecord import __version__
from onrecord.article import ArticleError, Rejected, parse_date, read_articles
from onrecord.config import ConfigError
from onrecord.corpus import CorpusError
from onrecord.inference import ModelError
from onrecord.records import Article, RecordError, Statement, json_schema

EXIT_SOME_REJECTED = 1
EXIT_CANNOT_START = 2
EXIT_INTERRUPTED = 130

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Who said it, for whom, and whose position it voices.",
)
corpus_app = typer.Typer(no_args_is_help=True, help="Gold articles: check, split, compare.")
app.add_typer(corpus_app, name="corpus")

errors = Console(stderr=True, highlight=False, soft_wrap=True)


class Format(StrEnum):
    """What a run writes."""

    table = "table"
    jsonl = "jsonl"
    html = "html"


@contextmanager
def _letters() -> Iterator[None]:
    """Print a known fault as its own clear text and leave with exit code 2; anything else is a bug and shows."""
    try:
        yield
    except (ArticleError, ConfigError, CorpusError, ModelError, RecordError, FileNotFoundError) as error:
        errors.print(f"[bold red]error:[/] {escape(str(error))}")
        raise typer.Exit(EXIT_CANNOT_START) from error
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] in (
            "torch",
            "transformers",
            "datasets",
            "sklearn",
            "scipy",
            "krippendorff",
        ):
            errors.print(f"[bold red]error:[/] this command needs {error.name}: pip install 'onrecord\\[train]'")
            raise typer.Exit(EXIT_CANNOT_START) from error
        raise
    except KeyboardInterrupt as error:
        errors.print("interrupted")
        raise typer.Exit(EXIT_INTERRUPTED) from error
    except BrokenPipeError:
        # The reader of a pipe (head, less) has enough; that is no fault.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _version(show: bool) -> None:
    if show:
        typer.echo(f"onrecord {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    pass


@app.command()
def analyze(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH…", help="Text, HTML or .jsonl files, folders, or - for standard input.")
    ],
    date: Annotated[str | None, typer.Option(help="Date of articles that bring none, YYYY-MM-DD.")] = None,
    config: Annotated[Path | None, typer.Option(help="An analyze config; the shipped one by default.")] = None,
    format: Annotated[Format | None, typer.Option(help="table (default), jsonl or html.")] = None,
    out: Annotated[
        list[Path] | None,
        typer.Option(help="File to write; may be repeated. Without --format its ending decides, and the table is printed too."),
    ] = None,
) -> None:
    """Find who said what in articles, for which party, and whose position it voices.

    Examples:

        onrecord analyze article.txt --date 2021-11-08

        onrecord analyze articles/ --format jsonl --out statements.jsonl

        onrecord analyze page.html --out page-statements.html --out page.jsonl

        cat article.txt | onrecord analyze - --format jsonl

    Exit codes: 0 all inputs read; 1 some inputs were rejected, the others are done; 2 nothing could start
    (option, config or model); 130 interrupted.
    """
    with _letters():
        from onrecord.analyzer import Analyzer

        day = parse_date(date, "--date") if date else None
        outputs = _outputs(format, out or [])
        analyzer = Analyzer.load(config)
        rejected = _analyze(analyzer, paths, day, outputs)
    if rejected:
        errors.print(f"{rejected} input{'s' if rejected > 1 else ''} rejected; the rest is done")
        raise typer.Exit(EXIT_SOME_REJECTED)


def _outputs(format: Format | None, out: list[Path]) -> list[tuple[Format, Path | None]]:
    if not out:
        return [(format or Format.table, None)]
    if format is not None:
        return [(format, path) for path in out]
    endings = {".jsonl": Format.jsonl, ".html": Format.html, ".htm": Format.html, ".txt": Format.table}
    result: list[tuple[Format, Path | None]] = [(Format.table, None)]
    for path in out:
        if path.suffix.lower() not in endings:
            raise ArticleError(f"--out {path}: its ending tells no format; add --format, or end it in .jsonl, .html or .txt")
        result.append((endings[path.suffix.lower()], path))
    return result


def _analyze(analyzer, paths: list[str], day: dt.date | None, outputs: list[tuple[Format, Path | None]]) -> int:  # type: ignore[no-untyped-def]
    """Run and write all outputs; returns how many inputs were rejected."""
    from onrecord.reports import article_page, statement_table

    rejected = 0
    kept: list[tuple[Article, list[Statement]]] = []
    keep = any(format is Format.html for format, _ in outputs)
    with _streams(outputs) as streams, _progress() as progress:
        task = progress.add_task("analyzing", total=None)
        for item in read_articles(paths, sys.stdin.buffer, day):
            if isinstance(item, Rejected):
                rejected += 1
                errors.print(f"[yellow]rejected:[/] {escape(item.reason)}")
                continue
            statements = analyzer.analyze(item)
            progress.advance(task)
            if keep:
                kept.append((item, statements))
            for format, stream in streams:
                if format is Format.jsonl:
                    stream.writelines(statement.to_json() + "\n" for statement in statements)
                elif format is Format.table:
                    console = Console(file=stream, width=None if stream.isatty() else 150, highlight=False)
                    console.print(statement_table(statements, analyzer.conflict))
                    console.print(
                        f"{len(statements)} statements in {escape(item.title or item.id)}"
                        + ("" if item.date else " (no date: the registry is read as of today; give --date)"),
                    )
        for format, stream in streams:
            if format is Format.html:
                stream.write(article_page(kept, analyzer.conflict))
    for _, path in outputs:
        if path is not None:
            errors.print(f"wrote {escape(str(path))}")
    return rejected


@contextmanager
def _streams(outputs: list[tuple[Format, Path | None]]) -> Iterator[list[tuple[Format, TextIO]]]:
    """Open outputs; a file appears under its name only when it is whole, until then as `NAME.part`."""
    opened: list[tuple[Format, TextIO]] = []
    parts: list[tuple[Path, Path]] = []
    try:
        for format, path in outputs:
            if path is None:
                opened.append((format, sys.stdout))
                continue
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                part = path.with_name(path.name + ".part")
                opened.append((format, part.open("w", encoding="utf-8", newline="\n")))
            except OSError as error:
                raise ArticleError(f"--out {path}: can't be written: {error.strerror}") from error
            parts.append((part, path))
        yield opened
    finally:
        for _, stream in opened:
            if stream is not sys.stdout:
                stream.close()
    for part, path in parts:
        part.replace(path)


@contextmanager
def _progress() -> Iterator[Progress]:
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=errors,
        transient=True,
        disable=not (errors.is_terminal and not sys.stdout.isatty()),
    ) as progress:
        yield progress


@app.command()
def train(config: Annotated[Path, typer.Argument(help="A train-extraction or train-stance config.")]) -> None:
    """Train a model from a config and write its folder. The same command resumes an unfinished run.

    Example:

        onrecord train configs/train/stance.yaml
    """
    with _letters():
        import yaml

        from onrecord import training

        try:
            kind = yaml.safe_load(config.read_text(encoding="utf-8")).get("kind") if config.is_file() else None
        except (yaml.YAMLError, AttributeError, UnicodeDecodeError):
            kind = None
        try:
            folder = training.train(config, kind if kind == "train-extraction" else "train-stance")
        except training.TrainingError as error:
            raise ModelError(str(error)) from error
        typer.echo(f"wrote {folder}")


@app.command()
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
    with _letters():
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


@app.command()
def schema() -> None:
    """Print the JSON Schema of a statement line."""
    typer.echo(json.dumps(json_schema(), indent=1, ensure_ascii=False))


@corpus_app.command("check")
def corpus_check(
    paths: Annotated[list[Path], typer.Argument(help="Gold files, or folders of them.")],
    conflict: Annotated[Path | None, typer.Option(help="Conflict config with the labels; the shipped one by default.")] = None,
) -> None:
    """Check every rule of the gold format and the codebook that a program can check; faults by file and line.

    Example:

        onrecord corpus check data/corpus

    Exit codes: 0 clean; 1 faults found; 2 nothing to check.
    """
    with _letters():
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


@corpus_app.command("split")
def corpus_split(corpus: Annotated[Path, typer.Argument(help="Corpus folder.")] = Path("data/corpus")) -> None:
    """Give new articles a side (train, dev, test) by story and freeze it; articles that have one keep it."""
    with _letters():
        from onrecord.corpus import split_corpus

        for name, count in split_corpus(corpus).items():
            typer.echo(f"{name}: {count} articles")


@corpus_app.command("stats")
def corpus_stats(
    corpus: Annotated[Path, typer.Argument(help="Corpus folder.")] = Path("data/corpus"),
    out: Annotated[Path | None, typer.Option(help="File to write, .md or .html; the terminal by default.")] = None,
) -> None:
    """Describe a corpus: sizes, shares, variety, near pairs, near duplicates.

    Example:

        onrecord corpus stats data/corpus --out stats.html
    """
    with _letters():
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


@corpus_app.command("agreement")
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
    with _letters():
        from onrecord.config import ConflictConfig, load, resource_root
        from onrecord.corpus import read_corpus
        from onrecord.corpus.agreement import agreement, agreement_markdown

        labels = load(conflict or resource_root() / "configs/conflicts/south-caucasus.yaml", ConflictConfig)
        result = agreement(read_corpus([first]), read_corpus([second]), labels.stance_labels, labels.targets)
        if out is None:
            typer.echo(agreement_markdown(result))
        else:
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(agreement_markdown(result), encoding="utf-8")
            errors.print(f"wrote {escape(str(out))}")


class CorpusFormat(StrEnum):
    """Formats of other annotation tools."""

    brat = "brat"
    label_studio = "label-studio"
    conll = "conll"
    datasets = "datasets"


@corpus_app.command("export")
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
    with _letters():
        from onrecord.corpus import read_corpus
        from onrecord.corpus.formats import export_corpus

        articles = read_corpus([corpus])
        lost = export_corpus(articles, format.value, out, allow_loss=allow_loss)
        errors.print(f"wrote {len(articles)} articles to {escape(str(out))}" + (f"; lost: {'; '.join(lost)}" if lost else ""))


@corpus_app.command("import")
def corpus_import(
    source: Annotated[Path, typer.Argument(help="File or folder in the other format.")],
    out: Annotated[Path, typer.Argument(help="Folder for gold files.")],
    format: Annotated[CorpusFormat, typer.Option(help="brat (also PolNeAR), label-studio, conll or datasets.")],
) -> None:
    """Read gold articles from another tool's format and write gold files.

    Example:

        onrecord corpus import polnear/ gold/ --format brat
    """
    with _letters():
        from onrecord.corpus import write_gold
        from onrecord.corpus.formats import import_corpus

        articles = import_corpus(format.value, source)
        out.mkdir(parents=True, exist_ok=True)
        for gold in articles:
            write_gold(gold, out / f"{gold.article.id}.xml")
        errors.print(f"wrote {len(articles)} articles with {sum(len(g.quotes) for g in articles)} quotes to {escape(str(out))}")
