"""Every layer beside PyTorch's: the same text and state_dict keys, and from the same weights the same outputs and
gradients."""

import warnings

import numpy as np
import pytest
import torch
from torch_compare import assert_same

import jitcore

R = np.random.default_rng(0)


def n(*shape):
    return R.normal(size=shape).astype(np.float32)


def labels(high, *shape):
    return R.integers(0, high, shape)


def p(*shape):
    return R.uniform(0.1, 0.9, shape).astype(np.float32)


def signs(*shape):
    return np.where(R.random(shape) < 0.5, -1.0, 1.0).astype(np.float32)


PICTURE, LINE, BLOCK = (2, 4, 7, 8), (2, 4, 9), (2, 3, 5, 6, 5)
# name -> [(constructor, inputs)]; the constructor takes the nn namespace
CASES = {
    "activations": [
        (lambda nn, name=name: getattr(nn, name)(), [n(3, 4)])
        for name in ("ReLU", "ReLU6", "LeakyReLU", "ELU", "CELU", "SELU", "GELU", "GLU", "SiLU", "Mish", "Hardswish",
                     "Hardsigmoid", "Hardshrink", "Softshrink", "Tanhshrink", "Softsign", "Sigmoid", "LogSigmoid",
                     "Tanh", "Softplus", "Hardtanh", "PReLU", "Identity")
    ] + [
        (lambda nn: nn.ReLU(inplace=True), None),
        (lambda nn: nn.Threshold(0.1, 20), [n(3, 4)]),
        (lambda nn: nn.Softmax(dim=1), [n(3, 4)]),
        (lambda nn: nn.LogSoftmax(-1), [n(3, 4)]),
        (lambda nn: nn.Softmin(0), [n(3, 4)]),
        (lambda nn: nn.Softmax2d(), [n(2, 3, 4, 5)]),
        (lambda nn: nn.Hardtanh(-2, 0.5, True), None),
        (lambda nn: nn.GELU("tanh"), [n(3, 4)]),
        (lambda nn: nn.PReLU(4), [n(3, 4, 5)]),
        (lambda nn: nn.LeakyReLU(0.2, True), None),
        (lambda nn: nn.RReLU().eval(), [n(3, 4)]),
        (lambda nn: nn.CELU(0.7), [n(3, 4)]),
    ],
    "dropouts": [
        (lambda nn, name=name: getattr(nn, name)(0.3).eval(), [n(2, 3, 4)])
        for name in ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout")
    ],
    "linear": [
        (lambda nn: nn.Linear(4, 5), [n(3, 4)]),
        (lambda nn: nn.Linear(4, 5, bias=False), [n(2, 3, 4)]),
        (lambda nn: nn.Bilinear(3, 4, 5), [n(2, 3), n(2, 4)]),
        (lambda nn: nn.Flatten(), [n(2, 3, 4)]),
        (lambda nn: nn.Unflatten(1, (2, 3)), [n(2, 6, 4)]),
        (lambda nn: nn.Flatten(0, 1), [n(2, 3, 4)]),
    ],
    "convolutions": [
        (lambda nn: nn.Conv1d(4, 6, 3, stride=2, padding=1), [n(*LINE)]),
        (lambda nn: nn.Conv1d(4, 6, 3, padding="same", padding_mode="reflect"), [n(*LINE)]),
        (lambda nn: nn.Conv2d(4, 6, (3, 2), dilation=2, groups=2, bias=False), [n(*PICTURE)]),
        (lambda nn: nn.Conv2d(4, 4, 3, padding=(1, 2), padding_mode="circular"), [n(*PICTURE)]),
        (lambda nn: nn.Conv3d(3, 4, 2, padding="valid"), [n(*BLOCK)]),
        (lambda nn: nn.ConvTranspose1d(4, 6, 3, stride=2, output_padding=1), [n(*LINE)]),
        (lambda nn: nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, groups=2, dilation=2), [n(*PICTURE)]),
        (lambda nn: nn.ConvTranspose3d(3, 2, 2, bias=False), [n(*BLOCK)]),
    ],
    "norms": [
        (lambda nn: nn.BatchNorm1d(4), [n(5, 4)]),
        (lambda nn: nn.BatchNorm1d(4, affine=False), [n(*LINE)]),
        (lambda nn: nn.BatchNorm2d(4, momentum=None), [n(*PICTURE)]),
        (lambda nn: nn.BatchNorm3d(3, 1e-3, 0.2), [n(*BLOCK)]),
        (lambda nn: nn.BatchNorm2d(4, track_running_stats=False), [n(*PICTURE)]),
        (lambda nn: nn.BatchNorm2d(4, bias=False).eval(), [n(*PICTURE)]),
        (lambda nn: nn.InstanceNorm1d(4), [n(*LINE)]),
        (lambda nn: nn.InstanceNorm2d(4, affine=True), [n(*PICTURE)]),
        (lambda nn: nn.InstanceNorm2d(4, track_running_stats=True), [n(*PICTURE)]),
        (lambda nn: nn.InstanceNorm3d(3), [n(*BLOCK)]),
        (lambda nn: nn.InstanceNorm2d(4), [n(4, 5, 6)]),
        (lambda nn: nn.LayerNorm(8), [n(*PICTURE)]),
        (lambda nn: nn.LayerNorm([7, 8], bias=False), [n(*PICTURE)]),
        (lambda nn: nn.LayerNorm(8, elementwise_affine=False), [n(*PICTURE)]),
        (lambda nn: nn.GroupNorm(2, 4), [n(*PICTURE)]),
        (lambda nn: nn.GroupNorm(4, 4, affine=False), [n(*LINE)]),
        (lambda nn: nn.RMSNorm(8), [n(*PICTURE)]),
        (lambda nn: nn.RMSNorm((7, 8), eps=1e-3), [n(*PICTURE)]),
        (lambda nn: nn.LocalResponseNorm(3), [n(*PICTURE)]),
    ],
    "pooling": [
        (lambda nn: nn.MaxPool1d(3), [n(*LINE)]),
        (lambda nn: nn.MaxPool2d(3, 2, 1), [n(*PICTURE)]),
        (lambda nn: nn.MaxPool2d((2, 3), dilation=2, ceil_mode=True, return_indices=True), [n(*PICTURE)]),
        (lambda nn: nn.MaxPool3d(2), [n(*BLOCK)]),
        (lambda nn: nn.AvgPool1d(3, 2), [n(*LINE)]),
        (lambda nn: nn.AvgPool2d(3, 2, 1, count_include_pad=False), [n(*PICTURE)]),
        (lambda nn: nn.AvgPool2d(2, divisor_override=3), [n(*PICTURE)]),
        (lambda nn: nn.AvgPool3d(2), [n(*BLOCK)]),
        (lambda nn: nn.AdaptiveAvgPool1d(4), [n(*LINE)]),
        (lambda nn: nn.AdaptiveAvgPool2d((3, None)), [n(*PICTURE)]),
        (lambda nn: nn.AdaptiveAvgPool3d(2), [n(*BLOCK)]),
        (lambda nn: nn.AdaptiveMaxPool1d(4), [n(*LINE)]),
        (lambda nn: nn.AdaptiveMaxPool2d((3, 5), return_indices=True), [n(*PICTURE)]),
        (lambda nn: nn.AdaptiveMaxPool3d(2, True), [n(*BLOCK)]),
        (lambda nn: nn.LPPool1d(2, 3), [n(*LINE)]),
        (lambda nn: nn.LPPool2d(2, 3, stride=2), [n(*PICTURE)]),
        (lambda nn: nn.LPPool3d(3, 2), [np.abs(n(*BLOCK))]),
        (lambda nn: nn.MaxUnpool1d(2), [n(2, 3, 4), np.arange(24).reshape(2, 3, 4) % 4 * 2 + 1]),
        (lambda nn: nn.MaxUnpool2d(2, stride=2), [n(1, 1, 2, 2), np.array([[[[0, 6], [9, 15]]]])]),
        (lambda nn: nn.MaxUnpool3d(2), None),
    ],
    "reshaping": [
        (lambda nn: nn.PixelShuffle(2), [n(2, 8, 3, 4)]),
        (lambda nn: nn.PixelUnshuffle(2), [n(2, 3, 4, 6)]),
        (lambda nn: nn.ChannelShuffle(2), [n(2, 4, 3)]),
        (lambda nn: nn.Unfold((2, 3), padding=1), [n(2, 3, 5, 6)]),
        (lambda nn: nn.Fold((4, 5), 2), [n(2, 12, 12)]),
        (lambda nn: nn.ReflectionPad1d(2), [n(*LINE)]),
        (lambda nn: nn.ReflectionPad2d((1, 2, 3, 0)), [n(*PICTURE)]),
        (lambda nn: nn.ReplicationPad1d((1, 3)), [n(*LINE)]),
        (lambda nn: nn.ReplicationPad2d(2), [n(*PICTURE)]),
        (lambda nn: nn.ReplicationPad3d(1), [n(*BLOCK)]),
        (lambda nn: nn.ReflectionPad3d(1), [n(*BLOCK)]),
        (lambda nn: nn.ZeroPad1d(1), [n(*LINE)]),
        (lambda nn: nn.ZeroPad2d((1, 0, 2, 1)), [n(*PICTURE)]),
        (lambda nn: nn.ZeroPad3d(1), [n(*BLOCK)]),
        (lambda nn: nn.ConstantPad1d(1, 2.5), [n(*LINE)]),
        (lambda nn: nn.ConstantPad2d(1, -1), [n(*PICTURE)]),
        (lambda nn: nn.ConstantPad3d((1, 0, 1, 0, 2, 1), 3), [n(*BLOCK)]),
        (lambda nn: nn.CircularPad1d(2), [n(*LINE)]),
        (lambda nn: nn.CircularPad2d((1, 2, 0, 1)), [n(*PICTURE)]),
        (lambda nn: nn.CircularPad3d(1), [n(*BLOCK)]),
        (lambda nn: nn.Upsample(scale_factor=2), [n(*PICTURE)]),
        (lambda nn: nn.Upsample((9, 5), mode="bicubic"), [n(*PICTURE)]),
        (lambda nn: nn.Upsample(size=11, mode="linear", align_corners=True), [n(*LINE)]),
        (lambda nn: nn.Upsample(scale_factor=(1.5, 2, 2), mode="trilinear"), [n(*BLOCK)]),
        (lambda nn: nn.UpsamplingNearest2d(scale_factor=2), [n(*PICTURE)]),
        (lambda nn: nn.UpsamplingBilinear2d(size=(5, 9)), [n(*PICTURE)]),
    ],
    "losses": [
        (lambda nn, name=name: getattr(nn, name)(), [n(3, 4), n(3, 4)])
        for name in ("MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "CosineSimilarity", "PairwiseDistance")
    ] + [
        (lambda nn: nn.MSELoss(reduction="sum"), [n(3, 4), n(3, 4)]),
        (lambda nn: nn.L1Loss(reduce=False), [n(3, 4), n(3, 4)]),
        (lambda nn: nn.MSELoss(size_average=False), [n(3, 4), n(3, 4)]),
        (lambda nn: nn.KLDivLoss(reduction="batchmean"), [np.log(p(3, 4)), p(3, 4)]),
        (lambda nn: nn.CrossEntropyLoss(), [n(3, 5), labels(5, 3)]),
        (lambda nn: nn.CrossEntropyLoss(label_smoothing=0.2, ignore_index=1), [n(6, 5), labels(5, 6)]),
        (lambda nn: nn.CrossEntropyLoss(reduction="none"), [n(2, 5, 3, 4), labels(5, 2, 3, 4)]),
        (lambda nn: nn.NLLLoss(), [n(3, 5), labels(5, 3)]),
        (lambda nn: nn.NLLLoss(), [n(2, 5, 3, 4), labels(5, 2, 3, 4)]),
        (lambda nn: nn.BCELoss(), [p(3, 4), p(3, 4)]),
        (lambda nn: nn.BCEWithLogitsLoss(), [n(3, 4), p(3, 4)]),
        (lambda nn: nn.PoissonNLLLoss(full=True), [n(3, 4), p(3, 4) * 5]),
        (lambda nn: nn.GaussianNLLLoss(full=True), [n(3, 4), n(3, 4), p(3, 4)]),
        (lambda nn: nn.HingeEmbeddingLoss(0.7), [n(3, 4), signs(3, 4)]),
        (lambda nn: nn.CosineEmbeddingLoss(0.2), [n(3, 4), n(3, 4), signs(3)]),
        (lambda nn: nn.MarginRankingLoss(0.3), [n(5), n(5), signs(5)]),
        (lambda nn: nn.SoftMarginLoss(), [n(3, 4), signs(3, 4)]),
        (lambda nn: nn.MultiMarginLoss(2, 0.8), [n(3, 5), labels(5, 3)]),
        (lambda nn: nn.MultiMarginLoss(), [n(5), labels(5)]),
        (lambda nn: nn.MultiLabelMarginLoss(), [n(2, 4), np.array([[3, 0, -1, 1], [1, -1, 0, 0]])]),
        (lambda nn: nn.MultiLabelMarginLoss(reduction="sum"), [n(4), np.array([3, 2, 1, 0])]),
        (lambda nn: nn.MultiLabelSoftMarginLoss(), [n(3, 4), (p(3, 4) > 0.5).astype(np.float32)]),
        (lambda nn: nn.TripletMarginLoss(0.5, swap=True), [n(3, 4), n(3, 4), n(3, 4)]),
        (lambda nn: nn.TripletMarginWithDistanceLoss(margin=0.4, swap=True), [n(3, 4), n(3, 4), n(3, 4)]),
        (lambda nn: nn.CTCLoss(), [np.log(p(9, 2, 5)), labels(4, 2, 3) + 1, np.array([9, 7]), np.array([3, 2])]),
        (lambda nn: nn.CTCLoss(2, "none", True),
         [np.log(p(4, 2, 5)), np.array([1, 1, 1, 3, 0]), np.array([4, 4]), np.array([3, 2])]),
    ],
    "tables": [
        (lambda nn: nn.Embedding(7, 3), [labels(7, 2, 4)]),
        (lambda nn: nn.Embedding(7, 3, padding_idx=-1), [labels(7, 5)]),
        (lambda nn: nn.Embedding(7, 3, max_norm=0.9, scale_grad_by_freq=True), [labels(7, 9)]),
        (lambda nn: nn.EmbeddingBag(7, 3), [labels(7, 2, 4)]),
        (lambda nn: nn.EmbeddingBag(7, 3, mode="sum", padding_idx=2), [labels(7, 9), np.array([0, 0, 4])]),
        (lambda nn: nn.EmbeddingBag(7, 3, mode="max"), [labels(7, 9), np.array([0, 3, 3])]),
        (lambda nn: nn.EmbeddingBag(7, 3, include_last_offset=True), [labels(7, 6), np.array([0, 2, 6])]),
        (lambda nn: nn.AdaptiveLogSoftmaxWithLoss(6, 12, [3, 7], div_value=2.0), [n(5, 6), labels(12, 5)]),
    ],
}  # fmt: skip
TABLE = [(group, number) for group, cases in CASES.items() for number in range(len(cases))]


