"""What ordinary scripts ask of the library before and around their models, beside PyTorch; mixed precision."""

import importlib
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as TF

import jitcore
import jitcore.nn.functional as F
from jitcore import nn

SCRIPT = """
import jitcore as torch
import jitcore.nn as nn
import jitcore.nn.functional as F
import jitcore.optim as optim
import jitcore.autograd, jitcore.jit, jitcore.cuda, jitcore.backends, jitcore.amp, jitcore.version
import jitcore.multiprocessing
import jitcore.backends as backends
from jitcore import Tensor
from jitcore.amp import GradScaler, autocast
from jitcore.cuda.amp import GradScaler as OldScaler, autocast as old_autocast
from jitcore.jit import Final, script
from jitcore.nn.parallel import DataParallel
from jitcore.utils.data import DataLoader, Dataset, TensorDataset, random_split
from jitcore.utils.data.sampler import RandomSampler
from jitcore.utils.data.dataset import Subset

torch.manual_seed(0); torch.cuda.manual_seed_all(0)
torch.backends.cudnn.benchmark = True
torch.backends.cuda.matmul.allow_tf32 = True
torch.set_float32_matmul_precision("high")
torch.use_deterministic_algorithms(True)
device = torch.device("cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu")

@torch.jit.script
def double(x: Tensor) -> Tensor:
    return x * 2

class Net(nn.Module):
    size: Final[int] = 3
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 3)
    @torch.jit.ignore
    def helper(self):
        return {"fc"}
    @torch.jit.unused
    def other(self):
        pass
    def forward(self, x):
        if torch.jit.is_scripting() or torch.jit.is_tracing() or torch.compiler.is_compiling():
            raise RuntimeError
        return self.fc(double(x))

model = nn.DataParallel(Net().to(device))
assert list(model.state_dict()) == ["module.fc.weight", "module.fc.bias"] and model.module.helper() == {"fc"}
model = torch.compile(model, mode="reduce-overhead", fullgraph=True)
opt = optim.AdamW(model.parameters())
scaler = GradScaler("cuda", enabled=torch.cuda.is_available())
for x, y in DataLoader(TensorDataset(torch.randn(8, 4), torch.randint(0, 3, (8,))), batch_size=4, pin_memory=True):
    with torch.autocast(device_type=device.type, dtype=torch.bfloat16, enabled=False):
        loss = F.cross_entropy(model(x.to(device, non_blocking=True).to(memory_format=torch.channels_last)), y)
    scaler.scale(loss).backward()
    scaler.unscale_(opt); scaler.step(opt); scaler.update()
    opt.zero_grad(set_to_none=True)
    torch.cuda.synchronize(); torch.cuda.empty_cache()
assert torch.distributed.is_available() is False and torch.version.cuda is None
assert torch.get_num_threads() >= 1
print("ran", torch.jit, torch.__version__)
"""


