"""`jitcore run`: an archive on .npy files."""

from __future__ import annotations

import os
import runpy
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np

import jitcore_runtime

from .errors import InputError, user_errors


def run_archive(
    archive: Path, inputs: tuple[str, ...], output: Path, entry: str | None, native: bool, modules: Sequence[str] = ()
) -> None:
    """Run and write the outputs. Raises InputError for everything the user can mend; writes all or nothing."""
    if not archive.is_file():
        raise InputError(f"no such file: {archive}")
    arrays = dict(_array(text) for text in inputs)
    for module in modules:
        _run_first(module)
    with user_errors(jitcore_runtime.ArchiveError, OSError, ValueError, TypeError, IndexError, LookupError):
        model = jitcore_runtime.load(archive, native=native)
        results = model.run(entry, **arrays)
    named = {name: results[name] for name in results} if isinstance(results, dict) else _numbered(results)
    with user_errors(OSError):
        _write(output, named)
    click.echo(f"wrote {output}: " + ", ".join(f"{n} {a.dtype}{list(a.shape)}" for n, a in named.items()))


def _array(text: str) -> tuple[str, np.ndarray]:
    name, equals, path = text.partition("=")
    if not equals:
        raise InputError(f"--input takes NAME=FILE.npy; got {text!r}")
    if not Path(path).is_file():
        raise InputError(f"input {name!r}: no such file: {path}")
    try:
        return name, np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"input {name!r}: {path} is not a .npy file of numbers ({error})") from error


def _run_first(file: str) -> None:
    try:
        runpy.run_path(file)
    except (ImportError, OSError, SyntaxError) as error:
        raise InputError(f"--import {file}: {error}") from error


def _numbered(results: object) -> dict[str, np.ndarray]:
    items = results if isinstance(results, tuple | list) else [results]
    return {f"output{number}": np.asarray(item) for number, item in enumerate(items)}


def _write(output: Path, arrays: dict[str, np.ndarray]) -> None:
    handle, temporary = tempfile.mkstemp(dir=output.parent or Path("."), suffix=".npz")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        os.replace(temporary, output)
    except BaseException:
        os.unlink(temporary)
        raise
