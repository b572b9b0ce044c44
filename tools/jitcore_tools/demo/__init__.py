"""The demo: train on real digits, compile, export, load without a compiler, and check that every answer agrees."""
