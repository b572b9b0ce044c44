"""The kernel of `custom_call`: what the user has registered."""

from __future__ import annotations

from typing import Any

import numpy as np

from jitcore_ir import ops
from jitcore_ir.custom_call import read_arguments, read_results
from jitcore_ir.dtypes import DType
from jitcore_ir.spec import OpSpec

from ..custom import registered
from .floating import Kernel


def custom_call(*xs: np.ndarray, name: str, version: int, arguments: str, dtype: DType, **types: Any) -> np.ndarray:
    """Of several results, those of `dtype`, flattened and side by side."""
    results = read_results(**types)
    made = registered(name, version).run(xs, read_arguments(arguments), results)
    if len(made) == 1:
        return made[0]
    chosen = [array.reshape(-1) for array, type in zip(made, results) if type.dtype is dtype]
    return np.concatenate(chosen)


KERNELS: dict[OpSpec, Kernel] = {ops.CUSTOM_CALL: custom_call}
