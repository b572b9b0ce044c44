"""Text form to tokens."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .errors import ParseError

_STRING = r'"(?:[^"\\\n]|\\.)*"'
_TOKEN = re.compile(
    rf"""
    (?P<space>[\s]+|\#[^\n]*)
    |(?P<value>%(?:{_STRING}|[^\W\d][\w.]*|\d+)(?:\#\d+)?)
    |(?P<string>{_STRING})
    |(?P<number>0x[0-9a-fA-F]+|\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)
    |(?P<word>[^\W\d][\w.]*)
    |(?P<mark>//|[()\[\]{{}}<>,:=@^+\-*%])
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Token:
    """`kind` is "value", "string", "number", "word", "mark" or "end"."""

    kind: str
    text: str
    position: int

    def __str__(self) -> str:
        return "the end of the text" if self.kind == "end" else repr(self.text)


def tokenize(source: str) -> list[Token]:
    """Every token of `source`, and a last one of kind "end". Raises ParseError."""
    tokens = []
    position = 0
    while position < len(source):
        match = _TOKEN.match(source, position)
        if match is None:
            raise error_at(source, position, f"unexpected {source[position]!r}")
        if match.lastgroup != "space":
            tokens.append(Token(str(match.lastgroup), match.group(), position))
        position = match.end()
    return [*tokens, Token("end", "", len(source))]


def error_at(source: str, position: int, message: str) -> ParseError:
    """A ParseError that shows the line, with a caret under the place."""
    line = source.count("\n", 0, position) + 1
    start = source.rfind("\n", 0, position) + 1
    end = source.find("\n", position)
    text = source[start : end if end >= 0 else len(source)]
    column = position - start + 1
    return ParseError(f"{message}\n  {text}\n  {' ' * (column - 1)}^", line, column)
