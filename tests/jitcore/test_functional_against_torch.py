"""jitcore.nn.functional against PyTorch in float64: values and gradients of first and second order."""

import warnings
from contextlib import nullcontext as nothing

import numpy as np
import pytest
import torch
from torch_compare import assert_same, both, check

import jitcore

R = np.random.default_rng(11)


def n(*shape):
    return R.normal(size=shape)


def p(*shape):
    return R.uniform(0.1, 0.9, size=shape)


def i(*shape, high=5):
    return R.integers(0, high, size=shape)


def F(lib):
    return lib.nn.functional


ACTIVATIONS = [
    "relu",
    "relu6",
    "hardtanh",
    "leaky_relu",
    "elu",
    "selu",
    "celu",
    "gelu",
    "silu",
    "mish",
    "softplus",
    "softsign",
    "tanhshrink",
    "hardshrink",
    "softshrink",
    "hardswish",
    "logsigmoid",
    "sigmoid",
    "tanh",
]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation(name):
    check(lambda lib, x: getattr(F(lib), name)(x), n(4, 5) * 3)


def test_hardsigmoid():
    check(lambda lib, x: F(lib).hardsigmoid(x), (n(4, 5) * 3).astype(np.float32), grads=1)  # PyTorch's 1 / 6 is float32


