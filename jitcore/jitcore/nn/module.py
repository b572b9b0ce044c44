"""`Module`: the base class of models and layers, with PyTorch's names and behaviour."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..tensor import Tensor
from .hooks import RemovableHandle, WithoutModule
from .parameter import Buffer, Parameter
from .state_dict import _IncompatibleKeys, load_all, load_own, save_own

_TABLES = ("_parameters", "_buffers", "_modules")


def _compiled_in_place(value: Any) -> Any:
    """Of `jit(module)`, which is to be a part of another module, the module, whose `forward` is jitted: so that its
    parameters are found. Other values are themselves."""
    if type(value).__module__ == "jitcore.jit_function" and isinstance(value._function, Module):
        module = value._function
        if type(module.forward) is not type(value):
            object.__setattr__(module, "forward", type(value)(module.forward, value._options))
        return module
    return value


class Module:
    """Holds parameters, buffers and submodules assigned as attributes; subclasses define `forward`."""

    training: bool
    dump_patches = call_super_init = False  # PyTorch's, of no effect
    _version = 1  # of what the class saves: written to state dicts, told to _load_from_state_dict

    def __init__(self) -> None:
        tables = {
            "training": True,
            "_parameters": {},
            "_buffers": {},
            "_modules": {},
            "_non_persistent": set(),
            "_forward_pre_hooks": OrderedDict(),
            "_forward_hooks": OrderedDict(),
            "_full_backward_hooks": OrderedDict(),
            "_full_backward_pre_hooks": OrderedDict(),
            "_state_dict_hooks": OrderedDict(),
            "_load_state_dict_pre_hooks": OrderedDict(),
            "_state_dict_pre_hooks": OrderedDict(),
            "_load_state_dict_post_hooks": OrderedDict(),
        }
        for name, value in tables.items():
            object.__setattr__(self, name, value)

    def forward(self, *arguments: Any, **keywords: Any) -> Any:
        """What the module computes. Subclasses define it."""
        raise NotImplementedError(f"{type(self).__name__} has no forward()")

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        if not (
            self._forward_pre_hooks or self._forward_hooks or self._full_backward_hooks or self._full_backward_pre_hooks
        ):
            return self.forward(*arguments, **keywords)
        return self._call_with_hooks(arguments, keywords)

    def _call_with_hooks(self, arguments: tuple, keywords: dict) -> Any:
        for hook, with_keywords in list(self._forward_pre_hooks.values()):
            if with_keywords:
                given = hook(self, arguments, keywords)
                if given is not None:
                    arguments, keywords = given
            else:
                given = hook(self, arguments)
                if given is not None:
                    arguments = given if isinstance(given, tuple) else (given,)
        try:
            result = self._forward_watched(arguments, keywords)
        except Exception:
            for hook, with_keywords, always in list(self._forward_hooks.values()):
                if always:
                    hook(self, arguments, keywords, None) if with_keywords else hook(self, arguments, None)
            raise
        for hook, with_keywords, _ in list(self._forward_hooks.values()):
            given = hook(self, arguments, keywords, result) if with_keywords else hook(self, arguments, result)
            if given is not None:
                result = given
        return result

    def _forward_watched(self, arguments: tuple, keywords: dict) -> Any:
        if not (self._full_backward_hooks or self._full_backward_pre_hooks):
            return self.forward(*arguments, **keywords)
        from .hooks import forward_with_backward_hooks

        return forward_with_backward_hooks(self, arguments, keywords)

    # Attributes

    def __setattr__(self, name: str, value: Any) -> None:
        tables = self.__dict__
        value = _compiled_in_place(value)
        if "_parameters" not in tables:
            if isinstance(value, Parameter | Module | Buffer):
                raise AttributeError(f"{type(self).__name__}: call super().__init__() before assigning {name!r}")
            object.__setattr__(self, name, value)
            return
        if isinstance(value, Parameter):
            self._forget(name, "_parameters")
            tables["_parameters"][name] = value
        elif isinstance(value, Module):
            self._forget(name, "_modules")
            tables["_modules"][name] = value
        elif isinstance(value, Buffer):
            self._forget(name, "_buffers")
            self.register_buffer(name, value, value.persistent)
        elif name in tables["_parameters"]:
            if value is not None:
                raise TypeError(f"parameter {name!r} takes a Parameter or None, not {type(value).__name__}")
            tables["_parameters"][name] = None
        elif name in tables["_modules"] and value is None:
            tables["_modules"][name] = None
        elif name in tables["_buffers"]:
            if value is not None and not isinstance(value, Tensor):
                raise TypeError(f"buffer {name!r} takes a Tensor or None, not {type(value).__name__}")
            tables["_buffers"][name] = value
        else:
            object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        for table in _TABLES:
            found = self.__dict__.get(table)
            if found is not None and name in found:
                return found[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __delattr__(self, name: str) -> None:
        if any(name in self.__dict__[table] for table in _TABLES):
            self._forget(name)
        else:
            object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._parameters, *self._buffers, *self._modules})

    def _forget(self, name: str, keep: str = "") -> bool:
        """Remove `name` wherever it is registered or stored; whether it was registered.

        The table `keep` keeps it: what replaces an entry takes its place in the order.
        """
        self.__dict__.pop(name, None)
        self._non_persistent.discard(name)
        return sum(self.__dict__[table].pop(name, self) is not self for table in _TABLES if table != keep) > 0

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter. Raises TypeError, KeyError or AttributeError for a bad value or name."""
        self._check_name(name, "_parameters")
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(f"register_parameter: {name!r} takes a Parameter or None, not {type(param).__name__}")
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that is state but not learned; in the state_dict where `persistent`."""
        self._check_name(name, "_buffers")
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(f"register_buffer: {name!r} takes a Tensor or None, not {type(tensor).__name__}")
        self._buffers[name] = tensor
        (self._non_persistent.discard if persistent else self._non_persistent.add)(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a submodule."""
        self._check_name(name, "_modules")
        module = _compiled_in_place(module)
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"add_module: {name!r} takes a Module or None, not {type(module).__name__}")
        self._modules[name] = module

    register_module = add_module

    def _check_name(self, name: str, table: str) -> None:
        if not isinstance(name, str):
            raise TypeError(f"a name must be a string, not {type(name).__name__}")
        if "." in name or not name:
            raise KeyError(f"name {name!r} may not be empty or contain a dot")
        if hasattr(self, name) and name not in self.__dict__[table]:
            raise KeyError(f"attribute {name!r} already exists")

    # Walking

    def named_modules(
        self, memo: set | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module and every one below it, with dotted names."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self, remove_duplicate: bool = True) -> Iterator[Module]:
        for _, module in self.named_modules(remove_duplicate=remove_duplicate):
            yield module

    def named_children(self) -> Iterator[tuple[str, Module]]:
        seen: set[Module] = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def children(self) -> Iterator[Module]:
        for _, module in self.named_children():
            yield module

    def _named_members(
        self, table: str, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        owners = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse else [(prefix, self)]
        for owner, module in owners:
            for name, value in module.__dict__[table].items():
                if value is None or id(value) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(value))
                yield (f"{owner}.{name}" if owner else name), value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Every parameter with its dotted name, each once."""
        return self._named_members("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        return self._named_members("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def get_submodule(self, target: str) -> Module:
        """The submodule with a dotted name. Raises AttributeError where there is none."""
        module: Module = self
        for part in target.split(".") if target else ():
            found = getattr(module, part, None)
            if not isinstance(found, Module):
                raise AttributeError(f"{type(module).__name__} has no submodule {part!r} (looking for {target!r})")
            module = found
        return module

    def get_parameter(self, target: str) -> Parameter:
        """The parameter with a dotted name. Raises AttributeError where there is none."""
        owner, _, name = target.rpartition(".")
        found = getattr(self.get_submodule(owner), name)
        if not isinstance(found, Parameter):
            raise AttributeError(f"{target!r} is not a parameter")
        return found

    def get_buffer(self, target: str) -> Tensor:
        """The buffer with a dotted name. Raises AttributeError where there is none."""
        owner, _, name = target.rpartition(".")
        module = self.get_submodule(owner)
        if name not in module._buffers:
            raise AttributeError(f"{target!r} is not a buffer")
        return module._buffers[name]

    # Changing everything below

    def apply(self, fn: Callable[[Module], None]) -> Module:
        """Call `fn` on every submodule, then on this one."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def train(self, mode: bool = True) -> Module:
        """Set `training` here and below."""
        if not isinstance(mode, bool):
            raise ValueError(f"train() takes a bool, not {mode!r}")
        self.training = mode
        for module in self.children():
            module.train(mode)  # which a subclass may override, to keep part of it in eval mode
        return self

    def eval(self) -> Module:
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Module:
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget, or zero, the gradient of every parameter."""
        for parameter in self.parameters():
            if set_to_none:
                parameter.grad = None
            elif parameter.grad is not None:
                parameter.grad.detach_().zero_()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Module:
        """Replace the memory of every parameter and buffer by its conversion; parameters stay the same objects."""
        if recurse:
            for module in self.children():
                module._apply(fn)
        for parameter in self._parameters.values():
            if parameter is not None:
                parameter.data = fn(parameter.data)
                if parameter.grad is not None:
                    parameter.grad = fn(parameter.grad)
        for name, buffer in self._buffers.items():
            if buffer is not None:
                self._buffers[name] = fn(buffer)
        return self

    def to(self, *arguments: Any, **keywords: Any) -> Module:
        """Move or cast every floating or complex parameter and buffer: `to(dtype)`, `to("cpu")`, `to(other_tensor)`."""

        def convert(tensor: Tensor) -> Tensor:
            moved = tensor.to(*arguments, **keywords)
            return moved if tensor.is_floating_point() or tensor.is_complex() else tensor

        return self._apply(convert)

    def float(self) -> Module:
        return self._apply(lambda t: t.float() if t.is_floating_point() else t)

    def double(self) -> Module:
        return self._apply(lambda t: t.double() if t.is_floating_point() else t)

    def half(self) -> Module:
        return self._apply(lambda t: t.half() if t.is_floating_point() else t)

    def bfloat16(self) -> Module:
        return self._apply(lambda t: t.bfloat16() if t.is_floating_point() else t)

    def cpu(self) -> Module:
        return self

    def cuda(self, device: Any = None) -> Module:
        """Raises RuntimeError: eager tensors are in the CPU's memory."""
        return self.to("cuda" if device is None else device)

    def type(self, dst_type: Any) -> Module:
        """Cast every floating parameter and buffer."""
        return self.to(dst_type)

    def to_empty(self, *, device: Any = None, recurse: bool = True) -> Module:
        """Parameters and buffers as they are: their values may be anything afterwards."""
        return self

    def share_memory(self) -> Module:
        """Accepted; other processes get copies."""
        return self

    def compile(self, *arguments: Any, **keywords: Any) -> None:
        """Run `forward` through jit from now on."""
        from ..jit_function import JitFunction

        if not isinstance(self.forward, JitFunction):
            object.__setattr__(self, "forward", JitFunction(self.forward))

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Put `module` where the dotted path `target` leads. Raises AttributeError where its parent is missing."""
        parent, _, name = target.rpartition(".")
        owner = self.get_submodule(parent) if parent else self
        if strict and name not in owner._modules:
            raise AttributeError(f"{type(owner).__name__} has no attribute {name!r}")
        setattr(owner, name, module)

    # State

    def state_dict(self, *, destination: Any = None, prefix: str = "", keep_vars: bool = False) -> Any:
        """Every parameter and persistent buffer by dotted name (detached views of the same memory), and extra state;
        put into `destination` where that is given. Its `_metadata` holds each class's `_version`."""
        if destination is None:
            destination = OrderedDict()
            destination._metadata = OrderedDict()
        local_metadata = {"version": self._version}
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]] = local_metadata
        for hook in self._state_dict_pre_hooks.values():
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        for hook, may_replace in self._state_dict_hooks.values():
            given = hook(self, destination, prefix, local_metadata)
            if given is not None:
                if not may_replace:
                    raise RuntimeError("state_dict post-hook must return None")
                destination = given
        return destination

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        """Save what is this module's own, not its submodules'. Subclasses may save otherwise."""
        save_own(self, destination, prefix, keep_vars)

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Load what is this module's own, under keys that begin with `prefix`, and say in the lists what does not fit.
        Subclasses may load otherwise, or change `state_dict` first."""
        load_own(self, state_dict, prefix, local_metadata, missing_keys, unexpected_keys, error_msgs)

    def get_extra_state(self) -> Any:
        """What a module wants to save besides tensors. A subclass that defines it defines set_extra_state too."""
        raise RuntimeError(f"{type(self).__name__} has no extra state: define get_extra_state() and set_extra_state()")

    def set_extra_state(self, state: Any) -> None:
        """Take back what get_extra_state gave."""
        raise RuntimeError(f"{type(self).__name__} has no extra state: define get_extra_state() and set_extra_state()")

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> _IncompatibleKeys:
        """Copy tensors by name into parameters and buffers. Raises RuntimeError listing every key or shape that does
        not fit, having changed nothing."""
        return load_all(self, state_dict, strict, assign)

    # Hooks

    def register_forward_pre_hook(
        self, hook: Callable, *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """`hook(module, args)` before forward; what it returns replaces the arguments."""
        return RemovableHandle.add(self._forward_pre_hooks, (hook, with_kwargs), prepend)

    def register_forward_hook(
        self, hook: Callable, *, prepend: bool = False, with_kwargs: bool = False, always_call: bool = False
    ) -> RemovableHandle:
        """`hook(module, args, output)` after forward; what it returns replaces the output. With `always_call` it is
        called with None where forward fails, too."""
        return RemovableHandle.add(self._forward_hooks, (hook, with_kwargs, always_call), prepend)

    def register_full_backward_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """`hook(module, grad_input, grad_output)` in backward; what it returns replaces grad_input."""
        return RemovableHandle.add(self._full_backward_hooks, hook, prepend)

    def register_full_backward_pre_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """`hook(module, grad_output)` in backward, before the module's own; what it returns replaces grad_output."""
        return RemovableHandle.add(self._full_backward_pre_hooks, hook, prepend)

    def register_backward_hook(self, hook: Callable) -> RemovableHandle:
        """PyTorch's older hook; here the same as `register_full_backward_hook`."""
        return self.register_full_backward_hook(hook)

    def register_state_dict_post_hook(self, hook: Callable) -> RemovableHandle:
        """`hook(module, state_dict, prefix, local_metadata)` after state_dict is filled."""
        return RemovableHandle.add(self._state_dict_hooks, (hook, False), False)

    def _register_state_dict_hook(self, hook: Callable) -> RemovableHandle:
        """As `register_state_dict_post_hook`; what this one returns replaces the state dict."""
        return RemovableHandle.add(self._state_dict_hooks, (hook, True), False)

    def register_load_state_dict_pre_hook(self, hook: Callable) -> RemovableHandle:
        """`hook(module, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)` before
        this module loads from the (copied) state dict."""
        return RemovableHandle.add(self._load_state_dict_pre_hooks, hook, False)

    def _register_load_state_dict_pre_hook(self, hook: Callable, with_module: bool = False) -> RemovableHandle:
        """As `register_load_state_dict_pre_hook`, without the module unless `with_module`."""
        return self.register_load_state_dict_pre_hook(hook if with_module else WithoutModule(hook))

    def register_state_dict_pre_hook(self, hook: Callable) -> RemovableHandle:
        """`hook(module, prefix, keep_vars)` before state_dict."""
        return RemovableHandle.add(self._state_dict_pre_hooks, hook, False)

    def register_load_state_dict_post_hook(self, hook: Callable) -> RemovableHandle:
        """`hook(module, incompatible_keys)` after load_state_dict."""
        return RemovableHandle.add(self._load_state_dict_post_hooks, hook, False)

    # Printing

    def extra_repr(self) -> str:
        """What `repr` shows between the parentheses, besides submodules."""
        return ""

    def _get_name(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        lines = extra.split("\n") if (extra := self.extra_repr()) else []
        children = [f"({name}): " + repr(module).replace("\n", "\n  ") for name, module in self._modules.items()]
        if not children and len(lines) < 2:
            return f"{self._get_name()}({''.join(lines)})"
        return f"{self._get_name()}(\n  " + "\n  ".join(lines + children) + "\n)"
