"""Optimizers beside PyTorch's: 20 steps of each with its options, states both ways, groups, hooks, closures, jit."""

import copy
import warnings

import numpy as np
import pytest
import torch
from torch_compare import values

import jitcore

OPTIONS = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "maximize": True}),
    ("Adam", {"lr": 0.02}),
    ("Adam", {"lr": 0.02, "amsgrad": True, "weight_decay": 0.1, "betas": (0.8, 0.9), "eps": 1e-3}),
    ("Adam", {"lr": 0.02, "maximize": True, "foreach": True}),
    ("Adam", {"lr": 0.02, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("AdamW", {"lr": 0.02, "weight_decay": 0.2}),
    ("AdamW", {"lr": 0.02, "amsgrad": True, "fused": True}),
    ("Adamax", {"lr": 0.02, "weight_decay": 0.1}),
    ("Adamax", {"maximize": True}),
    ("NAdam", {"lr": 0.02}),
    ("NAdam", {"lr": 0.02, "weight_decay": 0.1, "momentum_decay": 0.01}),
    ("NAdam", {"lr": 0.02, "weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True}),
    ("RAdam", {"lr": 0.02}),
    ("RAdam", {"lr": 0.02, "weight_decay": 0.1, "betas": (0.8, 0.9)}),
    ("RAdam", {"lr": 0.02, "weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True}),
    ("RMSprop", {"lr": 0.02}),
    ("RMSprop", {"lr": 0.02, "centered": True, "momentum": 0.8, "weight_decay": 0.1, "alpha": 0.9}),
    ("RMSprop", {"lr": 0.02, "momentum": 0.8, "maximize": True}),
    ("Adagrad", {"lr": 0.1}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.5}),
    ("Adadelta", {"lr": 0.5}),
    ("Adadelta", {"weight_decay": 0.1, "rho": 0.8, "maximize": True}),
    ("Rprop", {"lr": 0.02}),
    ("Rprop", {"lr": 0.02, "etas": (0.4, 1.5), "step_sizes": (1e-3, 0.1), "maximize": True}),
    ("ASGD", {"lr": 0.1}),
    ("ASGD", {"lr": 0.1, "t0": 5, "lambd": 0.01, "alpha": 0.5, "weight_decay": 0.1}),
    ("Adafactor", {"lr": 0.1}),
    ("Adafactor", {"lr": 0.1, "weight_decay": 0.1, "d": 2.0, "eps": (1e-8, 1e-2), "maximize": True}),
    ("Muon", {"lr": 0.1}),
    ("Muon", {"lr": 0.1, "nesterov": False, "adjust_lr_fn": "match_rms_adamw"}),
]
IDS = [f"{name}-{'-'.join(options)}" for name, options in OPTIONS]
SHAPES = [(4, 3), (3,), (), (0, 2)]
"""Muon takes matrices only, and PyTorch's Adafactor no empty parameter."""


def starts(name, dtype=np.float64):
    random = np.random.default_rng(0)
    shapes = [(4, 3), (2, 5)] if name == "Muon" else SHAPES[:3] if name == "Adafactor" else SHAPES
    arrays = [np.asarray(random.standard_normal(shape)).astype(dtype) for shape in shapes]
    ours = [jitcore.nn.Parameter(jitcore.tensor(a)) for a in arrays]
    theirs = [torch.nn.Parameter(torch.tensor(a)) for a in arrays]
    gradients = [[np.asarray(random.standard_normal(a.shape)).astype(dtype) for a in arrays] for _ in range(20)]
    for step in gradients[2::3]:
        step[1] = None  # a parameter that a step leaves alone
    return ours, theirs, gradients


def run(library, optimizer, parameters, gradients):
    for step in gradients:
        for parameter, gradient in zip(parameters, step, strict=True):
            parameter.grad = None if gradient is None else library.tensor(gradient)
        optimizer.step()


def converted(structure, to=jitcore):
    """A state dict of the other library, its tensors rebuilt in `to`."""
    if isinstance(structure, torch.Tensor | jitcore.Tensor):
        return to.tensor(values(structure).copy())
    if isinstance(structure, dict):
        return {key: converted(value, to) for key, value in structure.items()}
    if isinstance(structure, list | tuple):
        return type(structure)(converted(value, to) for value in structure)
    return structure


def close(ours, theirs, tolerance):
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(values(a), values(b), rtol=tolerance, atol=tolerance)


def assert_same_state(ours, theirs, tolerance):
    assert set(ours["state"]) == set(theirs["state"])
    for number, entries in theirs["state"].items():
        assert set(ours["state"][number]) == set(entries), number
        for key, value in entries.items():
            if isinstance(value, torch.Tensor):
                found = ours["state"][number][key]
                assert str(found.dtype).split(".")[-1] == str(value.dtype).split(".")[-1], key
                np.testing.assert_allclose(values(found), values(value), rtol=tolerance, atol=tolerance, err_msg=key)
    assert ours["param_groups"] == theirs["param_groups"]


# NAdam and ASGD keep a factor in float32; Muon rounds to bfloat16, where sums in another order may differ by one ulp.
TOLERANCE = {"NAdam": 1e-6, "ASGD": 1e-6, "Muon": 3e-3}


@pytest.mark.parametrize(("name", "options"), OPTIONS, ids=IDS)
def test_twenty_steps_are_pytorchs(name, options):
    ours, theirs, gradients = starts(name)
    first = getattr(jitcore.optim, name)(ours, **options)
    second = getattr(torch.optim, name)(theirs, **options)
    tolerance = TOLERANCE.get(name, 1e-10)
    for number, step in enumerate(gradients):
        run(jitcore, first, ours, [step])
        run(torch, second, theirs, [step])
        close(ours, theirs, tolerance)
        if number in (0, 19):
            assert_same_state(first.state_dict(), second.state_dict(), tolerance)


@pytest.mark.parametrize(("name", "options"), OPTIONS, ids=IDS)
def test_states_are_interchangeable(name, options):
    ours, theirs, gradients = starts(name)
    second = getattr(torch.optim, name)(theirs, **options)
    run(torch, second, theirs, gradients[:8])
    for a, b in zip(ours, theirs, strict=True):
        a.data = jitcore.tensor(values(b).copy())
    first = getattr(jitcore.optim, name)(ours, **options)
    first.load_state_dict(converted(second.state_dict()))
    run(jitcore, first, ours, gradients[8:14])
    run(torch, second, theirs, gradients[8:14])
    tolerance = TOLERANCE.get(name, 1e-10)
    close(ours, theirs, tolerance)
    back = getattr(torch.optim, name)(theirs, **options)
    back.load_state_dict(converted(first.state_dict(), torch))
    run(jitcore, first, ours, gradients[14:])
    run(torch, back, theirs, gradients[14:])
    close(ours, theirs, 2 * tolerance)


@pytest.mark.parametrize(("name", "options"), OPTIONS, ids=IDS)
def test_a_compiled_step_replays_under_a_schedule(name, options):
    _, _, gradients = starts(name, np.float32)
    eager, compiled = starts(name, np.float32)[0], starts(name, np.float32)[0]
    targets = [jitcore.tensor(g) for g in gradients[0]]

    def train(parameters, wrap):
        optimizer = getattr(jitcore.optim, name)(parameters, **options)
        schedule = jitcore.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)

        def step():
            optimizer.zero_grad()
            loss = sum(((p - t) ** 2).sum() + p.sin().sum() for p, t in zip(parameters, targets, strict=True))
            loss.backward()
            optimizer.step()
            return loss.detach()

        step = wrap(step)
        for _ in range(10):
            step()
            schedule.step()
        return step

    train(eager, lambda f: f)
    step = train(compiled, jitcore.jit)
    # The first steps of sign-like rules amplify rounding: 1e-4 of steps of 0.1.
    close(compiled, eager, 5e-3 if name == "Muon" else 1e-4)
    assert "replayed 9 times" in step.explain(), step.explain()


@pytest.mark.parametrize("schedule", ["OneCycleLR", "CyclicLR"])
@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop"])
def test_momentum_schedules_do_not_record_again(name, schedule):
    def train(wrap):
        parameter = jitcore.nn.Parameter(jitcore.linspace(-1, 1, 6))
        momentum = {} if name == "Adam" else {"momentum": 0.9}
        optimizer = getattr(jitcore.optim, name)([parameter], lr=0.1, **momentum)
        if schedule == "OneCycleLR":
            moves = jitcore.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=40)
        else:
            moves = jitcore.optim.lr_scheduler.CyclicLR(optimizer, 0.01, 0.1, step_size_up=5)

        def step():
            optimizer.zero_grad()
            (parameter**2).sum().backward()
            optimizer.step()

        step = wrap(step)
        for _ in range(20):
            step()
            moves.step()
        return parameter, step

    expected, _ = train(lambda f: f)
    found, step = train(jitcore.jit)
    np.testing.assert_allclose(values(found), values(expected), rtol=1e-4, atol=1e-6)
    assert "replayed 19 times" in step.explain(), step.explain()


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
@pytest.mark.parametrize("limits", [{}, {"history_size": 3}, {"max_eval": 4}], ids=str)
def test_lbfgs_minimizes_as_pytorch_does(search, limits):
    start = np.array([-1.2, 1.0, 0.5, 1.5])

    def minimize(library):
        x = library.nn.Parameter(library.tensor(start))
        rate = 1.0 if search else 2e-3
        optimizer = library.optim.LBFGS([x], lr=rate, max_iter=8, line_search_fn=search, **limits)
        losses = []

        def closure():
            optimizer.zero_grad()
            loss = ((1 - x[:-1]) ** 2 + 10 * (x[1:] - x[:-1] ** 2) ** 2).sum()
            loss.backward()
            return loss

        for _ in range(5):
            losses.append(float(optimizer.step(closure)))
        return losses, x, optimizer

    ours, x, first = minimize(jitcore)
    theirs, y, second = minimize(torch)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(values(x), values(y), rtol=1e-6, atol=1e-8)
    a, b = first.state_dict(), second.state_dict()
    assert a["state"][0].keys() == b["state"][0].keys()
    assert a["state"][0]["func_evals"] == b["state"][0]["func_evals"]
    first.load_state_dict(converted(b))


def test_groups_have_their_own_numbers_and_can_be_added():
    ours, theirs, gradients = starts("SGD")

    def build(library, parameters):
        optimizer = library.optim.SGD(
            [{"params": parameters[:1], "lr": 0.5}, {"params": parameters[1], "momentum": 0.5}], lr=0.1
        )
        optimizer.add_param_group({"params": parameters[2], "weight_decay": 0.1})
        return optimizer

    first, second = build(jitcore, ours), build(torch, theirs)
    run(jitcore, first, ours, gradients)
    run(torch, second, theirs, gradients)
    close(ours, theirs, 1e-10)
    assert_same_state(first.state_dict(), second.state_dict(), 1e-10)
    assert repr(first) == repr(second)


def test_named_parameters_keep_their_names():
    ours, theirs = jitcore.nn.Linear(2, 3), torch.nn.Linear(2, 3)
    first, second = jitcore.optim.SGD(ours.named_parameters()), torch.optim.SGD(theirs.named_parameters())
    assert first.state_dict() == second.state_dict()


BAD = [
    ("SGD", {"lr": -1}),
    ("SGD", {"nesterov": True}),
    ("Adam", {"betas": (1.0, 0.9)}),
    ("Adam", {"eps": -1}),
    ("AdamW", {"weight_decay": -1}),
    ("Rprop", {"etas": (1.5, 1.2)}),
    ("Adadelta", {"rho": 1.5}),
    ("Adafactor", {"d": 0.5}),
    ("Adam", {"fused": True, "foreach": True}),
]


@pytest.mark.parametrize(("name", "options"), BAD)
def test_bad_options_raise_what_pytorch_raises(name, options):
    with pytest.raises(Exception) as theirs:
        getattr(torch.optim, name)([torch.nn.Parameter(torch.ones(2))], **options)
    with pytest.raises(theirs.type):
        getattr(jitcore.optim, name)([jitcore.nn.Parameter(jitcore.ones(2))], **options)


@pytest.mark.parametrize(
    "groups",
    [
        lambda m, p: [],
        lambda m, p: p,
        lambda m, p: [{"params": {p}}],
        lambda m, p: [{"params": [p]}, {"params": [p]}],
        lambda m, p: ["x"],
        lambda m, p: [p * 2],
        lambda m, p: [("a", p), m.nn.Parameter(m.ones(1))],
    ],
)
def test_bad_groups_raise_what_pytorch_raises(groups):
    with pytest.raises(Exception) as theirs:
        torch.optim.SGD(groups(torch, torch.nn.Parameter(torch.ones(2))))
    with pytest.raises(theirs.type):
        jitcore.optim.SGD(groups(jitcore, jitcore.nn.Parameter(jitcore.ones(2))))


@pytest.mark.parametrize(
    "use",
    [
        lambda o, a, b: o.LBFGS([{"params": [a]}, {"params": [b]}]),
        lambda o, a, b: o.SGD([a, b]).load_state_dict({"state": {}, "param_groups": []}),
        lambda o, a, b: o.SGD([a, b]).load_state_dict(o.SGD([a]).state_dict()),
    ],
)
def test_what_does_not_fit_an_optimizer_raises_what_pytorch_raises(use):
    with pytest.raises(Exception) as theirs:
        use(torch.optim, *(torch.nn.Parameter(torch.ones(2)) for _ in range(2)))
    with pytest.raises(theirs.type):
        use(jitcore.optim, *(jitcore.nn.Parameter(jitcore.ones(2)) for _ in range(2)))


def test_hooks_run_around_step_and_state():
    parameter = jitcore.nn.Parameter(jitcore.ones(2))
    optimizer = jitcore.optim.SGD([parameter], lr=0.1)
    heard = []
    handles = [
        optimizer.register_step_pre_hook(lambda o, a, k: heard.append("pre")),
        optimizer.register_step_post_hook(lambda o, a, k: heard.append("post")),
        optimizer.register_state_dict_pre_hook(lambda o: heard.append("saving")),
        optimizer.register_state_dict_post_hook(lambda o, s: {**s, "extra": 1}),
        optimizer.register_load_state_dict_post_hook(lambda o: heard.append("loaded")),
    ]
    optimizer.step(lambda: heard.append("closure"))
    found = optimizer.state_dict()
    optimizer.load_state_dict(found)
    assert heard == ["pre", "closure", "post", "saving", "loaded"] and found["extra"] == 1
    for handle in handles:
        handle.remove()
    optimizer.step()
    assert len(heard) == 5


def test_a_tensor_is_a_learning_rate_that_schedules_fill():
    parameter = jitcore.nn.Parameter(jitcore.ones(2))
    optimizer = jitcore.optim.Adam([parameter], lr=jitcore.tensor(0.1))
    schedule = jitcore.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    parameter.grad = jitcore.ones(2)
    optimizer.step()
    schedule.step()
    assert abs(optimizer.param_groups[0]["lr"].item() - 0.05) < 1e-7
    np.testing.assert_allclose(values(parameter), 0.9, rtol=1e-6)


class Plain:
    """A user's optimizer that overrides step() and makes its state there."""

    def make(self, library, parameters):
        class Momentum(library.optim.Optimizer):
            def __init__(self, params, lr):
                super().__init__(params, {"lr": lr})

            @library.no_grad()
            def step(self, closure=None):
                for group in self.param_groups:
                    for p in group["params"]:
                        if p.grad is None:
                            continue
                        state = self.state[p]
                        if len(state) == 0:
                            state["buffer"] = library.zeros_like(p)
                        state["buffer"].mul_(0.9).add_(p.grad)
                        p.add_(state["buffer"], alpha=-group["lr"])

        return Momentum(parameters, 0.1)


def test_a_users_optimizer_works_eagerly_and_under_jit():
    ours, theirs, gradients = starts("SGD")
    first, second = Plain().make(jitcore, ours), Plain().make(torch, theirs)
    run(jitcore, first, ours, gradients)
    run(torch, second, theirs, gradients)
    close(ours, theirs, 1e-10)
    assert set(first.state_dict()["state"][0]) == {"buffer"}

    def train(wrap):
        parameter = jitcore.nn.Parameter(jitcore.ones(3))
        optimizer = Plain().make(jitcore, [parameter])

        def step():
            optimizer.zero_grad()
            (parameter**2).sum().backward()
            optimizer.step()

        step = wrap(step)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", jitcore.JitWarning)
            for _ in range(6):
                step()
        return values(parameter)

    np.testing.assert_allclose(train(jitcore.jit), train(lambda f: f), rtol=1e-5)


def test_a_schedule_stepped_inside_a_compiled_function_still_counts():
    def train(wrap):
        parameter = jitcore.nn.Parameter(jitcore.ones(3))
        optimizer = jitcore.optim.SGD([parameter], lr=0.1)
        schedule = jitcore.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)

        def step():
            optimizer.zero_grad()
            (parameter**2).sum().backward()
            optimizer.step()
            schedule.step()

        step = wrap(step)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", jitcore.JitWarning)
            for _ in range(5):
                step()
        return values(parameter), schedule.last_epoch, optimizer.param_groups[0]["lr"]

    expected, found = train(lambda f: f), train(jitcore.jit)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-6)
    assert found[1:] == expected[1:]


