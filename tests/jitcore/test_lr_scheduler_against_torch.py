"""Learning-rate schedules and weight averages beside PyTorch's: equal rates, states both ways, warnings, errors."""

import copy
import math
import warnings

import numpy as np
import pytest
import torch
from test_optim_against_torch import converted
from torch_compare import values

import jitcore

SCHEDULES = {
    "LambdaLR": lambda s, o: s.LambdaLR(o, lambda e: 0.9**e),
    "LambdaLR of groups": lambda s, o: s.LambdaLR(o, [lambda e: 0.9**e, lambda e: 1 / (e + 1)]),
    "MultiplicativeLR": lambda s, o: s.MultiplicativeLR(o, lambda e: 0.95),
    "StepLR": lambda s, o: s.StepLR(o, 3, 0.5),
    "MultiStepLR": lambda s, o: s.MultiStepLR(o, [2, 5, 5, 9], 0.5),
    "ConstantLR": lambda s, o: s.ConstantLR(o, 0.3, 4),
    "LinearLR": lambda s, o: s.LinearLR(o, 0.2, 0.9, 6),
    "ExponentialLR": lambda s, o: s.ExponentialLR(o, 0.9),
    "PolynomialLR": lambda s, o: s.PolynomialLR(o, 7, 1.5),
    "CosineAnnealingLR": lambda s, o: s.CosineAnnealingLR(o, 5, 0.01),
    "CosineAnnealingWarmRestarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, 3, 2, 0.01),
    "CosineAnnealingWarmRestarts of one length": lambda s, o: s.CosineAnnealingWarmRestarts(o, 4),
    "CyclicLR": lambda s, o: s.CyclicLR(o, 0.01, 0.1, 3, 5),
    "CyclicLR triangular2": lambda s, o: s.CyclicLR(o, [0.01, 0.02], [0.1, 0.3], 3, mode="triangular2"),
    "CyclicLR exp_range": lambda s, o: s.CyclicLR(o, 0.01, 0.1, 3, mode="exp_range", gamma=0.9, cycle_momentum=False),
    "CyclicLR scale_fn": lambda s, o: s.CyclicLR(o, 0.01, 0.1, 3, scale_fn=lambda e: 0.9**e, scale_mode="iterations"),
    "OneCycleLR": lambda s, o: s.OneCycleLR(o, 0.1, total_steps=30),
    "OneCycleLR linear": lambda s, o: s.OneCycleLR(
        o, [0.1, 0.2], epochs=3, steps_per_epoch=10, anneal_strategy="linear", three_phase=True
    ),
    "SequentialLR": lambda s, o: s.SequentialLR(
        o, [s.ConstantLR(o, 0.1, 2), s.CosineAnnealingLR(o, 4), s.ExponentialLR(o, 0.9)], [3, 9]
    ),
    "ChainedScheduler": lambda s, o: s.ChainedScheduler([s.ConstantLR(o, 0.1, 2), s.ExponentialLR(o, 0.9)], o),
    "ChainedScheduler of SequentialLR": lambda s, o: s.ChainedScheduler(
        [s.SequentialLR(o, [s.LinearLR(o, 0.1, 1.0, 2), s.StepLR(o, 2)], [3]), s.ExponentialLR(o, 0.99)]
    ),
}


def optimizer_of(library, kind="SGD"):
    first, second = (library.nn.Parameter(library.ones(2)) for _ in range(2))
    given = [{"params": [first]}, {"params": [second], "lr": 0.5}]
    return library.optim.SGD(given, lr=0.1, momentum=0.9) if kind == "SGD" else library.optim.Adam(given, lr=0.1)


def rates(schedule, optimizer, steps):
    found = []
    for _ in range(steps):
        optimizer.step()
        schedule.step()
        assert schedule.get_last_lr() == [g["lr"] for g in optimizer.param_groups]
        found.append([(g["lr"], g.get("momentum"), g.get("betas")) for g in optimizer.param_groups])
    return found


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", ["SGD", "Adam"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_rates_are_pytorchs_to_the_last_bit(name, kind):
    ours, theirs = optimizer_of(jitcore, kind), optimizer_of(torch, kind)
    first = SCHEDULES[name](jitcore.optim.lr_scheduler, ours)
    second = SCHEDULES[name](torch.optim.lr_scheduler, theirs)
    assert [g["lr"] for g in ours.param_groups] == [g["lr"] for g in theirs.param_groups]
    assert rates(first, ours, 25) == rates(second, theirs, 25)
    assert ours.state_dict()["param_groups"] == theirs.state_dict()["param_groups"]


