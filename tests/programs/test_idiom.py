"""Programs written for PyTorch run with only their imports changed.

Each file of `idiom/` is an ordinary PyTorch program. It is imported twice: as it is, and with `torch` replaced by
`jitcore` in its import lines and nowhere else. From the same weights and data, in float64, both must have the same
loss at every step and the same answers after training; and a state_dict must load either way.
"""

import re
import sys
import types
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import jitcore

FOLDER = Path(__file__).with_name("idiom")
PROGRAMS = sorted(p.stem for p in FOLDER.glob("*.py"))
STEPS = 6


def changed_imports(text):
    """The program with jitcore in its import lines."""
    text = re.sub(r"^import torch$", "import jitcore as torch", text, flags=re.M)
    text = re.sub(r"^import torch\.([\w.]+) as", r"import jitcore.\1 as", text, flags=re.M)
    text = re.sub(r"^import torch\.([\w.]+)$", r"import jitcore.\1", text, flags=re.M)
    return re.sub(r"^from torch([\w.]*) import", r"from jitcore\1 import", text, flags=re.M)


def load(name, library):
    text = (FOLDER / f"{name}.py").read_text()
    module = types.ModuleType(f"idiom_{library.__name__}_{name}")
    sys.modules[module.__name__] = module
    source = text if library is torch else changed_imports(text)
    assert library is torch or not re.search(r"^\s*(import|from) torch", source, flags=re.M)
    exec(compile(source, str(FOLDER / f"{name}.py"), "exec"), module.__dict__)
    return module


@pytest.fixture(autouse=True)
def one_thread():
    """Small products on many threads wait for each other on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=PROGRAMS)
def programs(request):
    for library in (torch, jitcore):
        library.set_default_dtype(library.float64)
        library.manual_seed(0)
    try:
        yield load(request.param, torch), load(request.param, jitcore)
    finally:
        for library in (torch, jitcore):
            library.set_default_dtype(library.float32)


def to_ours(state):
    return {name: jitcore.from_numpy(np.array(value.detach().numpy())) for name, value in state.items()}


def to_theirs(state):
    return {name: torch.from_numpy(np.array(value.detach().numpy())) for name, value in state.items()}


def models(theirs, ours):
    """The same model twice, ours loaded from PyTorch's state_dict."""
    expected, model = theirs.build(), ours.build()
    state = expected.state_dict()
    assert list(model.state_dict()) == list(state)
    assert str(model) == str(expected)
    model.load_state_dict(to_ours(state))
    return expected, model


def train(program, model, wrap=lambda step: step):
    optimizer = program.optimizer(model)
    scheduler = program.scheduler(optimizer) if hasattr(program, "scheduler") else None
    step = wrap(lambda *data: program.step(model, optimizer, *data))
    losses = []
    for i in range(STEPS):
        losses.append(step(*program.batch(i)).item())
        if scheduler is not None:
            scheduler.step()
    return losses


def assert_same_answers(ours, theirs):
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs):
        assert str(a.dtype).partition(".")[2] == str(b.dtype).partition(".")[2]
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-6, atol=1e-8)


def test_trains_as_in_pytorch(programs):
    theirs, ours = programs
    expected, model = models(theirs, ours)
    losses = train(theirs, expected)
    np.testing.assert_allclose(train(ours, model), losses, rtol=1e-7, atol=1e-9)
    assert_same_answers(ours.evaluate(model), theirs.evaluate(expected))
    again = theirs.build()
    again.__dict__.update({k: v for k, v in expected.__dict__.items() if k in ("average", "ema", "training")})
    again.load_state_dict(to_theirs(model.state_dict()))
    assert_same_answers(ours.evaluate(model)[:1], theirs.evaluate(again)[:1])


@pytest.mark.slow
def test_trains_the_same_under_jit(programs):
    theirs, ours = programs
    expected, model = models(theirs, ours)
    losses = train(theirs, expected)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jitcore.JitWarning)  # a program that reads values may run eagerly, and says so
        np.testing.assert_allclose(train(ours, model, jitcore.jit), losses, rtol=1e-6, atol=1e-9)
