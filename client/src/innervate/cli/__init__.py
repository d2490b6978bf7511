"""The `innervate` command, which `kubectl innervate` is too."""

from innervate.cli.main import main

__all__ = ["main"]
