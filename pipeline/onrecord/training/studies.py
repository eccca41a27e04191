"""Several trainings of one config: seeds, folds, and a search over settings. Each goes on where it was stopped."""

from __future__ import annotations

import json
import shutil
import statistics
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from onrecord.config import ConfigError, SearchSpace, TargetTrainConfig
from onrecord.corpus.splits import story_groups
from onrecord.records import stable_hash, write_whole
from onrecord.training.nets import TrainingError
from onrecord.training.run import Data, fit_run, read_data, train_run


@dataclass(frozen=True)
class StudyRun:
    """One training of a study: its name, the settings that set it apart, and its dev metric."""

    name: str
    settings: dict[str, Any]
    selection: float


Done = Callable[[StudyRun], None]


def train_seeds(path: Path, config: Any, count: int, done: Done) -> list[StudyRun]:
    """Train `count` models whose seeds follow the config's, each in a folder named for its seed beside the config's output.

    Args:
        path: The YAML that relative paths in `config` count from.
        config: A training config of any kind.
        count: How many.
        done: Called after each.

    Raises:
        TrainingError: as `train_run`.
    """
    runs = []
    data = read_data(path, config)
    for seed in range(config.optimizer.seed, config.optimizer.seed + count):
        output = config.output.with_name(f"{config.output.name}-seed{seed}")
        own = config.model_copy(update={"optimizer": config.optimizer.model_copy(update={"seed": seed}), "output": output})
        trained = train_run(path, own, f"{path.stem}-seed{seed}", data=data)
        runs.append(StudyRun(f"seed {seed}", {"optimizer.seed": seed}, trained.summary.selection or 0.0))
        done(runs[-1])
    return runs


def cross_validate(path: Path, config: Any, folds: int, out: Path, done: Done) -> list[StudyRun]:
    """Fit `folds` times, each time choosing and scoring on another part of train and dev; test is not touched.

    Articles of one story, or that share an invented speaker, stay together; of labelled texts, those with the same
    text. The metric is that of the best epoch on the fold, so it is somewhat higher than on unseen data.

    Args:
        path: The YAML that relative paths in `config` count from.
        config: A training config of any kind.
        folds: How many parts.
        out: Folder for one JSON file a fold and for checkpoints while they are needed.
        done: Called after each fold.

    Raises:
        TrainingError: as `train_run`, or when there are fewer stories than folds.
    """
    data = read_data(path, config)
    groups = _groups(config, [item for side in ("train", "dev") for item in data.splits[side]])
    if len(groups) < folds:
        raise TrainingError(f"{len(groups)} stories can't make {folds} folds; ask for fewer")
    parts: list[list[Any]] = [[] for _ in range(folds)]
    for group in sorted(groups, key=lambda group: -len(group)):
        min(parts, key=len).extend(group)
    own = config.model_copy(update={"checkpoints": (out / "checkpoints").resolve()})
    runs = []
    for number, part in enumerate(parts, start=1):
        rest = [item for other in parts if other is not part for item in other]
        fold = Data({"train": rest, "dev": part}, f"{data.digest}-{number}-of-{folds}")
        name = f"{path.stem}-fold{number}of{folds}"
        selection = recorded(out / f"{name}.json", _fingerprint(own, fold), lambda: _score(path, own, name, fold))  # noqa: B023
        runs.append(StudyRun(f"fold {number} of {folds}", {"dev": len(part), "train": len(rest)}, selection))
        shutil.rmtree(own.checkpoints / name, ignore_errors=True)
        done(runs[-1])
    return runs


def tune(path: Path, config: Any, trials: int, out: Path, done: Done) -> list[StudyRun]:
    """Search the config's `search` space for the best dev metric (Optuna's tree-structured Parzen estimator).

    Args:
        path: The YAML that relative paths in `config` count from.
        config: A training config with a `search` section.
        trials: How many settings are tried in all; those that `out` holds count.
        out: Folder for the study (`study.sqlite`) and for checkpoints while they are needed.
        done: Called after each trial.

    Returns:
        All trials, best first.

    Raises:
        ConfigError: when the space is empty, or a name or value in it does not fit the config.
        TrainingError: as `train_run`.
    """
    import optuna

    if not config.search:
        raise ConfigError(f"{path}: `search` is empty; give settings and their ranges, as configs/benchmarks/newsmtsc.yaml does")
    _check_space(path, config)
    data = read_data(path, config)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    out.mkdir(parents=True, exist_ok=True)
    plain = config.model_dump(mode="json", exclude={"checkpoints", "output", "benchmark"})
    study = optuna.create_study(
        storage=f"sqlite:///{(out / 'study.sqlite').resolve()}",
        study_name=f"{path.stem}-{stable_hash(plain, data.digest)}",
        direction="maximize",
        load_if_exists=True,
    )
    # A process that died left its trial as running: the same settings are tried again, from their checkpoint.
    for trial in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        study.enqueue_trial(trial.params)
    own = config.model_copy(update={"checkpoints": (out / "checkpoints").resolve()})
    finished = study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    study.sampler = optuna.samplers.TPESampler(seed=config.optimizer.seed + len(study.trials))
    for _ in range(trials - len(finished)):
        trial = study.ask()
        chosen = {name: _drawn(trial, name, space) for name, space in config.search.items()}
        name = f"{path.stem}-{stable_hash(chosen)}"
        selection = _score(path, changed(path, own, chosen), name, data)
        study.tell(trial, selection)
        shutil.rmtree(own.checkpoints / name, ignore_errors=True)
        done(StudyRun(f"trial {trial.number}", chosen, selection))
    complete = study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    runs = [StudyRun(f"trial {trial.number}", trial.params, float(trial.value or 0.0)) for trial in complete]
    return sorted(runs, key=lambda run: -run.selection)


