"""What subclasses of Module override and register, beside PyTorch: loading, saving, converting, modes, hooks."""

import io
import warnings

import numpy as np
import pytest
import torch

import jitcore

BOTH = pytest.mark.parametrize("t", [torch, jitcore], ids=["torch", "jitcore"])


def same(run):
    ours, theirs = run(jitcore), run(torch)
    assert str(ours).replace("jitcore", "torch") == str(theirs)


def test_train_of_a_part_is_called():
    def run(t):
        class Frozen(t.nn.BatchNorm2d):
            def train(self, mode=True):
                return super().train(False)

        net = t.nn.Sequential(t.nn.Sequential(Frozen(2), t.nn.Dropout()), t.nn.ReLU())
        return [[m.training for m in net.train(mode).modules()] for mode in (True, False, True)]

    same(run)


def test_apply_of_a_part_is_called():
    def run(t):
        class Tables(t.nn.Module):
            def __init__(self):
                super().__init__()
                self.plain = t.ones(2)

            def _apply(self, fn, recurse=True):
                super()._apply(fn)
                self.plain = fn(self.plain)
                return self

        net = t.nn.Sequential(t.nn.Linear(1, 1), Tables()).double()
        return net[1].plain.dtype, net[0].weight.dtype, net._apply(lambda x: x.float())[1].plain.dtype

    same(run)


