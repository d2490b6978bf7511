"""Our kinds by the words people use for them."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from innervate_kinds.registry import ROOMS

from innervate.errors import InvalidArgument

if TYPE_CHECKING:
    from innervate_kinds.api.room import Room


def find(word: str) -> Room[Any, Any]:
    """Room of a kind, by kind, plural or short name, in any case, with or without the group.

    Raises
    ------
    InvalidArgument
        If no kind is called so; says which there are.
    """
    plain = word.lower().split(".")[0]
    by_name = {name: room for room in ROOMS for name in _names(room)}
    if plain in by_name:
        return by_name[plain]
    close = difflib.get_close_matches(plain, by_name, n=1)
    kinds = ", ".join(room.kind.plural for room in ROOMS)
    raise InvalidArgument(
        f"{word!r} is no kind of ours",
        field="kind",
        fix=f"did you mean {close[0]}?" if close else f"there are {kinds}",
    )


def _names(room: Room[Any, Any]) -> tuple[str, ...]:
    return (room.kind.kind.lower(), room.kind.plural, *room.definition.short_names)
