"""Optimizers, with PyTorch's names and update rules."""

from . import lr_scheduler, swa_utils
from .adagrad import Adadelta, Adagrad, RMSprop
from .adam import Adam, Adamax, AdamW, NAdam, RAdam
from .lbfgs import LBFGS
from .optimizer import Optimizer
from .rprop import Rprop
from .sgd import ASGD, SGD

__all__ = [
    "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "ASGD", "LBFGS", "lr_scheduler", "NAdam", "Optimizer", "RAdam",
    "RMSprop", "Rprop", "SGD", "swa_utils",
]  # fmt: skip
