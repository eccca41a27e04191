"""Config + corpus → model folder with its card; the only user of torch, Trainer and ONNX export."""

from onrecord.training.curve import CurvePoint, curve_markdown, learning_curve
from onrecord.training.fitting import FitSummary, Progress
from onrecord.training.nets import NotFetched, TrainingError, find_base
from onrecord.training.run import Trained, export_run, load_training, train
from onrecord.training.studies import StudyRun, cross_validate, study_dict, study_markdown, train_seeds, tune

__all__ = [
    "CurvePoint",
    "FitSummary",
    "NotFetched",
    "Progress",
    "StudyRun",
    "Trained",
    "TrainingError",
    "cross_validate",
    "curve_markdown",
    "export_run",
    "find_base",
    "learning_curve",
    "load_training",
    "study_dict",
    "study_markdown",
    "train",
    "train_seeds",
    "tune",
]
