"""`jitcore operators`: shares the database out to worker processes and prints what came of each operator."""

from __future__ import annotations

import json
import os
import queue
import re
import select
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from ..errors import InputError
from .checks import Checks

PATIENCE = 240.0
"""Seconds for all samples of one operator; one that takes longer counts as an error."""

STATUSES = ("pass", "wrong", "error", "missing", "refused")


class Worker:
    """A process that checks operators; started anew after one that hung or died."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        if self._process is None:
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
            self._process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", "jitcore_tools.operators.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
            )
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            ready, _, _ = select.select([process.stdout], [], [], PATIENCE)
            line = process.stdout.readline() if ready else b""
        except BrokenPipeError:
            ready, line = [process.stdout], b""
        if line:
            return json.loads(line)
        self.stop()
        reason = f"the process ended with status {process.returncode}" if ready else f"no answer in {PATIENCE:.0f} s"
        return {"status": "error", "detail": reason, "samples": 0}

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def run_operators(
    match: str | None, dtypes: tuple[str, ...], checks: Checks, processes: int, json_path: Path | None, show_all: bool
) -> bool:
    """Check and print; whether no operator is wrong. Raises InputError where PyTorch's test database is not there."""
    tasks = _tasks(match, dtypes)
    results: dict[tuple[str, str], dict[str, Any]] = {}
    waiting: queue.SimpleQueue[tuple[int, str, str]] = queue.SimpleQueue()
    for task in tasks:
        waiting.put(task)
    console = Console(width=None if sys.stdout.isatty() else 240, soft_wrap=True)
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("operators", total=len(tasks))

        def serve() -> None:
            worker = Worker()
            while True:
                try:
                    index, name, dtype = waiting.get_nowait()
                except queue.Empty:
                    return worker.stop()
                results[name, dtype] = worker.ask({"index": index, "dtype": dtype, "checks": asdict(checks)})
                progress.advance(bar)

        threads = [threading.Thread(target=serve) for _ in range(min(processes, len(tasks)))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for dtype in dtypes:
        _print(console, dtype, [(n, results[n, d]) for _, n, d in tasks if d == dtype], show_all)
    if json_path is not None:
        json_path.write_text(json.dumps({f"{n} {d}": r for (n, d), r in sorted(results.items())}, indent=1) + "\n")
    return not any(r["status"] == "wrong" for r in results.values())


def _tasks(match: str | None, dtypes: tuple[str, ...]) -> list[tuple[int, str, str]]:
    try:
        import torch
        from torch.testing._internal.common_methods_invocations import op_db
    except ImportError as error:
        raise InputError(
            f"{error}; the operator database comes with PyTorch and needs expecttest: pip install 'jitcore[test]'"
        ) from error
    wanted = {name: getattr(torch, name) for name in dtypes}
    tasks = [
        (index, entry.formatted_name, name)
        for name, dtype in wanted.items()
        for index, entry in enumerate(op_db)
        if dtype in entry.supported_dtypes("cpu") and (match is None or re.search(match, entry.formatted_name))
    ]
    if not tasks:
        raise InputError(f"no operator of PyTorch's database matches {match!r} for {', '.join(dtypes)}")
    return tasks


def _print(console: Console, dtype: str, rows: list[tuple[str, dict[str, Any]]], show_all: bool) -> None:
    colour = {"pass": "green", "wrong": "red", "error": "yellow", "missing": "blue", "refused": "blue"}
    for status in STATUSES[0 if show_all else 1 :]:
        for name, row in rows:
            if row["status"] == status:
                console.print(f"[{colour[status]}]{status:8}[/] {dtype} {name}", end="")
                console.print(f"  {row['detail']}", markup=False, highlight=False)
    count = Counter(row["status"] for _, row in rows)
    console.print(f"{dtype}: " + ", ".join(f"{count[s]} {s}" for s in STATUSES) + f" of {len(rows)} operators")
