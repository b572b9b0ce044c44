"""Gradients across jitted functions equal eager's: one node on the tape, compiled backward, recomputation, and what is
run again where the tape itself is needed."""

import gc
import itertools
import random
import warnings
import weakref

import numpy as np
import pytest

import jitcore
import jitcore.nn.functional as F
from jitcore import nn
from jitcore.trace.minimum_cut import Network

grad = jitcore.autograd.grad


def numbers(*shape, seed=0):
    return jitcore.tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def backward_of(jitted):
    """The backward pass of the only variant."""
    ((variant,),) = [entry.variants for entry in jitted._recordings.entries.values()]
    return variant.backward


def agree(module, *inputs, calls=3, prepare=None):
    """Results, gradients of inputs and parameters, and buffers of jitted calls and eager ones; returns the jitted."""
    jitted = jitcore.jit(module)
    state = {name: value.clone() for name, value in module.state_dict().items()}
    runs = []
    for function in (module, jitted):
        module.load_state_dict(state)
        jitcore.manual_seed(5)
        seen = []
        for _ in range(calls):
            module.zero_grad()
            own = [x.clone().requires_grad_() if x.is_floating_point() else x for x in inputs]
            result = function(*own)
            (result * result).sum().backward()
            seen += [result.detach(), *(x.grad for x in own if x.requires_grad)]
            seen += [p.grad.clone() for p in module.parameters()] + [b.clone() for b in module.buffers()]
        runs.append(seen)
    for given, expected in zip(*runs, strict=True):
        np.testing.assert_allclose(given.numpy(), expected.numpy(), rtol=2e-4, atol=2e-5)
    return jitted


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


def test_explain_says_what_is_kept():
    jitted = jitcore.jit(nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4)))
    for _ in range(2):
        jitted(numbers(3, 4)).sum().backward()
    assert "saves 1 values (48 bytes) for its backward pass" in jitted.explain()


# The tape around a compiled call


def each_way(function, calls=4):
    """What `check` gives for the plain function and for the jitted one, called some times."""

    def run(check):
        expected = [check(function) for _ in range(calls)]
        jitted = jitcore.jit(function, native=False)  # what is recorded is the matter here
        assert [check(jitted) for _ in range(calls)] == expected
        return jitted

    return run


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


# Custom functions


