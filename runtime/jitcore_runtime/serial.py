"""`jc_parallel_for` for a process without a thread pool: it runs the whole loop on the calling thread.

So few instructions that they are written out here, and a runtime without a compiler has them too.
"""

from __future__ import annotations

import struct

from .cpu_features import host_target
from .errors import NativeError
from .plan import Image

_X86_64 = bytes.fromhex(
    "4885d2"  # test rdx, rdx          count
    "7e0a"  # jle end
    "4889f8"  # mov rax, rdi           body
    "4889f7"  # mov rdi, rsi           context
    "31f6"  # xor esi, esi             begin = 0; end = count is in rdx
    "ffe0"  # jmp rax
    "c3"  # end: ret
)
_AARCH64 = struct.pack(
    "<7I",
    0xF100005F,  # cmp x2, #0          count
    0x540000AD,  # b.le end
    0xAA0003F0,  # mov x16, x0         body
    0xAA0103E0,  # mov x0, x1          context
    0xD2800001,  # mov x1, #0          begin = 0; end = count is in x2
    0xD61F0200,  # br x16
    0xD65F03C0,  # end: ret
)
_CODE = {"x86-64": (_X86_64, 4096), "aarch64": (_AARCH64, 65536)}


def serial_image(target: str | None = None) -> Image:
    """The image for a target (default: this machine's). Raises NativeError where there is none."""
    target = target or host_target()
    for name, (code, page) in _CODE.items():
        if target is not None and target.startswith(name):
            return Image(target, code.ljust(page, b"\0"), page, 0, 0, (("jc_parallel_for", 0),))
    raise NativeError(f"there is no native code for {target or 'this machine'}; interpret the graph instead")
