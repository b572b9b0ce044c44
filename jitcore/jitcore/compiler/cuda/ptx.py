"""`compile_kernel`: numba.cuda source to PTX. No GPU is needed; numba is imported when it is called, not before."""

from __future__ import annotations

import importlib.util
import re
from typing import Any

from .names import TYPES, device_names

HIGHEST_ISA = (9, 0)
"""PTX of this version runs on drivers of CUDA 13.0 and later; newer text would not load there."""

INSTALL = "python -m pip install 'jitcore[cuda]'"


_VARIABLE = r"^(?:\.\w+ )*\.(?:shared|global|const)\b[^\n;=]*?([\w$]+)(?:\[\d*\])?\s*[;=]"
"""The declaration of a variable of the module, whose name is the group."""


class CudaCompileError(RuntimeError):
    """Source that numba.cuda does not compile, or PTX that would not run by itself."""


def can_compile() -> str:
    """ "" where kernels can be compiled here (no GPU is needed), else what is missing."""
    try:
        found = importlib.util.find_spec("numba_cuda")
    except (ImportError, ValueError):
        found = None
    return "" if found else f"numba-cuda is not installed; {INSTALL}"


def compile_kernel(source: str, signature: tuple[str, ...], cc: tuple[int, int], double: bool = True) -> str:
    """The PTX of the function that `source` defines, as an entry of the same name.

    signature: each parameter's type, "int64" or a pointer such as "float32*". cc: compute capability, from (7, 5) on.
    double: whether float64 arithmetic is meant; without, finding some is an error.

    Raises ImportError where numba-cuda is missing, CudaCompileError for source that does not compile and for PTX that
    needs other modules, a newer driver or unmeant float64 arithmetic.
    """
    missing = can_compile()
    if missing:
        raise ImportError(f"compiling for CUDA: {missing}")
    from numba import cuda
    from numba.cuda import types
    from numba.cuda.core.errors import NumbaError

    numba_types: Any = types
    names = device_names()
    exec(compile(source, "<jitcore kernel>", "exec"), names)
    found = re.match(r"def (\w+)\(", source)
    if found is None:
        raise CudaCompileError(f"the source begins with {source.splitlines()[0]!r}, not with a function")
    name = found[1]
    kinds = {kind: getattr(numba_types, kind) for kind in TYPES}
    arguments = [numba_types.CPointer(kinds[t[:-1]]) if t.endswith("*") else kinds[t] for t in signature]
    try:
        ptx, _ = cuda.compile(
            names[name], numba_types.void(*arguments), cc=cc, device=False, abi="numba", abi_info={"abi_name": name}
        )
    except NumbaError as error:
        raise CudaCompileError(f"numba.cuda does not compile kernel {name}: {error}\n{source}") from error
    check_ptx(ptx, name, double)
    return stable_names(ptx, name)


def check_ptx(ptx: str, name: str, double: bool) -> None:
    """Raise CudaCompileError for PTX that is not self-contained, too new, or computes in float64 unless `double`."""
    version = re.search(r"^\.version (\d+)\.(\d+)", ptx, re.MULTILINE)
    if version is None or f".entry {name}(" not in ptx:
        raise CudaCompileError(f"kernel {name}: this is no PTX with an entry of that name: {ptx[:200]!r}")
    isa = int(version[1]), int(version[2])
    if isa > HIGHEST_ISA:
        highest = ".".join(map(str, HIGHEST_ISA))
        raise CudaCompileError(
            f"kernel {name}: PTX version {isa[0]}.{isa[1]} is newer than {highest}, which older drivers refuse; "
            f"install the pinned NVVM: {INSTALL}"
        )
    external = re.search(r"^\.extern \.func.*$", ptx, re.MULTILINE)
    if external:
        raise CudaCompileError(f"kernel {name} calls what is not in the module: {external[0]}")
    wide = None if double else re.search(r"^.*\.f64.*$", ptx, re.MULTILINE)
    if wide:
        raise CudaCompileError(f"kernel {name} has no float64 values, but computes in float64: {wide[0].strip()}")


def stable_names(ptx: str, name: str) -> str:
    """The same PTX for the same source: Numba numbers shared memory per process. The new names of the module's
    variables begin with the kernel's name, so that several kernels fit in one module."""
    symbols = re.findall(_VARIABLE, ptx, re.MULTILINE)
    for number, symbol in enumerate(dict.fromkeys(symbols)):
        ptx = re.sub(rf"(?<![\w$]){re.escape(symbol)}(?![\w$])", f"{name}_memory{number}", ptx)
    return ptx
