"""Operations that users define. The names and meaning are those of `torch.library`'s custom operations.

@jitcore.library.custom_op("mylib::scale")
def scale(x: np.ndarray, factor: float) -> np.ndarray:
    return x * factor

@scale.register_fake
def _(x, factor):
    return jitcore.TensorSpec(x.shape, x.dtype)
"""

from .custom_op import (
    CustomOpDef,
    custom_op,
    register_autograd,
    register_fake,
    register_kernel,
    register_native,
    register_vjp,
    register_vmap,
)

__all__ = [
    "CustomOpDef", "custom_op", "register_autograd", "register_fake", "register_kernel", "register_native",
    "register_vjp", "register_vmap",
]  # fmt: skip
