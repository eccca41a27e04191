"""`onrecord evaluate`."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.progress import track

from onrecord.article import ArticleError
from onrecord.cli.common import errors, letters

if TYPE_CHECKING:
    from onrecord.corpus import GoldArticle


class Stage(StrEnum):
    """What may be scored by itself."""

    extraction = "extraction"
    attribution = "attribution"
    stance = "stance"
    toward = "toward"
    end_to_end = "end-to-end"


class GoldFormat(StrEnum):
    """How gold is written."""

    gold = "gold"
    brat = "brat"
    label_studio = "label-studio"
    conll = "conll"
    datasets = "datasets"


def evaluate(
    gold: Annotated[list[Path], typer.Option(help="Gold files, or folders of them; may be repeated.")],
    split: Annotated[str | None, typer.Option(help="Only this split of a corpus folder: train, dev or test.")] = None,
    stage: Annotated[list[Stage] | None, typer.Option(help="What to score; may be repeated. All by default.")] = None,
    model: Annotated[
        list[Path] | None,
        typer.Option(help="Model folder that takes the place of the config's extraction or stance model; may be repeated."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="The analyze config to score; the shipped one by default.")] = None,
    train: Annotated[
        Path | None,
        typer.Option(
            help="Corpus folder whose train split the baselines learn from; that of --gold, or the shipped one, by default."
        ),
    ] = None,
    format: Annotated[
        GoldFormat, typer.Option(help="Format of --gold; others than gold as `corpus import` reads them.")
    ] = GoldFormat.gold,
    limit: Annotated[int | None, typer.Option(min=1, help="Score only the first so many articles; the report says so.")] = None,
    counterfactual: Annotated[
        bool,
        typer.Option("--counterfactual", help="Also swap the parties' names in the texts and see whether stances follow them."),
    ] = False,
    ablation: Annotated[
        bool,
        typer.Option("--ablation", help="Also read the stances from other input: the quote alone, no party, a prior."),
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for metrics.json, predictions.parquet, report.md and report.html.")
    ] = None,
    title: Annotated[str, typer.Option(help="Heading of the report.")] = "Evaluation",
) -> None:
    """Score the pipeline as users run it on gold articles, beside its baselines.

    Examples:

        onrecord evaluate --gold data/corpus --split dev --out docs/dev

        onrecord evaluate --gold my-gold-folder

        onrecord evaluate --gold data/corpus --split dev --stage stance --model out/models/stance --out out/mine
    """
    with letters():
        from onrecord.analyzer import Analyzer
        from onrecord.evaluation import STAGES, markdown, write_evaluation
        from onrecord.evaluation import evaluate as run

        articles = _gold(gold, split, format)
        analyzer = Analyzer.load(config, _overrides(model or []))
        result = run(
            analyzer,
            articles,
            _train(gold, train),
            lambda items: track(items, "scoring", console=errors, transient=True),
            stages=[chosen.value for chosen in stage or []] or STAGES,
            limit=limit,
            swap_parties=counterfactual,
            ablate=ablation,
        )
        command = _command(gold, split, stage or [], model or [], config, format, limit)
        command += (" --counterfactual" if counterfactual else "") + (" --ablation" if ablation else "")
        if out is None:
            typer.echo(markdown(result, title, command))
            return
        files = write_evaluation(result, out, title, command, _shown(analyzer.settings.model_dump(mode="json")))
        errors.print("wrote " + escape(", ".join(str(path) for path in files)))


def _gold(paths: list[Path], split: str | None, format: GoldFormat) -> list[GoldArticle]:
    from onrecord.corpus import read_corpus, read_split
    from onrecord.corpus.formats import import_corpus

    if format is not GoldFormat.gold:
        if split is not None:
            raise ArticleError(f"--split {split}: only corpus folders in the gold format have splits; leave it out")
        return [article for path in paths for article in import_corpus(format.value, path)]
    if split is None:
        return read_corpus(paths)
    articles = [article for folder in paths for article in read_split(folder, split)]
    if not articles:
        raise ArticleError(f"--split {split}: no article of this split; splits are train, dev and test")
    return articles


def _train(gold: list[Path], train: Path | None) -> list[GoldArticle]:
    """Train articles: of the folder named, else of the gold folders that have splits, else of the project's own corpus."""
    from onrecord.config import resource_root
    from onrecord.corpus import read_split

    if train is not None:
        return read_split(train, "train")
    folders = [folder for folder in gold if (folder / "splits.json").is_file()]
    shipped = resource_root() / "data/corpus"
    if not folders and (shipped / "splits.json").is_file():
        folders = [shipped]
    return [article for folder in folders for article in read_split(folder, "train")]


def _overrides(folders: list[Path]) -> list[str]:
    """The settings of the analyze config that the model folders replace, told by what a folder's own settings hold."""
    from onrecord.inference import ModelError, load_model

    chosen: dict[str, Path] = {}
    for folder in folders:
        settings = load_model(folder, 1).settings
        kinds = [name for name, mark in (("extraction_model", "link_bias"), ("stance_model", "stances")) if mark in settings]
        if not kinds:
            raise ModelError(
                f"--model {folder}: neither an extraction nor a stance model; name a folder that `onrecord train` wrote"
            )
        if kinds[0] in chosen:
            raise ModelError(
                f"--model {folder}: {chosen[kinds[0]]} is the {kinds[0].replace('_', ' ')} already; give one of each kind"
            )
        chosen[kinds[0]] = folder
    # A path in quotes is YAML whatever it holds; from the root, since those of a config count from its own project.
    return [f"{setting}={json.dumps(str(folder.resolve()))}" for setting, folder in chosen.items()]


def _command(
    gold: list[Path],
    split: str | None,
    stages: list[Stage],
    models: list[Path],
    config: Path | None,
    format: GoldFormat,
    limit: int | None,
) -> str:
    parts = ["onrecord evaluate", *(f"--gold {path}" for path in gold)]
    parts += [f"--split {split}"] if split else []
    parts += [f"--format {format.value}"] if format is not GoldFormat.gold else []
    parts += [f"--stage {stage.value}" for stage in stages]
    parts += [f"--model {path}" for path in models]
    parts += [f"--config {config}"] if config else []
    parts += [f"--limit {limit}"] if limit else []
    return " ".join(parts)


def _shown(settings: dict[str, object]) -> dict[str, object]:
    """Settings as a report shows them: paths below this folder without what leads to it."""
    here = f"{Path.cwd()}/"
    return {name: value.removeprefix(here) if isinstance(value, str) else value for name, value in settings.items()}