CASES = {
    "gelu tanh": (lambda lib, x: F(lib).gelu(x, approximate="tanh"), n(3, 4)),
    "activations with arguments": (
        lambda lib, x: (
            F(lib).leaky_relu(x, 0.2),
            F(lib).elu(x, 1.5),
            F(lib).softplus(x, 2.0, 1.0),
            F(lib).threshold(x, 0.1, 2.0),
        ),
        n(4, 5),
    ),
    "relu at 0": (
        lambda lib, x: (F(lib).relu(x), F(lib).leaky_relu(x), F(lib).relu6(x)),
        np.array([-1.0, 0.0, 6.0, 7.0, -0.0]),
    ),
    "glu": (lambda lib, x: F(lib).glu(x, 1), n(3, 4)),
    "prelu": (lambda lib, x, w: F(lib).prelu(x, w), n(3, 4, 2), n(4)),
    "prelu one": (lambda lib, x, w: F(lib).prelu(x, w), n(3, 4), n(1)),
    "softmax": (
        lambda lib, x: (F(lib).softmax(x, dim=1), F(lib).log_softmax(x, dim=-1), F(lib).softmin(x, dim=0)),
        n(3, 4),
    ),
    "linear": (lambda lib, x, w, b: (F(lib).linear(x, w, b), F(lib).linear(x, w)), n(2, 3, 4), n(5, 4), n(5)),
    "bilinear": (lambda lib, a, b, w: F(lib).bilinear(a, b, w), n(3, 4), n(3, 5), n(2, 4, 5)),
    "embedding": (lambda lib, k, w: F(lib).embedding(k, w), i(3, 4), n(5, 2)),
    "embedding padding": (lambda lib, k, w: F(lib).embedding(k, w, padding_idx=2), i(3, 4), n(5, 2)),
    "one_hot": (lambda lib, k: (F(lib).one_hot(k), F(lib).one_hot(k, 7)), i(3, 4)),
    "conv1d": (lambda lib, x, w, b: F(lib).conv1d(x, w, b, 2, 1), n(2, 3, 9), n(4, 3, 3), n(4)),
    "conv1d dilation": (lambda lib, x, w: F(lib).conv1d(x, w, dilation=2, padding=2), n(2, 3, 9), n(4, 3, 3)),
    "conv2d": (lambda lib, x, w, b: F(lib).conv2d(x, w, b, padding=1), n(2, 3, 5, 6), n(4, 3, 3, 3), n(4)),
    "conv2d stride": (lambda lib, x, w, b: F(lib).conv2d(x, w, b, (2, 1), (1, 0)), n(2, 3, 7, 6), n(4, 3, 3, 2), n(4)),
    "conv2d groups": (lambda lib, x, w: F(lib).conv2d(x, w, groups=2), n(2, 4, 5, 5), n(6, 2, 3, 3)),
    "conv2d depthwise": (lambda lib, x, w: F(lib).conv2d(x, w, groups=4, padding="same"), n(1, 4, 5, 5), n(4, 1, 3, 3)),
    "conv2d unbatched": (lambda lib, x, w: F(lib).conv2d(x, w, padding="valid"), n(3, 5, 5), n(2, 3, 3, 3)),
    "conv3d": (lambda lib, x, w: F(lib).conv3d(x, w, padding=1), n(1, 2, 3, 4, 4), n(3, 2, 2, 3, 3)),
    "conv_transpose1d": (lambda lib, x, w, b: F(lib).conv_transpose1d(x, w, b, 2, 1, 1), n(2, 3, 5), n(3, 4, 3), n(4)),
    "conv_transpose2d": (
        lambda lib, x, w, b: F(lib).conv_transpose2d(x, w, b, stride=2, padding=1, output_padding=1),
        n(2, 3, 4, 4),
        n(3, 2, 3, 3),
        n(2),
    ),
    "conv_transpose2d groups": (
        lambda lib, x, w: F(lib).conv_transpose2d(x, w, stride=2, groups=2, dilation=2),
        n(1, 4, 3, 3),
        n(4, 2, 2, 2),
    ),
    "unfold fold": (
        lambda lib, x: (
            F(lib).unfold(x, 3, padding=1, stride=2),
            F(lib).fold(F(lib).unfold(x, (2, 3)), (5, 6), (2, 3)),
        ),
        n(2, 3, 5, 6),
    ),
    "max_pool2d": (
        lambda lib, x: (
            F(lib).max_pool2d(x, 2),
            F(lib).max_pool2d(x, 3, 2, 1),
            F(lib).max_pool2d(x, 2, ceil_mode=True),
        ),
        n(2, 3, 7, 6),
    ),
    "max_pool2d indices": (lambda lib, x: F(lib).max_pool2d(x, 3, 2, 1, return_indices=True), n(2, 3, 7, 6)),
    "max_pool2d dilation": (lambda lib, x: F(lib).max_pool2d(x, 2, 1, dilation=2), n(1, 2, 5, 5)),
    "max_pool1d 3d": (
        lambda lib, x, y: (F(lib).max_pool1d(x, 2), F(lib).max_pool3d(y, 2)),
        n(2, 3, 8),
        n(1, 2, 4, 4, 4),
    ),
    "avg_pool": (
        lambda lib, x: (
            F(lib).avg_pool2d(x, 2),
            F(lib).avg_pool2d(x, 3, 2, 1),
            F(lib).avg_pool2d(x, 3, 2, 1, count_include_pad=False),
        ),
        n(2, 3, 7, 6),
    ),
    "avg_pool ceil": (
        lambda lib, x: (
            F(lib).avg_pool2d(x, 3, 2, 1, ceil_mode=True),
            F(lib).avg_pool2d(x, 3, 2, 1, True, False),
            F(lib).avg_pool2d(x, 2, divisor_override=3),
        ),
        n(2, 3, 8, 6),
    ),
    "avg_pool1d 3d": (
        lambda lib, x, y: (F(lib).avg_pool1d(x, 3, 1, 1), F(lib).avg_pool3d(y, 2)),
        n(2, 3, 8),
        n(1, 2, 4, 4, 4),
    ),
    "adaptive avg": (
        lambda lib, x: (
            F(lib).adaptive_avg_pool2d(x, 1),
            F(lib).adaptive_avg_pool2d(x, (3, 4)),
            F(lib).adaptive_avg_pool2d(x, (None, 2)),
        ),
        n(2, 3, 6, 7),
    ),
    "adaptive max": (
        lambda lib, x: (F(lib).adaptive_max_pool2d(x, 1), F(lib).adaptive_max_pool2d(x, (3, 4))),
        n(2, 3, 6, 7),
    ),
    "adaptive 1d": (lambda lib, x: (F(lib).adaptive_avg_pool1d(x, 3), F(lib).adaptive_max_pool1d(x, 4)), n(2, 3, 7)),
    "pixel shuffle": (lambda lib, x: (F(lib).pixel_shuffle(x, 2), F(lib).pixel_unshuffle(x, 2)), n(2, 4, 2, 4)),
    "pad": (
        lambda lib, x: (F(lib).pad(x, (1, 2)), F(lib).pad(x, (1, 0, 2, 1), value=3.0), F(lib).pad(x, (-1, 1))),
        n(2, 3, 4),
    ),
    "pad borders": (
        lambda lib, x: tuple(F(lib).pad(x, (1, 2, 1, 0), mode=m) for m in ("reflect", "replicate", "circular")),
        n(1, 2, 3, 4),
    ),
    "layer_norm": (
        lambda lib, x, w, b: (F(lib).layer_norm(x, (4,), w, b), F(lib).layer_norm(x, (3, 4))),
        n(2, 3, 4),
        n(4),
        n(4),
    ),
    "rms_norm": (lambda lib, x, w: F(lib).rms_norm(x, (4,), w), n(2, 3, 4), n(4)),
    "group_norm": (lambda lib, x, w, b: F(lib).group_norm(x, 2, w, b), n(2, 4, 3), n(4), n(4)),
    "instance_norm": (lambda lib, x: F(lib).instance_norm(x), n(2, 4, 5)),
    "batch_norm train": (
        lambda lib, x, w, b: F(lib).batch_norm(x, None, None, w, b, training=True),
        n(4, 3, 2),
        n(3),
        n(3),
    ),
    "batch_norm eval": (
        lambda lib, x, m, v, w: F(lib).batch_norm(x, m.detach(), v.detach(), w),
        n(4, 3),
        n(3),
        p(3),
        n(3),
    ),
    "local_response_norm": (lambda lib, x: F(lib).local_response_norm(x, 3), n(2, 5, 4)),
    "normalize": (lambda lib, x: (F(lib).normalize(x), F(lib).cosine_similarity(x, x + 1)), n(3, 4)),
    "mse l1": (
        lambda lib, x, y: (
            F(lib).mse_loss(x, y),
            F(lib).l1_loss(x, y, reduction="sum"),
            F(lib).mse_loss(x, y, reduction="none"),
        ),
        n(3, 4),
        n(3, 4),
    ),
    "smooth_l1": (
        lambda lib, x, y: (
            F(lib).smooth_l1_loss(x, y),
            F(lib).smooth_l1_loss(x, y, beta=0.5),
            F(lib).huber_loss(x, y, delta=0.7),
        ),
        n(3, 4),
        n(3, 4),
    ),
    "bce": (
        lambda lib, x, y, w: (
            F(lib).binary_cross_entropy(x, y),
            F(lib).binary_cross_entropy(x, y, w.detach(), reduction="sum"),
        ),
        p(3, 4),
        p(3, 4),
        p(3, 4),
    ),
    "bce logits": (
        lambda lib, x, y, w: (
            F(lib).binary_cross_entropy_with_logits(x, y.detach()),
            F(lib).binary_cross_entropy_with_logits(x, y.detach(), pos_weight=w.detach()),
        ),
        n(3, 4),
        p(3, 4),
        p(4),
    ),
    "kl_div": (
        lambda lib, x, y: (
            F(lib).kl_div(x, y, reduction="batchmean"),
            F(lib).kl_div(x, y, reduction="sum", log_target=True),
        ),
        n(3, 4),
        p(3, 4),
    ),
    "nll": (
        lambda lib, x, t, w: (
            F(lib).nll_loss(x, t),
            F(lib).nll_loss(x, t, w.detach()),
            F(lib).nll_loss(x, t, reduction="none"),
        ),
        n(6, 5),
        i(6),
        p(5),
    ),
    "nll 2d": (lambda lib, x, t: F(lib).nll_loss(x, t, ignore_index=2), n(2, 5, 3), i(2, 3)),
    "cross_entropy": (
        lambda lib, x, t, w: (
            F(lib).cross_entropy(x, t),
            F(lib).cross_entropy(x, t, w.detach()),
            F(lib).cross_entropy(x, t, reduction="sum", ignore_index=1),
        ),
        n(6, 5),
        i(6),
        p(5),
    ),
    "cross_entropy smoothing": (
        lambda lib, x, t, w: (
            F(lib).cross_entropy(x, t, label_smoothing=0.1),
            F(lib).cross_entropy(x, t, w.detach(), label_smoothing=0.2, ignore_index=3),
            F(lib).cross_entropy(x, t, reduction="none", label_smoothing=0.2),
        ),
        n(6, 5),
        i(6),
        p(5),
    ),
    "cross_entropy probabilities": (
        lambda lib, x, t, w: (
            F(lib).cross_entropy(x, t),
            F(lib).cross_entropy(x, t, w.detach(), label_smoothing=0.1),
            F(lib).cross_entropy(x, t, reduction="sum"),
        ),
        n(6, 5),
        p(6, 5),
        p(5),
    ),
    "cross_entropy dims": (
        lambda lib, x, t: (F(lib).cross_entropy(x, t), F(lib).cross_entropy(x[0, :, 0, 0], t[0, 0, 0])),
        n(2, 5, 3, 2),
        i(2, 3, 2),
    ),
    "poisson gaussian": (
        lambda lib, x, y, v: (F(lib).poisson_nll_loss(x, y.detach()), F(lib).gaussian_nll_loss(x, y, v)),
        n(3, 4),
        p(3, 4),
        p(3, 4),
    ),
    "margins": (
        lambda lib, x, y, z: (
            F(lib).margin_ranking_loss(x, y, lib.sign(z.detach()), 0.3),
            F(lib).triplet_margin_loss(x, y, z),
        ),
        n(3, 4),
        n(3, 4),
        n(3, 4),
    ),
    "attention": (
        lambda lib, q, k, v: (
            F(lib).scaled_dot_product_attention(q, k, v),
            F(lib).scaled_dot_product_attention(q, k[..., :3, :], v[..., :3, :], is_causal=True),
        ),
        n(2, 2, 3, 4),
        n(2, 2, 5, 4),
        n(2, 2, 5, 4),
    ),
    "attention mask": (
        lambda lib, q, k, v, m: (
            F(lib).scaled_dot_product_attention(q, k, v, m.detach()),
            F(lib).scaled_dot_product_attention(q, k, v, m.detach() > -0.5, scale=0.3),
        ),
        n(2, 3, 4),
        n(2, 5, 4),
        n(2, 5, 6),
        n(3, 5),
    ),
    "interpolate": (
        lambda lib, x: (
            F(lib).interpolate(x, scale_factor=2),
            F(lib).interpolate(x, size=(5, 4)),
            F(lib).interpolate(x, scale_factor=2, mode="bilinear"),
        ),
        n(1, 2, 3, 4),
    ),
    "interpolate corners": (
        lambda lib, x: F(lib).interpolate(x, size=(5, 7), mode="bilinear", align_corners=True),
        n(1, 2, 3, 4),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_case(name):
    function, *arrays = CASES[name]
    check(function, *arrays, grads=1 if name == "attention" else 2)  # PyTorch cannot differentiate its kernel twice


def test_batch_norm_updates_running_statistics():
    x, mean, var = n(4, 3, 2), n(3), p(3)
    (a, b), (ma, mb), (va, vb) = both(x), both(mean), both(var)
    for _ in range(2):
        jitcore.nn.functional.batch_norm(a, ma, va, training=True, momentum=0.3)
        torch.nn.functional.batch_norm(b, mb, vb, training=True, momentum=0.3)
    assert_same(ma, mb)
    assert_same(va, vb)


def test_dropout_keeps_the_mean_and_drops_whole_channels():
    jitcore.manual_seed(3)
    x = jitcore.ones(400, 50)
    y = jitcore.nn.functional.dropout(x, 0.25)
    assert abs(y.mean().item() - 1.0) < 0.02
    assert set(np.unique(y.numpy()).round(4)) == {0.0, np.float32(1 / 0.75).round(4)}
    assert jitcore.nn.functional.dropout(x, 0.25, training=False) is x
    z = jitcore.nn.functional.dropout2d(jitcore.ones(20, 10, 3, 3)).numpy()
    assert ((z == 0).all((2, 3)) | (z == 2).all((2, 3))).all()


def test_ignored_targets_may_hold_anything_and_infinities_leave_no_nan():
    x = jitcore.tensor([[0.0, float("-inf")], [1.0, 2.0]], requires_grad=True)
    loss = jitcore.nn.functional.nll_loss(x, jitcore.tensor([-100, 0]))
    loss.backward()
    assert loss.item() == -1.0
    assert x.grad.tolist() == [[0.0, 0.0], [-1.0, 0.0]]


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda f: f.conv2d(jitcore.ones(1, 3, 5, 5), jitcore.ones(8, 4, 3, 3)), "3 channels but weight expects 4"),
        (lambda f: f.conv2d(jitcore.ones(1, 3, 2, 2), jitcore.ones(8, 3, 3, 3)), "Kernel size can't be greater"),
        (lambda f: f.linear(jitcore.ones(2, 3), jitcore.ones(4, 5)), "3 features but weight expects 5"),
        (lambda f: f.layer_norm(jitcore.ones(2, 3), (4,)), "normalized_shape"),
        (lambda f: f.group_norm(jitcore.ones(2, 3, 4), 2), "divisible by num_groups"),
        (lambda f: f.max_pool2d(jitcore.ones(1, 1, 3, 3), 2, padding=2), "at most half"),
        (lambda f: f.pad(jitcore.ones(3), (1,)), "divisible by 2"),
    ],
)
def test_wrong_shapes_are_named(call, words):
    with pytest.raises(RuntimeError, match=words):
        call(jitcore.nn.functional)


