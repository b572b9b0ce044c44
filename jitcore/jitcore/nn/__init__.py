"""Layers, losses and containers, with PyTorch's names."""

from typing import TYPE_CHECKING, Any

from ..paths import add_paths
from . import activations, attention, functional, init, losses, parallel, pooling, reshaping, utils
from .activations import *  # noqa: F403
from .adaptive_softmax import AdaptiveLogSoftmaxWithLoss
from .containers import ModuleDict, ModuleList, ParameterDict, ParameterList, Sequential
from .conv import Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from .lazy import *  # noqa: F403
from .lazy import __all__ as _lazy
from .linear import Bilinear, Flatten, Identity, Linear, Unflatten
from .losses import *  # noqa: F403
from .module import Module
from .norm import (
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    GroupNorm,
    InstanceNorm1d,
    InstanceNorm2d,
    InstanceNorm3d,
    LayerNorm,
    LocalResponseNorm,
    RMSNorm,
    SyncBatchNorm,
)
from .parallel import DataParallel
from .parameter import Buffer, Parameter, UninitializedParameter
from .pooling import *  # noqa: F403
from .reshaping import *  # noqa: F403
from .rnn import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNBase, RNNCell, RNNCellBase
from .sparse import Embedding, EmbeddingBag
from .transformer import (
    MultiheadAttention,
    Transformer,
    TransformerDecoder,
    TransformerDecoderLayer,
    TransformerEncoder,
    TransformerEncoderLayer,
)

if TYPE_CHECKING:  # the layers that tables make

    def __getattr__(name: str) -> Any: ...


add_paths(__name__)

__all__ = [
    "AdaptiveLogSoftmaxWithLoss", "BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "Bilinear", "Buffer", "Conv1d", "Conv2d",
    "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d", "Embedding", "EmbeddingBag", "Flatten",
    "GroupNorm", "Identity", "InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d", "LayerNorm", "Linear",
    "LocalResponseNorm", "Module", "ModuleDict", "ModuleList", "Parameter", "ParameterDict", "ParameterList", "RMSNorm",
    "Sequential", "SyncBatchNorm", "Unflatten", "UninitializedParameter",
    "functional", "init", "DataParallel", "parallel",
    *activations.__all__, *_lazy, *losses.__all__,
    *pooling.__all__, *reshaping.__all__,
    "GRU", "GRUCell", "LSTM", "LSTMCell", "RNN", "RNNBase", "RNNCell", "RNNCellBase", "utils", "attention",
    "MultiheadAttention", "Transformer", "TransformerDecoder", "TransformerDecoderLayer", "TransformerEncoder",
    "TransformerEncoderLayer",
]  # fmt: skip
