"""Training steps inside one jitted function: equal to eager at every step, and one program for each call."""

import warnings

import numpy as np
import pytest

import jitcore
import jitcore.nn.functional as F
from jitcore import nn, optim

schedules = optim.lr_scheduler
checkpoint = jitcore.utils.checkpoint.checkpoint


def batch(n, rows=8):
    draw = np.random.default_rng(n).standard_normal
    return [jitcore.tensor(draw((rows, width)).astype(np.float32)) for width in (4, 3)]


def network():
    jitcore.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))


def train(make, ran=None, steps=8, rtol=1e-4, most_recorded=2, native=False):
    """Train with `make(network) -> step` or `(step, after each step)`, eagerly and jitted, and compare losses and
    weights. With `ran`, each jitted call but the first `most_recorded` runs one program. What is recorded is the
    matter here: most programs are interpreted, which saves compiling them."""
    runs = []
    for jitted in (False, True):
        model = network()
        made = make(model)
        step, after = made if isinstance(made, tuple) else (made, lambda n: None)
        function = jitcore.jit(step, native=native) if jitted else step
        jitcore.manual_seed(3)
        losses, counts = [], []
        for n in range(steps):
            before = len(ran) if ran is not None else 0
            losses.append(float(function(*batch(n))))
            counts.append(len(ran) - before if ran is not None else 1)
            after(n)
        runs.append(np.concatenate([losses, *(p.detach().numpy().ravel() for p in model.parameters())]))
    np.testing.assert_allclose(runs[1], runs[0], rtol=rtol, atol=rtol / 10)
    assert counts[most_recorded:] == [1] * (steps - most_recorded)
    return function


def plain_step(model, optimizer, clip=None):
    def step(x, y):
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        if clip is not None:
            clip(model.parameters())
        optimizer.step()
        return loss.detach()

    return step


