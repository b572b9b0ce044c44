"""Attention and Transformer layers beside PyTorch's."""

import warnings

import numpy as np
import pytest
import torch
from module_compare import compare, to, twins
from torch_compare import assert_same, check, values

import jitcore

pytestmark = [
    pytest.mark.filterwarnings("ignore:enable_nested_tensor"),
    pytest.mark.filterwarnings("ignore:The PyTorch API of nested"),
    pytest.mark.filterwarnings("ignore:Support for mism"),
]


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def causal(size):
    return np.triu(np.ones((size, size), bool), 1)


PADDING = np.array([[False] * 5, [False] * 3 + [True] * 2, [False] * 4 + [True]])
MHA = {
    "plain": ({}, {}),
    "no bias": ({"bias": False}, {}),
    "own sizes": ({"kdim": 6, "vdim": 10}, {}),
    "own size of keys": ({"kdim": 6}, {"need_weights": False}),
    "bias of keys": ({"add_bias_kv": True}, {}),
    "zero attention": ({"add_zero_attn": True}, {}),
    "both": ({"add_bias_kv": True, "add_zero_attn": True}, {"need_weights": False}),
    "batch first": ({"batch_first": True}, {"need_weights": False}),
    "each head's weights": ({}, {"average_attn_weights": False}),
}
MASKS = {
    "none": {},
    "bool": {"attn_mask": random(4, 5) > 1},
    "float": {"attn_mask": random(4, 5)},
    "of each head": {"attn_mask": random(12, 4, 5)},
    "padding": {"key_padding_mask": PADDING},
    "float padding": {"key_padding_mask": random(3, 5)},
    "both": {"attn_mask": random(4, 5) > 1, "key_padding_mask": PADDING},
}