def public(state):
    """What both keep: PyTorch also notes its static methods."""
    return {k: v for k, v in state.items() if not callable(v)}


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_goes_on_from_pytorchs_state(name):
    ours, theirs = optimizer_of(jitcore), optimizer_of(torch)
    first = SCHEDULES[name](jitcore.optim.lr_scheduler, ours)
    second = SCHEDULES[name](torch.optim.lr_scheduler, theirs)
    assert first.state_dict().keys() == second.state_dict().keys()
    rates(second, theirs, 7)
    state = copy.deepcopy(second.state_dict())
    ours.load_state_dict(converted(theirs.state_dict()))
    first.load_state_dict(state)
    assert public(first.state_dict()) == public(second.state_dict())
    assert rates(first, ours, 12) == rates(second, theirs, 12)


CLOSED = [n for n in SCHEDULES if " " not in n and n not in ("SequentialLR", "ChainedScheduler")]


@pytest.mark.filterwarnings("ignore:The epoch parameter")
@pytest.mark.parametrize("name", CLOSED)
def test_a_given_epoch_uses_the_closed_form(name):
    ours, theirs = optimizer_of(jitcore), optimizer_of(torch)
    first = SCHEDULES[name](jitcore.optim.lr_scheduler, ours)
    second = SCHEDULES[name](torch.optim.lr_scheduler, theirs)
    for epoch in (3, 1, 8, 5):
        for optimizer, schedule in ((ours, first), (theirs, second)):
            optimizer.step()
            schedule.step(epoch)
        assert first.get_last_lr() == second.get_last_lr(), epoch


@pytest.mark.parametrize(
    "name", ["StepLR", "LinearLR", "CosineAnnealingLR", "ExponentialLR", "PolynomialLR", "LambdaLR"]
)
def test_last_epoch_resumes(name):
    def resumed(library):
        optimizer = optimizer_of(library)
        rates(SCHEDULES[name](library.optim.lr_scheduler, optimizer), optimizer, 4)
        module = library.optim.lr_scheduler
        arguments = {
            "StepLR": (3,), "LinearLR": (0.2, 0.9, 6), "CosineAnnealingLR": (5, 0.01), "ExponentialLR": (0.9,),
            "PolynomialLR": (7, 1.5), "LambdaLR": (lambda e: 0.9**e,),
        }[name]  # fmt: skip
        schedule = getattr(module, name)(optimizer, *arguments, last_epoch=4)
        return schedule.get_last_lr(), rates(schedule, optimizer, 8)

    assert resumed(jitcore) == resumed(torch)
    with pytest.raises(KeyError, match="initial_lr"):
        jitcore.optim.lr_scheduler.ExponentialLR(optimizer_of(jitcore), 0.9, last_epoch=3)


@pytest.mark.parametrize(
    "options",
    [
        {"patience": 1},
        {"mode": "max", "patience": 0, "cooldown": 2, "factor": 0.5},
        {"threshold": 0.1, "threshold_mode": "abs", "patience": 1, "min_lr": [0.01, 0.2]},
        {"mode": "max", "threshold": 0.1, "threshold_mode": "abs", "patience": 1},
    ],
)
def test_reduce_on_plateau(options):
    metrics = [3.0, 2.0, 2.0, 1.99, 2.1, 1.5, 1.5, 1.5, 1.5, 1.6, 1.7, 0.1, 0.1, 0.1, 0.1, 0.1]
    ours, theirs = optimizer_of(jitcore), optimizer_of(torch)
    first = jitcore.optim.lr_scheduler.ReduceLROnPlateau(ours, **options)
    second = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, **options)
    for number, metric in enumerate(metrics):
        first.step(jitcore.tensor(metric) if number % 2 else metric)
        second.step(torch.tensor(metric) if number % 2 else metric)
        assert first.get_last_lr() == second.get_last_lr()
    assert first.state_dict() == second.state_dict()
    first.load_state_dict(second.state_dict())
    first.step(9.0), second.step(9.0)
    assert first.get_last_lr() == second.get_last_lr()


def test_warnings_are_pytorchs():
    for library in (torch, jitcore):
        optimizer = optimizer_of(library)
        schedule = library.optim.lr_scheduler.StepLR(optimizer, 2)
        with pytest.warns(UserWarning, match=r"before `optimizer.step\(\)`"):
            schedule.step()
        with pytest.warns(UserWarning, match="get_last_lr"):
            schedule.get_lr()
        with pytest.warns(UserWarning, match="epoch parameter"):
            schedule.step(3)


