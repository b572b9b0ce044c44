"""Recurrent layers, their cells and packed sequences beside PyTorch's."""

import numpy as np
import pytest
import torch
from module_compare import compare, to, twins
from torch_compare import assert_same, values

import jitcore


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


OPTIONS = {
    "plain": {},
    "layers": {"num_layers": 2},
    "both ways": {"bidirectional": True, "num_layers": 2},
    "no bias": {"bias": False},
    "batch first": {"batch_first": True, "bidirectional": True},
}
KINDS = [("RNN", {}), ("RNN", {"nonlinearity": "relu"}), ("LSTM", {}), ("LSTM", {"proj_size": 3}), ("GRU", {})]
KIND_IDS = ["tanh", "relu", "lstm", "lstm-projected", "gru"]


def build(kind, **options):
    return lambda library: getattr(library.nn, kind)(4, 5, **options)


def state_of(kind, options, batch, seed=5):
    count = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
    h = random(count, *batch, options.get("proj_size", 5), seed=seed)
    return (h, random(count, *batch, 5, seed=seed + 1)) if kind == "LSTM" else h


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize(("kind", "more"), KINDS, ids=KIND_IDS)
def test_layers(kind, more, options):
    options = options | more
    ours, theirs = twins(build(kind, **options))
    assert repr(ours) == repr(theirs)
    assert [len(w) for w in ours.all_weights] == [len(w) for w in theirs.all_weights]
    x = random(3, 6, 4) if options.get("batch_first") else random(6, 3, 4)
    compare(ours, theirs, x, compiled=options in (more, OPTIONS["batch first"] | more))
    ours.zero_grad(), theirs.zero_grad()
    compare(ours, theirs, x, state_of(kind, options, (3,)))
    ours.zero_grad(), theirs.zero_grad()
    compare(ours, theirs, random(6, 4))
    ours.zero_grad(), theirs.zero_grad()
    compare(ours, theirs, random(6, 4), state_of(kind, options, ()))


@pytest.mark.parametrize("enforce_sorted", [True, False])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize(("kind", "more"), KINDS, ids=KIND_IDS)
def test_packed_sequences(kind, more, options, enforce_sorted):
    options = options | more
    ours, theirs = twins(build(kind, **options))
    first = options.get("batch_first", False)
    lengths = [5, 3, 3, 1] if enforce_sorted else [3, 5, 1, 3]

    def call(module, x, hx):
        library = jitcore if isinstance(module, jitcore.nn.Module) else torch
        rnn = library.nn.utils.rnn
        packed = rnn.pack_padded_sequence(x, library.tensor(lengths), first, enforce_sorted)
        output, last = module(packed, hx)
        assert isinstance(output, rnn.PackedSequence)
        padded, found = rnn.pad_packed_sequence(output, first, padding_value=0.5)
        return padded, found, last

    x = random(4, 5, 4) if first else random(5, 4, 4)
    compare(ours, theirs, x, state_of(kind, options, (4,)), call=call)
    ours.zero_grad(), theirs.zero_grad()
    compare(ours, theirs, x, None, call=call)


def test_a_compiled_layer_takes_packed_sequences():
    ours, theirs = twins(build("LSTM", bidirectional=True))
    sequences = [random(n, 4, seed=n) for n in (2, 4, 1)]
    packed = [library.nn.utils.rnn.pack_sequence(to(library, sequences, False), enforce_sorted=False)
              for library in (jitcore, torch)]  # fmt: skip
    fast = jitcore.jit(ours)
    with jitcore.no_grad(), torch.no_grad():
        for _ in range(2):
            output, last = fast(packed[0])
        expected, expected_last = theirs(packed[1])
    assert isinstance(output, jitcore.nn.utils.rnn.PackedSequence)
    assert_same(output.data, expected.data)
    assert_same(last, expected_last)
    assert "replayed 1 times" in fast.explain(), fast.explain()


def test_dropout_between_layers():
    ours, _ = twins(build("GRU", num_layers=3, dropout=0.5))
    x = jitcore.tensor(random(4, 2, 4))
    jitcore.manual_seed(0)
    first, second = ours(x)[0], ours(x)[0]
    assert not np.allclose(values(first), values(second))
    ours.eval()
    np.testing.assert_array_equal(values(ours(x)[0]), values(ours(x)[0]))
    with pytest.warns(UserWarning, match="num_layers greater than 1"):
        jitcore.nn.LSTM(2, 3, dropout=0.5)


CELLS = [("RNNCell", {}), ("RNNCell", {"nonlinearity": "relu", "bias": False}), ("LSTMCell", {}), ("GRUCell", {}),
         ("GRUCell", {"bias": False})]  # fmt: skip