@pytest.mark.parametrize("masks", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize(("options", "given"), MHA.values(), ids=MHA)
def test_multihead_attention(options, given, masks):
    ours, theirs = twins(lambda m: m.nn.MultiheadAttention(8, 4, **options), scale=0.2)
    assert repr(ours) == repr(theirs)
    first = options.get("batch_first")
    shape = (lambda length, size: (3, length, size)) if first else (lambda length, size: (length, 3, size))
    query, key = random(*shape(4, 8)), random(*shape(5, options.get("kdim", 8)), seed=1)
    value = random(*shape(5, options.get("vdim", 8)), seed=2)

    def call(module, q, k, v):
        library = jitcore if isinstance(module, jitcore.nn.Module) else torch
        return module(q, k, v, **given, **to(library, masks, grads=False))

    def kept(module, *inputs):  # (output, None) has only one tensor
        output, weights = call(module, *inputs)
        return output if weights is None else (output, weights)

    compare(ours, theirs, query, key, value, call=kept, compiled=options == {})


@pytest.mark.parametrize("need_weights", [True, False])
def test_self_attention_with_a_causal_mask(need_weights):
    ours, theirs = twins(lambda m: m.nn.MultiheadAttention(8, 2), scale=0.2)

    def call(module, x):
        library = jitcore if isinstance(module, jitcore.nn.Module) else torch
        mask = library.tensor(causal(4))
        output, weights = module(x, x, x, attn_mask=mask, is_causal=True, need_weights=need_weights)
        return (output, weights) if need_weights else output

    compare(ours, theirs, random(4, 3, 8), call=call, compiled=True)
    ours.zero_grad(), theirs.zero_grad()
    compare(ours, theirs, random(4, 8), call=call)


BAD = [
    lambda m: m.nn.MultiheadAttention(8, 3),
    lambda m: m.nn.MultiheadAttention(0, 3),
    lambda m: m.nn.MultiheadAttention(8, 2)(m.ones(8), m.ones(8), m.ones(8)),
    lambda m: m.nn.MultiheadAttention(8, 2)(m.ones(2, 1, 8), m.ones(2, 8), m.ones(2, 8)),
    lambda m: m.nn.MultiheadAttention(8, 2)(m.ones(2, 1, 8), m.ones(2, 1, 8), m.ones(3, 1, 8)),
    lambda m: m.nn.MultiheadAttention(8, 2)(*[m.ones(2, 1, 8)] * 3, attn_mask=m.ones(3, 2)),
    lambda m: m.nn.MultiheadAttention(8, 2)(*[m.ones(2, 1, 8)] * 3, attn_mask=m.ones(2, 2, dtype=m.int64)),
    lambda m: m.nn.MultiheadAttention(8, 2)(*[m.ones(2, 1, 8)] * 3, key_padding_mask=m.ones(2)),
    lambda m: m.nn.MultiheadAttention(8, 2)(*[m.ones(2, 1, 8)] * 3, key_padding_mask=m.ones(1, 3)),
    lambda m: m.nn.MultiheadAttention(8, 2)(*[m.ones(2, 1, 8)] * 3, is_causal=True),
    lambda m: m.nn.MultiheadAttention(8, 2)(*[m.ones(2, 1, 6)] * 3),
    lambda m: m.nn.TransformerEncoderLayer(8, 2, activation="elu"),
    lambda m: m.nn.Transformer(8, 2, 1, 1, 8)(m.ones(2, 3, 8), m.ones(2, 2, 8)),
    lambda m: m.nn.Transformer(8, 2, 1, 1, 8)(m.ones(2, 3, 8), m.ones(2, 3, 6)),
    lambda m: m.nn.functional.scaled_dot_product_attention(*[m.ones(2, 3)] * 3, m.ones(2, 2, dtype=m.int64)),
    lambda m: m.nn.functional.scaled_dot_product_attention(m.ones(2, 3), m.ones(2, 4), m.ones(2, 3)),
    lambda m: m.nn.functional.scaled_dot_product_attention(m.ones(2, 3), m.ones(2, 3).double(), m.ones(2, 3)),
    lambda m: m.nn.functional.scaled_dot_product_attention(m.ones(3), m.ones(2, 3), m.ones(2, 3)),
]


@pytest.mark.parametrize("number", range(len(BAD)))
def test_bad_arguments_raise_what_pytorch_raises(number):
    with pytest.raises(Exception) as theirs:
        BAD[number](torch)
    with pytest.raises(theirs.type):
        BAD[number](jitcore)


def blind():
    """A mask whose second row hides everything."""
    mask = np.zeros((4, 5))
    mask[1] = -np.inf
    mask[2, 3:] = -np.inf
    return mask


SDPA = {
    "plain": {},
    "scale": {"scale": 0.3},
    "causal": {"is_causal": True},
    "bool mask": {"attn_mask": blind() == 0},
    "float mask": {"attn_mask": blind()},
    "mask of heads": {"attn_mask": np.random.default_rng(3).standard_normal((2, 3, 4, 5))},
}


@pytest.mark.parametrize("given", SDPA.values(), ids=SDPA)
def test_scaled_dot_product_attention(given):
    sizes = enumerate([(4, 6), (5, 6), (5, 7)])
    q, k, v = (np.random.default_rng(i).standard_normal((2, 3, n, e)) for i, (n, e) in sizes)

    def attend(library, q, k, v):
        return library.nn.functional.scaled_dot_product_attention(q, k, v, **to(library, given, grads=False))

    check(attend, q, k, v)


def test_grouped_queries():
    q, k, v = (np.random.default_rng(i).standard_normal((2, heads, 4, 6)) for i, heads in enumerate((6, 2, 2)))
    check(lambda m, q, k, v: m.nn.functional.scaled_dot_product_attention(q, k, v, enable_gqa=True), q, k, v, grads=1)


def test_the_choice_of_a_kernel_is_accepted():
    attention = jitcore.nn.attention
    with attention.sdpa_kernel([attention.SDPBackend.MATH, attention.SDPBackend.FLASH_ATTENTION]):
        pass
    with attention.sdpa_kernel(attention.SDPBackend.EFFICIENT_ATTENTION):
        pass
    with pytest.raises(AssertionError), attention.sdpa_kernel("math"):
        pass


LAYERS = {
    "plain": {},
    "batch first": {"batch_first": True},
    "norm first": {"norm_first": True, "activation": "gelu"},
    "no bias": {"bias": False, "layer_norm_eps": 1e-3},
}


@pytest.mark.parametrize("options", LAYERS.values(), ids=LAYERS)
def test_encoder_layer(options):
    ours, theirs = twins(lambda m: m.nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, **options), scale=0.2)
    assert repr(ours) == repr(theirs)
    x = random(3, 5, 8) if options.get("batch_first") else random(5, 3, 8)

    def call(module, x):
        library = jitcore if isinstance(module, jitcore.nn.Module) else torch
        return module(x, library.tensor(causal(5)), library.tensor(PADDING))

    compare(ours, theirs, x, call=call, compiled=True)
    ours.zero_grad(), theirs.zero_grad()
    compare(ours, theirs, random(5, 8))


