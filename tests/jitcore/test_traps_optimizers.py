"""Known traps of tracing: what code asks an optimizer for, and captured tensors besides their elements."""

import pytest
from trap_checks import jit, quiet, vector

import jitcore
from jitcore import nn, optim

READERS = {
    "entry of a group": lambda o, p: o.param_groups[0].get("scale", 1),
    "whether a group has an entry": lambda o, p: 2 if "scale" in o.param_groups[0] else 3,
    "number of entries": lambda o, p: len(o.param_groups[0]),
    "all entries": lambda o, p: sum(v for k, v in o.param_groups[0].items() if isinstance(v, float)),
    "a run-time scalar": lambda o, p: o.param_groups[0].get("lr", 1),
    "defaults": lambda o, p: o.defaults["lr"],
    "state of a parameter": lambda o, p: o.state[p].get("count", 3),
    "state, with a default": lambda o, p: o.state.get(p, {"count": 3})["count"],
    "whether there is state": lambda o, p: 2 if p in o.state else 3,
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@quiet
def test_what_code_asks_an_optimizer(read):
    def seen(wrap):
        parameter = nn.Parameter(vector(1, 2))
        optimizer = optim.SGD([parameter], lr=0.5)
        f = wrap(lambda x: x * read(optimizer, parameter))
        before = [f(vector(1)).tolist() for _ in range(3)]
        optimizer.param_groups[0]["scale"] = optimizer.param_groups[0]["lr"] = 5.0
        optimizer.defaults["lr"] = 7.0
        optimizer.state[parameter]["count"] = 9
        return before, [f(vector(1)).tolist() for _ in range(3)]

    before, after = seen(lambda f: f)
    assert before[-1] != after[-1]
    assert seen(jit) == (before, after)


class Counting(optim.Optimizer):
    """Its state is a number alone, which the first step makes."""

    def __init__(self, parameters, get=False):
        super().__init__(parameters, {"lr": 0.5})
        self.get = get

    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                entries = self.state[p]
                if not self.get and not entries:
                    entries["count"] = 0
                entries["count"] = entries.get("count", 0) + 1
                with jitcore.no_grad():
                    p.add_(p.grad, alpha=-group["lr"] * entries["count"])


@pytest.mark.parametrize("get", [False, True])
@quiet
def test_numbers_that_the_first_step_makes(get):
    def train(wrap):
        weight = nn.Parameter(vector(1, 2))
        optimizer = Counting([weight], get)

        @wrap
        def step(x):
            optimizer.zero_grad()
            (weight * x).sum().backward()
            optimizer.step()
            return weight.detach().clone()

        return [step(vector(1, 2)).tolist() for _ in range(5)], optimizer.state[weight]

    assert train(jit) == train(lambda f: f)


def test_a_schedule_and_a_count_of_entries_stay_compiled(ran):
    weight = nn.Parameter(vector(1, 2))
    optimizer = optim.Adam([weight], lr=0.5)

    @jit
    def step(x):
        optimizer.zero_grad()
        (weight * x).sum().backward()
        optimizer.step()
        return weight.detach().clone() * len(optimizer.state)

    for n in range(6):
        optimizer.param_groups[0]["lr"] = 0.1 * n
        step(vector(1, 2))
    assert len(ran) >= 3


def test_interval_of_a_scaler():
    scaler = jitcore.amp.GradScaler()
    jitted = jit(lambda x: x * scaler.get_growth_interval() + scaler.get_growth_factor())
    assert [jitted(vector(1)).tolist() for _ in range(2)] == [[2002.0]] * 2
    scaler.set_growth_interval(5)
    assert [jitted(vector(1)).tolist() for _ in range(2)] == [[7.0]] * 2
    scaler.set_growth_factor(3.0)
    assert [jitted(vector(1)).tolist() for _ in range(2)] == [[8.0]] * 2


class Derived(jitcore.Tensor):
    pass


OTHER = vector(1, 2)
OF_TENSORS = {
    "a method put on it": (lambda w: w.sum(), lambda w: setattr(w, "sum", lambda: 7)),
    "its length": (lambda w: len(w), lambda w: setattr(w, "data", jitcore.ones(5))),
    "its class": (lambda w: 2 if type(w) is Derived else 3, lambda w: setattr(w, "__class__", Derived)),
    "its memory": (lambda w: 2 if w.is_set_to(OTHER) else 3, lambda w: setattr(w, "data", OTHER)),
}


@pytest.mark.parametrize("read, change", OF_TENSORS.values(), ids=OF_TENSORS)
def test_what_code_asks_a_captured_tensor(read, change):
    def seen(wrap):
        weight = vector(1, 2)
        f = wrap(lambda x: x * read(weight))
        before = [f(vector(1)).tolist() for _ in range(3)]
        change(weight)
        return before, [f(vector(1)).tolist() for _ in range(3)]

    before, after = seen(lambda f: f)
    assert before != after
    assert seen(jit) == (before, after)
