"""What the tests of gradients across jitted functions share."""

import numpy as np

import jitcore


def numbers(*shape, seed=0):
    return jitcore.tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def backward_of(jitted):
    """The backward pass of the only variant."""
    ((variant,),) = [entry.variants for entry in jitted._recordings.entries.values()]
    return variant.backward


def agree(module, *inputs, calls=3, prepare=None):
    """Results, gradients of inputs and parameters, and buffers of jitted calls and eager ones; returns the jitted."""
    jitted = jitcore.jit(module)
    state = {name: value.clone() for name, value in module.state_dict().items()}
    runs = []
    for function in (module, jitted):
        module.load_state_dict(state)
        jitcore.manual_seed(5)
        seen = []
        for _ in range(calls):
            module.zero_grad()
            own = [x.clone().requires_grad_() if x.is_floating_point() else x for x in inputs]
            result = function(*own)
            (result * result).sum().backward()
            seen += [result.detach(), *(x.grad for x in own if x.requires_grad)]
            seen += [p.grad.clone() for p in module.parameters()] + [b.clone() for b in module.buffers()]
        runs.append(seen)
    for given, expected in zip(*runs, strict=True):
        np.testing.assert_allclose(given.numpy(), expected.numpy(), rtol=2e-4, atol=2e-5)
    return jitted


def each_way(function, calls=4):
    """What `check` gives for the plain function and for the jitted one, called some times."""

    def run(check):
        expected = [check(function) for _ in range(calls)]
        jitted = jitcore.jit(function, native=False)  # what is recorded is the matter here
        assert [check(jitted) for _ in range(calls)] == expected
        return jitted

    return run
