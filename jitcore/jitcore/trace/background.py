"""Jobs that are done while calls go on, each on a thread of its own, which mostly waits for a worker process."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable


class Job:
    """`work()` on another thread. `error` is what it raised."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.error: Exception | None = None
        self._work: Callable[[], None] | None = work
        self._done = threading.Event()
        self._process = os.getpid()
        threading.Thread(target=self._run, name="jitcore-compile", daemon=True).start()

    def _run(self) -> None:
        assert self._work is not None
        try:
            self._work()
        except Exception as error:
            self.error = error
        finally:
            self._work = None
            self._done.set()

    def is_running(self) -> bool:
        """Whether it will still end. In a forked child it will not: the thread is the parent's."""
        return not self._done.is_set() and self._process == os.getpid()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for its end; whether it has come."""
        if self._process == os.getpid():
            self._done.wait(timeout)
        return not self.is_running()