class Scaled(jitcore.autograd.Function):
    """Backward multiplies by a global, or by what depends on the gradient."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * 2

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * x * SCALE if g.sum() > 0 else g * NUMBER


SCALE = jitcore.tensor(5.0)
NUMBER = 3.0


def test_custom_function_reads_state_and_values_of_its_backward():
    def run(f):
        global SCALE, NUMBER
        seen = []
        for sign, scale, number in ((1, 5.0, 3.0), (-1, 5.0, 3.0), (1, 7.0, 3.0), (-1, 7.0, 4.0), (1, 7.0, 4.0)):
            SCALE, NUMBER = jitcore.tensor(scale), number
            for _ in range(2):
                x = jitcore.tensor([1.0, 2.0], requires_grad=True)
                (f(x) * sign).backward()
                seen.append(x.grad.tolist())
        return seen

    def f(x):
        return Scaled.apply(x).sum()

    assert run(jitcore.jit(f)) == run(f)


# Derivatives of derivatives


def second_order(f, x, *others):
    (first,) = grad(f(x, *others).sum(), [x], create_graph=True)
    return [first.detach(), *grad((first * first).sum(), [x, *others], allow_unused=True)]


class Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.drop, self.norm = nn.Linear(4, 4), nn.Dropout(0.5), nn.BatchNorm1d(4)

    def forward(self, x):
        return self.norm(self.drop(self.layer(x).tanh())) ** 3


def test_double_backward_uses_the_same_random_numbers_and_commits_nothing_twice():
    module = Noisy()
    jitted = jitcore.jit(module)
    weight = module.layer.weight
    start = {name: value.clone() for name, value in module.state_dict().items()}
    runs = []
    for f in (module, jitted):
        module.load_state_dict(start)
        jitcore.manual_seed(11)
        seen = []
        for n in range(3):
            x = numbers(6, 4, seed=n).requires_grad_()
            (first,) = grad(f(x).sum(), [x], create_graph=True)
            jitcore.rand(3)  # the generator goes on between forward and backward
            f(x)
            seen += [first.detach(), *grad((first * first).sum(), [x, weight]), jitcore.rand(2)]
            seen += [b.clone() for b in module.buffers()]
        runs.append(seen)
    for given, expected in zip(*runs, strict=True):
        np.testing.assert_allclose(given.numpy(), expected.numpy(), rtol=2e-4, atol=1e-5)


def test_double_backward_reads_a_tensor_that_the_function_writes_as_it_was_then():
    total = jitcore.zeros(2)

    def f(x):
        total.add_(1)
        return (x**3 * total).sum()

    def check(f):
        with jitcore.no_grad():
            total.zero_()
        x = jitcore.tensor([1.0, 2.0], requires_grad=True)
        f(x)
        (first,) = grad(f(x), [x], create_graph=True)
        f(x)
        return grad(first.sum(), [x])[0].tolist(), total.tolist()

    expected = check(f)
    assert expected == ([12, 24], [3, 3])
    jitted = jitcore.jit(f)
    assert [check(jitted) for _ in range(3)] == [expected] * 3


def test_third_derivative_and_gradients_of_gradients_of_gradients():
    f = lambda x: (x**4).sum()  # noqa: E731
    jitted = jitcore.jit(f)
    for function in (f, jitted, jitted, jitted):
        x = jitcore.tensor([1.0, 2.0], requires_grad=True)
        (a,) = grad(function(x), [x], create_graph=True)
        (b,) = grad(a.sum(), [x], create_graph=True)
        (c,) = grad(b.sum(), [x])
        np.testing.assert_allclose(c.numpy(), [24, 48], rtol=1e-5)


def test_gradient_penalty_trains_as_in_eager():
    runs = []
    for wrap in (lambda f: f, jitcore.jit):
        jitcore.manual_seed(0)
        critic = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
        f = wrap(critic)
        optimizer = jitcore.optim.SGD(critic.parameters(), lr=0.1)
        losses = []
        for n in range(5):
            x = numbers(4, 3, seed=n).requires_grad_()
            out = f(x)
            (g,) = grad(out.sum(), [x], create_graph=True)
            loss = out.mean() + ((g.norm(dim=1) - 1) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        runs.append(losses)
    np.testing.assert_allclose(runs[0], runs[1], rtol=1e-4)


def test_double_backward_says_what_changed_since_the_call():
    layer = nn.Linear(2, 2)
    factor = [2.0]
    jitted = jitcore.jit(lambda x: (layer(x) ** 3).sum() * factor[0])

    def first():
        x = jitcore.ones(1, 2).requires_grad_()
        return grad(jitted(x), [x], create_graph=True)[0], x

    for _ in range(2):
        first()
    g, x = first()
    factor[0] = 3.0
    with pytest.raises(RuntimeError, match="Python state has changed"):
        grad(g.sum(), [x])
    factor[0] = 2.0
    g, x = first()
    with jitcore.no_grad():
        layer.weight.add_(1)
    with pytest.raises(RuntimeError, match=r"has been written since, at .*test_jit_autograd.py"):
        grad(g.sum(), [x])


def test_function_transforms_of_jitted_functions():
    func = jitcore.func
    f = lambda x, y: (x**3 * y).sin()  # noqa: E731
    jitted = jitcore.jit(f)
    x, y = numbers(3), numbers(3, seed=1)
    total = lambda g: lambda x, y: g(x, y).sum()  # noqa: E731
    transforms = {
        "grad": lambda g: func.grad(total(g))(x, y),
        "hessian": lambda g: func.hessian(total(g))(x, y),
        "jacrev": lambda g: func.jacrev(g, argnums=1)(x, y),
        "jacfwd": lambda g: func.jacfwd(g)(x, y),
        "jvp": lambda g: func.jvp(g, (x, y), (y, x))[1],
        "vjp": lambda g: func.vjp(g, x, y)[1](x)[0],
        "vmap": lambda g: func.vmap(g)(x, y),
        "vmap of grad": lambda g: func.vmap(func.grad(g))(x, y),
        "batched gradients": lambda g: batched(g),
    }

    def batched(g):
        own = x.clone().requires_grad_()
        return grad(g(own, y), [own], jitcore.eye(3), is_grads_batched=True)[0]

    for name, transform in transforms.items():
        for _ in range(3):
            np.testing.assert_allclose(
                transform(jitted).detach().numpy(), transform(f).detach().numpy(), rtol=1e-4, atol=1e-5, err_msg=name
            )


# Parts of models


def test_jitted_parts_inside_eager_models_and_eager_parts_inside_jitted_ones():
    class Model(nn.Module):
        def __init__(self, mark):
            super().__init__()
            jitcore.manual_seed(2)
            self.encoder, self.decoder = nn.Linear(3, 5), nn.Linear(5, 2)
            self.encode = jitcore.jit(self.encoder) if "encoder" in mark else self.encoder
            self.loss = jitcore.jit(F.mse_loss) if "loss" in mark else F.mse_loss

        def forward(self, x, y):
            return self.loss(self.decoder(self.encode(x).relu()), y)

    runs = []
    for mark in ("", "encoder", "loss", "encoder loss", "whole", "whole encoder loss"):
        model = Model(mark)
        function = jitcore.jit(model) if "whole" in mark else model
        for n in range(3):
            function(numbers(4, 3, seed=n), numbers(4, 2, seed=n)).backward()
        runs.append(np.concatenate([p.grad.numpy().ravel() for p in model.parameters()]))
    for run in runs[1:]:
        np.testing.assert_allclose(run, runs[0], rtol=1e-4, atol=1e-6)


def test_requires_grad_toggled_between_calls():
    layers = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    jitted = jitcore.jit(layers)
    seen = []
    for function in (layers, jitted):
        here = []
        for frozen in (False, True, True, False, False):
            layers.zero_grad()
            layers[0].requires_grad_(not frozen)
            function(jitcore.ones(1, 2)).sum().backward()
            here.append([None if p.grad is None else p.grad.numpy().round(4).tolist() for p in layers.parameters()])
        seen.append(here)
    assert seen[0] == seen[1]


def test_no_grad_and_detach_inside():
    def f(x, w):
        with jitcore.no_grad():
            scale = (x * w).sum()
        return (x * w * scale + (x * w).detach() * w).sum()

    def check(f):
        x, w = numbers(3).requires_grad_(), numbers(3, seed=1).requires_grad_()
        f(x, w).backward()
        return x.grad.numpy().round(4).tolist(), w.grad.numpy().round(4).tolist()

    each_way(f)(check)


def test_captured_views_with_history_get_their_gradients():
    base = jitcore.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    row = base[0]

    def check(f):
        base.grad = None
        f(jitcore.ones(2)).backward(retain_graph=True)
        return base.grad.tolist()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jitcore.JitWarning)
        each_way(lambda x: (x * row).sum())(check)


def test_gradients_of_two_tensors_on_one_memory_run_eagerly():
    weight = jitcore.tensor([1.0, 2.0], requires_grad=True)
    twin = weight.detach().requires_grad_()

    def check(f):
        weight.grad = twin.grad = None
        f(jitcore.ones(2)).backward()
        return weight.grad.tolist(), twin.grad.tolist()

    with pytest.warns(jitcore.JitWarning, match="shares its memory with another input"):
        each_way(lambda x: (x * weight * twin * twin).sum())(check)


# Several ways through one function


def test_each_way_through_a_branch_has_its_backward_pass():
    jitcore.manual_seed(0)
    layer = nn.Linear(3, 3, bias=False)

    def f(x):
        y = layer(x).tanh()
        return (y * y).sum() if y.sum() > 0 else (y.exp() * 3).sum()

    def check(f):
        seen = []
        for sign in (1, -1, 1, -1):
            layer.zero_grad()
            x = (layer.weight.detach() * sign).requires_grad_()
            f(x).backward()
            seen.append([x.grad.numpy().round(4).tolist(), layer.weight.grad.numpy().round(4).tolist()])
        return seen

    jitted = each_way(f, calls=2)(check)
    assert jitted.explain().count("for its backward pass") == 2


def test_result_written_later_is_not_what_backward_kept():
    def f(x):
        y = x @ x
        z = (y + 1) * (y + 2)
        return (y, z) if z.sum() > -1e9 else (z, y)

    def check(f):
        x = numbers(3, 3).requires_grad_()
        y, z = f(x)
        with jitcore.no_grad():
            y.mul_(0)
        z.sum().backward()
        return x.grad.numpy().round(3).tolist()

    each_way(f)(check)


class Powered(jitcore.autograd.Function):
    @staticmethod
    def forward(ctx, x, power):
        ctx.save_for_backward(x)
        ctx.power = power
        return x**2

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 2 * x * ctx.power, None


def test_float_argument_that_only_the_backward_pass_uses():
    def check(f):
        seen = []
        for power in (1.0, 2.0, 0.5):
            x = jitcore.tensor([1.0, 3.0], requires_grad=True)
            f(x, power).backward()
            seen.append(x.grad.tolist())
        return seen

    each_way(lambda x, power: Powered.apply(x, power).sum())(check)


def test_prints_of_forward_and_backward_come_once(capsys):
    class Loud(jitcore.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, g):
            print("back")
            (x,) = ctx.saved_tensors
            return g * 3 * x * x

    def f(x):
        print("there")
        return Loud.apply(x).sum()

    def check(f):
        x = jitcore.ones(2).requires_grad_()
        (first,) = grad(f(x), [x], create_graph=True)
        (second,) = grad(first.sum(), [x])
        return second.tolist(), capsys.readouterr().out

    each_way(f)(check)


def test_backward_that_writes_or_draws_does_so_once_in_each_backward():
    count = jitcore.zeros(1)

    class Counted(jitcore.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            count.add_(1)
            return g * jitcore.rand(2)

    def check(f):
        jitcore.manual_seed(1)
        count.zero_()
        x = jitcore.ones(2).requires_grad_()
        f(x).backward()
        return x.grad.tolist(), count.item(), jitcore.rand(1).item()

    jitted = each_way(lambda x: Counted.apply(x).sum())(check)
    assert "runs the function again, eagerly: it writes a tensor" in jitted.explain()


# Sizes that change


LINEAR, NOISE = nn.Linear(4, 4), jitcore.Generator()

RESIZED = {
    "dropout": lambda x: F.dropout(LINEAR(x), 0.4).relu(),
    "batch norm": lambda x: F.batch_norm(LINEAR(x), None, None, training=True).tanh(),
    "noise": lambda x: x * jitcore.rand(x.shape[0], 4, generator=NOISE) + jitcore.randn_like(x),
    "order": lambda x: x[jitcore.randperm(x.shape[0])] * x,
    "checkpoint": lambda x: jitcore.utils.checkpoint.checkpoint(
        lambda v: F.dropout(LINEAR(v), 0.4).sin(), x, use_reentrant=False
    ),
    "no size in the gradient": lambda x: x.sum()[None],
}


@pytest.mark.parametrize("name", RESIZED)
def test_batches_of_other_sizes_share_a_backward_pass(name):
    runs = []
    for wrap in (lambda f: f, lambda f: jitcore.jit(f, native=False)):
        function = wrap(RESIZED[name])
        jitcore.manual_seed(3)
        NOISE.manual_seed(4)
        seen = []
        for n, rows in enumerate((3, 5, 8, 3, 2, 6)):
            LINEAR.zero_grad()
            x = numbers(rows, 4, seed=n).requires_grad_()
            result = function(x)
            (first,) = grad((result * result).sum(), [x], create_graph=True)
            (first * first).sum().backward()
            seen += [result.detach(), first.detach(), x.grad]
        runs.append([*seen, jitcore.get_rng_state()])
    for given, expected in zip(*runs, strict=True):
        np.testing.assert_allclose(given.numpy(), expected.numpy(), rtol=1e-3, atol=1e-4)
    assert len(function._recordings.variants()) == 2


def test_schedule_steps_once_though_the_function_runs_again():
    weight = nn.Parameter(jitcore.ones(2))
    optimizer = jitcore.optim.SGD([weight], lr=1.0)
    schedule = jitcore.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    optimizer.step()

    def f(x):
        schedule.step()
        return (x**3 * weight).sum()

    jitted = jitcore.jit(f)
    for n in range(4):
        x = jitcore.ones(2).requires_grad_()
        (first,) = grad(jitted(x), [x], create_graph=True)
        np.testing.assert_allclose(grad(first.sum(), [x])[0].numpy(), [6, 6])
        assert optimizer.param_groups[0]["lr"] == 0.5 ** (n + 1)
