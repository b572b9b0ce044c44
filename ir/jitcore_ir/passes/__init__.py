"""Passes: each changes a graph in place, keeps its meaning to the bit, and returns whether it changed anything.

A pass is any callable `(Graph) -> bool` with a `name`. `PassManager` runs several; `standard_passes` are those that
every graph gets.
"""

from .algebra import algebra
from .canonicalize import canonicalize
from .casts import casts
from .cse import merge_equal
from .dce import drop_unused, is_removable
from .fold import ConstantFold
from .manager import Change, Fixpoint, Pass, PassManager, standard_passes
from .regions import regions
from .rewrite import Patterns, apply_patterns
from .views import views

__all__ = [
    "Change", "ConstantFold", "Fixpoint", "Pass", "PassManager", "Patterns", "algebra", "apply_patterns",
    "canonicalize", "casts", "drop_unused", "is_removable", "merge_equal", "regions", "standard_passes", "views",
]  # fmt: skip
