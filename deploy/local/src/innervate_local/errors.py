"""The one exception type of this package that a user is meant to read."""

from __future__ import annotations


class LocalError(Exception):
    """Something the user has to know or do; its message stands alone, without a traceback."""
