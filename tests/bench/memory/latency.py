"""How long a search takes, and how long until a put is found, beside bm25s on the same made-up texts."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import bm25s
import numpy as np
import Stemmer
from innervate_memory.index import SpaceIndex
from innervate_memory.records import Content, Filter, IdSource, Record
from innervate_memory.retrieval import rank
from report import Aim, Figure

SIZES: Final = (1_000, 10_000, 100_000)
_RUNS: Final = 5
_QUERIES: Final = 200
_VOCABULARY: Final = 30_000
_HITS: Final = 10
_TURNS: Final = 20


class Texts:
    """Texts of 8 to 40 words, whose frequencies fall as those of natural language do (Zipf's law)."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._words = np.array([f"w{number:x}" for number in range(_VOCABULARY)])
        weights = 1 / np.arange(1, _VOCABULARY + 1) ** 1.07
        self._shares = weights / weights.sum()

    def make(self, count: int, *, shortest: int = 8, longest: int = 40) -> list[str]:
        lengths = self._random.integers(shortest, longest + 1, size=count)
        words = self._words[self._random.choice(_VOCABULARY, size=int(lengths.sum()), p=self._shares)]
        return [" ".join(part) for part in np.split(words, np.cumsum(lengths)[:-1])]


def records(texts: Sequence[str]) -> list[Record]:
    """Turns in sessions of twenty."""
    ids = IdSource(lambda: 0)
    return [
        Record(id=ids.next(), content=Content(text=text, session_id=f"s{place // _TURNS}"), create_time=0)
        for place, text in enumerate(texts)
    ]


def measure() -> list[Figure]:
    """Time searches of the index alone, and a put until it is found."""
    figures: list[Figure] = []
    for size in SIZES:
        texts = Texts(size)
        documents = texts.make(size)
        queries = texts.make(_QUERIES, shortest=8, longest=8)
        index = SpaceIndex()
        for record in records(documents):
            index.put(record)
        engine = _engine(documents)
        ours = [_times(queries, partial(_search, index)) for _ in range(_RUNS)]
        peer = [_times(queries, partial(_retrieve, engine)) for _ in range(_RUNS)]
        for name, share in (("p50", 50), ("p99", 99)):
            figures.append(
                Figure(
                    metric=f"search {name}, {size:,} records, index only",
                    unit="ms",
                    ours=[float(np.percentile(run, share)) for run in ours],
                    peer=[float(np.percentile(run, share)) for run in peer],
                    peer_name="bm25s, one level",
                    aim=Aim(text="at most 10", reached=lambda ours, _: ours <= 10),
                )
            )
        figures.append(_until_found(index, documents, texts))
    return figures


def _until_found(index: SpaceIndex, documents: list[str], texts: Texts) -> Figure:
    """Time one more record and a search that finds it; bm25s must be built anew for it."""
    ours, peer = [], []
    for number in range(_RUNS):
        extra = texts.make(1)[0] + f" marker{number}"
        record = Record(id=f"{number:026d}", content=Content(text=extra), create_time=0)
        start = time.perf_counter()
        index.put(record)
        assert [hit.id for hit in _search(index, f"marker{number}")] == [record.id]
        ours.append((time.perf_counter() - start) * 1000)
        start = time.perf_counter()
        _retrieve(_engine([*documents, extra]), f"marker{number}")
        peer.append((time.perf_counter() - start) * 1000)
    return Figure(
        metric=f"one more record until it is found, {len(documents):,} records, index only",
        unit="ms",
        ours=ours,
        peer=peer,
        peer_name="bm25s, built anew",
        aim=Aim(text="below the peer", reached=lambda ours, peer: peer is not None and ours < peer),
    )


def _engine(documents: Sequence[str]) -> bm25s.BM25:
    engine = bm25s.BM25()
    stemmer = Stemmer.Stemmer("english")
    tokens = bm25s.tokenize(list(documents), stopwords=None, stemmer=stemmer, show_progress=False)
    engine.index(tokens, show_progress=False)
    return engine


def _search(index: SpaceIndex, query: str) -> list[object]:
    return list(rank(index, query, chosen=Filter(), as_of=0, limit=_HITS))


def _retrieve(engine: bm25s.BM25, query: str) -> object:
    stemmer = Stemmer.Stemmer("english")
    terms = bm25s.tokenize([query], stopwords=None, stemmer=stemmer, show_progress=False, return_ids=False)
    return engine.retrieve(terms, k=_HITS, show_progress=False)


def _times(queries: Sequence[str], search: Callable[[str], object]) -> list[float]:
    times = []
    for query in queries:
        start = time.perf_counter()
        search(query)
        times.append((time.perf_counter() - start) * 1000)
    return times