@pytest.mark.parametrize("options", LAYERS.values(), ids=LAYERS)
def test_decoder_layer(options):
    ours, theirs = twins(lambda m: m.nn.TransformerDecoderLayer(8, 2, 16, dropout=0.0, **options), scale=0.2)
    assert repr(ours) == repr(theirs)
    first = options.get("batch_first")
    x, memory = (random(3, 4, 8), random(3, 5, 8, seed=1)) if first else (random(4, 3, 8), random(5, 3, 8, seed=1))

    def call(module, x, memory):
        library = jitcore if isinstance(module, jitcore.nn.Module) else torch
        padding = library.tensor(PADDING)
        return module(x, memory, library.tensor(causal(4)), memory_key_padding_mask=padding, tgt_is_causal=True)

    compare(ours, theirs, x, memory, call=call, compiled=True)


@pytest.mark.parametrize("activation", ["relu", lambda m: m.nn.functional.gelu, lambda m: m.nn.SiLU()])
def test_activations(activation):
    def build(library):
        chosen = activation if isinstance(activation, str) else activation(library)
        return library.nn.TransformerEncoderLayer(8, 2, 16, 0.0, chosen)

    compare(*twins(build), random(5, 3, 8))


@pytest.mark.parametrize("batch_first", [False, True])
def test_the_whole_transformer(batch_first):
    def build(library):
        return library.nn.Transformer(8, 2, 2, 2, 16, 0.0, batch_first=batch_first, norm_first=batch_first)

    ours, theirs = twins(build, scale=0.1)
    assert repr(ours) == repr(theirs)
    src, tgt = (random(3, 5, 8), random(3, 4, 8, seed=1)) if batch_first else (random(5, 3, 8), random(4, 3, 8, seed=1))

    def call(module, src, tgt):
        library = jitcore if isinstance(module, jitcore.nn.Module) else torch
        padding = library.tensor(PADDING)
        mask = library.nn.Transformer.generate_square_subsequent_mask(4)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return module(src, tgt, tgt_mask=mask, src_key_padding_mask=padding, memory_key_padding_mask=padding)

    compare(ours, theirs, src, tgt, call=call, compiled=True)


@pytest.mark.parametrize("at_the_end", [True, False])
@pytest.mark.parametrize("norm", [True, False])
def test_padding_is_zero_in_inference_as_with_nested_tensors(norm, at_the_end):
    def build(library):
        layer = library.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        return library.nn.TransformerEncoder(layer, 2, library.nn.LayerNorm(8) if norm else None)

    ours, theirs = twins(build, eval=True, scale=0.1)
    padding = PADDING if at_the_end else PADDING[:, ::-1].copy()
    x = random(3, 5, 8)
    with jitcore.no_grad(), torch.no_grad():
        for mask in (None, padding):
            given = {} if mask is None else {"src_key_padding_mask": mask}
            found = ours(jitcore.tensor(x), **to(jitcore, given))
            assert_same(found, theirs(torch.tensor(x), **to(torch, given)))
    assert bool((values(found)[padding] == 0).all()) == (at_the_end and not norm)


def test_encoder_layers_are_copies():
    layer = jitcore.nn.TransformerEncoderLayer(8, 2, 16)
    encoder = jitcore.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    first, second = encoder.layers
    assert first is not layer and first.linear1.weight is not second.linear1.weight
    np.testing.assert_array_equal(values(first.linear1.weight), values(second.linear1.weight))


def test_exported_with_symbolic_sizes(tmp_path):
    import jitcore_runtime

    def build(library):
        layer = library.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        return library.nn.TransformerEncoder(layer, 2)

    ours, theirs = twins(build, eval=True, scale=0.1)
    path = tmp_path / "model.jca"
    jitcore.export(ours, path, {"src": "float32[N,L,8]"}, targets=[])
    program = jitcore_runtime.load(path)
    for sizes in ((2, 5), (3, 1)):
        x = random(*sizes, 8)
        with torch.no_grad():
            np.testing.assert_allclose(program(x), values(theirs(torch.tensor(x))), rtol=2e-5, atol=2e-5)