def changed(path: Path, config: Any, settings: dict[str, Any]) -> Any:
    """`config` with settings named with dots set anew, checked like a file.

    Raises:
        ConfigError: when a name or value does not fit.
    """
    plain = config.model_dump(mode="json")
    for name, value in settings.items():
        *sections, field = name.split(".")
        place = plain
        for section in sections:
            place = place.get(section) if isinstance(place, dict) else None
        if not isinstance(place, dict):
            raise ConfigError(f"{path}: search: `{name}` is not a setting of this config")
        place[field] = value
    try:
        return type(config).model_validate(plain)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise ConfigError(f"{path}: search: {faults}") from error


def study_markdown(runs: list[StudyRun]) -> str:
    """The runs as a table, and mean and spread of their dev metric."""
    lines = ["| run | settings | dev metric |", "|---|---|---|"]
    for run in runs:
        parts = [f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in run.settings.items()]
        chosen = ", ".join(parts)
        lines.append(f"| {run.name} | {chosen} | {run.selection:.4f} |")
    values = [run.selection for run in runs]
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    span = f"{min(values):.4f} to {max(values):.4f}"
    lines += ["", f"Mean {statistics.mean(values):.4f}, standard deviation {spread:.4f}, {span}, n = {len(values)}."]
    return "\n".join(lines) + "\n"


def study_dict(runs: list[StudyRun]) -> dict[str, Any]:
    """The runs as plain data with stable keys."""
    values = [run.selection for run in runs]
    return {
        "runs": [asdict(run) for run in runs],
        "mean": statistics.mean(values),
        "standard_deviation": statistics.stdev(values) if len(values) > 1 else 0.0,
    }


def _groups(config: Any, items: list[Any]) -> list[list[Any]]:
    if not isinstance(config, TargetTrainConfig):
        return story_groups(items)
    by_text: dict[str, list[Any]] = {}
    for row in items:
        by_text.setdefault(row.item.text, []).append(row)
    return list(by_text.values())


def _check_space(path: Path, config: Any) -> None:
    """Try both ends of every range and every choice on the config, so that a fault shows before anything is trained."""
    for name, space in config.search.items():
        for value in _ends(space):
            changed(path, config, {name: value})


def _ends(space: SearchSpace) -> Iterator[Any]:
    if space.choices:
        yield from space.choices
    elif space.low is not None and space.high is not None:
        yield from ((int(space.low), int(space.high)) if space.whole else (space.low, space.high))


def _drawn(trial: Any, name: str, space: SearchSpace) -> Any:
    if space.choices:
        return trial.suggest_categorical(name, list(space.choices))
    if space.whole:
        return trial.suggest_int(name, int(space.low or 0), int(space.high or 0), log=space.log)
    return trial.suggest_float(name, space.low, space.high, log=space.log)


def _score(path: Path, config: Any, name: str, data: Data) -> float:
    selection = fit_run(path, config, name, data).selection
    if selection is None:
        raise TrainingError(f"{name}: training ended without a dev metric; is dev empty?")
    return selection


def _fingerprint(config: Any, data: Data) -> str:
    return stable_hash(config.model_dump(mode="json", exclude={"output", "checkpoints", "search", "benchmark"}), data.digest)


def recorded(mark: Path, fingerprint: str, compute: Callable[[], Any]) -> Any:
    """The result that `mark` holds for the same config and data, or a new one, which is then stored; a JSON value."""
    known = json.loads(mark.read_text(encoding="utf-8")) if mark.is_file() else {}
    if known.get("fingerprint") == fingerprint:
        return known["result"]
    result = compute()
    mark.parent.mkdir(parents=True, exist_ok=True)
    write_whole(mark, json.dumps({"fingerprint": fingerprint, "result": result}, indent=1))
    return result