def test_batch_of_targets_must_match():
    with pytest.raises(ValueError, match=r"batch_size \(3\) to match target batch_size \(4\)"):
        jitcore.nn.functional.cross_entropy(jitcore.ones(3, 5), jitcore.zeros(4, dtype=jitcore.int64))


def test_classes_out_of_range_are_index_errors():
    with pytest.raises(IndexError, match="position 5"):
        jitcore.nn.functional.cross_entropy(jitcore.ones(3, 5), jitcore.tensor([0, 5, 1]))
    with pytest.raises(IndexError, match="position 7"):
        jitcore.nn.functional.embedding(jitcore.tensor([7]), jitcore.ones(5, 2))


def test_older_arguments_of_losses_keep_their_places():
    x, y = both(n(6, 5))
    t = i(6)
    for f in (
        lambda lib, a: F(lib).cross_entropy(a, lib.tensor(t), None, None, 2),
        lambda lib, a: F(lib).cross_entropy(a, lib.tensor(t), size_average=False),
        lambda lib, a: F(lib).nll_loss(a, lib.tensor(t), None, None, 1, False),
        lambda lib, a: F(lib).mse_loss(a, a * 2, False),
        lambda lib, a: F(lib).l1_loss(a, a * 2, None, False),
        lambda lib, a: F(lib).triplet_margin_loss(a, a + 1, a * 2, swap=True),
    ):
        with pytest.warns(UserWarning) if torch_warns(f, y) else nothing():
            theirs = f(torch, y)
        assert_same(f(jitcore, x), theirs)


def torch_warns(f, y):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        f(torch, y)
    return bool(said)
