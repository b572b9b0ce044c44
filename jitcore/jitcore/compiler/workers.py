"""Compiling in other processes, so that calls in this one go on: LLVM is behind one lock, and lowering is Python.

The processes start when they are first needed and go with this one. Where one cannot be started, ends in the middle or
does not answer as it should, the program is compiled here after all, and `notes` says so.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..log import enabled, log
from .compiled import Compiled, from_bytes
from .request import Request
from .worker import MADE, receive, send

MOST_WORKERS = 4
_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from jitcore.compiler.worker import main; main()"


MOST_HERE = 256
"""Programs compiled in this process before worker processes do it: each run of LLVM's pipeline through llvmlite leaves
0.1 MB behind (measured, llvmlite 0.50), which a process that records again and again would keep."""
MOST_BY_ONE = 256
"""Programs that one worker process compiles, for the same reason."""


class WorkerError(Exception):
    """Why a worker process gave no program."""


def build(request: Request, notes: Callable[[str], None] = lambda text: None) -> Compiled:
    """As `Request.build`, in a worker process if that can be; `notes` hears why it could not."""
    try:
        return _workers.build(request)
    except WorkerError as error:
        if _workers.closing:  # this process is about to end
            raise
        notes(f"compiled in this process: {error}")
        log("workers", lambda error=error: str(error))  # type: ignore[misc]
        return request.build()


def build_anywhere(request: Request) -> Compiled:
    """As `Request.build`, in this process as long as it has not compiled many programs."""
    global _here
    if _here >= MOST_HERE:
        return build(request)
    _here += 1
    return request.build()


_here = 0


def most_workers() -> int:
    """How many processes compile at a time: half the processors, and at least one."""
    return max(1, min(MOST_WORKERS, len(os.sched_getaffinity(0)) // 2 if hasattr(os, "sched_getaffinity") else 1))


class Worker:
    """One process."""

    def __init__(self) -> None:
        self.made = 0
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _START, json.dumps(sys.path)],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=None if enabled("workers") else subprocess.DEVNULL,
            )
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            raise WorkerError(f"no worker process could be started: {error}") from error

    def run(self, request: Request) -> Compiled:
        """Raises WorkerError."""
        process: Any = self.process
        try:
            send(process.stdin, request.to_bytes())
            answer = receive(process.stdout)
        except (OSError, ValueError) as error:
            raise WorkerError(f"the worker process {process.pid} does not answer: {error}") from error
        if answer is None:
            raise WorkerError(f"the worker process {process.pid} ended with status {process.wait()}")
        if answer[:1] != MADE:
            raise WorkerError(f"the worker process failed: {answer[1:].decode(errors='replace')}")
        made = from_bytes(answer[1:])
        if made is None:
            raise WorkerError(f"the worker process {process.pid} did not answer with a program")
        return made

    def is_alive(self) -> bool:
        return self.process.poll() is None

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        with contextlib.suppress(OSError):
            self.process.kill()
        self.forget()
        self.process.wait()

    def forget(self) -> None:
        """Let go of the pipes; the process ends when nobody else holds them."""
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


@dataclass
class Workers:
    """The processes that wait for work, and those that have some."""

    idle: list[Worker] = field(default_factory=list)
    busy: list[Worker] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    places: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(most_workers()))
    closing: bool = False

    def build(self, request: Request) -> Compiled:
        """Have a process compile the request; waits for one where all are busy. Raises WorkerError."""
        with self.places:
            worker = self.take()
            try:
                made = worker.run(request)
            except BaseException:
                worker.stop()
                raise
            finally:
                with self.lock:
                    self.busy.remove(worker)
            worker.made += 1
            if worker.made >= MOST_BY_ONE:
                worker.stop()
                return made
            with self.lock:
                self.idle.append(worker)
            return made

    def take(self) -> Worker:
        with self.lock:
            if self.closing:
                raise WorkerError("this process is about to end")
            while self.idle:
                worker = self.idle.pop()
                if worker.is_alive():
                    break
                worker.forget()  # it ended, having had nothing to do
            else:
                worker = Worker()
            self.busy.append(worker)
            return worker

    def close(self) -> None:
        """End all processes."""
        with self.lock:
            self.closing = True
            workers = [*self.idle, *self.busy]
            self.idle.clear()
        for worker in workers:
            with contextlib.suppress(OSError):
                worker.process.kill()


_workers = Workers()


def _close() -> None:
    _workers.close()


def _after_fork() -> None:
    """The processes are the parent's. Our copies of the pipes must go, or they would not see it end."""
    global _workers
    for worker in (*_workers.idle, *_workers.busy):
        worker.forget()
        worker.process.returncode = 0  # no child of ours to wait for
    _workers = Workers()


atexit.register(_close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