def test_a_script_with_only_its_import_line_changed():
    done = subprocess.run([sys.executable, "-W", "error", "-c", SCRIPT], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("ran"), done.stderr


def test_jit_is_a_decorator_and_a_namespace():
    import jitcore.jit as namespace

    assert namespace is jitcore.jit

    @jitcore.jit
    def f(x):
        return x + 1

    @jitcore.jit(native=False)
    def g(x):
        return x + 2

    assert f(jitcore.ones(1)).item() == 2 and g(jitcore.ones(1)).item() == 3
    traced = jitcore.jit.trace(nn.Linear(2, 2), jitcore.ones(1, 2))
    assert traced(jitcore.ones(1, 2)).shape == (1, 2)
    with pytest.raises(NotImplementedError, match=r"jitcore\.export"):
        jitcore.jit.save(traced, "f")


def test_old_types():
    def run(t):
        x = t.FloatTensor([1, 2])
        return (
            t.LongTensor(2, 3).shape, t.LongTensor([1, 2]).tolist(), str(t.DoubleTensor(2).dtype).split(".")[1],
            isinstance(x, t.FloatTensor), isinstance(x, t.LongTensor), isinstance(x, t.Tensor),
            t.Tensor([1, 2]).tolist(),
            t.Tensor(2, 0).shape, t.Tensor().shape, t.ByteTensor(t.Size([3])).shape, x.type().split(".")[1],
        )  # fmt: skip

    assert run(jitcore) == run(torch)
    with pytest.raises(TypeError):
        jitcore.FloatTensor(jitcore.ones(1).long())
    with pytest.raises(TypeError):
        torch.FloatTensor(torch.ones(1).long())


def test_devices():
    def run(t):
        devices = [t.device("cuda"), t.device("cuda", 1), t.device("cuda:1"), t.device("meta"), t.device("cpu")]
        return [(str(d), d.type, d.index) for d in devices], devices[1] == devices[2], devices[0] == devices[1]

    assert run(jitcore) == run(torch)
    for device in ("cuda", jitcore.device("mps")):
        with pytest.raises(RuntimeError, match="not available"):
            jitcore.ones(1).to(device)
    with pytest.raises(RuntimeError):
        jitcore.device("gpu")
    with jitcore.device("cpu"):
        assert jitcore.ones(1).device == jitcore.device("cpu")


def test_states_of_random_numbers():
    jitcore.manual_seed(3)
    state = jitcore.get_rng_state()
    first = jitcore.rand(3)
    with jitcore.random.fork_rng():
        jitcore.manual_seed(9)
        jitcore.rand(5)
    second = jitcore.rand(3)
    jitcore.set_rng_state(state)
    assert jitcore.equal(jitcore.rand(3), first) and jitcore.equal(jitcore.rand(3), second)
    assert jitcore.initial_seed() == 3


def test_settings_are_kept():
    jitcore.set_float32_matmul_precision("medium")
    assert jitcore.get_float32_matmul_precision() == "medium"
    jitcore.set_float32_matmul_precision("highest")
    jitcore.use_deterministic_algorithms(True, warn_only=True)
    assert jitcore.are_deterministic_algorithms_enabled()
    jitcore.use_deterministic_algorithms(False)
    with jitcore.backends.cudnn.flags(enabled=False):
        assert not jitcore.backends.cudnn.enabled
    assert jitcore.backends.cudnn.enabled and not jitcore.backends.mps.is_available()
    with pytest.raises(ValueError):
        jitcore.set_float32_matmul_precision("low")


PATHS = """
autograd: Variable; autograd.function: FunctionCtx, once_differentiable; autograd.grad_mode: no_grad
autograd.profiler: record_function; autograd.variable: Variable; functional: einsum; types: Number, Device
nn.modules: Module; nn.modules.module: _IncompatibleKeys; nn.modules.utils: _pair, _ntuple, _reverse_repeat_tuple
nn.modules.batchnorm: _BatchNorm, _NormBase; nn.modules.conv: _ConvNd, _ConvTransposeNd, Conv2d
nn.modules.instancenorm: _InstanceNorm; nn.modules.dropout: _DropoutNd; nn.modules.loss: _Loss, _WeightedLoss, MSELoss
nn.modules.pooling: _MaxPoolNd, _AvgPoolNd, _AdaptiveAvgPoolNd; nn.modules.container: Sequential
nn.modules.activation: MultiheadAttention, ReLU; nn.modules.linear: Linear, NonDynamicallyQuantizableLinear
nn.modules.transformer: _get_clones, _get_activation_fn; nn.parameter: UninitializedParameter, is_lazy
nn.init: _calculate_fan_in_and_fan_out, _calculate_correct_fan, _no_grad_trunc_normal_, _no_grad_normal_
nn.parallel.data_parallel: DataParallel; nn.parallel.distributed: DistributedDataParallel
nn.utils.clip_grad: clip_grad_norm_; nn.utils.weight_norm: WeightNorm; nn.utils.spectral_norm: SpectralNorm
optim.adamw: AdamW; optim.rmsprop: RMSprop; optim.optimizer: Optimizer, required; optim.lr_scheduler: _LRScheduler
utils.data.dataloader: DataLoader, default_collate; utils.data.distributed: DistributedSampler
utils.data._utils.collate: default_collate; utils.hooks: RemovableHandle; utils._pytree: tree_map
distributions.normal: Normal; distributions.kl: kl_divergence; distributions.utils: broadcast_all, lazy_property
backends.cudnn: benchmark, deterministic; cuda: Event, Stream, OutOfMemoryError, stream; cuda.nvtx: range_push
accelerator: is_available; hub: load_state_dict_from_url; overrides: has_torch_function; profiler: record_function
"""


@pytest.mark.parametrize("line", [part.strip() for part in PATHS.replace("\n", ";").split(";") if part.strip()])
def test_pytorchs_module_paths_are_there(line):
    """As an import statement, and as attributes of the package alone."""
    path, _, names = line.partition(":")
    for name in names.split(","):
        assert hasattr(importlib.import_module(f"torch.{path}"), name.strip())
        exec(f"from jitcore.{path} import {name}")
    if path not in ("nn.utils.weight_norm", "nn.utils.spectral_norm", "nn.parallel.data_parallel"):  # functions, too
        exec(f"import jitcore.{path} as module; module.{name.strip()}")
        done = jitcore
        for part in path.split("."):
            done = getattr(done, part)
        assert hasattr(done, name.strip())
    with pytest.raises((ImportError, AttributeError)):
        exec(f"from jitcore.{path} import no_such_name")


def test_layers_are_instances_of_pytorchs_private_bases():
    def run(t):
        m = t.nn.modules
        layers = [
            t.nn.BatchNorm2d(2), t.nn.SyncBatchNorm(2), t.nn.Conv1d(2, 2, 1), t.nn.ConvTranspose2d(2, 2, 1),
            t.nn.InstanceNorm1d(2), t.nn.Dropout2d(), t.nn.CrossEntropyLoss(), t.nn.MSELoss(), t.nn.CosineSimilarity(),
            t.nn.MaxPool1d(2), t.nn.AvgPool2d(2), t.nn.AdaptiveAvgPool2d(1), t.nn.LSTM(1, 1), t.nn.Linear(1, 1),
        ]  # fmt: skip
        bases = (
            m.batchnorm._BatchNorm, m.batchnorm._NormBase, m.conv._ConvNd, m.conv._ConvTransposeNd,
            m.dropout._DropoutNd, m.loss._Loss, m.loss._WeightedLoss, m.pooling._MaxPoolNd, m.pooling._AvgPoolNd,
            m.pooling._AdaptiveAvgPoolNd, m.rnn.RNNBase,
        )  # fmt: skip
        return [[isinstance(layer, base) for base in bases] for layer in layers]

    assert run(jitcore) == run(torch)


def test_sync_batch_norm_in_one_process_is_batch_norm():
    def run(t):
        net = t.nn.Sequential(t.nn.Conv2d(1, 2, 1), t.nn.Sequential(t.nn.BatchNorm2d(2), t.nn.ReLU()))
        net[0].weight.data.fill_(0.5), net[0].bias.data.fill_(0.1)
        weight = net[1][0].weight
        net = t.nn.SyncBatchNorm.convert_sync_batchnorm(net)
        assert net[1][0].weight is weight
        result = net(t.arange(8.0).reshape(2, 1, 2, 2))
        return str(net), list(net.state_dict()), result.tolist(), net[1][0].running_mean.tolist()

    ours, theirs = run(jitcore), run(torch)
    assert ours[:2] == theirs[:2]
    np.testing.assert_allclose(ours[2], theirs[2], 1e-5, 1e-6)
    np.testing.assert_allclose(ours[3], theirs[3], 1e-6)


def test_a_loss_of_ones_own():
    def run(t):
        class Charbonnier(t.nn.modules.loss._Loss):
            def __init__(self, eps=1e-3, size_average=None, reduce=None, reduction="mean"):
                super().__init__(size_average, reduce, reduction)
                self.eps = eps

            def forward(self, x, y):
                loss = t.sqrt((x - y) ** 2 + self.eps)
                return loss.mean() if self.reduction == "mean" else loss.sum()

        x = t.arange(4.0)
        weighted = t.nn.modules.loss._WeightedLoss(weight=t.ones(2))
        return [Charbonnier()(x, x * 2).item(), Charbonnier(reduction="sum")(x, x * 2).item(), *weighted.state_dict()]

    assert run(jitcore)[2:] == run(torch)[2:]
    np.testing.assert_allclose(run(jitcore)[:2], run(torch)[:2], 1e-6)


def test_trees():
    def run(t, tree_module):
        tree = {"a": [1, (2, 3)], "b": None, "c": {"d": 4}}
        leaves, spec = tree_module.tree_flatten(tree)
        doubled = tree_module.tree_map(lambda x: None if x is None else x * 2, tree)
        again = tree_module.tree_unflatten(list(leaves), spec)
        return leaves, doubled, again, spec.num_leaves, tree_module.tree_map_only(int, lambda x: -x, tree)

    import torch.utils._pytree as theirs

    import jitcore.utils._pytree as ours

    assert run(jitcore, ours) == run(torch, theirs)
    for library in (ours, theirs):
        with pytest.raises(ValueError):
            library.tree_unflatten([1], library.tree_structure([1, 2]))
        with pytest.raises(ValueError):
            library.tree_map(lambda x, y: x, [1, 2], [1])


def test_what_replaces_a_parameter_takes_its_place():
    def run(t):
        net = t.nn.Sequential(t.nn.Linear(2, 2), t.nn.Linear(2, 2), t.nn.BatchNorm1d(2))
        net[1].weight = net[0].weight
        net[1].bias = t.nn.Parameter(t.zeros(2))
        net[2].running_mean = t.zeros(2)
        net[0].weight = None
        net[0].weight = t.nn.Parameter(t.zeros(2, 2))
        setattr(net, "1", t.nn.Linear(2, 2))
        return list(net.state_dict()), [n for n, _ in net.named_modules()]

    assert run(jitcore) == run(torch)


# Mixed precision

CASES = {
    "linear": lambda t, f, x, w: f.linear(x, w),
    "matmul": lambda t, f, x, w: x @ w.T,
    "mm": lambda t, f, x, w: t.mm(x, w.t()),
    "bmm": lambda t, f, x, w: t.bmm(x[None], w.t()[None]),
    "addmm": lambda t, f, x, w: t.addmm(x[:, :1], x, w.t()),
    "baddbmm": lambda t, f, x, w: t.baddbmm(x[None, :, :1], x[None], w.t()[None]),
    "einsum": lambda t, f, x, w: t.einsum("ab,cb->ac", x, w),
    "conv1d": lambda t, f, x, w: f.conv1d(x[None], w[:, :4, None]),
    "conv_transpose1d": lambda t, f, x, w: f.conv_transpose1d(x[None], w[:4, :, None]),
    "sdpa": lambda t, f, x, w: f.scaled_dot_product_attention(x[None], x[None], x[None]),
    "mv": lambda t, f, x, w: t.mv(w, x[0]),
    "mul": lambda t, f, x, w: x * x,
    "softmax": lambda t, f, x, w: f.softmax(f.linear(x, w), -1),
    "layer_norm": lambda t, f, x, w: f.layer_norm(x, (6,)),
    "mse": lambda t, f, x, w: f.mse_loss(f.linear(x, w), x[:, :5]),
    "cross_entropy": lambda t, f, x, w: f.cross_entropy(f.linear(x, w), t.tensor([0, 1, 2, 3])),
    "cat": lambda t, f, x, w: t.cat([f.linear(x, w), x], -1),
    "double": lambda t, f, x, w: x.double() @ w.double().T,
    "inner": lambda t, f, x, w: f.linear(f.relu(f.linear(x, w)), w[:, :5]),
}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", CASES)
def test_autocast_gives_torchs_dtypes_values_and_gradients(name, dtype):
    random = np.random.default_rng(0)
    arrays = [random.standard_normal(shape).astype(np.float32) for shape in ((4, 6), (5, 6))]

    def run(t, f):
        x, w = (t.tensor(a, requires_grad=True) for a in arrays)
        with t.autocast("cpu", dtype=getattr(t, dtype)):
            y = CASES[name](t, f, x, w)
            assert t.is_autocast_enabled("cpu") and t.get_autocast_dtype("cpu") is getattr(t, dtype)
        y.float().sum().backward()
        return y, x.grad, w.grad

    mine, other = run(jitcore, F), run(torch, TF)
    assert not jitcore.is_autocast_enabled("cpu")
    # A product of six terms in 16 bits: a few units in the last place of values of about 5.
    tolerance = (
        {"bfloat16": 0.06, "float16": 0.01}[dtype] if name not in ("mul", "mv", "layer_norm", "double") else 2e-5
    )
    for a, b in zip(mine, other):
        assert (a is None) == (b is None)
        if a is not None:
            assert str(a.dtype).split(".")[1] == str(b.dtype).split(".")[1]
            np.testing.assert_allclose(a.detach().double().numpy(), b.detach().double().numpy(), tolerance, tolerance)


def test_autocast_nests_decorates_and_compiles():
    x = jitcore.ones(2, 2)

    @jitcore.autocast("cpu")
    def f(x):
        with jitcore.autocast("cpu", enabled=False):
            inside = x @ x
        return x @ x, inside

    a, b = f(x)
    assert a.dtype is jitcore.bfloat16 and b.dtype is jitcore.float32 and (x @ x).dtype is jitcore.float32
    g = jitcore.jit(lambda x: x @ x)
    for _ in range(2):
        assert g(x).dtype is jitcore.float32
        with jitcore.autocast("cpu"):
            assert g(x).dtype is jitcore.bfloat16
    with pytest.warns(UserWarning, match="not available"), jitcore.autocast("cuda"):
        assert (x @ x).dtype is jitcore.float32
    with pytest.warns(UserWarning, match="not supported"):
        jitcore.autocast("cpu", dtype=jitcore.float64)


def test_a_scaler_passes_everything_through():
    p = nn.Parameter(jitcore.ones(1))
    optimizer = jitcore.optim.SGD([p], lr=0.5)
    scaler = jitcore.cuda.amp.GradScaler()
    scaler.scale((p * 2).sum()).backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    assert p.item() == 0 and scaler.get_scale() == 1 and not scaler.is_enabled()
    scaler.load_state_dict(pickle.loads(pickle.dumps(scaler.state_dict())))
