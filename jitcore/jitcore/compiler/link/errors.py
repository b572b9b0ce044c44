"""The linker's error."""

from __future__ import annotations


class LinkError(RuntimeError):
    """Objects that cannot become an image: says which object, where in it, what is wrong and what to do."""
