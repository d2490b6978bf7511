"""An in-memory index of one space: BM25 over turns and over sessions, kept current record by record.

The scoring is BM25 in the form Lucene uses (Robertson & Zaragoza 2009, "The Probabilistic Relevance
Framework: BM25 and Beyond"; Kamphuis et al. 2020 for the variant)::

    idf(t) = ln(1 + (N - df(t) + 0.5) / (df(t) + 0.5))
    score(d, q) = Σ_t idf(t) · tf(t, d) / (tf(t, d) + k1 · (1 - b + b · |d| / avg|d|))

with k1 = 1.5 and b = 0.75. A session is scored as the concatenation of its turns: its term frequencies
are sums over the postings of its turns, so one set of postings serves both levels and adding or removing
a turn touches only that turn's terms. A record without a session id is a session of its own.
"""

import heapq
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from innervate_memory.records import Filter, Record
from innervate_memory.tokens import tokenise

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]

K1: Final = 1.5
B: Final = 0.75
_OPEN_START: Final = -(2**63)
_OPEN_END: Final = 2**63 - 1
_SPARSE: Final = 8
"""A term in fewer than one in so many sessions is scored on those sessions only."""


class Postings(NamedTuple):
    """Where a term occurs: ascending rows, and how often in each (0 after the row was removed)."""

    rows: "array[int]"  # quoted: array is a generic only from Python 3.12 on
    counts: "array[float]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """BM25 of a query: for every row its own, for every session the one of its concatenated turns."""

    turn: Floats
    session: Floats


class SpaceIndex:
    """The searchable, live records of one space. Not thread-safe: one caller at a time."""

    def __init__(self) -> None:
        self._row_of: dict[str, int] = {}
        self._ids: list[str] = []
        self._terms: dict[str, int] = {}
        self._postings: list[Postings] = []
        self._document_frequency = array("q")
        self._row_terms: list[array[int]] = []
        self._metadata: dict[tuple[str, str], set[int]] = {}
        self._row_metadata: list[tuple[tuple[str, str], ...]] = []
        self._codes: dict[tuple[str, str], int] = {}
        self._expiry: list[tuple[int, str]] = []
        # One value for each row.
        self._alive = array("b")
        self._length = array("q")
        self._session = array("q")
        self._kind = array("b")
        self._user = array("q")
        self._agent = array("q")
        self._valid_from = array("q")
        self._valid_until = array("q")
        # One value for each session.
        self._sessions: dict[tuple[str, str], int] = {}
        self._session_length = array("q")
        self._session_rows = array("q")
        self._live_sessions = 0
        self._total_length = 0
        self._dated = 0
        # Forgotten at every change.
        self._norms: tuple[Floats, Floats] | None = None

    def __len__(self) -> int:
        """Count the live records."""
        return len(self._row_of)

    @property
    def rows(self) -> int:
        """Rows held, those of removed records included."""
        return len(self._ids)

    @property
    def wasteful(self) -> bool:
        """Whether removed records take so much room that building anew is worth it."""
        return self.rows > 1024 and self.rows > 2 * len(self)

    @property
    def ids(self) -> Sequence[str]:
        """The record id of each row."""
        return self._ids

    @property
    def session_of(self) -> Rows:
        """The session number of each row."""
        return np.frombuffer(self._session, dtype=np.int64)

    def put(self, record: Record) -> None:
        """Make the index hold the record as it is: in it while it may be recalled, else out of it."""
        if record.superseded_by:
            self.remove(record.id)
        elif record.id not in self._row_of:
            self._add(record)

    def remove(self, record_id: str) -> None:
        """Take a record out; nothing happens when it isn't in."""
        row = self._row_of.pop(record_id, None)
        if row is None:
            return
        self._norms = None
        for term in self._row_terms[row]:
            postings = self._postings[term]
            place = int(np.searchsorted(np.frombuffer(postings.rows, dtype=np.int64), row))
            postings.counts[place] = 0.0
            self._document_frequency[term] -= 1
        self._row_terms[row] = array("q")
        for pair in self._row_metadata[row]:
            self._metadata[pair].discard(row)
            if not self._metadata[pair]:
                del self._metadata[pair]
        self._row_metadata[row] = ()
        self._alive[row] = 0
        self._ids[row] = ""
        session = self._session[row]
        self._session_length[session] -= self._length[row]
        self._session_rows[session] -= 1
        self._live_sessions -= self._session_rows[session] == 0
        self._total_length -= self._length[row]

    def expire(self, now: int) -> None:
        """Take out the records whose time to live is over."""
        while self._expiry and self._expiry[0][0] <= now:
            self.remove(heapq.heappop(self._expiry)[1])

    def candidates(self, chosen: Filter, *, as_of: int) -> Mask:
        """Tell which rows may be recalled.

        Parameters
        ----------
        chosen
            What the caller asks for.
        as_of
            The time at which the record must be valid, in microseconds.

        Returns
        -------
        numpy.ndarray of bool, shape (rows,)
        """
        mask: Mask = np.frombuffer(self._alive, dtype=np.bool_).copy()
        if self._dated:
            mask &= np.frombuffer(self._valid_from, dtype=np.int64) <= as_of
            mask &= np.frombuffer(self._valid_until, dtype=np.int64) > as_of
        if chosen.kinds:
            mask &= np.isin(np.frombuffer(self._kind, dtype=np.int8), [int(kind) for kind in chosen.kinds])
        for name, column in (("user", self._user), ("agent", self._agent)):
            wanted = getattr(chosen, f"{name}_id")
            if wanted:
                mask &= np.frombuffer(column, dtype=np.int64) == self._codes.get((name, wanted), -1)
        if chosen.session_id:
            mask &= self.session_of == self._sessions.get(("session", chosen.session_id), -1)
        if chosen.metadata:
            matching = set.intersection(
                *(self._metadata.get(pair, set()) for pair in chosen.metadata.items())
            )
            listed = np.zeros(self.rows, dtype=np.bool_)
            listed[list(matching)] = True
            mask &= listed
        return mask

    def scores(self, query: str) -> Scores:
        """Score every row and every session by BM25 against a query."""
        turn = np.zeros(self.rows)
        session = np.zeros(len(self._session_rows))
        if not self._row_of:
            return Scores(turn=turn, session=session)
        if self._norms is None:
            self._norms = (
                _length_norm(self._length, mean=self._total_length / len(self)),
                _length_norm(self._session_length, mean=self._total_length / self._live_sessions),
            )
        turn_norm, session_norm = self._norms
        for term, repeats in Counter(tokenise(query)).items():
            number = self._terms.get(term)
            if number is None or not self._document_frequency[number]:
                continue
            rows = np.frombuffer(self._postings[number].rows, dtype=np.int64)
            counts = np.frombuffer(self._postings[number].counts, dtype=np.float64)
            weight = repeats * _idf(len(self), self._document_frequency[number])
            turn[rows] += weight * counts / (counts + turn_norm[rows])
            self._add_session_scores(session, rows, counts, norm=session_norm, repeats=repeats)
        return Scores(turn=turn, session=session)

    def _add_session_scores(
        self, scores: Floats, rows: Rows, counts: Floats, *, norm: Floats, repeats: int
    ) -> None:
        """Add one term's part to the session scores; its frequency in a session is the sum over the turns."""
        sessions = self.session_of[rows]
        if len(rows) * _SPARSE < len(scores):
            found, places = np.unique(sessions, return_inverse=True)
            sums = np.bincount(places, weights=counts)
            weight = repeats * _idf(self._live_sessions, int(np.count_nonzero(sums)))
            scores[found] += weight * sums / (sums + norm[found])
        else:
            sums = np.bincount(sessions, weights=counts, minlength=len(scores))
            weight = repeats * _idf(self._live_sessions, int(np.count_nonzero(sums)))
            scores += weight * sums / (sums + norm)

    def _add(self, record: Record) -> None:
        content = record.content
        row = len(self._ids)
        terms = tokenise(content.text)
        self._norms = None
        self._dated += content.valid_from is not None or content.valid_until is not None
        self._row_of[record.id] = row
        self._ids.append(record.id)
        self._alive.append(1)
        self._length.append(len(terms))
        self._total_length += len(terms)
        self._row_terms.append(self._post(row, Counter(terms)))
        self._kind.append(content.kind)
        self._user.append(self._code("user", content.user_id))
        self._agent.append(self._code("agent", content.agent_id))
        self._valid_from.append(_OPEN_START if content.valid_from is None else content.valid_from)
        self._valid_until.append(_OPEN_END if content.valid_until is None else content.valid_until)
        self._session.append(self._join_session(record, length=len(terms)))
        pairs = tuple(content.metadata.items())
        self._row_metadata.append(pairs)
        for pair in pairs:
            self._metadata.setdefault(pair, set()).add(row)
        if record.expire_time is not None:
            heapq.heappush(self._expiry, (record.expire_time, record.id))

    def _post(self, row: int, counts: Counter[str]) -> "array[int]":
        numbers = array("q")
        for term, count in counts.items():
            number = self._terms.setdefault(term, len(self._postings))
            if number == len(self._postings):
                self._postings.append(Postings(array("q"), array("d")))
                self._document_frequency.append(0)
            self._postings[number].rows.append(row)
            self._postings[number].counts.append(count)
            self._document_frequency[number] += 1
            numbers.append(number)
        return numbers

    def _code(self, column: str, value: str) -> int:
        return self._codes.setdefault((column, value), len(self._codes))

    def _join_session(self, record: Record, *, length: int) -> int:
        session_id = record.content.session_id
        name = ("session", session_id) if session_id else ("record", record.id)
        session = self._sessions.setdefault(name, len(self._session_rows))
        if session == len(self._session_rows):
            self._session_length.append(0)
            self._session_rows.append(0)
        self._live_sessions += self._session_rows[session] == 0
        self._session_rows[session] += 1
        self._session_length[session] += length
        return session


def _idf(documents: int, containing: int) -> float:
    return float(np.log1p((documents - containing + 0.5) / (containing + 0.5)))


def _length_norm(lengths: "array[int]", *, mean: float) -> Floats:
    """Compute k1 · (1 - b + b · |d| / avg|d|), positive so that a document without the term scores 0."""
    relative: Floats = np.frombuffer(lengths, dtype=np.int64) / np.float64(max(mean, 1e-9))
    return K1 * (1 - B + B * relative)
