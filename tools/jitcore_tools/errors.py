"""How the command ends on bad input: one message, exit status 2, and nothing half-written."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import click


class InputError(click.ClickException):
    """Bad input: a missing file, a wrong dtype or shape, a function that cannot be exported."""

    exit_code = 2

    def show(self, file: object = None) -> None:
        click.echo(f"jitcore: error: {self.message}", err=True)


@contextmanager
def user_errors(*kinds: type[Exception], file: str | None = None) -> Iterator[None]:
    """Turn errors of these kinds into an `InputError`. With `file`, any error is one, shown with its line in `file`."""
    try:
        yield
    except click.ClickException:
        raise
    except kinds as error:
        raise InputError(_describe(error, file)) from error
    except Exception as error:
        if file is None:
            raise
        raise InputError(_describe(error, file)) from error


def _describe(error: BaseException, file: str | None) -> str:
    text = str(error) or type(error).__name__
    if file is None:
        return text
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    where = f" (at {file}:{lines[-1]})" if lines and f"{file}:" not in text else ""
    kind = "" if type(error).__module__.startswith("jitcore") else f"{type(error).__name__}: "
    return f"{kind}{text}{where}"


def warn(text: str) -> None:
    """One line on standard error."""
    print(f"jitcore: note: {text}", file=sys.stderr)
