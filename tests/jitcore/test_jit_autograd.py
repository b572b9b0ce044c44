"""Gradients across jitted functions equal eager's: one node on the tape, compiled backward, recomputation."""

import gc
import itertools
import random
import weakref

import numpy as np
import pytest
from jit_autograd_checks import agree, backward_of, each_way, numbers

import jitcore
import jitcore.nn.functional as F
from jitcore import nn
from jitcore.trace.minimum_cut import Network

grad = jitcore.autograd.grad


class Attention(nn.Module):
    def __init__(self, width=16, heads=2):
        super().__init__()
        self.heads = heads
        self.norm, self.drop = nn.LayerNorm(width), nn.Dropout(0.2)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        batch, time, width = x.shape
        parts = self.qkv(self.norm(x)).reshape(batch, time, 3, self.heads, width // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
        weights = self.drop((q @ k.transpose(-1, -2)).softmax(-1))
        return x + self.out((weights @ v).transpose(1, 2).reshape(batch, time, width))


class Checkpointed(nn.Module):
    def __init__(self, reentrant):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(6, 12), nn.GELU(), nn.Dropout(0.3), nn.Linear(12, 6))
        self.reentrant = reentrant

    def forward(self, x):
        return x + jitcore.utils.checkpoint.checkpoint(self.inner, x, use_reentrant=self.reentrant)


class Convolutional(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4)

    def forward(self, x):
        return F.max_pool2d(F.relu(self.norm(self.conv(x))), 2).mean((2, 3))


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.rnn, self.out = nn.Embedding(11, 8), nn.GRU(8, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, tokens):
        return self.out(self.rnn(self.embedding(tokens))[0])


BLOCKS = {
    "mlp": lambda: (nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 24), nn.GELU(), nn.Dropout(0.3), nn.Linear(24, 6)),
                    numbers(5, 6)),
    "attention": lambda: (Attention(), numbers(2, 5, 16)),
    "batch norm": lambda: (Convolutional(), numbers(3, 2, 6, 6)),
    "recurrent": lambda: (Tokens(), jitcore.tensor(np.arange(10).reshape(2, 5) % 11)),
    "checkpoint": lambda: (Checkpointed(False), numbers(4, 6)),
}  # fmt: skip


@pytest.mark.parametrize("name", BLOCKS)
def test_gradients_and_buffers_equal_eager(name):
    module, *inputs = BLOCKS[name]()
    made = backward_of(agree(module, *inputs))
    assert made.problem is None and made.executor is not None


# What is kept


def test_cut_is_the_cheapest_one():
    choose = random.Random(1)
    for _ in range(60):
        count = choose.randint(2, 7)
        edges = [(*choose.sample(range(count), 2), choose.randint(0, 9)) for _ in range(choose.randint(1, 16))]
        network = Network()
        for _ in range(count):
            network.add_node()
        for edge in edges:
            network.add_edge(*edge)
        behind = network.cut(0, count - 1)

        def cost(side, edges=edges):
            return sum(c for a, b, c in edges if not side[a] and side[b])

        others = [(False, *middle, True) for middle in itertools.product((False, True), repeat=count - 2)]
        assert cost(behind) == min(map(cost, others))
        assert sum(behind) == min(sum(s) for s in others if cost(s) == cost(behind))


def test_chains_of_cheap_operations_keep_their_input_alone():
    layer = nn.Linear(8, 8)

    def f(x):
        y = layer(x)
        return (y * 2 + 1).relu() * y.clamp(-1, 1) / (y.abs() + 1)

    jitted = jitcore.jit(f)
    x = numbers(4, 8).requires_grad_()
    for _ in range(2):
        expected = grad(f(x).sum(), [x])[0]
        np.testing.assert_allclose(grad(jitted(x).sum(), [x])[0].numpy(), expected.numpy(), rtol=1e-5)
    assert backward_of(jitted).kept == (1, 4 * 8 * 4) and backward_of(jitted).recomputed > 3


