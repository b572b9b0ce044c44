"""Whatever eager execution does to memory passes through the recorder's hooks.

The recorder here is a second, independent execution: it knows memory only from what the hooks tell, recomputes every
operation with the NumPy kernels on its own copies, and must end with the same memory as the tensors.
"""

import numpy as np
import pytest

import jitcore
from jitcore.state import state
from jitcore.symbolic import concrete
from jitcore_runtime.kernels import KERNELS

F = jitcore.nn.functional


class Shadow:
    """Re-executes what it is told."""

    def __init__(self):
        self.memory = {}
        self.storages = []
        self.log = []

    def known(self, tensor):
        storage = tensor._storage
        if id(storage) not in self.memory:  # memory from outside, first seen now
            self.add(storage, storage.array.copy())
        array = self.memory[id(storage)]
        for spec, attributes in tensor._view:
            array = KERNELS[spec](array, **{k: concrete(v) for k, v in attributes.items()})
        return array

    def add(self, storage, array):
        self.storages.append(storage)
        self.memory[id(storage)] = array

    def operation(self, spec, operands, attributes, result):
        self.log.append(spec.name)
        values = [self.known(t) for t in operands]
        if not result._view:
            self.add(
                result._storage, np.array(KERNELS[spec](*values, **{k: concrete(v) for k, v in attributes.items()}))
            )

    def write(self, target, value):
        self.log.append("write")
        assert value._array.shape == target._array.shape and value._array.dtype == target._array.dtype
        new = self.known(value).copy()
        self.known(target)[...] = new

    def replace(self, tensor):
        self.log.append("replace")

    def create(self, tensor):
        self.log.append("create")
        self.add(tensor._storage, tensor._array.copy())

    def read(self, tensor, kind, outcome):
        self.log.append(f"read {kind}")
        np.testing.assert_array_equal(self.known(tensor), tensor._array)
        return outcome

    def get_grad(self, tensor):
        self.log.append("get_grad")

    def look(self, tensor, what):
        self.log.append(what)

    def run_hooks(self, tensor):
        pass

    def backward(self, node):
        pass

    def set_grad(self, tensor, grad):
        self.log.append("set_grad")

    def shape(self, tensor):
        return None

    def check(self):
        for storage in self.storages:
            np.testing.assert_array_equal(self.memory[id(storage)], storage.array)


@pytest.fixture
def shadow():
    recorder = Shadow()
    state.recorder = recorder
    try:
        yield recorder
    finally:
        state.recorder = None


def test_a_training_step_with_everything_in_it(shadow):
    jitcore.manual_seed(1)
    w = jitcore.randn(4, 3, 3, 3)
    w.requires_grad_()
    head = jitcore.randn(5, 4).requires_grad_()
    mean, var = jitcore.zeros(4), jitcore.ones(4)
    for _ in range(2):
        x = jitcore.rand(2, 3, 6, 6)
        y = F.conv2d(x, w, padding=1)
        y = F.batch_norm(y, mean, var, training=True)
        y = F.max_pool2d(F.relu(y), 2)
        y = F.dropout(y, 0.3)
        y[:, 0] *= 2
        y[:, 1].sigmoid_()
        loss = F.cross_entropy(F.linear(y.mean((2, 3)), head), jitcore.tensor([1, 4]))
        loss.backward()
        with jitcore.no_grad():
            for p in (w, head):
                p -= 0.1 * p.grad
                p.grad = None
    assert np.isfinite(loss.item())
    shadow.check()
    assert {
        "conv",
        "write",
        "create",
        "set_grad",
        "get_grad",
        "random_bits",
        "conv_weight_gradient",
        "read item",
    } <= set(shadow.log)


def test_views_writes_and_index_puts(shadow):
    x = jitcore.arange(24.0).reshape(2, 3, 4)
    base = x * 1
    base[0].T[1].add_(5)
    base[:, [0, 2]] = base[:, [1, 1]] * 2
    base[base > 10] = 0.5
    base.view(-1)[3:9].copy_(base[1].reshape(-1)[:6].clone())
    base.unsqueeze(0).squeeze()[..., ::2].zero_()
    shadow.check()


def test_accumulated_gradients_and_graphs_of_graphs(shadow):
    x = jitcore.ones(3).requires_grad_()
    y = (x * x * x).sum()
    y.backward(retain_graph=True)
    y.backward(retain_graph=True)
    (g,) = jitcore.autograd.grad(y, x, create_graph=True)
    (g * g).sum().backward()
    assert x.grad.tolist() == [6 + 36.0] * 3
    shadow.check()


def test_reads_are_reported_with_their_kind(shadow):
    x = jitcore.tensor([2.0])
    bool(x), int(x), float(x), x.item(), x.tolist(), x.numpy(), np.asarray(x), [10, 20, 30][jitcore.tensor(1)]
    reads = [entry for entry in shadow.log if entry.startswith("read")]
    assert reads == [
        "read bool",
        "read int",
        "read float",
        "read item",
        "read tolist",
        "read numpy",
        "read numpy",
        "read int",
    ]


def test_values_that_python_branches_on_inside_operations_are_reads(shadow):
    x = jitcore.tensor([3.0, 1.0, 2.0])
    for call in (
        lambda: x.nonzero(),
        lambda: x[x > 1],
        lambda: x.unique(),
        lambda: F.one_hot(jitcore.tensor([1])),
    ):
        before = sum(entry.startswith("read") for entry in shadow.log)
        call()
        assert sum(entry.startswith("read") for entry in shadow.log) > before


def test_masked_writes_of_one_value_need_no_read(shadow):
    x = jitcore.tensor([3.0, 1.0, 2.0])
    x[x > 1] = 0
    x.masked_fill_(x > 0, 7.0)
    assert not any(entry.startswith("read") for entry in shadow.log)
    shadow.check()


def test_tensors_may_stand_for_numbers_without_being_read(shadow):
    rate = jitcore.tensor(0.1, dtype=jitcore.float64)
    p, g = jitcore.ones(3), jitcore.ones(3)
    p.add_(g, alpha=rate)
    p.sub_(g * rate).addcmul_(g, g, value=rate).addcdiv_(g, g + 1, value=-rate)
    p.mul_(1 - rate).lerp_(g, rate)
    jitcore.addmm(jitcore.ones(2, 2), jitcore.ones(2, 2), jitcore.ones(2, 2), alpha=rate, beta=rate)
    assert p.dtype is jitcore.float32
    assert not [entry for entry in shadow.log if entry.startswith("read")]
    shadow.check()
