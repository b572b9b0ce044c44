"""`jitcore.jit`: our decorator, and the names of `torch.jit` that model code marks itself with.

`@jitcore.jit` compiles by recording (see `jit_function`), so annotations for a script compiler have nothing to do:
`script`, `ignore`, `unused`, `export` and the like give back what they are given. This module can be called, and so
`jitcore.jit(f)`, `import jitcore.jit` and `from jitcore.jit import script` all mean what they say.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import Any, Final, NoReturn

from .jit_function import JitFunction, JitWarning
from .jit_function import jit as _jit
from .nn.module import Module

ScriptModule = Module
ScriptFunction = JitFunction


def script(obj: Any, optimize: Any = None, _frames_up: int = 0, _rcb: Any = None, example_inputs: Any = None) -> Any:
    """obj itself: it runs as the Python it is. Use `jitcore.jit` to compile it."""
    return obj


def trace(func: Any, example_inputs: Any = None, *arguments: Any, **options: Any) -> Any:
    """`jitcore.jit(func)`, run once on the examples: unlike PyTorch's trace it records again where a branch differs."""
    compiled = func if isinstance(func, JitFunction) else _jit(func)
    if example_inputs is not None:
        compiled(*example_inputs) if isinstance(example_inputs, tuple | list) else compiled(example_inputs)
    return compiled


def ignore(drop: Any = False, **options: Any) -> Any:
    """Decorator that changes nothing, with or without arguments."""
    return drop if callable(drop) else lambda function: function


def script_if_tracing(function: Callable) -> Callable:
    """function itself."""
    return function


unused = export = script_method = interface = script_if_tracing


def is_scripting() -> bool:
    """False: there is no script compiler."""
    return False


def is_tracing() -> bool:
    """False: recordings keep branches apart, so that code needs no special path for them."""
    return False


def annotate(the_type: Any, the_value: Any) -> Any:
    """the_value."""
    return the_value


def Attribute(value: Any, type: Any) -> Any:
    """value."""
    return value


def isinstance_(obj: Any, target_type: Any) -> bool:
    """`isinstance`."""
    return isinstance(obj, target_type)


def freeze(mod: Any, preserved_attrs: Any = None, optimize_numerics: bool = True) -> Any:
    """mod itself."""
    return mod


def optimize_for_inference(mod: Any, other_methods: Any = None) -> Any:
    """mod itself."""
    return mod


def fork(func: Callable, *args: Any, **kwargs: Any) -> Any:
    """func(*args): run at once."""
    return func(*args, **kwargs)


def wait(future: Any) -> Any:
    """What `fork` gave."""
    return future


def set_fusion_strategy(strategy: Any) -> list:
    """Nothing to set."""
    return []


def enable_onednn_fusion(enabled: bool) -> None:
    """Nothing to set."""


def save(m: Any, f: Any, _extra_files: Any = None) -> NoReturn:
    """NotImplementedError: models are written by `jitcore.export`."""
    raise NotImplementedError("jit.save is not offered by jitcore; the nearest is jitcore.export (a .jca archive)")


def load(f: Any, map_location: Any = None, **options: Any) -> NoReturn:
    """NotImplementedError: archives are read by `jitcore_runtime.load`."""
    raise NotImplementedError("jit.load is not offered by jitcore; the nearest is jitcore_runtime.load (.jca archives)")


class _CallableModule(types.ModuleType):
    """This module, which is the decorator too."""

    def __call__(self, function: Any = None, **options: Any) -> Any:
        return _jit(function, **options)

    def __repr__(self) -> str:
        return "<decorator and module 'jitcore.jit'>"


_CallableModule.__call__.__doc__ = _jit.__doc__
sys.modules[__name__].__class__ = _CallableModule

__all__ = [
    "Attribute", "Final", "JitFunction", "JitWarning", "ScriptFunction", "ScriptModule", "annotate",
    "enable_onednn_fusion", "export", "fork", "freeze", "ignore", "interface", "is_scripting", "is_tracing",
    "isinstance_", "load", "optimize_for_inference", "save", "script", "script_if_tracing", "script_method",
    "set_fusion_strategy", "trace", "unused", "wait",
]  # fmt: skip