def test_copies_of_optimizers_are_independent():
    parameter = jitcore.nn.Parameter(jitcore.ones(2))
    optimizer = jitcore.optim.Adam([parameter], lr=0.1)
    parameter.grad = jitcore.ones(2)
    optimizer.step()
    copied = copy.deepcopy(optimizer)
    copied.step()
    np.testing.assert_allclose(values(parameter), 0.9, rtol=1e-6)
    assert copied.state_dict()["state"][0]["step"].item() == 2


def test_sparse_adam_is_refused():
    with pytest.raises(NotImplementedError, match="SparseAdam"):
        jitcore.optim.SparseAdam([jitcore.nn.Parameter(jitcore.ones(2))])


@pytest.mark.parametrize("name", ["Adam", "RMSprop", "Adagrad", "RAdam", "NAdam", "Adadelta", "ASGD"])
def test_gradients_flow_through_differentiable_updates(name):
    def pulled(library):
        w = library.tensor([1.0, 2.0, -0.5], dtype=library.float64, requires_grad=True)
        parameter = w.clone()
        optimizer = getattr(library.optim, name)([parameter], lr=0.1, differentiable=True)
        for factor in (3, 2):
            parameter.grad = w * w * factor
            optimizer.step()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            (parameter**2).sum().backward()
        return w.grad

    # PyTorch computes the bias corrections in float32 here.
    np.testing.assert_allclose(values(pulled(jitcore)), values(pulled(torch)), rtol=1e-5)


