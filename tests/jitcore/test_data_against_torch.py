"""utils.data beside torch.utils.data: batches, containers, errors; worker processes, seeds and their repeatability."""

import collections
import collections.abc
import os

import numpy as np
import pytest
import torch
import torch.utils.data as theirs

import jitcore
import jitcore.utils.data as ours

Point = collections.namedtuple("Point", "x y")


def both(make):
    """make(library, its data module) for each library."""
    return make(jitcore, ours), make(torch, theirs)


def plain(x):
    """Nested batches as lists, with dtypes, to be compared across the libraries."""
    if isinstance(x, jitcore.Tensor | torch.Tensor):
        return (str(x.dtype).rsplit(".", 1)[-1], tuple(x.shape), x.tolist())
    if isinstance(x, collections.abc.Mapping):
        return (type(x).__name__, {k: plain(v) for k, v in x.items()})
    if isinstance(x, list | tuple):
        return (type(x).__name__, [plain(v) for v in x])
    return x


SAMPLES = [
    lambda t: [1, 2, 3],
    lambda t: [1.5, 2.0],
    lambda t: [True, False],
    lambda t: ["a", "b"],
    lambda t: [b"a", b"b"],
    lambda t: [t.ones(2), t.zeros(2)],
    lambda t: [np.ones(2, np.float32), np.zeros(2, np.float32)],
    lambda t: [np.float64(1), np.float64(2)],
    lambda t: [np.int32(1), np.int32(2)],
    lambda t: [(1, 2.0), (3, 4.0)],
    lambda t: [[1, t.ones(1)], [2, t.ones(1)]],
    lambda t: [{"a": 1, "b": [t.ones(2), "s"]}, {"a": 2, "b": [t.zeros(2), "r"]}],
    lambda t: [Point(1, t.ones(1)), Point(2, t.ones(1))],
    lambda t: [collections.OrderedDict(a=1.0), collections.OrderedDict(a=2.0)],
    lambda t: [collections.UserDict(a=1.0), collections.UserDict(a=2.0)],
]


@pytest.mark.parametrize("number", range(len(SAMPLES)))
@pytest.mark.parametrize("name", ["default_collate", "default_convert"])
def test_samples_become_batches_as_in_torch(number, name):
    mine, other = both(lambda t, data: getattr(data, name)(SAMPLES[number](t)))
    assert plain(mine) == plain(other)


@pytest.mark.parametrize("samples", [[object()], [None], [[1, 2], [3]], [np.array(["a"])]])
def test_what_cannot_be_collated(samples):
    with pytest.raises((TypeError, RuntimeError)) as their_error:
        theirs.default_collate(samples)
    with pytest.raises(their_error.type):
        ours.default_collate(samples)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"batch_size": 4},
        {"batch_size": 4, "drop_last": True},
        {"batch_size": None},
        {"batch_size": 5, "sampler": [3, 1, 4, 1, 5, 9]},
        {"batch_sampler": [[0, 1], [9], [3, 3, 3]]},
        {"batch_size": 3, "collate_fn": lambda rows: [int(r[1]) for r in rows]},
    ],
    ids=lambda options: "-".join(options) or "plain",
)
def test_batches_of_a_dataset(options):
    def run(t, data):
        dataset = data.TensorDataset(t.arange(20.0).reshape(10, 2), t.arange(10))
        loader = data.DataLoader(dataset, **options)
        return len(loader), [plain(batch) for batch in loader], loader.batch_size, loader.drop_last

    mine, other = both(run)
    assert mine == other


def test_combinations_of_datasets():
    def run(t, data):
        a, b = data.TensorDataset(t.arange(3)), data.TensorDataset(t.arange(10, 14))
        joined = a + b
        stacked = data.StackDataset(x=a, y=data.Subset(b, [3, 0, 1]))
        halves = data.random_split(joined, [0.3, 0.7])
        assert sorted(i for h in halves for i in h.indices) == list(range(7))
        return (
            plain([joined[i] for i in (0, 3, -1, 6)]), len(joined), joined.cumulative_sizes,
            plain([stacked[i] for i in range(3)]), [len(h) for h in halves],
            [len(h) for h in data.random_split(joined, [0.5, 0.25, 0.25])],
        )  # fmt: skip

    mine, other = both(run)
    assert mine == other


class Stream(ours.IterableDataset):
    def __init__(self, n):
        self.n = n

    def __iter__(self):
        info = ours.get_worker_info()
        return iter(range(self.n) if info is None else range(info.id, self.n, info.num_workers))


class TheirStream(theirs.IterableDataset):
    __init__ = Stream.__init__

    def __iter__(self):
        info = theirs.get_worker_info()
        return iter(range(self.n) if info is None else range(info.id, self.n, info.num_workers))


