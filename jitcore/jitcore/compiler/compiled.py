"""`Compiled`: what the compiler makes of a graph, and its form as bytes: in the cache, and between processes.

    magic | sha256 of the rest | length of the head | head (JSON) | code | constants

Nothing in it can run by being read; the code is trusted as far as the folder that the file lies in is.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from jitcore_ir.dtypes import dtype_named, from_numpy
from jitcore_ir.errors import IRError
from jitcore_ir.parser import parse_dim
from jitcore_runtime.plan import Buffer, BufferKind, CallOut, Image, Plan

_MAGIC = b"jcmade01"
_START = len(_MAGIC) + 32 + 8
_NOTHING = Plan(())


@dataclass(frozen=True, slots=True)
class Compiled:
    """Machine code, the plan of the memory it works on, the names of operations that its errors number, and of the
    kernels that its timers measure, each with the number of an operation."""

    image: Image
    plan: Plan = _NOTHING
    operations: tuple[str, ...] = ()
    kernels: tuple[tuple[str, int], ...] = ()


def to_bytes(made: Compiled) -> bytes:
    """The bytes that `from_bytes` reads."""
    arrays = [np.ascontiguousarray(b.data) for b in made.plan.buffers if b.data is not None]
    head = {
        "image": _image_head(made.image), "plan": _plan_head(made.plan), "operations": made.operations,
        "kernels": made.kernels,
    }  # fmt: skip
    encoded = json.dumps(head).encode()
    body = b"".join([len(encoded).to_bytes(8, "little"), encoded, made.image.code, *(a.tobytes() for a in arrays)])
    return _MAGIC + hashlib.sha256(body).digest() + body


def from_bytes(data: bytes) -> Compiled | None:
    """What the bytes hold; None for any that `to_bytes` has not made."""
    if data[: len(_MAGIC)] != _MAGIC or hashlib.sha256(data[40:]).digest() != data[8:40]:
        return None
    try:
        end = _START + int.from_bytes(data[40:_START], "little")
        head = json.loads(data[_START:end])
        image = _image(head["image"], data, end)
        plan = _plan(head["plan"], data, end + len(image.code))
        kernels = tuple((name, operation) for name, operation in head["kernels"])
        return Compiled(image, plan, tuple(head["operations"]), kernels)
    except (ValueError, KeyError, TypeError, IndexError, IRError):  # of another version
        return None


def _image_head(image: Image) -> dict[str, Any]:
    return {
        "target": image.target, "sizes": [image.text_size, image.rodata_size, image.data_size],
        "exports": image.exports, "imports": image.imports, "features": image.features, "abi": image.abi,
    }  # fmt: skip


def _image(head: dict[str, Any], data: bytes, start: int) -> Image:
    text, rodata, writable = head["sizes"]
    code = data[start : start + text + rodata + writable]
    exports, imports = (tuple((name, offset) for name, offset in head[part]) for part in ("exports", "imports"))
    return Image(head["target"], code, text, rodata, writable, exports, imports, tuple(head["features"]), head["abi"])


def _plan_head(plan: Plan) -> dict[str, Any]:
    return {
        "buffers": [
            [int(b.kind), b.dtype.name, _dims(b.shape), b.index, None if b.data is None else b.data.nbytes]
            for b in plan.buffers
        ],
        "symbols": plan.symbols,
        "slots": _dims(plan.slots),
        "aliases": plan.aliases,
        "prepared_from": plan.prepared_from,
        "call_outs": [[c.operation, c.operands, c.result] for c in plan.call_outs],
    }


def _plan(head: dict[str, Any], data: bytes, start: int) -> Plan:
    buffers = []
    for kind, name, dims, index, size in head["buffers"]:
        dtype, array = dtype_named(name), None
        if size is not None:
            count = size // dtype.itemsize
            array = np.frombuffer(data, dtype.numpy, count, start).reshape([int(d) for d in dims])
            start += size
        buffers.append(Buffer(BufferKind(kind), dtype, _read_dims(dims), index, array))
    return Plan(
        tuple(buffers),
        tuple(head["symbols"]),
        _read_dims(head["slots"]),
        tuple((output, input) for output, input in head["aliases"]),
        tuple(head["prepared_from"]),
        tuple(CallOut(operation, tuple(operands), result) for operation, operands, result in head["call_outs"]),
    )


def _dims(dims: tuple[Any, ...]) -> list[int | str]:
    return [d if isinstance(d, int) else str(d) for d in dims]


def _read_dims(dims: list[int | str]) -> tuple[Any, ...]:
    return tuple(d if isinstance(d, int) else parse_dim(d) for d in dims)


def constant_digest(array: np.ndarray) -> str:
    """A digest of an array's dtype, shape and elements."""
    digest = hashlib.sha256(f"{from_numpy(array.dtype).name}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
