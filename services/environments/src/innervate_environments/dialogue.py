"""Tasks of several turns: what a package provides that lets a policy use tools, ask, or try again.

A package names a maker of dialogues as the entry point of the group ``innervate.dialogues``; a server whose
image has one makes a dialogue for each of its slots, in processes apart from the server. A dialogue sees a
task without the answers that are expected. What it gives as output, and nothing else, is judged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

GROUP: Final = "innervate.dialogues"
"""Group of entry points."""
MAX_OUTPUT: Final = 50_000
"""Most characters that a dialogue may give to be judged."""


class Turn(NamedTuple):
    """What a dialogue says to an answer."""

    text: str
    """To the policy."""
    output: str | None = None
    """What is judged: it ends the episode. None as long as it goes on."""


class Dialogue(Protocol):
    """One slot's dialogue: one task after the other."""

    def begin(self, task: Mapping[str, Any], seed: int) -> str:
        """Begin a task; gives what the policy is told first.

        Parameters
        ----------
        task
            Its ``id``, ``input`` and ``metadata``.
        seed
            For all chance in it: the same seed, task and answers must give the same turns.
        """
        ...

    def reply(self, answer: str) -> Turn:
        """Reply to an answer, perhaps by what a tool gave. It must end by itself after some turns."""
        ...
