"""Functions on tensors, one family per file. Importing this package attaches the methods to `Tensor`."""
