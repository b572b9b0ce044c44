"""`save` and `load`: nested containers of tensors in one safetensors file. Nothing is ever pickled.

A flat dictionary of tensors (a module's state dict) becomes a plain safetensors file that other tools read. Whatever
else there is (nesting, lists, numbers, strings) is written as JSON in the file's metadata, where each tensor stands as
a reference to its entry.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from jitcore_ir import dtypes as D
from jitcore_ir.dtypes import DType

from .device import check_device
from .dispatch import constant
from .tensor import Tensor, peek

_NAMES = {
    "BOOL": D.bool_, "U8": D.uint8, "I8": D.int8, "I16": D.int16, "I32": D.int32, "I64": D.int64, "F16": D.float16,
    "BF16": D.bfloat16, "F32": D.float32, "F64": D.float64, "C64": D.complex64,
}  # fmt: skip
_STRUCTURE = "jitcore.structure"
_ORDER = "jitcore.order"
_REFERENCE = "$tensor"


class SerializationError(RuntimeError):
    """A file that cannot be read, or an object that cannot be written."""


def save(
    obj: Any,
    f: str | os.PathLike | BinaryIO,
    pickle_module: Any = None,
    pickle_protocol: Any = None,
    _use_new_zipfile_serialization: bool = True,
) -> None:
    """Write tensors, and dicts, lists, tuples, numbers, strings, bools and None that hold them, to `f`.

    `f` is a path, whose file is replaced in one step so that a failed save leaves the old one, or an object with
    `write`. Nothing is pickled: what says how is accepted. Raises SerializationError for other objects.
    """
    tensors: dict[str, Tensor] = {}
    if isinstance(obj, Mapping) and obj and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in obj.items()):
        tensors.update(obj)
        metadata = {"format": "jitcore", _ORDER: json.dumps(list(obj))}
    else:
        structure = _described(obj, "", tensors)
        metadata = {"format": "jitcore", _STRUCTURE: json.dumps(structure)}
    arrays = {name: _array(name, t) for name, t in tensors.items()}
    if hasattr(f, "write"):
        from safetensors.numpy import save as written

        f.write(written(arrays, metadata=metadata))
    else:
        _write(Path(f), arrays, metadata)


def load(
    f: str | os.PathLike | BinaryIO,
    map_location: Any = None,
    pickle_module: Any = None,
    *,
    weights_only: bool = True,
    mmap: bool | None = None,
    **pickle_load_args: Any,
) -> Any:
    """What `save` wrote to `f`, a path or an object with `read`; any safetensors file gives a dict of tensors.

    Raises FileNotFoundError, or SerializationError for a file that is not safetensors.
    """
    from safetensors import SafetensorError, deserialize

    if not callable(map_location) and not isinstance(map_location, Mapping):
        check_device(map_location)
    data = f.read() if hasattr(f, "read") else Path(f).read_bytes()
    f = f"the {type(f).__name__}" if hasattr(f, "read") else f
    if data[:2] == b"PK":
        return _load_zip(f, data)
    try:
        entries = deserialize(data)
    except SafetensorError as error:
        raise SerializationError(
            f"{os.fspath(f)} is not a safetensors file ({error}); jitcore.load reads what "
            f"jitcore.save wrote, never pickles"
        ) from None
    tensors = {name: _tensor(os.fspath(f), name, entry) for name, entry in entries}
    header = _header(data)
    metadata = header.pop("__metadata__", {})
    structure = metadata.get(_STRUCTURE)
    try:
        if structure is None:
            return {name: tensors[name] for name in json.loads(metadata.get(_ORDER, "null")) or header}
        return _rebuilt(json.loads(structure), tensors)
    except (ValueError, KeyError, TypeError) as error:
        raise SerializationError(f"{os.fspath(f)}: the description of the saved object is damaged ({error})") from None


def _load_zip(f: str | os.PathLike, data: bytes) -> dict[str, Tensor]:
    """The arrays of an .npz file. Raises SerializationError for PyTorch's own files, which are pickles."""
    import zipfile

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            arrays = all(name.endswith(".npy") for name in archive.namelist())
        if arrays:
            with np.load(io.BytesIO(data), allow_pickle=False) as found:
                return {name: constant(np.array(found[name])) for name in found.files}
    except (ValueError, zipfile.BadZipFile) as error:
        raise SerializationError(f"{os.fspath(f)} is not an .npz file of numbers ({error})") from None
    raise SerializationError(
        f"{os.fspath(f)} is not a safetensors file but one of torch.save, a pickle, which jitcore never "
        "reads; convert it once:\n"
        f"    import torch, safetensors.torch\n"
        f"    safetensors.torch.save_file(torch.load({os.fspath(f)!r}), 'weights.safetensors')"
    )


