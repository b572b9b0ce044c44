"""What the tests of recorded programs share: tensors of numbers, and the recordings of a jitted function."""

import jitcore


def vector(*values):
    return jitcore.tensor([float(v) for v in values])


def entries(jitted):
    return list(jitted._recordings.entries.values())


def recordings(jitted):
    return sum(len(entry.variants) for entry in entries(jitted))
