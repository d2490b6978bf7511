"""Recall: ranks the records of a space by fusing how well a turn and how well its session match.

For a query every session has two scores: BM25 of the session as one document, and the best BM25 among
its turns. Each is z-normalised over the sessions that hold a candidate, and a record's score is the sum

    (turn score - mean of session bests) / deviation + (session score - mean) / deviation

so that the best record of a session ranks as the session does. Measured on conversations this fusion
finds the right session more often than either part alone (see the memory benchmark).
"""

from typing import NamedTuple

import numpy as np

from innervate_memory.index import Floats, Mask, SpaceIndex
from innervate_memory.records import Filter

_DECIMALS = 9
"""Scores closer than this count as equal, so that the order does not hang on rounding."""


class Ranked(NamedTuple):
    """A record found, with its score and the two parts that sum to it."""

    id: str
    score: float
    turn_score: float
    session_score: float


def rank(index: SpaceIndex, query: str, *, chosen: Filter, as_of: int, limit: int) -> list[Ranked]:
    """Rank the records that match a query, best first, ties by id.

    Parameters
    ----------
    index
        The space's index, already current.
    query
        What to look for; a record that shares no term with it, nor its session, is not returned.
    chosen
        Restricts the records returned; the statistics of terms are those of the whole space.
    as_of
        The time at which the records must be valid, in microseconds.
    limit
        How many to return at most.

    Returns
    -------
    list of Ranked
    """
    candidates = index.candidates(chosen, as_of=as_of)
    if not candidates.any():
        return []
    scores = index.scores(query)
    session_of = index.session_of
    own = scores.turn
    own *= candidates  # in place, as below: fresh arrays of this size cost more than the arithmetic
    whole = scores.session[session_of]
    found = candidates & ((own > 0) | (whole > 0))
    if not found.any():
        return []
    shown: Mask = np.zeros(len(scores.session), dtype=np.bool_)
    shown[session_of[candidates]] = True
    best = np.zeros(len(scores.session))
    np.maximum.at(best, session_of, own)
    turn = _normal(best[shown])
    session = _normal(scores.session[shown])
    own *= turn.factor
    whole *= session.factor
    total = own + whole
    total[~found] = -np.inf
    ranked = []
    for row in _first(total, limit):
        parts = float(own[row]) - turn.shift, float(whole[row]) - session.shift
        ranked.append(Ranked(index.ids[row], round(sum(parts), _DECIMALS), *parts))
    return sorted(ranked, key=lambda each: (-each.score, each.id))[:limit]


def _first(total: Floats, limit: int) -> list[int]:
    """Find the rows that may come first, with all that tie with the last: ids decide among those."""
    bar = -np.inf
    if total.size > limit:
        bar = np.partition(total, total.size - limit)[total.size - limit] - 10.0**-_DECIMALS
    rows: list[int] = np.flatnonzero((total >= bar) & (total > -np.inf)).tolist()
    return rows


class _Normal(NamedTuple):
    """A linear map to deviations from a mean: times the factor, less the shift; all 0 without deviation."""

    factor: float
    shift: float


def _normal(population: Floats) -> _Normal:
    deviation = float(population.std())
    factor = 1 / deviation if deviation > 10.0**-_DECIMALS else 0.0
    return _Normal(factor, float(population.mean()) * factor)
