"""Optimizers and schedules against PyTorch: the same weights after every step, the same rates to the last bit, and
state_dicts that either library takes over from the other."""

import warnings

import numpy as np
import pytest
import torch

import jitcore

OPTIMIZERS = {
    "SGD": [{}, {"lr": 0.1, "momentum": 0.9}, {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01},
            {"lr": 0.1, "momentum": 0.8, "nesterov": True}, {"lr": 0.01, "maximize": True}],
    "ASGD": [{}, {"lr": 0.1, "lambd": 0.01, "alpha": 0.5, "t0": 3, "weight_decay": 0.01}, {"maximize": True}],
    "Adam": [{}, {"lr": 0.02, "betas": (0.7, 0.9), "eps": 1e-4, "weight_decay": 0.1}, {"amsgrad": True},
             {"maximize": True}, {"weight_decay": 0.1, "decoupled_weight_decay": True}],
    "AdamW": [{}, {"lr": 0.02, "weight_decay": 0.3, "amsgrad": True}],
    "Adamax": [{}, {"lr": 0.02, "betas": (0.7, 0.9), "weight_decay": 0.1}, {"maximize": True}],
    "NAdam": [{}, {"lr": 0.02, "momentum_decay": 0.1, "weight_decay": 0.1},
              {"weight_decay": 0.1, "decoupled_weight_decay": True}],
    "RAdam": [{}, {"lr": 0.02, "betas": (0.7, 0.9), "weight_decay": 0.1},
              {"weight_decay": 0.1, "decoupled_weight_decay": True}, {"maximize": True}],
    "Adagrad": [{}, {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.5}],
    "Adadelta": [{}, {"lr": 0.5, "rho": 0.7, "eps": 1e-3, "weight_decay": 0.1}, {"maximize": True}],
    "RMSprop": [{}, {"lr": 0.05, "alpha": 0.8, "momentum": 0.5, "centered": True},
                {"weight_decay": 0.1, "momentum": 0.9}],
    "Rprop": [{}, {"lr": 0.1, "etas": (0.4, 1.5), "step_sizes": (0.01, 0.3)}, {"maximize": True}],
}  # fmt: skip
CASES = [(name, options) for name, table in OPTIMIZERS.items() for options in table]
SHAPES = [(4, 3), (3,), (), (0, 2)]


def parameters(library, dtype="float64"):
    random = np.random.default_rng(0)
    arrays = [random.normal(size=shape).astype(dtype) for shape in SHAPES]
    return [library.nn.Parameter(library.tensor(array)) for array in arrays]


def losses(library, params, seed):
    """A loss whose gradients change sign and size from step to step, and leave one parameter out now and then."""
    random = np.random.default_rng(seed)
    used = params if seed % 3 else params[:2]
    return sum(((p - library.tensor(random.normal(size=tuple(p.shape)))) ** 2 * (1 + seed % 4)).sum() for p in used)


def step(library, optimizer, params, seed):
    optimizer.zero_grad()
    loss = losses(library, params, seed)
    loss.backward()
    optimizer.step()


def assert_same(ours, theirs, **tolerance):
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), **tolerance)


@pytest.mark.parametrize("name, options", CASES)
def test_updates_are_pytorchs(name, options):
    ours, theirs = parameters(jitcore), parameters(torch)
    optimizers = [getattr(lib.optim, name)(p, **options) for lib, p in ((jitcore, ours), (torch, theirs))]
    for seed in range(20):
        step(jitcore, optimizers[0], ours, seed)
        step(torch, optimizers[1], theirs, seed)
        assert_same(ours, theirs, rtol=1e-6 if name in ("RAdam", "NAdam", "ASGD") else 1e-12, atol=1e-12)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_state_dict_goes_both_ways(name):
    options = OPTIMIZERS[name][-1]
    ours, theirs = parameters(jitcore), parameters(torch)
    mine, other = getattr(jitcore.optim, name)(ours, **options), getattr(torch.optim, name)(theirs, **options)
    for seed in range(5):
        step(jitcore, mine, ours, seed)
        step(torch, other, theirs, seed)
    state, expected = mine.state_dict(), other.state_dict()
    assert [set(g) for g in state["param_groups"]] == [set(g) for g in expected["param_groups"]]
    assert {n: set(e) for n, e in state["state"].items()} == {n: set(e) for n, e in expected["state"].items()}
    swap(state, torch, other)
    swap(expected, jitcore, mine)
    for seed in range(5, 10):
        step(jitcore, mine, ours, seed)
        step(torch, other, theirs, seed)
        assert_same(ours, theirs, rtol=1e-6, atol=1e-9)