BAD = [
    lambda s, o: s.StepLR("optimizer", 2),
    lambda s, o: s.LambdaLR(o, [math.exp]),
    lambda s, o: s.MultiplicativeLR(o, 3),
    lambda s, o: s.ConstantLR(o, 2.0),
    lambda s, o: s.LinearLR(o, 0),
    lambda s, o: s.CosineAnnealingWarmRestarts(o, 0),
    lambda s, o: s.CosineAnnealingWarmRestarts(o, 3, 1.5),
    lambda s, o: s.CyclicLR(o, 0.1, 0.2, mode="up"),
    lambda s, o: s.CyclicLR(o, [0.1], 0.2),
    lambda s, o: s.OneCycleLR(o, 0.1),
    lambda s, o: s.OneCycleLR(o, 0.1, total_steps=-1),
    lambda s, o: s.OneCycleLR(o, 0.1, epochs=2, steps_per_epoch=0),
    lambda s, o: s.OneCycleLR(o, 0.1, 10, pct_start=2.0),
    lambda s, o: s.OneCycleLR(o, 0.1, 10, anneal_strategy="x"),
    lambda s, o: [x.step() for x in [s.OneCycleLR(o, 0.1, 2)] for _ in range(5)],
    lambda s, o: s.SequentialLR(o, [], []),
    lambda s, o: s.SequentialLR(o, [s.StepLR(o, 2)], [3]),
    lambda s, o: s.SequentialLR(o, [s.ReduceLROnPlateau(o)], []),
    lambda s, o: s.ChainedScheduler([]),
    lambda s, o: s.ChainedScheduler([s.ReduceLROnPlateau(o)]),
    lambda s, o: s.ReduceLROnPlateau(o, factor=1.0),
    lambda s, o: s.ReduceLROnPlateau(o, mode="x"),
    lambda s, o: s.ReduceLROnPlateau(o, threshold_mode="x"),
    lambda s, o: s.ReduceLROnPlateau(o, min_lr=[0.1]),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("number", range(len(BAD)))
def test_bad_arguments_raise_what_pytorch_raises(number):
    with pytest.raises(Exception) as theirs:
        BAD[number](torch.optim.lr_scheduler, optimizer_of(torch))
    with pytest.raises(theirs.type):
        BAD[number](jitcore.optim.lr_scheduler, optimizer_of(jitcore))


class Halving(jitcore.optim.lr_scheduler.LRScheduler):
    """A user's own schedule."""

    def get_lr(self):
        return [base / 2**self.last_epoch for base in self.base_lrs]


def test_users_can_write_schedules():
    optimizer = optimizer_of(jitcore)
    schedule = Halving(optimizer)
    assert [r[0][0] for r in rates(schedule, optimizer, 3)] == [0.05, 0.025, 0.0125]


# Averages


def model_of(library):
    torch.manual_seed(0)
    reference = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2))
    built = library.nn.Sequential(library.nn.Linear(3, 4), library.nn.BatchNorm1d(4), library.nn.Linear(4, 2))
    built.load_state_dict({k: library.tensor(v.numpy()) for k, v in reference.state_dict().items()})
    return built


@pytest.mark.parametrize("use_buffers", [False, True])
@pytest.mark.parametrize("which", ["default", "ema", "swa", "multi ema", "multi swa", "own"])
def test_averages_are_pytorchs(which, use_buffers):
    if use_buffers and which == "multi swa":
        pytest.skip("PyTorch's raises for the integer buffer of a batch norm")

    def averaged(library):
        utils = library.optim.swa_utils
        options = {
            "default": {},
            "ema": {"avg_fn": utils.get_ema_avg_fn(0.9)},
            "swa": {"avg_fn": utils.get_swa_avg_fn()},
            "multi ema": {"multi_avg_fn": utils.get_ema_multi_avg_fn(0.9)},
            "multi swa": {"multi_avg_fn": utils.get_swa_multi_avg_fn()},
            "own": {"avg_fn": lambda average, now, count: 0.25 * average + 0.75 * now},
        }[which]
        model = model_of(library)
        average = utils.AveragedModel(model, use_buffers=use_buffers, **options)
        optimizer = library.optim.SGD(model.parameters(), lr=0.1)
        schedule = utils.SWALR(
            optimizer, 0.02, anneal_epochs=3, anneal_strategy="linear" if "multi" in which else "cos"
        )
        random = np.random.default_rng(0)
        batches = [library.tensor(random.standard_normal((8, 3)).astype(np.float32)) for _ in range(6)]
        found = []
        for batch in batches:
            optimizer.zero_grad()
            (model(batch) ** 2).mean().backward()
            optimizer.step()
            average.update_parameters(model)
            schedule.step()
            found.append(schedule.get_last_lr())
        utils.update_bn([(batch, 0) for batch in batches], average)
        return average, found

    (ours, first), (theirs, second) = averaged(jitcore), averaged(torch)
    assert first == second
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for key, value in theirs.state_dict().items():
        np.testing.assert_allclose(values(ours.state_dict()[key]), values(value), rtol=2e-5, atol=2e-6, err_msg=key)


def test_a_schedule_of_averaging_can_be_saved():
    ours, theirs = optimizer_of(jitcore), optimizer_of(torch)
    first, second = jitcore.optim.swa_utils.SWALR(ours, 0.02), torch.optim.swa_utils.SWALR(theirs, 0.02)
    rates(second, theirs, 3)
    ours.load_state_dict(converted(theirs.state_dict()))
    first.load_state_dict(second.state_dict())
    assert first.state_dict() == second.state_dict()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert rates(first, ours, 9) == rates(second, theirs, 9)