def built(group, number):
    make, arrays = CASES[group][number]
    torch.manual_seed(number)
    theirs, ours = make(torch.nn), make(jitcore.nn)
    return ours, theirs, arrays


def load(ours, theirs):
    ours.load_state_dict({k: jitcore.tensor(v.detach().numpy()) for k, v in theirs.state_dict().items()})


@pytest.mark.parametrize("group, number", TABLE)
def test_text_and_keys_are_pytorchs(group, number):
    ours, theirs, _ = built(group, number)
    assert repr(ours) == repr(theirs)
    assert [(k, tuple(v.shape)) for k, v in ours.state_dict().items()] == [
        (k, tuple(v.shape)) for k, v in theirs.state_dict().items()
    ]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("group, number", TABLE)
def test_outputs_and_gradients_are_pytorchs(group, number):
    ours, theirs, arrays = built(group, number)
    if arrays is None:
        return
    load(ours, theirs)
    mine, other = ([lib.tensor(a) for a in arrays] for lib in (jitcore, torch))
    for x in (mine[0], other[0]):
        if x.is_floating_point():
            x.requires_grad_()
    a, b = ours(*mine), theirs(*other)
    a, b = ((list(r) if isinstance(r, tuple) else [r]) for r in (a, b))
    assert_same(a, b)
    results = [(x, y) for x, y in zip(a, b) if y.requires_grad]
    for x, y in results:
        weights = R.uniform(0.5, 1.5, tuple(y.shape)).astype(np.float32)
        (x * jitcore.tensor(weights)).sum().backward(retain_graph=True)
        (y * torch.tensor(weights)).sum().backward(retain_graph=True)
    pairs = [*zip(mine, other), *zip(ours.parameters(), theirs.parameters())]
    for x, y in pairs:
        if y.grad is not None:
            np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=2e-4, atol=2e-5)
    for (name, x), y in zip(ours.named_buffers(), theirs.buffers()):
        np.testing.assert_allclose(x.numpy(), y.numpy(), rtol=1e-5, atol=1e-6, err_msg=name)


