"""Chooses the episodes that are worth learning from again: the same ones whenever it is asked the same."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from innervate_rl.experience import episodes, likeness

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from innervate_rl.experience.reader import ExperienceReader
    from innervate_rl.experience.rows import Split

_BINS: Final = 5
_HARD: Final = 0.2
"""Pass rate up to which a task is hard, and its successes are rare."""


class Distinct(StrEnum):
    """Which repetitions are left out."""

    NO = "No"
    EXACT = "Exact"
    """Episodes equal in task, observations, actions and rewards."""
    NEAR = "Near"
    """Those that nearly are, too."""


class Rules(NamedTuple):
    """What to choose by; the steps are taken in this order."""

    split: Split | None = None
    """None: both."""
    valid: bool = True
    """Leave out void episodes."""
    whole: bool = True
    """Leave out episodes without an end."""
    lowest: float | None = None
    """Return from which an episode counts."""
    highest: float | None = None
    """Return up to which it does."""
    distinct: Distinct = Distinct.NO
    similarity: float = 0.9
    """Share of like steps from which two are near duplicates."""
    tolerance: float = 0.1
    """Width of the cells in which numbers are alike."""
    balance: bool = False
    """Cut the over-full of five classes of difficulty down to the size of the median class."""
    success: float = 1.0
    """Return from which an attempt at a task is a success."""
    rare: float = 0.05
    """Share of the rarest episodes that balancing never removes; nor does it the successes of hard tasks."""

    def document(self) -> dict[str, Any]:
        """As JSON has them."""
        return {
            name: str(value) if isinstance(value, StrEnum) else value
            for name, value in self._asdict().items()
        }


class Fate(StrEnum):
    """What became of an episode."""

    KEPT = "kept"
    VOID = "void"
    UNFINISHED = "unfinished"
    OUT_OF_RANGE = "outOfRange"
    DUPLICATE = "duplicate"
    NEAR_DUPLICATE = "nearDuplicate"
    BALANCED = "balanced"


class _Entry(NamedTuple):
    key: tuple[int, int]
    """Source, and number in it."""
    task: str
    gained: float
    digest: str


class Choice(NamedTuple):
    """What was chosen, and why the rest was not."""

    kept: tuple[frozenset[int], ...]
    """Episodes' numbers, for each source."""
    counts: dict[str, int]
    """Episodes by `Fate`, and ``read``; ``rare`` of the kept would not be there but for being rare."""
    digest: str
    """SHA-256 over the contents of the kept episodes, in their order."""


def choose(sources: Sequence[ExperienceReader], rules: Rules) -> Choice:
    """Decide by rules over all episodes of several seeds; memory holds some hundred bytes for each."""
    sieve = _Sieve(rules)
    entries: list[_Entry] = []
    features: list[Any] = []
    for source, reader in enumerate(sources):
        for group in reader.episodes(rules.split):
            told = episodes.features(group)
            for index in range(len(group.number)):
                entry = sieve.look(group, index, source)
                if entry is not None:
                    entries.append(entry)
                    features.append(told[index])
    fates, rates = sieve.fates, sieve.rates()
    order = sorted(range(len(entries)), key=lambda at: entries[at].key)
    entries = [entries[at] for at in order]
    rare = _rare(entries, np.stack([features[at] for at in order]), rates, rules) if entries else set()
    stays, saved = _balanced(entries, rare, rates) if rules.balance else (set(range(len(entries))), 0)
    fates[Fate.BALANCED] += len(entries) - len(stays)
    fates[Fate.KEPT] += len(stays)
    kept = [entry for at, entry in enumerate(entries) if at in stays]
    whole = hashlib.sha256("".join(entry.digest for entry in kept).encode())
    return Choice(
        tuple(
            frozenset(entry.key[1] for entry in kept if entry.key[0] == source)
            for source in range(len(sources))
        ),
        {"read": sum(fates.values()), **{str(fate): fates[fate] for fate in Fate}, "rare": saved},
        f"sha256:{whole.hexdigest()}",
    )


def chosen(sources: Sequence[ExperienceReader], choice: Choice) -> Iterator[episodes.Episodes]:
    """The chosen episodes, seed by seed."""
    for reader, numbers in zip(sources, choice.kept, strict=True):
        wanted = np.asarray(sorted(numbers), np.int64)
        for group in reader.episodes():
            here = np.isin(group.number, wanted)
            if np.any(here):
                yield episodes.arrange(group.only(here))