OPTIMIZERS = {
    "SGD": {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}, "Adam": {"amsgrad": True}, "AdamW": {},
    "Adamax": {}, "NAdam": {}, "RAdam": {}, "Adagrad": {}, "Adadelta": {}, "RMSprop": {"momentum": 0.5}, "Rprop": {},
    "ASGD": {}, "Adafactor": {},
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_is_one_program_from_the_second_call_on(name, ran):
    options = {"lr": 0.01, **OPTIMIZERS[name]}
    train(
        lambda m: plain_step(m, getattr(optim, name)(m.parameters(), **options)),
        ran,
        6,
        most_recorded=1,
        native=True,
    )


def test_lbfgs_is_right():
    def make(model):
        optimizer = optim.LBFGS(model.parameters(), lr=0.1, max_iter=3)

        def step(x, y):
            def closure():
                optimizer.zero_grad()
                loss = F.mse_loss(model(x), y)
                loss.backward()
                return loss

            return optimizer.step(closure).detach()

        return step

    with pytest.warns(jitcore.JitWarning):
        train(make, steps=5)


# Gradients


def test_micro_batches(ran):
    def make(model):
        optimizer = optim.Adam(model.parameters(), lr=0.01)

        def step(x, y):
            optimizer.zero_grad()
            total = 0
            for a, b in zip(x.chunk(4), y.chunk(4), strict=True):
                loss = F.mse_loss(model(a), b) / 4
                loss.backward()
                total = total + loss.detach()
            optimizer.step()
            return total

        return step

    train(make, ran, most_recorded=1)


@pytest.mark.parametrize("zero", ["to none", "in place", "never"])
def test_gradients_kept_between_calls(zero, ran):
    def make(model):
        optimizer = optim.SGD(model.parameters(), lr=0.01)

        def step(x, y):
            if zero != "never":
                optimizer.zero_grad(set_to_none=zero == "to none")
            loss = F.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
            return loss.detach()

        return step

    train(make, ran)


def test_accumulation_across_calls_with_a_step_now_and_then(ran):
    def make(model):
        optimizer = optim.SGD(model.parameters(), lr=0.1)

        @jitcore.jit
        def update():
            optimizer.step()
            optimizer.zero_grad()

        def step(x, y):
            loss = F.mse_loss(model(x), y)
            loss.backward()
            return loss.detach()

        return step, lambda n: update() if n % 3 == 2 else None

    train(make)


def test_outer_backward_adds_to_what_a_jitted_step_left():
    def make(model):
        def step(x, y):
            loss = F.mse_loss(model(x), y)
            loss.backward()
            return loss.detach()

        def after(n):
            (model[0].weight ** 2).sum().backward()
            with jitcore.no_grad():
                for p in model.parameters():
                    p.sub_(p.grad, alpha=0.01)

        return step, after

    train(make)


CLIPS = {
    "norm": lambda p: nn.utils.clip_grad_norm_(p, 0.3),
    "largest": lambda p: nn.utils.clip_grad_norm_(p, 0.05, norm_type=float("inf")),
    "finite norm": lambda p: nn.utils.clip_grad_norm_(p, 0.3, error_if_nonfinite=True),
    "value": lambda p: nn.utils.clip_grad_value_(p, 0.05),
}


@pytest.mark.parametrize("name", CLIPS)
def test_clipping_does_not_split_the_program(name, ran):
    train(lambda m: plain_step(m, optim.Adam(m.parameters(), lr=0.05), CLIPS[name]), ran, most_recorded=1)


def test_gradients_by_grad_and_penalties(ran):
    def make(model):
        parameters = list(model.parameters())

        def step(x, y):
            x = x.clone().requires_grad_()
            out = model(x)
            (g,) = jitcore.autograd.grad(out.sum(), [x], create_graph=True)
            loss = F.mse_loss(out, y) + (g * g).sum() * 0.01
            with jitcore.no_grad():
                for p, g in zip(parameters, jitcore.autograd.grad(loss, parameters), strict=True):
                    p.sub_(g, alpha=0.02)
            return loss.detach()

        return step

    train(make, ran, most_recorded=1)


def test_returned_leaf_made_inside_has_its_gradient():
    def f(x):
        own = x.detach().clone().requires_grad_()
        (own * own).sum().backward()
        return own

    jitted = jitcore.jit(f)
    with pytest.warns(jitcore.JitWarning, match="returned with a gradient"):
        for _ in range(3):
            assert jitted(jitcore.tensor([1.0, 2.0])).grad.tolist() == [2, 4]


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointed_part(reentrant, ran):
    def make(model):
        optimizer, drop = optim.SGD(model.parameters(), lr=0.05), nn.Dropout(0.3)

        def step(x, y):
            optimizer.zero_grad()
            part = checkpoint(lambda v: drop(model(v)), x.clone().requires_grad_(), use_reentrant=reentrant)
            loss = F.mse_loss(part, y)
            loss.backward()
            optimizer.step()
            return loss.detach()

        return step

    train(make, ran, most_recorded=1)


def test_frozen_layers(ran):
    def make(model):
        step = plain_step(model, optim.SGD(model.parameters(), lr=0.05))
        return step, lambda n: model[0].requires_grad_(n not in (2, 3))

    function = train(make)
    assert len(function._retraces) == 1


# Numbers of the optimizer


SCHEDULES = {
    "StepLR": lambda o: schedules.StepLR(o, 2, 0.5),
    "OneCycleLR": lambda o: schedules.OneCycleLR(o, 0.1, total_steps=20),
    "CosineAnnealingWarmRestarts": lambda o: schedules.CosineAnnealingWarmRestarts(o, 3),
    "SequentialLR": lambda o: schedules.SequentialLR(
        o, [schedules.LinearLR(o, 0.1, total_iters=3), schedules.ExponentialLR(o, 0.9)], milestones=[3]
    ),
}


@pytest.mark.parametrize("where", ["inside", "outside"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(name, where, ran):
    rates = []

    def make(model):
        optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        schedule = SCHEDULES[name](optimizer)
        update = plain_step(model, optimizer)

        def step(x, y):
            loss = update(x, y)
            if where == "inside":
                schedule.step()
            return loss

        def after(n):
            if where == "outside":
                schedule.step()
            rates.append(optimizer.param_groups[0]["lr"])

        return step, after

    train(make, ran, most_recorded=1)
    assert rates[:8] == rates[8:]


def test_plateau_schedule_inside_sees_the_loss_of_each_call(ran):
    def make(model):
        optimizer = optim.SGD(model.parameters(), lr=0.05)
        schedule = schedules.ReduceLROnPlateau(optimizer, patience=0)
        update = plain_step(model, optimizer)

        def step(x, y):
            loss = update(x, y)
            schedule.step(loss)
            return loss

        return step

    train(make, ran, most_recorded=1)


def test_rate_read_after_the_schedule_in_one_call_runs_eagerly():
    def make(model):
        optimizer = optim.SGD(model.parameters(), lr=0.05)
        schedule = schedules.ExponentialLR(optimizer, 0.5)

        def step(x, y):
            loss = F.mse_loss(model(x), y)
            loss.backward()
            schedule.step()
            optimizer.step()
            optimizer.zero_grad()
            return loss.detach()

        return step

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train(make)
    assert any("read after a schedule's step" in str(w.message) for w in caught)


def test_rate_that_the_users_code_reads_is_never_stale():
    optimizer = optim.SGD([nn.Parameter(jitcore.ones(1))], lr=0.5)
    schedule = schedules.ExponentialLR(optimizer, 0.5)
    readers = [
        jitcore.jit(lambda x: x * optimizer.param_groups[0]["lr"]),
        jitcore.jit(lambda x: x * schedule.get_last_lr()[0]),
        jitcore.jit(lambda x: x * next(group["lr"] for group in optimizer.param_groups)),
    ]
    for _ in range(4):
        for read in readers:
            assert read(jitcore.ones(1)).item() == optimizer.param_groups[0]["lr"]
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize("scaled", [False, True])
def test_autocast_and_loss_scaling(scaled, ran):
    def make(model):
        optimizer = optim.SGD(model.parameters(), lr=0.05)
        scaler = jitcore.amp.GradScaler("cpu", enabled=scaled)

        def step(x, y):
            optimizer.zero_grad()
            with jitcore.autocast("cpu", dtype=jitcore.bfloat16):
                loss = F.mse_loss(model(x).float(), y)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            return loss.detach()

        return step

    train(make, ran, most_recorded=1, rtol=2e-2)  # fused operations round to 16 bits less often


def test_averaged_weights():
    def make(model):
        optimizer = optim.SGD(model.parameters(), lr=0.05)
        average = optim.swa_utils.AveragedModel(model, multi_avg_fn=optim.swa_utils.get_ema_multi_avg_fn(0.9))
        update = plain_step(model, optimizer)

        def step(x, y):
            loss = update(x, y)
            average.update_parameters(model)
            return loss + sum(p.detach().sum() for p in average.parameters())

        return step

    train(make)


# Hooks


def test_hooks_are_part_of_the_program(ran):
    def make(model):
        optimizer = optim.SGD(model.parameters(), lr=0.02)
        model[0].weight.register_hook(lambda g: g * 2)
        model[2].weight.register_post_accumulate_grad_hook(lambda p: p.grad.clamp_(-0.1, 0.1))
        model[0].register_forward_hook(lambda module, inputs, result: result * 2)
        model[1].register_forward_pre_hook(lambda module, inputs: (inputs[0] + 1,))
        model[2].register_full_backward_hook(lambda module, gi, go: tuple(g * 3 for g in gi))

        def step(x, y):
            optimizer.zero_grad()
            hidden = model(x)
            hidden.register_hook(lambda g: g * 0.5)
            hidden.retain_grad()
            loss = F.mse_loss(hidden, y)
            loss.backward()
            optimizer.step()
            return loss.detach() + hidden.grad.sum()

        return step

    train(make, ran, most_recorded=1)


def test_optimizer_inside_of_gradient_hooks(ran):
    def make(model):
        own = {p: optim.SGD([p], lr=0.05) for p in model.parameters()}

        def hook(p):
            own[p].step()
            own[p].zero_grad()

        for p in model.parameters():
            p.register_post_accumulate_grad_hook(hook)

        def step(x, y):
            loss = F.mse_loss(model(x), y)
            loss.backward()
            return loss.detach()

        return step

    train(make, ran, most_recorded=1)


LATE_HOOKS = {
    "gradient": lambda m, o: m[0].weight.register_hook(lambda g: g * 2),
    "accumulated": lambda m, o: m[0].weight.register_post_accumulate_grad_hook(lambda p: p.grad.mul_(2)),
    "forward": lambda m, o: m[1].register_forward_hook(lambda module, inputs, result: result * 2),
    "backward": lambda m, o: m[2].register_full_backward_hook(lambda module, gi, go: tuple(g * 2 for g in gi)),
    "optimizer": lambda m, o: o.register_step_pre_hook(
        lambda o, a, k: [p.grad.mul_(3) for p in m.parameters()] and None
    ),
}


@pytest.mark.parametrize("name", LATE_HOOKS)
def test_hooks_added_and_removed_between_calls_are_seen(name):
    def make(model):
        optimizer = optim.SGD(model.parameters(), lr=0.02)
        handles = []

        def after(n):
            if n in (2, 6):
                handles.append(LATE_HOOKS[name](model, optimizer))
            elif n == 4:
                handles.pop().remove()

        return plain_step(model, optimizer), after

    train(make)


def test_hook_that_keeps_what_it_sees():
    def make(model):
        seen = []
        model[0].weight.register_hook(lambda g: seen.append(g.sum().item()))
        update = plain_step(model, optim.SGD(model.parameters(), lr=0.05))

        def step(x, y):
            return update(x, y) + sum(seen)

        return step

    with pytest.warns(jitcore.JitWarning, match="changes Python state"):
        train(make, steps=5)


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm, self.norm2, self.drop = nn.LayerNorm(width), nn.LayerNorm(width), nn.Dropout(0.1)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x):
        batch, time, width = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(batch, time, 3, 2, width // 2).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=0.1 if self.training else 0.0)
        x = x + self.drop(self.out(mixed.transpose(1, 2).reshape(batch, time, width)))
        return x + self.drop(self.wide(self.norm2(x)))


class Language(nn.Module):
    def __init__(self, words=20, width=8, time=6):
        super().__init__()
        self.word, self.place = nn.Embedding(words, width), nn.Embedding(time, width)
        self.blocks = nn.ModuleList([Block(width) for _ in range(2)])
        self.head = nn.Linear(width, words, bias=False)

    def forward(self, x):
        x = self.word(x) + self.place(jitcore.arange(x.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def test_language_model_with_everything_is_two_recordings_and_one_program_a_step(ran):
    runs = []
    for jitted in (False, True):
        jitcore.manual_seed(0)
        model = Language()
        optimizer = optim.AdamW(model.parameters(), lr=1e-2)
        warm, cosine = schedules.LinearLR(optimizer, 0.1, total_iters=4), schedules.CosineAnnealingLR(optimizer, 20)
        schedule = schedules.SequentialLR(optimizer, [warm, cosine], [4])

        def step(x, y, model=model, optimizer=optimizer, schedule=schedule):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            return loss.item()

        function = jitcore.jit(step, native=False) if jitted else step
        losses, counts = [], []
        for n in range(9):
            draw = np.random.default_rng(n)
            rows = 2 if n % 3 == 2 else 4  # the last batch of an epoch
            x, y = (jitcore.tensor(draw.integers(0, 20, (rows, 6))) for _ in range(2))
            before = len(ran)
            losses.append(function(x, y))
            counts.append(len(ran) - before)
        runs.append(losses)
    np.testing.assert_allclose(runs[1], runs[0], rtol=1e-4)
    assert counts == [0, 1, 0, 1, 1, 1, 1, 1, 1] and len(function._recordings.variants()) == 2
