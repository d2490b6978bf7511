"""What can end a run early."""

from __future__ import annotations


class RunError(Exception):
    """The run failed, and another attempt may do better; the message says what happened."""