def _described(obj: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """obj as JSON. Tensors go to `tensors` under their path; dicts keep the types of their keys."""
    if isinstance(obj, Tensor):
        name = path or "tensor"
        tensors[name] = obj
        return {_REFERENCE: name}
    if obj is None or isinstance(obj, bool | int | str):
        return obj
    if isinstance(obj, float):
        return {"$float": obj.hex()} if obj != obj or obj in (float("inf"), float("-inf")) else obj
    if isinstance(obj, DType):
        return {"$dtype": obj.name}
    if isinstance(obj, Mapping):
        for key in obj:
            if not isinstance(key, str | int) or isinstance(key, bool):
                raise SerializationError(f"save: key {key!r} at {path or 'the top'} is not a string or an integer")
        return {
            "$dict": [
                [key, _described(value, f"{path}.{key}" if path else str(key), tensors)] for key, value in obj.items()
            ]
        }
    if isinstance(obj, list | tuple):
        items = [_described(item, f"{path}.{i}" if path else str(i), tensors) for i, item in enumerate(obj)]
        return items if isinstance(obj, list) else {"$tuple": items}
    raise SerializationError(
        f"save: {path or 'the object'} is a {type(obj).__name__}; only tensors, dicts, lists, tuples, "
        f"numbers, strings, "
        f"bools and None are saved (for a module, save module.state_dict())"
    )


def _rebuilt(part: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(part, list):
        return [_rebuilt(item, tensors) for item in part]
    if not isinstance(part, dict):
        return part
    ((kind, value),) = part.items()
    if kind == _REFERENCE:
        return tensors[value]
    if kind == "$dict":
        return {key: _rebuilt(item, tensors) for key, item in value}
    if kind == "$tuple":
        return tuple(_rebuilt(item, tensors) for item in value)
    if kind == "$float":
        return float.fromhex(value)
    if kind == "$dtype":
        return D.dtype_named(value)
    raise ValueError(f"unknown part {kind!r}")


def _array(name: str, t: Tensor) -> np.ndarray:
    if t.dtype not in _NAMES.values():
        raise SerializationError(f"save: {name!r} is {t.dtype.name}, which safetensors files do not hold")
    return np.asarray(peek(t), order="C")


def _tensor(file: str, name: str, entry: Mapping[str, Any]) -> Tensor:
    dtype = _NAMES.get(entry["dtype"])
    if dtype is None:
        raise SerializationError(f"{file}: tensor {name!r} has dtype {entry['dtype']}, which jitcore does not have")
    array = np.frombuffer(bytearray(entry["data"]), dtype.numpy).reshape(entry["shape"])
    return constant(array)


def _header(data: bytes) -> dict[str, Any]:
    """A file's header, which `deserialize` has found sound: the tensors in the file's order, and metadata."""
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length])


def _write(path: Path, arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    """Write beside the file, then rename over it."""
    from safetensors.numpy import save_file

    if not path.parent.is_dir():
        raise FileNotFoundError(f"save: the folder {path.parent} does not exist")
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        save_file(arrays, temporary, metadata=metadata)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