def model(t):
    class Renamed(t.nn.Linear):
        _version = 3

        def _save_to_state_dict(self, destination, prefix, keep_vars):
            super()._save_to_state_dict(destination, prefix, keep_vars)
            destination[prefix + "scale"] = t.tensor(2.0)

        def _load_from_state_dict(self, state_dict, prefix, local_metadata, strict, *lists):
            self.seen = dict(local_metadata), strict
            if prefix + "w" in state_dict:
                state_dict[prefix + "weight"] = state_dict.pop(prefix + "w")
            state_dict.pop(prefix + "scale", None)
            super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, *lists)

    class Net(t.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = t.nn.ModuleList([Renamed(2, 2), t.nn.BatchNorm1d(2)])
            self._register_load_state_dict_pre_hook(self.rename)
            self._register_state_dict_hook(lambda m, state, prefix, meta: state)

        def rename(self, state_dict, prefix, *rest):
            for key in list(state_dict):
                if key.startswith("old."):
                    state_dict["layers." + key[4:]] = state_dict.pop(key)

    return Net()


def test_saving_and_loading_can_be_overridden():
    def run(t):
        net = model(t)
        state = net.state_dict()
        first = list(state), {k: dict(v) for k, v in state._metadata.items()}
        old = {("old." + k[7:]).replace("0.weight", "0.w"): v for k, v in state.items() if "num_batches" not in k}
        for value in old.values():
            value += 1
        fresh = model(t)
        result = fresh.load_state_dict(old)
        loaded = t.equal(fresh.layers[0].weight, state["layers.0.weight"])
        fresh.load_state_dict(state)
        return first, str(result), loaded, fresh.layers[0].seen

    same(run)


def test_what_does_not_fit_is_said_as_pytorch_says_it_and_nothing_is_changed():
    def run(t):
        net = t.nn.Sequential(t.nn.Linear(2, 2), t.nn.BatchNorm1d(2))
        t.nn.init.ones_(net[0].bias)
        texts = []
        for change in (
            {"0.weight": t.zeros(3, 2)}, {"0.other": t.zeros(1)}, {"2.weight": t.zeros(1)}, {"0.bias": 1.5},
            {"0.weight": t.zeros(3, 2), "extra": t.zeros(1)},
        ):  # fmt: skip
            state = {**{k: v * 0 for k, v in net.state_dict().items()}, **change}
            for strict in (True, False):
                try:
                    texts.append(str(net.load_state_dict(state, strict=strict)))
                except RuntimeError as error:
                    texts.append(str(error))
                if strict and t is jitcore:
                    assert net[0].bias.tolist() == [1, 1]
                t.nn.init.ones_(net[0].bias)
        missing = str(net.load_state_dict({}, strict=False))
        return texts, missing

    same(run)


def test_hooks_after_loading_may_forgive():
    def run(t):
        net = t.nn.Linear(2, 2)
        seen = []

        def forgive(module, incompatible):
            seen.append((module.weight.sum().item(), list(incompatible.missing_keys)))
            incompatible.missing_keys.clear()

        net.register_load_state_dict_post_hook(forgive)
        return str(net.load_state_dict({"weight": t.ones(2, 2)})), seen

    same(run)


def test_backward_pre_hooks_and_hooks_that_are_always_called():
    def run(t):
        layer = t.nn.Linear(1, 1)
        t.nn.init.ones_(layer.weight)
        seen = []
        layer.register_full_backward_pre_hook(lambda m, g: (g[0] * 2,))
        layer.register_full_backward_hook(lambda m, i, o: seen.append((i[0].item(), o[0].item())))
        x = t.ones(1, 1, requires_grad=True)
        layer(x).sum().backward()

        class Fails(t.nn.Module):
            def forward(self, x):
                raise ValueError("fails")

        failing = Fails()
        failing.register_forward_hook(lambda m, i, o: seen.append("not called"))
        failing.register_forward_hook(lambda m, i, o: seen.append(o), always_call=True)
        with pytest.raises(ValueError):
            failing(x)
        return seen, x.grad.item(), layer.weight.grad.item()

    same(run)


def test_get_name_is_what_repr_shows():
    class Named(jitcore.nn.Module):
        def _get_name(self):
            return "QuantizedLinear"

    assert repr(jitcore.nn.Sequential(Named())) == "Sequential(\n  (0): QuantizedLinear()\n)"


@BOTH
def test_files_may_be_objects_and_keep_the_order_of_keys(t, tmp_path):
    state = {f"{k}.weight": t.full((2,), float(k)) for k in (3, 10, 1, 7, 2)}
    buffer = io.BytesIO()
    t.save(state, buffer, _use_new_zipfile_serialization=True)
    buffer.seek(0)
    found = t.load(buffer, map_location=lambda storage, place: storage, weights_only=True)
    assert list(found) == list(state) and all(t.equal(found[k], state[k]) for k in state)
    with open(tmp_path / "f", "wb") as f:
        t.save({"model": state, "epoch": 3}, f)
    with open(tmp_path / "f", "rb") as f:
        again = t.load(f)
    assert again["epoch"] == 3 and list(again["model"]) == list(state)


def test_masks_of_no_dimensions():
    def run(t):
        x = t.arange(6.0).reshape(2, 3)
        shapes = [
            tuple(x[index].shape)
            for index in (True, False, t.tensor(True), (0, True), (True, 0), (..., False), (None, True), (True, x > 2))
        ]
        y = x.clone()
        y[True] = 1
        y[False] = 7
        z = t.tensor(4.0)
        z[t.tensor(True)] = 5
        return shapes, x[True].tolist(), y.tolist(), z.tolist(), z[z > 3].tolist()

    same(run)


def test_loading_with_assign():
    state = {"weight": jitcore.ones(2, 2), "bias": jitcore.zeros(2)}
    layer = jitcore.nn.Linear(2, 2)
    layer.load_state_dict(state, assign=True)
    assert isinstance(layer.weight, jitcore.nn.Parameter) and layer.weight.requires_grad
    np.testing.assert_array_equal(layer.weight.detach().numpy(), 1)


@pytest.mark.parametrize("wanted", [(False, False), (True, False), (True, True)])
def test_full_backward_hooks_see_what_pytorchs_see(wanted):
    def seen_by(lib):
        class Scaled(lib.nn.Module):
            def __init__(self):
                super().__init__()
                self.weight = lib.nn.Parameter(lib.tensor([2.0, 3.0]))

            def forward(self, x, factor, y):
                return x * self.weight * factor, y * self.weight

        seen = []
        module = Scaled()
        module.register_full_backward_hook(lambda m, given, out: seen.append((given, out)))
        x, y = (lib.tensor([1.0, 4.0], requires_grad=w) for w in wanted)
        a, b = module(x, 3.0, y)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch says that no input requires grad
            (a.sum() + 2 * b.sum()).backward()
        return [[None if g is None else g.tolist() for g in side] for both in seen for side in both]

    assert seen_by(jitcore) == seen_by(torch)


def test_a_full_backward_hook_cannot_replace_the_gradient_of_nothing():
    layer = jitcore.nn.Linear(2, 1)
    layer.register_full_backward_hook(lambda m, given, out: (jitcore.ones(1, 2),))
    with pytest.raises(RuntimeError, match="no input requires gradient"):
        layer(jitcore.ones(1, 2)).sum().backward()


def test_containers_have_all_their_methods():
    def run(t):
        n = t.nn
        seen = []
        net = n.Sequential(n.Linear(2, 2), n.ReLU(), n.Linear(2, 3))
        net.append(n.Tanh()).extend([n.Sigmoid()]).insert(0, n.Identity())
        net.insert(-1, n.Softsign())
        seen += [str(net), str(net.pop(1)), str(net[1:3]), len(net), list(net.state_dict())]
        del net[0]
        net += n.Sequential(n.GELU())
        seen += [str(net), str(net + n.Sequential(n.SiLU())), str(n.Sequential(n.ReLU(), n.Tanh()) * 2)]
        seen += [str(2 * n.Sequential(n.ReLU()))]
        net[0] = n.Dropout()
        layers = n.ModuleList([n.Linear(1, 1)]) + n.ModuleList([n.ReLU(), n.ReLU()])
        layers += [n.Tanh()]
        layers.insert(1, n.Identity())
        seen += [str(layers.pop(-1)), str(layers), str(net[0]), str(n.ModuleList()), str(n.ModuleDict())]
        named = n.ModuleDict({"a": n.Linear(1, 1)})
        named.update([("b", n.ReLU()), ("c", n.Tanh())])
        seen += [str(named.pop("b")), list(named.keys()), [str(v) for v in named.values()], "a" in named, len(named)]
        named.clear()
        weights = n.ParameterList([t.zeros(1), n.Parameter(t.ones(2, 3))])
        weights += [t.ones(2)]
        weights.extend([n.Parameter(t.zeros(())), "text"])
        weights[0] = n.Parameter(t.ones(4))
        seen += [str(weights), [tuple(p.shape) for p in weights.parameters()], len(weights[1:3]), weights[-1]]
        table = n.ParameterDict({"w": n.Parameter(t.zeros(2)), "b": t.ones(1), "kind": 3})
        seen += [str(table), list(table), list(table.keys()), list(table.state_dict()), table.get("x"), table["kind"]]
        table["later"] = t.ones(1)
        seen += [list(reversed(table)), table.popitem()[0], tuple(table.pop("w").shape), "w" in table, len(table)]
        seen += [list(table | n.ParameterDict({"z": t.ones(1)})), list(table.copy()), table.setdefault("b").tolist()]
        table.update([("m", t.ones(1))])
        seen += [[tuple(v.shape) for v in table.values() if isinstance(v, t.Tensor)], list(dict(table.items()))]
        for wrong in (
            lambda: net.insert(99, n.ReLU()), lambda: net + n.ReLU(), lambda: net * 0, lambda: net * 1.5,
            lambda: layers.extend(3), lambda: n.ParameterDict({1: t.ones(1)}), lambda: table["none"],
            lambda: named.update(3), lambda: named.update([(1, 2, 3)]), lambda: weights.extend(t.ones(2)),
        ):  # fmt: skip
            with pytest.raises(Exception) as error:
                wrong()
            seen.append(error.type.__name__)
        return seen

    same(run)


def test_layers_can_be_reset():
    def run(t):
        layers = [t.nn.LayerNorm(3), t.nn.GroupNorm(1, 2), t.nn.BatchNorm1d(2), t.nn.RMSNorm(2), t.nn.Embedding(2, 2)]
        for layer in layers[:4]:
            layer.weight.data.fill_(5)
            layer.reset_parameters()
        return [layer.weight.tolist() for layer in layers[:4]], hasattr(layers[4], "reset_parameters")

    same(run)


@pytest.mark.parametrize("make", [
    lambda part: jitcore.nn.Sequential(part), lambda part: jitcore.nn.ModuleList([part]), lambda part: _holding(part),
], ids=["Sequential", "ModuleList", "attribute"])  # fmt: skip
def test_a_jitted_module_is_a_part_like_any_other(make, ran):
    part = jitcore.nn.Linear(2, 2)
    x = jitcore.ones(3, 2)
    expected = part(x)
    whole = make(jitcore.jit(part, native=False))
    assert len(list(whole.parameters())) == 2 and [n.split(".")[-1] for n in whole.state_dict()] == ["weight", "bias"]
    inner = next(iter(whole.children()))
    assert isinstance(inner, jitcore.nn.Linear)
    for _ in range(2):
        assert inner(x).tolist() == expected.tolist()
    assert len(ran) == 1


def _holding(part):
    whole = jitcore.nn.Module()
    whole.part = part
    return whole
