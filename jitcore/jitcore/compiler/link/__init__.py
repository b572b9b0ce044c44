"""The linker: ELF relocatable objects in, one flat image out. No linker program is used."""

from .errors import LinkError
from .linker import link

__all__ = ["LinkError", "link"]
