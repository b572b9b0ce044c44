"""`custom_op`: a function of the user's as one operation, with a shape rule, a derivative and a native function.

The function is opaque: recordings hold one `custom_call` of its name, and programs and archives find it in the
runtime's registry when they run. `calls` makes the calls, `numba_functions` what numba has compiled.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from jitcore_ir.custom_call import check_name
from jitcore_ir.errors import AttributeValueError
from jitcore_runtime import custom as runtime

from ..tensor import Tensor, wrap
from .calls import Definition, call, outside_everything, unwatched
from .numba_functions import is_numba_function, native_resolver

_OPS: dict[str, CustomOpDef] = {}


class CustomOpDef:
    """An operation made by `custom_op`. Call it as the function it was made from; the methods add to it."""

    def __init__(
        self, name: str, function: Callable[..., Any] | None, signature: inspect.Signature, version: int
    ) -> None:
        self._definition = Definition(name, version, signature)
        self._function = function
        self._native: Any = None
        self._publish()
        self.__doc__ = getattr(function, "__doc__", None)
        self.__name__ = name

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return call(self._definition, arguments, keywords)

    def __repr__(self) -> str:
        return f"<custom operation {self._definition.name}>"

    def __reduce__(self) -> tuple:
        return _named, (self._definition.name,)

    def register_fake(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The shape rule: takes the operation's arguments and gives, for each result, a tensor or TensorSpec of its
        shape and dtype. It must look at shapes and dtypes only; where some sizes are symbolic it sees those."""
        self._definition.rule = _function("register_fake", function)
        return function

    def register_autograd(
        self, backward: Callable[..., Any], /, *, setup_context: Callable[..., Any] | None = None
    ) -> None:
        """The derivative: `setup_context(ctx, inputs, output)` keeps what `backward(ctx, *grads)` needs; backward gives
        a gradient, or None, for each argument. Written with jitcore's operations it can be differentiated again."""
        self._definition.backward = _function("register_autograd", backward)
        self._definition.setup_context = setup_context

    def register_vjp(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The derivative in one function: `function(grad, result, *arguments)` gives a gradient, or None, for each
        argument (a single one may come alone). grad and result are tuples where the operation has several results."""

        def setup_context(ctx: Any, inputs: tuple, output: Any) -> None:
            results = output if isinstance(output, tuple) else (output,)
            tensors = [x for x in inputs if isinstance(x, Tensor)]
            ctx.save_for_backward(*tensors, *results)
            ctx.inputs = [None if isinstance(x, Tensor) else x for x in inputs]
            ctx.is_tensor = [isinstance(x, Tensor) for x in inputs]
            ctx.single = not isinstance(output, tuple)

        def backward(ctx: Any, *grads: Any) -> Any:
            saved = list(ctx.saved_tensors)
            inputs = [saved.pop(0) if is_tensor else x for is_tensor, x in zip(ctx.is_tensor, ctx.inputs)]
            return function(grads[0] if ctx.single else grads, saved[0] if ctx.single else tuple(saved), *inputs)

        self.register_autograd(_function("register_vjp", backward), setup_context=setup_context)
        return function

    def register_vmap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """What `vmap` calls: `function(info, in_dims, *arguments)` takes whole batches and gives `(output, out_dims)`.
        Without it vmap runs the operation for one example after another."""
        self._definition.vmap = _function("register_vmap", function)
        return function

    def register_kernel(self, device_types: Any = "cpu", function: Callable[..., Any] | None = None, /) -> Any:
        """Another function for the operation, for "cpu", the one device there is."""
        kinds = (device_types,) if isinstance(device_types, str) else device_types
        if kinds is not None and "cpu" not in kinds:
            raise NotImplementedError(f"register_kernel: there is no device {device_types!r}; kernels are for 'cpu'")
        if function is None:
            return lambda f: self.register_kernel(device_types, f)
        self._function = _of_arrays(_function("register_kernel", function), None)
        self._publish()
        return function

    def register_native(self, native: Any) -> Any:
        """A C function that computes the operation: its address, a ctypes function or what `numba.cfunc` gives, of the
        signature that `jitcore_runtime.custom` describes. It is what then runs: eagerly, compiled (called with no
        Python in between) and interpreted. The operation needs a shape rule. Gives `native` back."""
        runtime.native_address(self._definition.name, native)
        self._native = native
        self._publish()
        return native

    def _publish(self) -> None:
        """Put the operation as it is now into the runtime's registry."""
        name = self._definition.name
        function, resolve = self._function, None
        if self._native is not None:
            address = runtime.native_address(name, self._native)
            resolve = lambda operands, results: address  # noqa: E731
        elif is_numba_function(function):
            self._definition.is_numba = True
            resolve = _opaque(native_resolver(name, function))
        self._definition.is_native = resolve is not None
        runner = None if function is None else _opaque(function)
        runtime.add(runtime.CustomOp(name, self._definition.version, runner, resolve, self._native))


def custom_op(
    name: str,
    fn: Callable[..., Any] | None = None,
    /,
    *,
    mutates_args: Any = (),
    device_types: Any = None,
    schema: str | None = None,
    version: int = 1,
) -> Any:
    """Decorator: make a function the operation `name` ("namespace::name").

    The function gets NumPy arrays, read-only, and returns a new array or a tuple of arrays; where its annotations say
    Tensor (or a schema is given) it gets and returns tensors. Its other arguments are numbers, bools, strings, dtypes,
    None and lists. A function that `numba.njit` has compiled is called natively where the operation has a shape rule.

    mutates_args: must be empty; the operation may not change its arguments.
    version: raise it when the meaning changes; archives refuse to run with another version than they were made with.

    An operation of that name is replaced. Raises ValueError for a name that is none.
    """
    try:
        check_name(name)
    except (AttributeValueError, TypeError) as error:
        raise ValueError(f"custom_op: {name!r} is not namespace::name, such as 'mylib::scale'") from error
    if mutates_args not in ((), [], set(), frozenset()):
        raise NotImplementedError(
            f"custom_op {name}: mutates_args={mutates_args!r}, but a custom operation may not change its arguments; "
            f"return the new value and write it yourself: x.copy_({name.split('::')[1]}(x))"
        )
    if device_types is not None and "cpu" not in (
        device_types if not isinstance(device_types, str) else (device_types,)
    ):
        raise NotImplementedError(f"custom_op {name}: there is no device {device_types!r}, only 'cpu'")
    if fn is None:
        return lambda function: custom_op(name, function, schema=schema, version=version)
    made = CustomOpDef(name, _of_arrays(_function("custom_op", fn), schema), _signature(fn), version)
    _OPS[name] = made
    return made


class Namespace:
    """The operations of one namespace: `jitcore.ops.mylib.scale` is the one called mylib::scale."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> CustomOpDef:
        found = _OPS.get(f"{self._name}::{name}")
        if found is None:
            raise AttributeError(f"there is no custom operation {self._name}::{name}")
        return found

    def __repr__(self) -> str:
        return f"<custom operations {self._name}::*>"


def namespace(name: str) -> Namespace | None:
    """The namespace of that name, None where no operation is in it."""
    return Namespace(name) if any(op.startswith(f"{name}::") for op in _OPS) else None


def register_fake(op: Any, function: Callable[..., Any] | None = None, /) -> Any:
    """`op.register_fake(function)` for an operation or its name; a decorator without `function`."""
    return _later(_named(op).register_fake, function)


def register_autograd(op: Any, backward: Callable[..., Any], /, *, setup_context: Any = None, lib: Any = None) -> None:
    """`op.register_autograd(...)` for an operation or its name."""
    _named(op).register_autograd(backward, setup_context=setup_context)


def register_vjp(op: Any, function: Callable[..., Any] | None = None, /) -> Any:
    """`op.register_vjp(function)` for an operation or its name; a decorator without `function`."""
    return _later(_named(op).register_vjp, function)


def register_vmap(op: Any, function: Callable[..., Any] | None = None, /) -> Any:
    """`op.register_vmap(function)` for an operation or its name; a decorator without `function`."""
    return _later(_named(op).register_vmap, function)


def register_kernel(op: Any, device_types: Any, function: Callable[..., Any] | None = None, /) -> Any:
    """`op.register_kernel(device_types, function)` for an operation or its name."""
    return _named(op).register_kernel(device_types, function)


def register_native(op: Any, native: Any) -> Any:
    """`op.register_native(native)` for an operation or its name."""
    return _named(op).register_native(native)


def _later(register: Callable[..., Any], function: Callable[..., Any] | None) -> Any:
    return register if function is None else register(function)


def _named(op: Any) -> CustomOpDef:
    if isinstance(op, CustomOpDef):
        return op
    if op not in _OPS:
        raise ValueError(f"{op!r} is no custom operation; there are {', '.join(sorted(_OPS)) or 'none'}")
    return _OPS[op]


def _function(where: str, function: Any) -> Callable[..., Any]:
    if not callable(function):
        raise TypeError(f"{where}: expected a function, got {type(function).__name__}")
    return function


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(getattr(function, "py_func", function))


def _of_arrays(function: Callable[..., Any], schema: str | None) -> Callable[..., Any]:
    """The function as one of arrays."""
    kinds = [str(p.annotation) for p in _signature(function).parameters.values()]
    if not (schema is not None or any("Tensor" in kind for kind in kinds)):
        return function

    @functools.wraps(function)
    def on_arrays(*arguments: Any) -> Any:
        made = function(*[_to_tensors(a) for a in arguments])
        return tuple(map(_to_array, made)) if isinstance(made, tuple | list) else _to_array(made)

    return on_arrays


def _to_tensors(argument: Any) -> Any:
    if isinstance(argument, np.ndarray):
        return wrap(argument)
    return [_to_tensors(a) for a in argument] if isinstance(argument, list) else argument


def _to_array(made: Any) -> Any:
    return made.detach()._array if isinstance(made, Tensor) else made


def _opaque(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, run where nothing of jitcore's watches or records it."""

    def run(*arguments: Any) -> Any:
        with unwatched(), outside_everything():
            return function(*arguments)

    run.__wrapped__ = getattr(function, "py_func", function)  # type: ignore[attr-defined]  # for its signature
    return run
