"""Whether two episodes are the same, or nearly: digests of their content, and MinHash of their steps."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types

from innervate_rl.experience import episodes

if TYPE_CHECKING:
    from collections.abc import Sequence

_CONTENT: Final = ("task", "observation", "action", "reward")
_HASHES: Final = 64
_BAND: Final = 4
"""Hashes that must all agree for two episodes to be compared. Of two that are alike in .9 of their steps,
one of the 16 bands does so but in 4 of 10⁸ cases."""
_WORDS: Final = 3
_MIX: Final = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
"""Multipliers of splitmix64 (Steele, Lea, Flood 2014)."""
_SALTS: Final = np.arange(1, _HASHES + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)


def content(rows: Any) -> str:
    """SHA-256 of an episode: what was seen, done and gained, and in which task."""
    whole = hashlib.sha256()
    for name in _CONTENT:
        values = rows.column(name).combine_chunks()
        if pa.types.is_dictionary(values.type):
            values = values.cast(pa.string())
        numbers = episodes.vectors(rows, name) if not pa.types.is_string(values.type) else None
        part = "\0".join(map(str, values.to_pylist())).encode() if numbers is None else numbers.tobytes()
        whole.update(f"{name}\0{len(part)}\0".encode())
        whole.update(part)
    return f"sha256:{whole.hexdigest()}"


def signature(rows: Any, tolerance: float) -> episodes.Array:
    """MinHash of an episode, (64,): two agree in about the share of their steps that are alike.

    Steps of numbers are alike that do the same where each number seen lies in the same cell of
    width `tolerance`; texts are sets of three successive words.
    """
    seen = episodes.vectors(rows, "observation")
    did = episodes.vectors(rows, "action")
    hashes = _words(rows) if seen is None or did is None else _steps(seen, did, tolerance)
    least: episodes.Array = _mixed(hashes[:, None] ^ _SALTS).min(axis=0)
    return least


class Seen:
    """Episodes so far, to compare the next one with.

    Parameters
    ----------
    similarity
        From which share of like steps on, 0 to 1, two are near duplicates; below .7 some pairs are
        not found.
    """

    def __init__(self, similarity: float) -> None:
        self._similarity = similarity
        self._signatures: list[episodes.Array] = []
        self._bands: dict[tuple[str, int, bytes], list[int]] = {}

    def before(self, group: str, signature: episodes.Array) -> bool:
        """Whether a near duplicate in the same group was here; if not, this one is remembered."""
        keys = [(group, band, signature[band : band + _BAND].tobytes()) for band in range(0, _HASHES, _BAND)]
        candidates = {index for key in keys for index in self._bands.get(key, ())}
        if any(np.mean(self._signatures[each] == signature) >= self._similarity for each in candidates):
            return True
        for key in keys:
            self._bands.setdefault(key, []).append(len(self._signatures))
        self._signatures.append(signature)
        return False


def _steps(seen: episodes.Array, did: episodes.Array, tolerance: float) -> episodes.Array:
    cells = np.floor(np.nan_to_num(seen.astype(np.float64)) / tolerance).astype(np.int64)
    actions = did if np.issubdtype(did.dtype, np.integer) else np.floor(did / tolerance)
    values = np.concatenate([cells, actions.astype(np.int64)], axis=1).view(np.uint64)
    hashes = np.zeros(len(values), np.uint64)
    for column in values.T:
        hashes = _mixed(hashes ^ column)
    return hashes


def _words(rows: Any) -> episodes.Array:
    words = " ".join(rows.column("action").to_pylist()).split()
    pieces = {" ".join(words[at : at + _WORDS]) for at in range(max(1, len(words) - _WORDS + 1))}
    return _hashed(sorted(pieces))


def _hashed(texts: Sequence[str]) -> episodes.Array:
    digests = b"".join(hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def _mixed(values: episodes.Array) -> episodes.Array:
    first, second = _MIX
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * first
    values = (values ^ (values >> np.uint64(27))) * second
    mixed: episodes.Array = values ^ (values >> np.uint64(31))
    return mixed
