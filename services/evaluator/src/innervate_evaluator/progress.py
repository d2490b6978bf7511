"""How far a run is, for whoever asks while it goes on."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(slots=True)
class Progress:
    """Counts of a run.

    Parameters
    ----------
    asked, total
        Questions that were asked, and that there are: once for each arm.
    errors
        Questions without an answer or a score so far.
    """

    asked: int = 0
    total: int = 0
    errors: int = 0

    def page(self) -> bytes:
        """The counts as JSON."""
        return json.dumps(asdict(self)).encode() + b"\n"
