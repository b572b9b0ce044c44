"""Measuring jitcore beside its peers: each in its own process, interleaved, and checked before it is timed."""
