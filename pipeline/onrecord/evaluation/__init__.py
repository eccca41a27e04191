"""Gold × the shipped pipeline → matches, figures with intervals, baselines, and where in the chain a statement was lost.

statistics: counts → scores; matching and predictions: gold beside answers; measures: every figure, once; baselines,
calibration, cascade, slices, polnear: what stands beside them; run: all of it; tables, pictures, report: as files.
"""

from onrecord.evaluation.matching import MIN_IOU, match
from onrecord.evaluation.measures import STAGES
from onrecord.evaluation.report import markdown, write_evaluation
from onrecord.evaluation.run import Evaluation, evaluate
from onrecord.evaluation.statistics import METRICS_VERSION, Score, accuracy, bootstrap, f1, macro_f1

__all__ = [
    "METRICS_VERSION",
    "MIN_IOU",
    "STAGES",
    "Evaluation",
    "Score",
    "accuracy",
    "bootstrap",
    "evaluate",
    "f1",
    "macro_f1",
    "markdown",
    "match",
    "write_evaluation",
]
