"""Dead code elimination: operations whose results nobody uses go, unless they have an effect.

```
graph @main(%x: f32[4]) {              graph @main(%x: f32[4]) {
  %a = exp(%x) : f32[4]                  %c = neg(%x) : f32[4]
  %b = log(%a) : f32[4]         ->       return(%c)
  %c = neg(%x) : f32[4]                }
  return(%c)
}
```
"""

from __future__ import annotations

from ..graph import Block, Graph, Operation
from ..spec import Trait


def drop_unused(graph: Graph) -> bool:
    """Remove every operation without an effect whose results are unused, regions included. Inputs stay."""
    return _sweep(graph.block)


drop_unused.name = "drop_unused"  # type: ignore[attr-defined]


def is_removable(operation: Operation) -> bool:
    """Whether the operation may go when nobody uses its results: it has no effect, nor has anything in its regions."""
    if operation.spec.has(Trait.IMPURE | Trait.TERMINATOR):
        return False
    return all(
        inner.spec.has(Trait.TERMINATOR) or is_removable(inner)
        for region in operation.regions
        for inner in region.block.operations
    )


def _sweep(block: Block) -> bool:
    """Last to first, so that one sweep is enough: a user is gone before what it used is looked at."""
    changed = False
    kept = []
    for operation in reversed(block.operations):
        if not any(v.uses for v in operation.results) and is_removable(operation):
            operation.erase_unchecked()
            changed = True
            continue
        for region in operation.regions:
            changed |= _sweep(region.block)
        kept.append(operation)
    if changed:
        block.operations = kept[::-1]
    return changed