def swap(state, library, optimizer):
    """Load one library's state_dict into the other's optimizer."""
    converted = {
        n: {k: library.tensor(v.detach().numpy()) if hasattr(v, "detach") else v for k, v in entries.items()}
        for n, entries in state["state"].items()
    }
    optimizer.load_state_dict({"state": converted, "param_groups": state["param_groups"]})


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_compiled_step_equals_eager_through_a_changing_rate(name):
    runs = []
    for compiled in (False, True):
        params = parameters(jitcore)[:2]
        optimizer = getattr(jitcore.optim, name)(params, **OPTIMIZERS[name][-1])

        def train(x, optimizer=optimizer, params=params):
            optimizer.zero_grad()
            loss = ((params[0] * x).sin().sum() + params[1]).pow(2).sum()
            loss.backward()
            optimizer.step()
            return loss

        run = jitcore.jit(train) if compiled else train
        for i in range(8):
            if "lr" in optimizer.run_time_scalars:
                optimizer.param_groups[0]["lr"] *= 0.9
            run(jitcore.tensor(np.random.default_rng(i).normal(size=(4, 3))))
        runs.append([p.detach().numpy() for p in params])
        if compiled:
            assert "replayed 7 times" in run.explain(), run.explain()
    for a, b in zip(*runs):
        np.testing.assert_allclose(a, b, rtol=1e-9)


@pytest.mark.parametrize("options", [
    {"lr": 0.5}, {"lr": 1, "max_iter": 5, "line_search_fn": "strong_wolfe"},
    {"lr": 0.3, "max_iter": 8, "history_size": 3, "line_search_fn": "strong_wolfe"},
    {"lr": 0.1, "max_iter": 3, "max_eval": 4},
])  # fmt: skip
def test_lbfgs_is_pytorchs(options):
    pairs = []
    for library in (jitcore, torch):
        x = library.nn.Parameter(library.tensor(np.array([-1.5, 2.0, 0.5, 1.0])))
        optimizer = library.optim.LBFGS([x], **options)

        def closure(x=x, optimizer=optimizer):
            optimizer.zero_grad()
            loss = (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()  # Rosenbrock's function
            loss.backward()
            return loss

        pairs.append([(float(optimizer.step(closure)), x.detach().numpy().copy()) for _ in range(6)])
    for (a, x), (b, y) in zip(*pairs):
        np.testing.assert_allclose([a, *x], [b, *y], rtol=1e-7)


SCHEDULES = {
    "LambdaLR": lambda s, o: s.LambdaLR(o, [lambda e: 0.95**e, lambda e: 1 / (e + 1)]),
    "MultiplicativeLR": lambda s, o: s.MultiplicativeLR(o, lambda e: 0.9),
    "StepLR": lambda s, o: s.StepLR(o, 4, 0.3),
    "MultiStepLR": lambda s, o: s.MultiStepLR(o, [3, 7, 7], 0.5),
    "ConstantLR": lambda s, o: s.ConstantLR(o, 0.25, 4),
    "LinearLR": lambda s, o: s.LinearLR(o, 0.2, 0.9, 6),
    "ExponentialLR": lambda s, o: s.ExponentialLR(o, 0.8),
    "PolynomialLR": lambda s, o: s.PolynomialLR(o, 9, 2.0),
    "CosineAnnealingLR": lambda s, o: s.CosineAnnealingLR(o, 5, 0.01),
    "CosineAnnealingWarmRestarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, 3, 2, 0.001),
    "CyclicLR": lambda s, o: s.CyclicLR(o, 0.01, 0.3, 3, 4, mode="triangular2"),
    "CyclicLR exp_range": lambda s, o: s.CyclicLR(
        o, 0.01, [0.3, 0.2], 5, mode="exp_range", gamma=0.9, cycle_momentum=False),
    "OneCycleLR": lambda s, o: s.OneCycleLR(o, 0.5, total_steps=30),
    "OneCycleLR three phases": lambda s, o: s.OneCycleLR(o, [0.5, 0.4], epochs=6, steps_per_epoch=5, three_phase=True,
                                                         anneal_strategy="linear", pct_start=0.4),
    "SequentialLR": lambda s, o: s.SequentialLR(o, [s.ConstantLR(o, 0.1, 2), s.ExponentialLR(o, 0.9)], [4]),
    "warm-up and cosine": lambda s, o: s.SequentialLR(
        o, [s.LinearLR(o, 0.1, total_iters=5), s.CosineAnnealingLR(o, 12)], [5]),
    "ChainedScheduler": lambda s, o: s.ChainedScheduler([s.ConstantLR(o, 0.1, 3), s.ExponentialLR(o, 0.9)]),
    "SWALR": lambda s, o: swa(s)(o, 0.05, 6),
}  # fmt: skip


CLOSED = ["StepLR", "MultiStepLR", "ExponentialLR", "CosineAnnealingLR", "LinearLR", "PolynomialLR"]
"""Schedules that can go to any epoch."""


def swa(schedulers):
    library = torch if schedulers is torch.optim.lr_scheduler else jitcore
    return library.optim.swa_utils.SWALR


def scheduled(library, make, optimizer="SGD"):
    params = parameters(library)
    options = {"momentum": 0.9} if optimizer == "SGD" else {}
    groups = [{"params": params[:2]}, {"params": params[2:], "lr": 0.05}]
    held = getattr(library.optim, optimizer)(groups, lr=0.2, **options)
    return held, make(library.optim.lr_scheduler, held)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_rates_are_pytorchs(name, optimizer):
    ours, theirs = (scheduled(lib, SCHEDULES[name], optimizer) for lib in (jitcore, torch))
    for _ in range(25):
        assert ours[1].get_last_lr() == theirs[1].get_last_lr()
        for mine, other in zip(ours[0].param_groups, theirs[0].param_groups):
            for key in ("lr", "momentum", "betas"):
                assert mine.get(key) == other.get(key)
        for optimizer_, schedule in (ours, theirs):
            optimizer_.step()
            schedule.step()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CLOSED)
