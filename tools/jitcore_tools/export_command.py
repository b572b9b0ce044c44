"""`jitcore export`: from FILE.py:NAME to an archive."""

from __future__ import annotations

import importlib.util
import inspect
import os
import sys
from pathlib import Path
from typing import Any

import click

from .errors import InputError, user_errors


def export_file(
    source: str, output: Path, inputs: tuple[str, ...], targets: tuple[str, ...], exact: bool = False
) -> None:
    """Load NAME from FILE.py and export it. Raises InputError for everything the user can mend."""
    import jitcore

    file, name = _split(source)
    specs = dict(_input(text) for text in inputs)
    if len(specs) != len(inputs):
        raise InputError("an input is given twice")
    function = _load(file, name, bool(specs))
    with user_errors(jitcore.ExportError, OSError, file=str(file)):
        chosen = None if not targets else [t for t in targets if t != "none"]
        jitcore.export(function, output, inputs=specs, targets=chosen, exact=exact)
    click.echo(f"wrote {output} ({output.stat().st_size / 1024:.0f} KiB)")


def _split(source: str) -> tuple[Path, str]:
    file, colon, name = source.rpartition(":")
    if not colon or not name.isidentifier():
        raise InputError(f"expected FILE.py:NAME, got {source!r}")
    path = Path(file)
    if not path.is_file():
        raise InputError(f"no such file: {file}")
    return path.resolve(), name


def _input(text: str) -> tuple[str, str]:
    name, equals, spec = text.partition("=")
    if not equals or not name.isidentifier():
        raise InputError(f"--input takes NAME=DTYPE[DIMS], such as x=float32[N,784]; got {text!r}")
    return name, spec


def _load(file: Path, name: str, has_inputs: bool) -> Any:
    """Import `file` as a module of its own (its folder on the path, as when it is run) and fetch `name`."""
    module_name = f"jitcore_user_{file.stem}"
    sys.path.insert(0, os.fspath(file.parent))
    spec = importlib.util.spec_from_file_location(module_name, file)
    if spec is None or spec.loader is None:
        raise InputError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    with user_errors(file=str(file)):
        spec.loader.exec_module(module)
    if not hasattr(module, name):
        close = ", ".join(n for n in vars(module) if not n.startswith("_") and callable(getattr(module, n)))
        raise InputError(f"{file} defines no {name!r}; it defines {close or 'nothing that can be called'}")
    found = getattr(module, name)
    if not callable(found):
        raise InputError(f"{name!r} in {file} is a {type(found).__name__}, not a function or Module")
    if _is_builder(found):
        with user_errors(file=str(file)):
            found = found()
        if not callable(found):
            raise InputError(f"{name}() in {file} returned a {type(found).__name__}, not a function or Module")
    return found


def _is_builder(found: Any) -> bool:
    """Whether it is a class or function to be called without arguments for the thing to export."""
    if isinstance(found, type):
        return True
    return inspect.isfunction(found) and not inspect.signature(found).parameters