def test_dropout_keeps_one_byte_an_element_and_products_are_not_computed_twice():
    first, drop = nn.Linear(32, 64, bias=False), nn.Dropout(0.5)
    jitted = jitcore.jit(lambda x: drop(first(x)))
    for _ in range(2):
        jitted(numbers(16, 32).requires_grad_()).sum().backward()
    assert backward_of(jitted).kept == (1, 16 * 64)
    names = [o.spec.name for o in backward_of(jitted).graph.operations]
    assert "random_bits" not in names and names.count("dot") == 2


def test_checkpointed_part_is_computed_again_from_its_input():
    inner = nn.Sequential(nn.Linear(16, 256), nn.Tanh(), nn.Linear(256, 16))
    x = numbers(32, 16).requires_grad_()

    def kept(function):
        jitted = jitcore.jit(function)
        for _ in range(2):
            jitted(x).sum().backward()
        return backward_of(jitted).kept[1]

    part = jitcore.utils.checkpoint.checkpoint
    assert kept(lambda x: part(inner, x * 2, use_reentrant=False)) <= 32 * 16 * 4
    assert kept(lambda x: inner(x * 2)) >= 32 * 256 * 4


def test_a_checkpoint_with_a_backward_pass_of_its_own():
    inner = nn.Sequential(nn.Linear(3, 3), nn.Tanh())

    def check(f):
        x = numbers(2, 3).requires_grad_()
        inner.zero_grad()
        f(x).backward()
        with pytest.raises(RuntimeError, match="use_reentrant=False"):
            grad(f(x), [x])
        return x.grad.tolist(), inner[0].weight.grad.tolist()

    def f(x):
        return jitcore.utils.checkpoint.checkpoint(inner, x * 2, use_reentrant=True).sum()

    jitted = jitcore.jit(f)
    assert [check(jitted) for _ in range(3)] == [check(f)] * 3
    assert "use_reentrant=True" in jitted.explain()


def test_explain_says_what_is_kept():
    jitted = jitcore.jit(nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4)))
    for _ in range(2):
        jitted(numbers(3, 4)).sum().backward()
    assert "saves 1 values (48 bytes) for its backward pass" in jitted.explain()


# The tape around a compiled call


def test_arguments_that_derive_from_each_other():
    def check(f):
        x = jitcore.tensor([2.0, 3.0], requires_grad=True)
        f(x, x * 2).backward()
        return x.grad.tolist()

    each_way(lambda a, b: (a * b).sum())(check)


def test_hooks_of_parameters_run_once():
    weight = jitcore.tensor([2.0, 3.0], requires_grad=True)
    weight.register_hook(lambda g: g * 10)
    weight.register_post_accumulate_grad_hook(lambda p: p.grad.add_(1))

    def check(f):
        weight.grad = None
        f(jitcore.ones(2)).backward()
        return weight.grad.tolist()

    each_way(lambda x: (x * weight).sum())(check)


def test_hooks_inside_run_once_in_each_backward():
    seen = []

    def f(x):
        y = x * 2
        y.register_hook(lambda g: seen.append(g.tolist()))
        y.register_hook(lambda g: g * 3)
        return (y * y).sum()

    def check(f):
        seen.clear()
        x = jitcore.tensor([1.0, 2.0], requires_grad=True)
        f(x).backward()
        return x.grad.tolist(), list(seen)

    jitted = each_way(f)(check)
    assert "a hook on a gradient inside it" in jitted.explain()


def test_module_backward_hooks_see_the_gradients():
    seen = []
    layer = nn.Linear(2, 2)
    layer.register_full_backward_hook(lambda m, gi, go: seen.append(go[0].tolist()))

    def check(f):
        seen.clear()
        layer.zero_grad()
        f(jitcore.ones(1, 2)).sum().backward()
        return layer.weight.grad.tolist(), list(seen)

    each_way(lambda x: layer(x) * 3)(check)