@pytest.mark.parametrize(("kind", "options"), CELLS)
def test_cells(kind, options):
    ours, theirs = twins(build(kind, **options))
    assert repr(ours) == repr(theirs)
    compare(ours, theirs, random(3, 4), compiled=True)
    for batch in ((3,), ()):
        ours.zero_grad(), theirs.zero_grad()
        h = random(*batch, 5, seed=1)
        compare(ours, theirs, random(*batch, 4), (h, random(*batch, 5, seed=2)) if kind == "LSTMCell" else h)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_second_derivatives(kind):
    module = getattr(jitcore.nn, kind)(1, 2, bidirectional=True).double()
    x = jitcore.randn(2, 2, 1, dtype=jitcore.float64, requires_grad=True)
    weights = list(module.parameters())[:2]
    assert jitcore.autograd.gradcheck(lambda x, *w: module(x)[0], (x, *weights))
    assert jitcore.autograd.gradgradcheck(lambda x, *w: module(x)[0], (x, *weights))


def test_a_compiled_training_step_has_eagers_losses():
    def losses(wrap):
        jitcore.manual_seed(3)
        model = jitcore.nn.LSTM(4, 5, num_layers=2)
        optimizer = jitcore.optim.Adam(model.parameters(), lr=0.05)
        x, y = jitcore.tensor(random(6, 3, 4)), jitcore.tensor(random(6, 3, 5, seed=1))

        def step(x, y):
            optimizer.zero_grad()
            loss = ((model(x)[0] - y) ** 2).mean()
            loss.backward()
            optimizer.step()
            return loss.detach()

        step = wrap(step)
        return [float(step(x, y)) for _ in range(6)], step

    expected, _ = losses(lambda f: f)
    found, step = losses(jitcore.jit)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert "replayed 5 times" in step.explain(), step.explain()


BAD = [
    lambda m: m.nn.LSTM(4, 0),
    lambda m: m.nn.LSTM(4, 5, proj_size=5),
    lambda m: m.nn.LSTM(4, 5, bias=1),
    lambda m: m.nn.LSTM("4", 5),
    lambda m: m.nn.LSTM(4, 5, dropout=2),
    lambda m: m.nn.GRU(4, 5, proj_size=2),
    lambda m: m.nn.RNN(4, 5, nonlinearity="elu"),
    lambda m: m.nn.LSTM(4, 5)(m.ones(2, 3, 3)),
    lambda m: m.nn.LSTM(4, 5)(m.ones(4)),
    lambda m: m.nn.LSTM(4, 5)(m.ones(2, 3, 4), (m.ones(1, 5), m.ones(1, 5))),
    lambda m: m.nn.GRU(4, 5)(m.ones(2, 3, 4), m.ones(2, 3, 5)),
    lambda m: m.nn.GRU(4, 5)(m.ones(2, 3, 4, dtype=m.float64)),
    lambda m: m.nn.GRUCell(4, 5)(m.ones(2, 3, 4)),
    lambda m: m.nn.GRUCell(4, 5)(m.ones(2, 3)),
    lambda m: m.nn.utils.rnn.pack_padded_sequence(m.ones(3, 2, 1), m.tensor([1, 2])),
    lambda m: m.nn.utils.rnn.pack_padded_sequence(m.ones(3, 2, 1), m.tensor([1])),
    lambda m: m.nn.utils.rnn.pack_padded_sequence(m.ones(3, 2, 1), m.tensor([1, 0])),
    lambda m: m.nn.utils.rnn.pad_sequence([]),
    lambda m: m.nn.utils.rnn.pad_sequence(3),
    lambda m: m.nn.utils.rnn.pad_sequence([m.ones(2, 3), m.ones(2, 2)]),
]


@pytest.mark.parametrize("number", range(len(BAD)))
def test_bad_arguments_raise_what_pytorch_raises(number):
    with pytest.raises(Exception) as theirs:
        BAD[number](torch)
    with pytest.raises(theirs.type):
        BAD[number](jitcore)


@pytest.mark.parametrize("batch_first", [False, True])
def test_padding_and_unpadding(batch_first):
    sequences = [random(n, 2, seed=n) for n in (2, 4, 1)]

    def run(library):
        rnn = library.nn.utils.rnn
        parts = to(library, sequences, False)
        packed = rnn.pack_sequence(parts, enforce_sorted=False)
        padded, lengths = rnn.pad_packed_sequence(packed, batch_first, -1.0, total_length=6)
        left = rnn.pad_sequence(parts, batch_first, 0.5, padding_side="left")
        right = rnn.pad_sequence(parts, batch_first)
        unpadded = rnn.unpad_sequence(right, library.tensor([2, 4, 1]), batch_first)
        return (*packed, padded, lengths, left, *unpadded, *rnn.unpack_sequence(packed), packed.double().data)

    assert_same(run(jitcore), run(torch))


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_exported_with_a_symbolic_batch_size(kind, tmp_path):
    import jitcore_runtime

    ours, theirs = twins(build(kind, bidirectional=True))
    path = tmp_path / "model.jca"
    jitcore.export(lambda x: ours(x)[0], path, {"x": "float32[6,N,4]"}, targets=[])
    program = jitcore_runtime.load(path)
    for batch in (1, 3):
        x = random(6, batch, 4)
        np.testing.assert_allclose(program(x), values(theirs(torch.tensor(x))[0]), rtol=2e-5, atol=2e-5)