LAZY = {
    "LazyLinear": (lambda nn: nn.LazyLinear(5), (3, 4)), "LazyConv1d": (lambda nn: nn.LazyConv1d(6, 3), LINE),
    "LazyConv2d": (lambda nn: nn.LazyConv2d(6, 3, groups=2), PICTURE),
    "LazyConv3d": (lambda nn: nn.LazyConv3d(4, 2), BLOCK),
    "LazyConvTranspose1d": (lambda nn: nn.LazyConvTranspose1d(4, 2), LINE),
    "LazyConvTranspose2d": (lambda nn: nn.LazyConvTranspose2d(4, 2), PICTURE),
    "LazyConvTranspose3d": (lambda nn: nn.LazyConvTranspose3d(4, 2), BLOCK),
    "LazyBatchNorm1d": (lambda nn: nn.LazyBatchNorm1d(), LINE),
    "LazyBatchNorm2d": (lambda nn: nn.LazyBatchNorm2d(), PICTURE),
    "LazyBatchNorm3d": (lambda nn: nn.LazyBatchNorm3d(), BLOCK),
    "LazyInstanceNorm1d": (lambda nn: nn.LazyInstanceNorm1d(), LINE),
    "LazyInstanceNorm2d": (lambda nn: nn.LazyInstanceNorm2d(), PICTURE),
    "LazyInstanceNorm3d": (lambda nn: nn.LazyInstanceNorm3d(), BLOCK),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", LAZY)
def test_lazy_layers_learn_their_size(name):
    make, shape = LAZY[name]
    x = n(*shape)
    theirs, ours, loaded = make(torch.nn), make(jitcore.nn), make(jitcore.nn)
    assert repr(ours) == repr(theirs)
    theirs(torch.tensor(x)), ours(jitcore.tensor(x))
    assert repr(ours) == repr(theirs) and type(ours).__name__ == type(theirs).__name__
    load(ours, theirs), load(loaded, theirs)
    for layer in (ours, loaded):
        assert_same(layer.eval()(jitcore.tensor(x)), theirs.eval()(torch.tensor(x)))


def test_bad_arguments_are_named():
    for make in (
        lambda nn: nn.MaxPool2d(),
        lambda nn: nn.ReLU(slope=1),
        lambda nn: nn.Dropout(1.5),
        lambda nn: nn.Conv2d(3, 4, 2, groups=2),
        lambda nn: nn.Conv2d(3, 4, 2, padding="half"),
        lambda nn: nn.Conv2d(3, 4, 2, 2, padding="same"),
        lambda nn: nn.GroupNorm(3, 4),
        lambda nn: nn.FractionalMaxPool2d(2),
        lambda nn: nn.Embedding(3, 4, padding_idx=5),
        lambda nn: nn.AdaptiveLogSoftmaxWithLoss(4, 5, [3, 2]),
        lambda nn: nn.ConvTranspose2d(3, 4, 2, padding_mode="reflect"),
    ):  # fmt: skip
        with pytest.raises(Exception) as theirs:
            make(torch.nn)
        with pytest.raises(type(theirs.value)):
            make(jitcore.nn)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jitcore.nn.MSELoss()(jitcore.ones(2), jitcore.ones(2))
