"""Names and labels of a pool's children, of which there are none: a pool only describes nodes."""

from __future__ import annotations

READY_CONDITION = "Ready"
"""Condition of a Node that says whether it takes pods."""
