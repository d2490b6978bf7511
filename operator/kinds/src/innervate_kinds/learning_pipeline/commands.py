"""What a person told the pipeline, by annotation."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, NamedTuple

from innervate_kinds.learning_pipeline.names import COMMAND
from innervate_kinds.learning_pipeline.record import Action

if TYPE_CHECKING:
    from collections.abc import Mapping

_LONGEST_ID = 64
_LONGEST_NAME = 253


class Command(NamedTuple):
    """One command.

    Parameters
    ----------
    id
        Its id; each is handled once.
    action
        What is asked for; None where nobody can tell.
    candidate
        Candidate it is meant for; empty for any.
    wrong
        What is wrong with it, or empty.
    """

    id: str
    action: Action | None = None
    candidate: str = ""
    wrong: str = ""


def read(annotations: Mapping[str, str]) -> Command | None:
    """The command that the annotations hold; None without one."""
    text = annotations.get(COMMAND)
    if text is None:
        return None
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    unnamed = "unreadable-" + hashlib.sha256(text.encode()).hexdigest()[:16]
    if not isinstance(content, dict):
        return Command(unnamed, wrong=f"the annotation {COMMAND} is no JSON object")
    identity = content.get("id")
    if not isinstance(identity, str) or not 1 <= len(identity) <= _LONGEST_ID:
        return Command(
            unnamed, wrong=f"the annotation {COMMAND} needs an id of 1 to {_LONGEST_ID} characters"
        )
    try:
        action = Action(str(content.get("action")))
    except ValueError:
        actions = ", ".join(Action)
        return Command(identity, wrong=f"the annotation {COMMAND} needs an action: {actions}")
    candidate = content.get("candidate") or ""
    if not isinstance(candidate, str) or len(candidate) > _LONGEST_NAME:
        return Command(identity, wrong=f"candidate in the annotation {COMMAND} must be a name")
    return Command(identity, action, candidate)
