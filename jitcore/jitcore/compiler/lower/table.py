"""`LOWERINGS`: how each primitive becomes loops. A test fails where one is missing.

"pointwise": computed where it is used, by its rule; "reduction": the same when small, else loops of its own; "nest":
kernels of its own; "contraction": one generated operation with an epilogue; "expand": written in simpler operations;
"call out": its NumPy kernel, called from the program; "parts": about complex numbers, which are taken apart.
"""

from __future__ import annotations

from jitcore_ir import OpSpec, Trait

from ..fuse.roots import CALL_OUT, CONTRACTIONS
from . import philox, reduction
from .expand import REWRITES
from .parts import PARTS
from .pointwise import POINTWISE
from .writes import NESTS

LOWERINGS: dict[OpSpec, str] = {
    **dict.fromkeys(REWRITES, "expand"),
    **dict.fromkeys((spec for spec in POINTWISE if not spec.has(Trait.LOOP)), "pointwise"),
    **dict.fromkeys(reduction.REDUCTIONS, "reduction"),
    **dict.fromkeys(NESTS, "nest"),
    **dict.fromkeys(CONTRACTIONS, "contraction"),
    **dict.fromkeys(CALL_OUT, "call out"),
    **dict.fromkeys(PARTS, "parts"),
}

__all__ = ["LOWERINGS", "philox"]