def test_stepping_to_an_epoch_is_pytorchs(name):
    ours, theirs = (scheduled(lib, SCHEDULES[name]) for lib in (jitcore, torch))
    for epoch in (3, 1, 8, 20):
        for _, schedule in (ours, theirs):
            schedule.step(epoch)
        assert ours[1].get_last_lr() == theirs[1].get_last_lr()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_go_on_from_their_state_dict(name):
    one, two = (scheduled(jitcore, SCHEDULES[name]) for _ in range(2))
    for _ in range(6):
        one[1].step()
    two[1].load_state_dict(one[1].state_dict())
    two[0].load_state_dict(one[0].state_dict())
    for _ in range(6):
        assert one[1].get_last_lr() == two[1].get_last_lr()
        one[1].step(), two[1].step()


PLATEAUS = [{}, {"mode": "max", "factor": 0.5, "patience": 1, "cooldown": 2},
            {"patience": 0, "threshold": 0.1, "threshold_mode": "abs", "min_lr": [0.01, 0.02]}]  # fmt: skip


@pytest.mark.parametrize("options", PLATEAUS)
def test_plateau_is_pytorchs(options):
    random = np.random.default_rng(1)
    metrics = np.round(random.normal(size=40), 1)
    ours, theirs = (scheduled(lib, lambda s, o: s.ReduceLROnPlateau(o, **options)) for lib in (jitcore, torch))
    for metric in metrics:
        ours[1].step(metric), theirs[1].step(metric)
        assert [g["lr"] for g in ours[0].param_groups] == [g["lr"] for g in theirs[0].param_groups]