def account(sources: Sequence[ExperienceReader], rules: Rules, choice: Choice) -> dict[str, Any]:
    """What stands beside curated data: from what, by which rules, and what came of it."""
    return {
        "schemaVersion": 1,
        "sources": [reader.head() for reader in sources],
        "chains": [reader.chains() for reader in sources],
        "rules": rules.document(),
        "episodes": choice.counts,
        "digest": choice.digest,
    }


def canonical(document: dict[str, Any]) -> str:
    """JSON text, the same for the same content."""
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


class _Sieve:
    """Says of one episode after the other what can be said without those that follow."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._digests: set[str] = set()
        self._near = likeness.Seen(rules.similarity)
        self._attempts: defaultdict[str, list[bool]] = defaultdict(list)
        self.fates: Counter[Fate] = Counter()
        """Of those that did not pass."""

    def look(self, group: episodes.Episodes, index: int, source: int) -> _Entry | None:
        """Entry of an episode that passes."""
        rows, gained = group.of(index), float(group.returns[index])
        task = rows.column("task")[0].as_py() or ""
        digest = likeness.content(rows)
        if group.valid[index] and group.ended[index]:
            self._attempts[task].append(gained >= self._rules.success)
        fate = self._fate(group, index, task, digest)
        if fate is not Fate.KEPT:
            self.fates[fate] += 1
            return None
        return _Entry((source, int(group.number[index])), task, gained, digest)

    def rates(self) -> dict[str, float]:
        """Pass rate of each task, over all its attempts that count."""
        return {task: float(np.mean(passed)) for task, passed in self._attempts.items() if task}

    def _fate(self, group: episodes.Episodes, index: int, task: str, digest: str) -> Fate:
        rules = self._rules
        if rules.valid and not group.valid[index]:
            return Fate.VOID
        if rules.whole and not group.ended[index]:
            return Fate.UNFINISHED
        if not _between(group.returns[index], rules):
            return Fate.OUT_OF_RANGE
        return self._repeats(group.of(index), task, digest)

    def _repeats(self, rows: Any, task: str, digest: str) -> Fate:
        rules = self._rules
        if rules.distinct is not Distinct.NO and digest in self._digests:
            return Fate.DUPLICATE
        self._digests.add(digest)
        if rules.distinct is Distinct.NEAR and self._near.before(
            task, likeness.signature(rows, rules.tolerance)
        ):
            return Fate.NEAR_DUPLICATE
        return Fate.KEPT


def _between(gained: float, rules: Rules) -> bool:
    above = rules.lowest is None or gained >= rules.lowest
    return above and (rules.highest is None or gained <= rules.highest)


def _rare(entries: Sequence[_Entry], features: Any, rates: Mapping[str, float], rules: Rules) -> set[int]:
    """Indices of the rarest episodes, and of the successes in hard tasks."""
    far = episodes.rarity(features)
    digests = np.asarray([entry.digest for entry in entries])
    rarest = np.lexsort((digests, -far))[: int(rules.rare * len(entries))]
    hard = {
        at
        for at, entry in enumerate(entries)
        if entry.gained >= rules.success and rates.get(entry.task, 1.0) <= _HARD
    }
    return {int(at) for at in rarest} | hard


def _balanced(entries: Sequence[_Entry], rare: set[int], rates: Mapping[str, float]) -> tuple[set[int], int]:
    """Indices that stay, and how many of them only for being rare."""
    if not entries:
        return set(), 0
    classes: defaultdict[int, list[int]] = defaultdict(list)
    for at, difficulty in enumerate(_difficulty(entries, rates)):
        classes[min(int(difficulty * _BINS), _BINS - 1)].append(at)
    room = int(np.median([len(members) for members in classes.values()]))
    stays: set[int] = set()
    for members in classes.values():
        # By digest: as good as drawn by lot, and the same each time.
        stays.update(sorted(members, key=lambda at: (entries[at].digest, entries[at].key))[:room])
    return stays | rare, len(rare - stays)


def _difficulty(entries: Sequence[_Entry], rates: Mapping[str, float]) -> list[float]:
    """0 to 1: how often a task is failed, or without tasks how far a return is from the highest."""
    gained = [entry.gained for entry in entries]
    low, high = min(gained), max(gained)
    width = (high - low) or 1.0
    return [1 - rates[entry.task] if entry.task else (high - entry.gained) / width for entry in entries]
