"""Makes the helpers of this folder importable and runs PyTorch on one thread."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _grad_mode_is_restored():
    from jitcore.state import state

    yield
    assert state.grad_enabled and state.recorder is None
