"""One peer in one process: reads requests as JSON lines on standard input, answers on the original standard output.

Requests: {"do": "prepare", "workload": name, "threads": n} prepares, runs once and answers the largest error against
float64; {"do": "time", "seconds": s} answers the median seconds of one call, over calls that fill about s seconds.
"""

from __future__ import annotations

import json
import os
import sys
import time
from statistics import median
from typing import Any

import numpy as np

from .peers import PEERS
from .workloads import WORKLOADS, Workload

WARM_UP = 3


def main(peer_name: str) -> None:
    """Serve until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not mix with the answers
    peer = PEERS[peer_name]
    call: Any = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["do"] == "prepare":
                _pin(request["threads"])
                peer.set_threads(request["threads"])
                workload = next(w for w in WORKLOADS if w.name == request["workload"])
                call, answer = _prepare(peer, workload)
            else:
                answer = _time(call, request["seconds"])
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _pin(threads: int) -> None:
    """Hold the process to as many processors as it may use threads: not every library heeds a thread setting."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def _prepare(peer: Any, workload: Workload) -> tuple[Any, dict]:
    """Build the call, run it, and compare what it gives with the float64 reference. Training runs several steps."""
    inputs, weights = workload.data(np.random.default_rng(0))
    wide = [{n: a.astype(np.float64) if a.dtype == np.float32 else a for n, a in d.items()} for d in (inputs, weights)]
    reference = workload.array(np, wide[1])
    start = time.perf_counter()
    call = peer.prepare(workload, inputs, weights)
    first = call()
    first_call = time.perf_counter() - start
    worst = 0.0
    for step in range(WARM_UP):
        expected = np.asarray(reference(*wide[0].values()))
        given = np.asarray(peer.to_numpy(first if step == 0 else call()), np.float64)
        if given.shape != expected.shape:
            raise ValueError(f"result has shape {given.shape}, the reference {expected.shape}")
        worst = max(worst, float(np.abs(given - expected).max() / max(float(np.abs(expected).max()), 1e-30)))
    return call, {"error_ratio": worst, "first_call": first_call}


def _time(call: Any, seconds: float) -> dict:
    clock = time.perf_counter
    start = clock()
    call()
    once = max(clock() - start, 1e-8)
    repeats = max(1, int(20e-6 / once))  # so that the clock's own cost does not count
    samples: list[float] = []
    stop = clock() + seconds
    while clock() < stop or len(samples) < 3:
        start = clock()
        for _ in range(repeats):
            call()
        samples.append((clock() - start) / repeats)
    return {"seconds": median(samples), "samples": len(samples)}


if __name__ == "__main__":
    main(sys.argv[1])