def test_detached_and_retained_results():
    def f(x):
        y = x * 2
        y.retain_grad()
        return y, y.detach(), x.sum()

    def check(f):
        x = jitcore.tensor([1.0, 2.0], requires_grad=True)
        y, plain, total = f(x)
        ((y * y).sum() + total).backward()
        return y.grad.tolist(), plain.requires_grad, y.requires_grad, x.grad.tolist()

    each_way(f)(check)


def test_hook_on_a_result_that_another_is_computed_from_is_right_or_an_error():
    jitted = jitcore.jit(lambda x: (y := x * 2, (y * y).sum()))
    for call in range(3):
        x = jitcore.tensor([1.0, 2.0], requires_grad=True)
        y, loss = jitted(x)
        (loss + y.sum()).backward(retain_graph=True)
        assert x.grad.tolist() == [10, 18]
        y.register_hook(lambda g: g * 2)
        if call == 0:
            loss.backward()
            assert x.grad.tolist() == [26, 50]
        else:
            with pytest.raises(RuntimeError, match="other results are computed from"):
                loss.backward()


def test_result_that_is_a_leaf_made_inside():
    def check(f):
        leaf = f()
        (leaf * 3).sum().backward()
        return leaf.is_leaf, leaf.grad.tolist()

    each_way(lambda: jitcore.ones(2).requires_grad_())(check)


def test_spent_history_is_spent():
    weight = jitcore.tensor([2.0], requires_grad=True)

    def f(x):
        loss = (x * weight).sum()
        loss.backward()
        return loss

    def check(f):
        weight.grad = None
        loss = f(jitcore.ones(1))
        with pytest.raises(RuntimeError, match="second time"):
            loss.backward()
        return loss.requires_grad, weight.grad.tolist()

    each_way(f)(check)


def test_second_backward_needs_retain_graph():
    def check(f):
        x = numbers(3).requires_grad_()
        loss = f(x)
        loss.backward(retain_graph=True)
        loss.backward()
        with pytest.raises(RuntimeError, match="second time"):
            loss.backward()
        return x.grad.tolist()

    each_way(lambda x: (x * x).sum())(check)


@pytest.mark.parametrize("what", ["input", "result"])
def test_write_between_forward_and_backward_is_an_error_where_eager_has_one(what):
    functions = {"saves it": lambda x: x.exp() if what == "result" else x * x, "does not": lambda x: x + 1}
    for function in functions.values():

        def check(f):
            leaf = numbers(3).requires_grad_()
            x = leaf * 1
            y = f(x)
            with jitcore.no_grad():
                (x if what == "input" else y).mul_(0)
            try:
                y.sum().backward()
            except RuntimeError as error:
                assert "modified by an inplace operation" in str(error)
                return "error"
            return leaf.grad.tolist()

        each_way(function)(check)


def test_data_exchanged_before_backward_is_not_what_backward_reads():
    weight = nn.Parameter(jitcore.tensor([2.0, 3.0]))

    def check(f):
        weight.grad = None
        weight.data = jitcore.tensor([2.0, 3.0])
        x = jitcore.ones(2).requires_grad_()
        loss = f(x)
        weight.data = jitcore.tensor([50.0, 60.0])
        loss.backward()
        return x.grad.tolist(), weight.grad.tolist()

    each_way(lambda x: (x * weight * weight).sum())(check)


def test_memory_for_backward_is_given_up():
    jitted = jitcore.jit(lambda x: (x @ x).tanh())
    x = numbers(4, 4).requires_grad_()
    for _ in range(2):
        loss = jitted(x).sum()
    node = loss._node.edges[0]
    assert node.call is not None
    loss.backward()
    assert node.call is None


def test_calls_are_freed_without_the_garbage_collector():
    jitted = jitcore.jit(lambda x: ((x @ x).exp(), x.sin()))
    x = numbers(4, 4).requires_grad_()
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            results = jitted(x)
            node = weakref.ref(results[0]._node)
            del results
            assert node() is None
    finally:
        gc.enable()
