"""`DataLoader`: batches of a dataset, in an order that a sampler gives, fetched here or by worker processes."""

from __future__ import annotations

import itertools
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from ...random import Generator
from .collate import default_collate, default_convert
from .dataset import Dataset, IterableDataset
from .sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler, fresh_seed
from .workers import Fetcher, Pool

T_co = TypeVar("T_co", covariant=True)


class _Endless(Sampler[None]):
    """The sampler of an iterable dataset: nothing, for as long as asked."""

    def __iter__(self) -> Iterator[None]:
        return itertools.repeat(None)


class DataLoader(Generic[T_co]):
    """Iterates over batches of `dataset`; PyTorch's arguments. `pin_memory` is accepted and means nothing here."""

    dataset: Dataset[T_co]

    def __init__(
        self,
        dataset: Dataset[T_co],
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Sampler | Iterable | None = None,
        batch_sampler: Sampler[list] | Iterable[list] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        if num_workers < 0:
            raise ValueError("num_workers option should be non-negative; use num_workers=0 to disable multiprocessing.")
        if timeout < 0:
            raise ValueError("timeout option should be non-negative")
        if num_workers == 0 and prefetch_factor is not None:
            raise ValueError(
                "prefetch_factor option could only be specified in multiprocessing."
                "let num_workers > 0 to enable multiprocessing, otherwise set prefetch_factor to None."
            )
        if prefetch_factor is not None and prefetch_factor < 0:
            raise ValueError("prefetch_factor option should be non-negative")
        if persistent_workers and num_workers == 0:
            raise ValueError("persistent_workers option needs num_workers > 0")
        if num_workers == 0 and multiprocessing_context is not None:
            raise ValueError(
                "multiprocessing_context can only be used with multi-process loading (num_workers > 0), "
                f"but got num_workers={num_workers}"
            )
        self.dataset = dataset
        self.num_workers, self.timeout, self.in_order = num_workers, timeout, in_order
        self.prefetch_factor = (2 if prefetch_factor is None else prefetch_factor) if num_workers else None
        self.pin_memory, self.pin_memory_device = pin_memory, pin_memory_device
        self.worker_init_fn, self.multiprocessing_context = worker_init_fn, multiprocessing_context
        self.persistent_workers = persistent_workers
        self.generator = generator
        self._iterable = isinstance(dataset, IterableDataset)
        self._pool: Pool | None = None
        self._told: int | None = None

        if self._iterable:
            if shuffle not in {False, None}:
                raise ValueError(
                    f"DataLoader with IterableDataset: expected unspecified shuffle option, but got shuffle={shuffle}"
                )
            if sampler is not None:
                raise ValueError(
                    f"DataLoader with IterableDataset: expected unspecified sampler option, but got sampler={sampler}"
                )
            if batch_sampler is not None:
                raise ValueError(
                    "DataLoader with IterableDataset: expected unspecified batch_sampler option, but got "
                    f"batch_sampler={batch_sampler}"
                )
        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError(
                    "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last"
                )
            batch_size = None
        elif batch_size is None and drop_last:
            raise ValueError("batch_size=None option disables auto-batching and is mutually exclusive with drop_last")
        if sampler is None:
            if self._iterable:
                sampler = _Endless()
            elif shuffle:
                sampler = RandomSampler(dataset, generator=generator)  # type: ignore[arg-type]
            else:
                sampler = SequentialSampler(dataset)  # type: ignore[arg-type]
        if batch_size is not None and batch_sampler is None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.batch_size, self.drop_last = batch_size, drop_last
        self.sampler, self.batch_sampler = sampler, batch_sampler
        self._batched = batch_sampler is not None
        self.collate_fn = collate_fn or (default_collate if self._batched else default_convert)

    def __iter__(self) -> Iterator[Any]:
        order = iter(self.batch_sampler if self._batched else self.sampler)  # type: ignore[arg-type]
        # Drawn in any case, so that the number of workers does not change what is drawn afterwards.
        base_seed = fresh_seed(self.generator)
        make = (self.dataset, self._iterable, self._batched, self.collate_fn, self.drop_last)
        if self.num_workers == 0:
            return self._counted(_here(Fetcher(*make), order))
        if self._pool is not None:
            self._pool.restart()
            return self._counted(self._pool.batches(order))
        pool = Pool(self, make, base_seed)
        if self.persistent_workers:
            self._pool = pool
            weakref.finalize(self, pool.close)
            return self._counted(pool.batches(order))
        return self._counted(_closing(pool, order))

    def _counted(self, batches: Iterator[Any]) -> Iterator[Any]:
        """`batches`, with PyTorch's warning where an iterable dataset gives more than len(loader) said."""
        return batches if self._told is None else self._warned(batches, self._told)

    def _warned(self, batches: Iterator[Any], expected: int) -> Iterator[Any]:
        for count, batch in enumerate(batches, 1):
            if count == expected + 1:
                warnings.warn(
                    f"Length of IterableDataset {self.dataset} was reported to be {expected} (when accessing "
                    f"len(dataloader)), but {count} samples have been fetched. ",
                    stacklevel=2,
                )
            yield batch

    def __len__(self) -> int:
        """Number of batches. Raises TypeError where the dataset or sampler has no length."""
        if not self._iterable:
            return len(self.batch_sampler if self._batched else self.sampler)  # type: ignore[arg-type]
        n = len(self.dataset)  # type: ignore[arg-type]
        if self.batch_size is not None:
            n = n // self.batch_size if self.drop_last else (n + self.batch_size - 1) // self.batch_size
        self._told = n
        return n


def _here(fetcher: Fetcher, order: Iterator[Any]) -> Iterator[Any]:
    for index in order:
        try:
            batch = fetcher(index)
        except StopIteration:
            return
        yield batch


def _closing(pool: Pool, order: Iterator[Any]) -> Iterator[Any]:
    """One epoch of workers that end with it."""
    try:
        yield from pool.batches(order)
    finally:
        pool.close()
