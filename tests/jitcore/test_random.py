"""Random tensors: the bits are Philox's, the distributions are right, generators repeat and continue."""

import copy

import numpy as np
import pytest

import jitcore


def philox_blocks(seed, offset, count):
    """Philox4x32-10 straight from the paper, with Python's integers."""
    out = []
    for block in range(offset, offset + count):
        c = [block & 0xFFFFFFFF, block >> 32 & 0xFFFFFFFF, 0, 0]
        k = [seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF]
        for _ in range(10):
            p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
            c = [p1 >> 32 ^ c[1] ^ k[0], p1 & 0xFFFFFFFF, p0 >> 32 ^ c[3] ^ k[1], p0 & 0xFFFFFFFF]
            k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
        out += c
    return np.array(out, np.uint32)


def test_bits_are_philox_and_advance_by_blocks_of_four():
    g = jitcore.Generator().manual_seed(0x1234567890)
    first = g.bits((5,)).numpy().view(np.uint32)
    second = g.bits((3,)).numpy().view(np.uint32)
    reference = philox_blocks(0x1234567890, 0, 3)
    np.testing.assert_array_equal(first, reference[:5])
    np.testing.assert_array_equal(second, reference[8:11])
    assert g.get_state().tolist() == [0x1234567890, 3]


def test_the_same_seed_gives_the_same_numbers():
    jitcore.manual_seed(5)
    a = jitcore.rand(3), jitcore.randn(2, 2), jitcore.randint(0, 100, (4,)), jitcore.randperm(6)
    jitcore.manual_seed(5)
    b = jitcore.rand(3), jitcore.randn(2, 2), jitcore.randint(0, 100, (4,)), jitcore.randperm(6)
    for x, y in zip(a, b):
        np.testing.assert_array_equal(x.numpy(), y.numpy())
    assert jitcore.initial_seed() == 5
    assert jitcore.rand(3).tolist() != a[0].tolist()


def test_states_are_saved_and_restored():
    g = jitcore.Generator()
    g.manual_seed(1)
    state = g.get_state()
    first = jitcore.rand(3, generator=g)
    g.set_state(state)
    assert jitcore.rand(3, generator=g).tolist() == first.tolist()
    twin = copy.deepcopy(g)
    assert jitcore.rand(3, generator=twin).tolist() == jitcore.rand(3, generator=g).tolist()
    with pytest.raises(RuntimeError, match="int64 tensor of 2 elements"):
        g.set_state(jitcore.zeros(3))
    before = jitcore.get_rng_state()
    x = jitcore.rand(2)
    jitcore.set_rng_state(before)
    assert jitcore.rand(2).tolist() == x.tolist()
    assert g.seed() == g.initial_seed()


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32", "float64"])
def test_uniform_and_normal(name):
    g = jitcore.Generator().manual_seed(2)
    dtype = getattr(jitcore, name)
    u = jitcore.rand(20000, dtype=dtype, generator=g)
    z = jitcore.randn(20000, dtype=dtype, generator=g)
    assert u.dtype is dtype and z.dtype is dtype
    u, z = u.double().numpy(), z.double().numpy()
    assert u.min() >= 0 and u.max() < 1
    counts = np.histogram(u, 16, (0, 1))[0]
    assert ((counts - 1250) ** 2 / 1250).sum() < 50
    assert abs(z.mean()) < 0.03 and abs(z.std() - 1) < 0.03 and abs((z**4).mean() - 3) < 0.3
    if name == "float64":
        assert len(np.unique(u)) == 20000 and ((u * 2**53) % 1 == 0).all()


def test_integers():
    g = jitcore.Generator().manual_seed(3)
    x = jitcore.randint(-3, 5, (8000,), generator=g).numpy()
    assert set(x) == set(range(-3, 5))
    assert (np.abs(np.bincount(x + 3) - 1000) < 150).all()
    assert jitcore.randint(7, (2, 3), dtype=jitcore.uint8).dtype is jitcore.uint8
    assert jitcore.randint(0, 2**62, (4,)).max().item() > 2**40
    with pytest.raises(RuntimeError, match="from=5 >= to=5"):
        jitcore.randint(5, 5, (1,))


def test_permutations():
    g = jitcore.Generator().manual_seed(4)
    draws = np.stack([jitcore.randperm(4, generator=g).numpy() for _ in range(1200)])
    assert (np.sort(draws, 1) == np.arange(4)).all()
    assert len({tuple(d) for d in draws}) == 24
    assert (np.abs([np.bincount(draws[:, k], minlength=4) - 300 for k in range(4)]) < 80).all()


def test_bernoulli_multinomial_exponential():
    jitcore.manual_seed(6)
    p = jitcore.tensor([[0.1, 0.9]]).expand(5000, 2)
    assert np.abs(jitcore.bernoulli(p).mean(0).numpy() - [0.1, 0.9]).max() < 0.02
    assert jitcore.ones(4).bernoulli_(0.0).tolist() == [0] * 4
    weights = jitcore.tensor([1.0, 0.0, 3.0])
    drawn = jitcore.multinomial(weights, 6000, replacement=True).numpy()
    assert abs((drawn == 2).mean() - 0.75) < 0.02 and not (drawn == 1).any()
    rows = jitcore.multinomial(jitcore.tensor([[1.0, 1.0, 1.0, 1.0]] * 50), 3)
    assert all(len(set(row)) == 3 for row in rows.tolist())
    e = jitcore.empty(20000).exponential_(2.0).numpy()
    assert abs(e.mean() - 0.5) < 0.02 and e.min() >= 0


def test_filling_in_place():
    jitcore.manual_seed(7)
    x = jitcore.empty(10000)
    assert x.uniform_(-2, 2) is x and abs(x.mean().item()) < 0.05 and x.min().item() >= -2 and x.max().item() < 2
    x.normal_(3.0, 0.5)
    assert abs(x.mean().item() - 3) < 0.02 and abs(x.std().item() - 0.5) < 0.02
    assert set(jitcore.empty(100, dtype=jitcore.int64).random_(0, 3).tolist()) == {0, 1, 2}
    with pytest.raises(RuntimeError, match="std >= 0"):
        x.normal_(0, -1)
    with pytest.raises(RuntimeError, match=r"\[from, to\)"):
        x.uniform_(1, 0)
    p = jitcore.zeros(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf Variable"):
        p.normal_()
    with jitcore.no_grad():
        p.normal_()


def test_like_and_normal_of_tensors():
    x = jitcore.zeros(3, 4, dtype=jitcore.float64)
    for made in (jitcore.rand_like(x), jitcore.randn_like(x), jitcore.randint_like(x, 5)):
        assert made.shape == x.shape and made.dtype is jitcore.float64
    y = jitcore.normal(jitcore.full((1000,), 5.0), jitcore.tensor(0.1))
    assert abs(y.mean().item() - 5) < 0.02
    assert jitcore.normal(0.0, 1.0, (2, 2)).shape == (2, 2)
    with pytest.raises(NotImplementedError, match="int64"):
        jitcore.rand(2, dtype=jitcore.int64)


@pytest.mark.parametrize("make", [jitcore.rand, jitcore.randn, jitcore.randperm, lambda n: jitcore.randint(3, (n,))])
def test_negative_sizes_are_refused(make):
    with pytest.raises(RuntimeError, match="negative dimension"):
        make(-1)
