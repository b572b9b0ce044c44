"""`jitcore.distributed`: what scripts ask before they distribute themselves. There are no process groups."""


def is_available() -> bool:
    """False."""
    return False


def is_initialized() -> bool:
    """False."""
    return False


is_torchelastic_launched = is_mpi_available = is_nccl_available = is_initialized


def get_rank(group: object = None) -> int:
    """0."""
    return 0


def get_world_size(group: object = None) -> int:
    """1."""
    return 1


def barrier(*arguments: object, **keywords: object) -> None:
    """Nothing to wait for."""


def destroy_process_group(group: object = None) -> None:
    """Nothing to end."""


def init_process_group(*arguments: object, **keywords: object) -> None:
    """Raises NotImplementedError."""
    raise NotImplementedError("init_process_group is not offered by jitcore: it trains in one process")


__all__ = [
    "barrier", "destroy_process_group", "get_rank", "get_world_size", "init_process_group", "is_available",
    "is_initialized", "is_mpi_available", "is_nccl_available", "is_torchelastic_launched",
]  # fmt: skip
