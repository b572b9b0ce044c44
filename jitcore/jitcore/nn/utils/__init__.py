"""Helpers for parameters, gradients and batches of sequences."""

from . import rnn

__all__ = ["rnn"]