def compiled_and_eager(change, steps=3):
    """Losses of steps before and after `change(optimizer, model)`, under jit and eagerly."""

    def run(wrap):
        jitcore.manual_seed(0)
        model = jitcore.nn.Sequential(jitcore.nn.Linear(3, 4), jitcore.nn.Linear(4, 1))
        optimizer = jitcore.optim.Adam(model[1].parameters(), lr=0.1)
        x = jitcore.tensor(np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32))
        snapshot = copy.deepcopy(optimizer.state_dict())

        def step():
            for parameter in model.parameters():
                parameter.grad = None
            loss = (model(x) ** 2).sum()
            loss.backward()
            optimizer.step()
            return loss.detach()

        step = wrap(step)
        losses = [float(step()) for _ in range(steps)]
        for _ in range(2):
            change(optimizer, model, snapshot)
            losses += [float(step()) for _ in range(steps)]
        return losses

    return run(jitcore.jit), run(lambda f: f)


@pytest.mark.parametrize(
    "change",
    [
        lambda o, m, s: o.load_state_dict(s),
        lambda o, m, s: o.load_state_dict(copy.deepcopy(o.state_dict())),
        lambda o, m, s: len(o.param_groups) == 1 and o.add_param_group({"params": m[0].parameters(), "lr": 0.5}),
        lambda o, m, s: setattr(o, "param_groups", [{**o.param_groups[0], "lr": 0.01}]),
        lambda o, m, s: o.state.clear(),
        lambda o, m, s: o.param_groups[0].update(lr=0.3, betas=(0.5, 0.7)),
        lambda o, m, s: o.param_groups[0].update(weight_decay=0.5),
        lambda o, m, s: o.param_groups[0].update(maximize=True),
        lambda o, m, s: m[1].weight.requires_grad_(not m[1].weight.requires_grad),
    ],
)
def test_changes_of_an_optimizer_between_compiled_steps_are_seen(change):
    found, expected = compiled_and_eager(change)
    np.testing.assert_allclose(found, expected, rtol=2e-4)
