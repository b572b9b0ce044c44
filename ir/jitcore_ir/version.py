"""The one version number of jitcore, its runtime and its command."""

__version__ = "0.1.0"
