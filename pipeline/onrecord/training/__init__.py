"""Config + corpus → model folder with its card; the only user of torch, Trainer and ONNX export."""

from onrecord.training.nets import TrainingError, find_base
from onrecord.training.run import train

__all__ = ["TrainingError", "find_base", "train"]
