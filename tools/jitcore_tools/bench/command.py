"""`jitcore bench`: starts one worker per peer, checks each, times them in turns, and reports medians and ratios."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from ..errors import InputError, user_errors
from .peers import PEERS, thread_environment
from .workloads import WORKLOADS, Workload

SECONDS_PER_TURN = 0.15


@dataclass(slots=True)
class Row:
    """One workload: medians in seconds by peer, or why a peer has none."""

    workload: str
    seconds: dict[str, float] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    first_call: dict[str, float] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)


class Worker:
    """A peer's process."""

    def __init__(self, peer: str, threads: int) -> None:
        self.peer = peer
        environment = {**os.environ, **thread_environment(threads)}
        command = [sys.executable, "-m", "jitcore_tools.bench.worker", peer]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )

    def ask(self, request: dict) -> dict:
        """Send a request and wait for its answer; an error where the process died."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return {"error": "the process ended"}
        line = self._process.stdout.readline()
        return json.loads(line) if line else {"error": f"the process ended with status {self._process.wait()}"}

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate()


def run_bench(
    names: tuple[str, ...], peers: tuple[str, ...], threads: int, rounds: int, json_path: Path | None, only_list: bool
) -> None:
    """Run and print the chosen workloads (by name or part of a name). Raises InputError for unknown names."""
    console = Console(width=None if sys.stdout.isatty() else 150)
    chosen = _chosen(names)
    if only_list:
        console.print("workloads: " + "; ".join(w.name for w in chosen))
        console.print("peers: " + "; ".join(f"{p.name}{_missing(p.name)}" for p in PEERS.values()))
        return
    taking_part = _peers(peers, console)
    rows = []
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("measuring", total=len(chosen))
        for workload in chosen:
            progress.update(task, description=workload.name)
            rows.append(measure(workload, taking_part, threads, rounds))
            progress.advance(task)
    console.print(_table(rows, taking_part, threads))
    for row in rows:
        for peer, problem in row.problems.items():
            console.print(f"{row.workload}, {peer}: {problem}", style="dim")
    if json_path is not None:
        with user_errors(OSError):
            json_path.write_text(json.dumps(_report(rows, threads, rounds), indent=1))


def measure(workload: Workload, peers: list[str], threads: int, rounds: int) -> Row:
    """Check every peer on one workload, then time those that were right, in turns."""
    row = Row(workload.name)
    workers: list[Worker] = []
    try:
        for peer in peers:
            if workload.peers is not None and peer not in workload.peers:
                continue
            worker = Worker(peer, threads)
            answer = worker.ask({"do": "prepare", "workload": workload.name, "threads": threads})
            problem = answer.get("error")
            if problem is None and not answer["error_ratio"] <= workload.tolerance:
                problem = (
                    f"wrong: largest relative error {answer['error_ratio']:.1e} (allowed {workload.tolerance:.0e})"
                )
            if problem is not None:
                row.problems[peer] = problem
                worker.stop()
                continue
            row.errors[peer], row.first_call[peer] = answer["error_ratio"], answer["first_call"]
            workers.append(worker)
        samples: dict[str, list[float]] = {worker.peer: [] for worker in workers}
        for _ in range(rounds):
            for worker in workers:
                answer = worker.ask({"do": "time", "seconds": SECONDS_PER_TURN})
                if "error" in answer:
                    row.problems[worker.peer] = answer["error"]
                else:
                    samples[worker.peer].append(answer["seconds"])
        row.seconds = {peer: median(values) for peer, values in samples.items() if values}
    finally:
        for worker in workers:
            worker.stop()
    return row


def _chosen(names: tuple[str, ...]) -> list[Workload]:
    if not names:
        return list(WORKLOADS)
    for name in names:
        if not any(name.lower() in w.name.lower() for w in WORKLOADS):
            raise InputError(f"no workload is called {name!r}; there are {'; '.join(w.name for w in WORKLOADS)}")
    return [w for w in WORKLOADS if any(name.lower() in w.name.lower() for name in names)]


def _peers(names: tuple[str, ...], console: Console) -> list[str]:
    for name in names:
        if name not in PEERS:
            raise InputError(f"no peer is called {name!r}; there are {', '.join(PEERS)}")
    wanted = list(names) or list(PEERS)
    present = [name for name in wanted if not PEERS[name].missing()]
    for name in wanted:
        if name not in present:
            console.print(f"{name} is left out: {', '.join(PEERS[name].missing())} not installed", style="dim")
    return present


def _missing(name: str) -> str:
    missing = PEERS[name].missing()
    return f" (needs {', '.join(missing)})" if missing else ""


def _table(rows: list[Row], peers: list[str], threads: int) -> Table:
    """Medians, and in brackets how many times jitcore's time each is: above 1 means jitcore is faster."""
    table = Table(title=f"median time of one call, {threads} thread(s); in brackets: time / jitcore's time")
    table.add_column("workload")
    for peer in peers:
        table.add_column(peer, justify="right")
    for row in rows:
        cells = []
        ours = row.seconds.get("jitcore")
        for peer in peers:
            seconds = row.seconds.get(peer)
            if seconds is None:
                cells.append("wrong" if row.problems.get(peer, "").startswith("wrong") else "-")
            elif peer == "jitcore" or ours is None:
                cells.append(_time_text(seconds))
            else:
                cells.append(f"{_time_text(seconds)} ({seconds / ours:.2f})")
        table.add_row(row.workload, *cells)
    return table


def _time_text(seconds: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def _report(rows: list[Row], threads: int, rounds: int) -> dict:
    return {
        "machine": {"processor": platform.machine(), "cpus": os.cpu_count(), "python": platform.python_version()},
        "threads": threads,
        "rounds": rounds,
        "rows": [
            {
                "workload": row.workload,
                "median_seconds": row.seconds,
                "ratio_to_jitcore": {p: s / row.seconds["jitcore"] for p, s in row.seconds.items()}
                if "jitcore" in row.seconds
                else {},
                "relative_error": row.errors,
                "first_call_seconds": row.first_call,
                "problems": row.problems,
            }
            for row in rows
        ],
    }
