"""Custom operations bring derivatives of their own: `jitcore.library` puts these on the tape around the call."""

from __future__ import annotations

from typing import NoReturn

from jitcore_ir import ops

from ..rules import vjp


def no_formula(name: str) -> NoReturn:
    """Raise the RuntimeError for an operation without a derivative."""
    raise RuntimeError(
        f"Trying to backward through {name} but no autograd formula was registered. "
        "Please use register_autograd to add one."
    )


vjp(ops.CUSTOM_CALL, xs=lambda g, name: no_formula(name))