@pytest.mark.parametrize("options", [{"batch_size": 3}, {"batch_size": 3, "drop_last": True}, {"batch_size": None}])
@pytest.mark.parametrize("workers", [0, 3])
def test_streams_and_their_workers(options, workers):
    mine = [plain(b) for b in ours.DataLoader(Stream(10), num_workers=workers, **options)]
    other = [plain(b) for b in theirs.DataLoader(TheirStream(10), num_workers=workers, **options)]
    assert mine == other
    chain = [plain(b) for b in ours.DataLoader(ours.ChainDataset([Stream(2), Stream(3)]))]
    assert chain == [plain(b) for b in theirs.DataLoader(theirs.ChainDataset([TheirStream(2), TheirStream(3)]))]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("RandomSampler", {"replacement": 1}),
        ("RandomSampler", {"num_samples": 0}),
        ("BatchSampler", {"batch_size": 0, "drop_last": False}),
        ("BatchSampler", {"batch_size": 2, "drop_last": 1}),
        ("DataLoader", {"num_workers": -1}),
        ("DataLoader", {"timeout": -1}),
        ("DataLoader", {"prefetch_factor": 2}),
        ("DataLoader", {"persistent_workers": True}),
        ("DataLoader", {"batch_size": None, "drop_last": True}),
        ("DataLoader", {"shuffle": True, "sampler": [0]}),
        ("DataLoader", {"batch_sampler": [[0]], "batch_size": 2}),
        ("WeightedRandomSampler", {"num_samples": -1}),
    ],
)
def test_refused_arguments(name, arguments):
    with pytest.raises((ValueError, TypeError)) as their_error:
        getattr(theirs, name)([1, 2], **arguments)
    with pytest.raises(their_error.type):
        getattr(ours, name)([1, 2], **arguments)
    with pytest.raises(ValueError):
        ours.DataLoader(Stream(3), shuffle=True)
    with pytest.raises(ValueError):
        ours.random_split([1, 2, 3], [1, 1])


def test_random_orders_follow_the_seed():
    def order(**options):
        return [int(i) for b in ours.DataLoader(range(50), batch_size=7, **options) for i in b]

    jitcore.manual_seed(1)
    first, second = order(shuffle=True), order(shuffle=True)
    jitcore.manual_seed(1)
    assert order(shuffle=True, num_workers=2) == first and first != second
    assert sorted(first) == sorted(second) == list(range(50))
    generators = [jitcore.Generator().manual_seed(3) for _ in range(2)]
    assert order(shuffle=True, generator=generators[0]) == order(shuffle=True, generator=generators[1])


def test_samplers():
    assert sorted(ours.SubsetRandomSampler([5, 6, 7])) == [5, 6, 7]
    drawn = list(ours.WeightedRandomSampler([0.0, 1.0, 3.0], 4000))
    assert set(drawn) == {1, 2} and abs(drawn.count(2) / 4000 - 0.75) < 0.04  # 5 standard deviations
    assert sorted(ours.WeightedRandomSampler([1.0, 1.0, 1.0], 3, replacement=False)) == [0, 1, 2]
    assert len(list(ours.RandomSampler(range(5), num_samples=12))) == 12
    assert set(ours.RandomSampler(range(3), replacement=True, num_samples=99)) == {0, 1, 2}
    parts = [list(ours.DistributedSampler(range(10), 3, rank, shuffle=False)) for rank in range(3)]
    assert parts == [list(theirs.DistributedSampler(range(10), 3, rank, shuffle=False)) for rank in range(3)]


class Seeds(ours.Dataset):
    def __getitem__(self, i):
        info = ours.get_worker_info()
        return info.id, info.seed, float(jitcore.rand(())), float(np.random.rand()), os.getpid()

    def __len__(self):
        return 6


def _init(worker):
    jitcore.zeros(1)


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_have_seeds_of_their_own(start):
    def run():
        jitcore.manual_seed(5)
        loader = ours.DataLoader(Seeds(), num_workers=2, multiprocessing_context=start, worker_init_fn=_init)
        return list(loader)

    first, second = run(), run()
    assert [[float(v) for v in row[:4]] for row in first] == [[float(v) for v in row[:4]] for row in second]
    assert len({float(row[2]) for row in first}) == 6
    assert [int(row[0]) for row in first] == [0, 1] * 3
    assert os.getpid() not in {int(row[4]) for row in first} and ours.get_worker_info() is None


def test_persistent_workers_stay():
    loader = ours.DataLoader(Seeds(), num_workers=2, persistent_workers=True, prefetch_factor=1)
    next(iter(loader))  # an epoch left in the middle does not disturb the next
    epochs = [[int(row[4]) for row in loader] for _ in range(2)]
    assert epochs[0] == epochs[1] and len(epochs[0]) == 6


class Broken(Seeds):
    def __getitem__(self, i):
        if i == 3:
            raise KeyError("three")
        return i


class Dying(Seeds):
    def __getitem__(self, i):
        os._exit(1)


def test_errors_of_workers_reach_the_loop():
    with pytest.raises(KeyError, match=r"Caught KeyError in DataLoader worker process 1(.|\n)*three"):
        list(ours.DataLoader(Broken(), num_workers=2))
    with pytest.raises(RuntimeError, match="exited unexpectedly"):
        list(ours.DataLoader(Dying(), num_workers=1))
