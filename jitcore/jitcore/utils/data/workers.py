"""Worker processes of a loader: each fetches whole batches and sends them back, in the loader's order."""

from __future__ import annotations

import itertools
import queue
import random
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...random import manual_seed

ALIVE_CHECK = 5.0
"""Seconds between looks at whether a silent worker is still alive."""


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """What `get_worker_info` tells inside a worker process."""

    id: int
    num_workers: int
    seed: int
    dataset: Any


_info: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """The calling worker's id, number of siblings, seed and dataset; None in the main process."""
    return _info


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception of a worker, with its text, for the main process to raise again."""

    error_type: type[BaseException]
    text: str
    worker: int

    def raise_again(self) -> None:
        message = f"Caught {self.error_type.__name__} in DataLoader worker process {self.worker}.\nOriginal {self.text}"
        try:
            error = self.error_type(message)
        except Exception:
            error = RuntimeError(message)
        raise error


class _Ended:
    """A worker's iterable dataset is exhausted."""


class Fetcher:
    """One batch from a dataset: by indices, or the next of its iterator. Raises StopIteration at its end."""

    def __init__(self, dataset: Any, iterable: bool, batched: bool, collate: Callable, drop_last: bool) -> None:
        self.dataset, self.batched, self.collate, self.drop_last = dataset, batched, collate, drop_last
        self.iterator = iter(dataset) if iterable else None

    def __call__(self, index: Any) -> Any:
        if self.iterator is not None:
            if not self.batched:
                return self.collate(next(self.iterator))
            rows = list(itertools.islice(self.iterator, len(index)))
            if not rows or (self.drop_last and len(rows) < len(index)):
                raise StopIteration
            return self.collate(rows)
        if not self.batched:
            return self.collate(self.dataset[index])
        many = getattr(self.dataset, "__getitems__", None)
        return self.collate(many(index) if callable(many) else [self.dataset[i] for i in index])


def serve(
    make: tuple, requests: Any, answers: Any, base_seed: int, worker: int, workers: int, init: Callable | None
) -> None:
    """The loop of a worker process, until it receives None. `make` holds Fetcher's arguments."""
    global _info
    seed = base_seed + worker
    random.seed(seed)
    manual_seed(seed)
    np.random.seed(seed % 2**32)
    _info = WorkerInfo(worker, workers, seed, make[0])
    fetcher: Fetcher | None = None
    failure: Failure | None = None
    try:
        if init is not None:
            init(worker)
        fetcher = Fetcher(*make)
    except Exception as error:
        failure = _failure(error, worker)
    while True:
        request = requests.get()
        if request is None:
            return
        epoch, number, index = request
        if number is None:  # a new epoch of a persistent worker
            try:
                fetcher = Fetcher(*make)
            except Exception as error:
                failure = _failure(error, worker)
            continue
        try:
            answer = failure if failure is not None or fetcher is None else fetcher(index)
        except StopIteration:
            answer = _Ended()
        except Exception as error:
            answer = _failure(error, worker)
        answers.put((epoch, number, answer))


def _failure(error: Exception, worker: int) -> Failure:
    return Failure(type(error), "".join(traceback.format_exception(error)), worker)


class Pool:
    """The worker processes of one loader, asked for batches in turn."""

    def __init__(self, loader: Any, make: tuple, base_seed: int) -> None:
        import multiprocessing

        context: Any = loader.multiprocessing_context or multiprocessing.get_context()
        if isinstance(context, str):
            context = multiprocessing.get_context(context)
        self.count = loader.num_workers
        self.ahead = max(1, loader.prefetch_factor) * self.count
        self.timeout = loader.timeout
        self.in_order = loader.in_order
        self.epoch = 0
        self.answers = context.Queue()
        self.requests = [context.Queue() for _ in range(self.count)]
        self.processes = []
        for worker, requests in enumerate(self.requests):
            process = context.Process(
                target=serve,
                args=(make, requests, self.answers, base_seed, worker, self.count, loader.worker_init_fn),
                daemon=True,
            )
            process.start()
            self.processes.append(process)

    def restart(self) -> None:
        """Begin another epoch with the same processes."""
        self.epoch += 1
        for requests in self.requests:
            requests.put((self.epoch, None, None))

    def batches(self, indices: Iterator[Any]) -> Iterator[Any]:
        """The batches of one epoch, in the order of `indices` (or as they come, unless in_order)."""
        epoch = self.epoch
        working = set(range(self.count))
        turns = itertools.cycle(range(self.count))
        asked: dict[int, int] = {}  # number of a batch -> its worker
        ready: dict[int, Any] = {}
        sent = wanted = 0
        while True:
            while working and len(asked) + len(ready) < self.ahead:
                try:
                    index = next(indices)
                except StopIteration:
                    working = set()
                    break
                worker = next(w for w in turns if w in working)
                self.requests[worker].put((epoch, sent, index))
                asked[sent] = worker
                sent += 1
            if not asked and not ready:
                return
            number = wanted if self.in_order else next(iter(ready), wanted)
            if number not in ready:
                if self.in_order and number not in asked:
                    wanted += 1
                    continue
                its_epoch, got, answer = self._receive()
                if its_epoch == epoch:
                    worker = asked.pop(got)
                    if isinstance(answer, _Ended):
                        working.discard(worker)
                    else:
                        ready[got] = answer
                continue
            answer = ready.pop(number)
            wanted = number + 1 if self.in_order else wanted
            if isinstance(answer, Failure):
                answer.raise_again()
            yield answer

    def _receive(self) -> Any:
        waited = 0.0
        while True:
            step = min(self.timeout - waited, ALIVE_CHECK) if self.timeout else ALIVE_CHECK
            try:
                return self.answers.get(timeout=step)
            except queue.Empty:
                waited += step
                dead = [str(p.pid) for p in self.processes if not p.is_alive()]
                if dead:
                    raise RuntimeError(f"DataLoader worker (pid(s) {', '.join(dead)}) exited unexpectedly") from None
                if self.timeout and waited >= self.timeout:
                    raise RuntimeError(f"DataLoader timed out after {self.timeout} seconds") from None

    def close(self) -> None:
        """Stop the processes."""
        for requests in self.requests:
            requests.put(None)
        for process in self.processes:
            process.join(timeout=0.5)
            if process.is_alive():
                process.terminate()
                process.join()
        for q in (*self.requests, self.answers):
            q.cancel_join_thread()
            q.close()
