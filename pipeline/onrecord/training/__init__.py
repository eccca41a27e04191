"""Config + corpus → model folder with its card; the only user of torch, Trainer and ONNX export."""

from onrecord.training.curve import CurvePoint, curve_markdown, learning_curve
from onrecord.training.nets import TrainingError, find_base
from onrecord.training.run import train

__all__ = ["CurvePoint", "TrainingError", "curve_markdown", "find_base", "learning_curve", "train"]
