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
    rows = np.flatnonzero(candidates & ((scores.turn > 0) | (scores.session[session_of] > 0)))
    if not rows.size:
        return []
    shown: Mask = np.zeros(len(scores.session), dtype=np.bool_)
    shown[session_of[candidates]] = True
    best = np.zeros(len(scores.session))
    np.maximum.at(best, session_of[rows], scores.turn[rows])
    turn = _z(scores.turn[rows], over=best[shown])
    session = _z(scores.session[session_of[rows]], over=scores.session[shown])
    total = np.round(turn + session, _DECIMALS)
    kept = np.arange(total.size)
    if total.size > limit:
        # Every record tied with the last one that fits stays, and the ids decide among them.
        kept = np.flatnonzero(total >= np.partition(total, total.size - limit)[total.size - limit])
    found = [
        Ranked(index.ids[int(rows[place])], float(total[place]), float(turn[place]), float(session[place]))
        for place in kept
    ]
    return sorted(found, key=lambda ranked: (-ranked.score, ranked.id))[:limit]


def _z(values: Floats, *, over: Floats) -> Floats:
    """Express values in deviations from the mean of a population; all 0 where the population is even."""
    deviation = over.std()
    if deviation < 10.0**-_DECIMALS:
        return np.zeros_like(values)
    normalised: Floats = (values - over.mean()) / deviation
    return normalised
