"""Automatic differentiation: a tape recorded by `jitcore.dispatch`, played backwards by `engine`.

Names are loaded on first use, as `dispatch` itself imports `autograd.tape`.
"""

from typing import TYPE_CHECKING, Any

from ..paths import add_paths

if TYPE_CHECKING:
    from .engine import backward, grad
    from .function import Function, once_differentiable
    from .gradcheck import gradcheck, gradgradcheck
    from .graph import detect_anomaly, set_detect_anomaly
    from .modes import enable_grad, inference_mode, is_grad_enabled, no_grad, set_grad_enabled

_HOMES = {
    "set_detect_anomaly": "graph", "detect_anomaly": "graph", "is_anomaly_enabled": "graph",
    "backward": "engine", "grad": "engine", "Function": "function", "once_differentiable": "function",
    "gradcheck": "gradcheck", "gradgradcheck": "gradcheck", "no_grad": "modes", "enable_grad": "modes",
    "set_grad_enabled": "modes", "inference_mode": "modes", "is_grad_enabled": "modes",
}  # fmt: skip


_MODULES = ("functional", "graph")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        from importlib import import_module

        return import_module(f".{name}", __name__)
    if name == "forward_ad":
        from ..missing import MissingError

        raise MissingError(
            "autograd.forward_ad is not offered by jitcore; the nearest is jitcore.func.jvp or linearize"
        )
    if name == "Variable":  # PyTorch's old name of a tensor on the tape
        from ..legacy import Variable

        return Variable
    if name not in _HOMES:
        raise AttributeError(f"module 'jitcore.autograd' has no attribute {name!r}")
    from importlib import import_module

    found = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = found
    return found


add_paths(__name__)

__all__ = [
    "Function", "backward", "detect_anomaly", "enable_grad", "grad", "gradcheck", "gradgradcheck", "inference_mode",
    "is_grad_enabled", "no_grad", "once_differentiable", "set_detect_anomaly", "set_grad_enabled",
]  # fmt: skip
