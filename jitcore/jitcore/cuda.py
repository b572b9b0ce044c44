"""What model code asks before it moves to a GPU. Eager tensors live in host memory, so the answer is no."""


def is_available() -> bool:
    """False: there is no device for eager tensors but the CPU."""
    return False


def device_count() -> int:
    """0."""
    return 0


def manual_seed_all(seed: int) -> None:
    """Nothing to seed."""


manual_seed = manual_seed_all


def empty_cache() -> None:
    """Nothing to free."""


def synchronize(device: object = None) -> None:
    """Nothing to wait for."""
