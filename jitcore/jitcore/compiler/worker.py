"""A worker process: compiles the requests that come in on its standard input, one after another.

Started by `workers`. A message is its length (8 bytes) and its bytes; an answer also says whether it is a program or
the text of an error. It ends when its input does (whoever started it is gone), or when nothing comes for long.
"""

from __future__ import annotations

import os
import select
import signal
from typing import BinaryIO

from .compiled import to_bytes
from .cpu.pool import build_pool_image
from .cpu.target import host_target
from .request import Request

IDLE_SECONDS = 300
MADE, FAILED = b"\0", b"\1"


def main() -> None:
    """Serve until there is nothing more to do."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who started us
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what is printed here is no answer
    requests = os.fdopen(os.dup(0), "rb", buffering=0)
    if hasattr(os, "nice"):
        os.nice(5)  # the calls that run meanwhile come first
    while select.select([requests], [], [], IDLE_SECONDS)[0]:
        data = receive(requests)
        if data is None:
            return
        try:
            build_pool_image(host_target())  # who sent this finds it in the cache
            answer = MADE + to_bytes(Request.from_bytes(data).build())
        except Exception as error:
            answer = FAILED + f"{type(error).__name__}: {error}".encode()
        send(answers, answer)


def send(stream: BinaryIO, data: bytes) -> None:
    """Write one message."""
    rest = memoryview(len(data).to_bytes(8, "little") + data)
    while rest:
        rest = rest[stream.write(rest) :]


def receive(stream: BinaryIO) -> bytes | None:
    """The next message; None where the other side is gone."""
    head = _exactly(stream, 8)
    return None if head is None else _exactly(stream, int.from_bytes(head, "little"))


def _exactly(stream: BinaryIO, count: int) -> bytes | None:
    parts = []
    while count:
        part = stream.read(count)
        if not part:
            return None
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
