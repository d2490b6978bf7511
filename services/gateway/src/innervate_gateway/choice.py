"""Which arm a request belongs to, and which of the arm's engines gets it.

The arm follows from the session alone, so every gateway of a pool chooses alike and none keeps anything.
"""

from __future__ import annotations

import random
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from innervate_gateway.endpoints import Endpoint
    from innervate_gateway.pool import Arm

WEIGHTS: Final = 100
"""What the weights of a pool's arms add up to."""
_SPAN: Final = 2**64 / WEIGHTS


def salt_of(arms: Sequence[Arm]) -> bytes:
    """What makes the chances of one set of arms independent of every other's.

    A rollout gives its arms fresh names, so it meets other sessions first than the one before; its steps
    change weights only, so they keep the chances.
    """
    return blake2b("\n".join(sorted(arm.name for arm in arms)).encode(), digest_size=16).digest()


def position(salt: bytes, key: str) -> float:
    """Where a session, or a request without one, stands: from 0 to below 100, even over all keys."""
    return int.from_bytes(blake2b(key.encode(), digest_size=8, key=salt).digest(), "big") / _SPAN


def lay_out(arms: Sequence[Arm]) -> tuple[Arm, ...]:
    """The order in which the arms' intervals lie: candidates from the last to the first, then the rest.

    So a candidate alone has [0, weight): as it grows it keeps every session it had.
    """
    candidates = [arm for arm in reversed(arms) if arm.role == "Candidate"]
    return (*candidates, *(arm for arm in arms if arm.role != "Candidate"))


def choose_arm(laid_out: Sequence[Arm], place: float) -> Arm:
    """The arm in whose interval the place lies.

    Parameters
    ----------
    laid_out
        See `lay_out`; not empty, and the weights add up to 100.
    place
        See `position`.
    """
    end = 0.0
    for arm in laid_out:
        end += arm.weight
        if place < end:
            return arm
    # Rounding can leave the very last place over; the last arm with any weight owns the end.
    return next((arm for arm in reversed(laid_out) if arm.weight), laid_out[-1])


def choose_endpoint(
    endpoints: Sequence[Endpoint], now: float, *, tried: Collection[Endpoint] = ()
) -> Endpoint | None:
    """The least loaded endpoint: fewest requests of ours for each slot; among equals one by chance.

    Ejected ones are left out unless there is no other: then the one whose time ends first is tried, since
    a wrong ejection must not make an outage.
    """
    best: list[Endpoint] = []
    least = float("inf")
    ejected: Endpoint | None = None
    for endpoint in endpoints:
        if tried and endpoint in tried:
            continue
        if endpoint.ejected_until > now:
            if ejected is None or endpoint.ejected_until < ejected.ejected_until:
                ejected = endpoint
            continue
        load = endpoint.in_flight / endpoint.slots
        if load < least:
            least = load
            best = [endpoint]
        elif load == least:
            best.append(endpoint)
    if not best:
        return ejected
    return best[0] if len(best) == 1 else random.choice(best)  # noqa: S311  spreads load, guards nothing
