"""`SCALARS`: the body of every elementwise operation but `cast`, shared by the CPU and CUDA printers."""

from jitcore_ir import OpSpec

from .basic import BASIC, Body
from .builder import Scalar, ScalarBuilder
from .error import ERROR
from .exponential import EXPONENTIAL
from .logarithm import LOGARITHM
from .trigonometric import TRIGONOMETRIC

SCALARS: dict[OpSpec, Body] = {**BASIC, **EXPONENTIAL, **LOGARITHM, **TRIGONOMETRIC, **ERROR}

__all__ = ["SCALARS", "Body", "Scalar", "ScalarBuilder"]