ERRORS = [
    lambda o, p: o.SGD(p, lr=-1), lambda o, p: o.SGD(p, nesterov=True), lambda o, p: o.Adam(p, betas=(1.0, 0.9)),
    lambda o, p: o.Adam([]), lambda o, p: o.Adam(p[0]), lambda o, p: o.Adam([p[0] * 2]), lambda o, p: o.Adam([1]),
    lambda o, p: o.SGD([{"params": p}, {"params": p[:1]}]), lambda o, p: o.Rprop(p, etas=(1.5, 2)),
    lambda o, p: o.LBFGS([{"params": p[:1]}, {"params": p[1:]}]), lambda o, p: o.Adadelta(p, rho=2),
    lambda o, p: o.lr_scheduler.StepLR(o.SGD(p, lr=1), 3, last_epoch=2),
    lambda o, p: o.lr_scheduler.LambdaLR(o.SGD(p, lr=1), [len, len]),
    lambda o, p: o.lr_scheduler.OneCycleLR(o.SGD(p, lr=1), 1.0), lambda o, p: o.lr_scheduler.StepLR(1, 2),
    lambda o, p: o.lr_scheduler.ReduceLROnPlateau(o.SGD(p, lr=1), factor=2),
    lambda o, p: o.SGD(p, lr=1).load_state_dict({"state": {}, "param_groups": []}),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(ERRORS)))
def test_errors_are_of_pytorchs_classes(number):
    with pytest.raises(Exception) as theirs:
        ERRORS[number](torch.optim, parameters(torch))
    with pytest.raises(type(theirs.value)):
        ERRORS[number](jitcore.optim, parameters(jitcore))


def test_hooks_run_in_order_and_can_be_removed():
    params = parameters(jitcore)
    optimizer = jitcore.optim.SGD(params, lr=0.1)
    seen = []
    handles = [
        optimizer.register_step_pre_hook(lambda o, a, k: seen.append("before")),
        optimizer.register_step_post_hook(lambda o, a, k: seen.append("after")),
    ]
    optimizer.register_state_dict_post_hook(lambda o, s: {**s, "note": 1})
    optimizer.step()
    assert seen == ["before", "after"] and optimizer.state_dict()["note"] == 1
    for handle in handles:
        handle.remove()
    optimizer.step()
    assert seen == ["before", "after"]


def test_repr_and_names():
    params = parameters(jitcore)
    named = [(f"p{i}", p) for i, p in enumerate(params)]
    assert str(jitcore.optim.SGD(params, lr=0.1)) == str(torch.optim.SGD(parameters(torch), lr=0.1))
    assert jitcore.optim.SGD(named, lr=0.1).param_groups[0]["param_names"] == ["p0", "p1", "p2", "p3"]


@pytest.mark.parametrize("kind", ["swa", "ema", "custom"])
def test_averaged_model_is_pytorchs(kind):
    results = []
    for library in (jitcore, torch):
        library.manual_seed(0)
        model = library.nn.Sequential(library.nn.Linear(3, 4), library.nn.BatchNorm1d(4))
        for i, p in enumerate(model.parameters()):
            p.data.copy_(library.tensor(np.random.default_rng(i).normal(size=tuple(p.shape)).astype(np.float32)))
        utils = library.optim.swa_utils
        options = {"swa": {}, "ema": {"multi_avg_fn": utils.get_ema_multi_avg_fn(0.8), "use_buffers": True},
                   "custom": {"avg_fn": lambda a, b, n: 0.3 * a + 0.7 * b}}[kind]  # fmt: skip
        average = utils.AveragedModel(model, **options)
        for i in range(4):
            with library.no_grad():
                for p in model.parameters():
                    p.mul_(0.9).add_(0.1 * i)
            model(library.ones(5, 3) * library.arange(5.0)[:, None])
            average.update_parameters(model)
        data = [library.tensor(np.random.default_rng(9).normal(size=(6, 3)).astype(np.float32))]
        utils.update_bn(data, average)
        results.append({name: v.detach().numpy() for name, v in average.state_dict().items()})
    assert list(results[0]) == list(results[1])
    for name, value in results[0].items():
        np.testing.assert_allclose(value, results[1][name], rtol=1e-5, atol=1e-6)


def test_learning_rate_may_be_a_tensor():
    for library in (jitcore, torch):
        p = library.nn.Parameter(library.ones(2))
        optimizer = library.optim.SGD([p], lr=library.tensor(0.5))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            schedule = library.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
        (p.sum()).backward()
        optimizer.step()
        schedule.step()
        optimizer.step()
        np.testing.assert_allclose(p.detach().numpy(), 0.25)
