"""A small linker: relocatable ELF objects, as LLVM emits them, to one flat position-independent image."""

from .elf import LinkError
from .linker import link

__all__ = ["LinkError", "link"]
