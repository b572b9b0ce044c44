"""`no_fork`: held by a thread while a fork by another one would leave the child with locks that nobody will give back:
those of modules that are being imported, and LLVM's own."""

from __future__ import annotations

import os
import threading

no_fork = threading.RLock()
"""A fork waits for it, and the child has it free."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=no_fork.acquire, after_in_parent=no_fork.release, after_in_child=no_fork.release)
