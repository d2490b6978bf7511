"""Scorers: an answer and the expected ones in, a value or an exception out."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import Enum, auto
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import re2  # type: ignore[import-untyped]  # has no types

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MAX_OUTPUT_BYTES: Final = 1024 * 1024
"""A longer answer is not scored."""
_MAX_PATTERN_MEMORY: Final = 8 * 1024 * 1024
"""A pattern that RE2 compiles into more is refused."""
_MAX_DIGITS: Final = 64
"""A longer run of digits is no number that anybody means."""
_SHOWN: Final = 120
_NUMBER: Final = re.compile(
    r"(?<![\w.])[-+]?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)?(?:\.[0-9]+)?(?<=[0-9])(?:[eE][-+]?[0-9]{1,3}(?![0-9]))?"
)
"""A decimal, perhaps with thousands in groups and an exponent; not the tail of a word."""


class Unfit(Enum):
    """Why a sample could not be scored."""

    SAMPLE = auto()
    """The sample lacks what the scorer needs."""
    SCORER = auto()
    """The scorer's own settings are wrong."""
    EXHAUSTED = auto()
    """It would take too much."""


class Unscorable(Exception):
    """A sample that could not be scored, which is not the value 0.

    Parameters
    ----------
    reason
        Whose fault it is.
    message
        What and how to mend it.
    """

    def __init__(self, reason: Unfit, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class Sample(NamedTuple):
    """What is scored."""

    output: str
    expected: Sequence[str]
    """Every answer that counts as right."""


class Score(NamedTuple):
    """A value and what it rests on."""

    value: float
    """From 0, wrong, to 1, right."""
    evidence: str


class Scorer(Protocol):
    """Turns a sample into a score."""

    def __call__(self, sample: Sample) -> Score:
        """Score a sample.

        Raises
        ------
        Unscorable
            There is no value.
        """
        ...


@dataclass(frozen=True, slots=True)
class Exact:
    """Right where the answer is one of the expected ones, white space around it aside."""

    ignore_case: bool = False

    def __call__(self, sample: Sample) -> Score:
        """See `Scorer`."""
        answer = _normal(_checked(sample).output, ignore_case=self.ignore_case).strip()
        return _first(
            sample, lambda text: _normal(text, ignore_case=self.ignore_case).strip() == answer, "equals"
        )


@dataclass(frozen=True, slots=True)
class Contains:
    """Right where the answer contains one of the expected texts."""

    ignore_case: bool = False

    def __call__(self, sample: Sample) -> Score:
        """See `Scorer`."""
        answer = _normal(_checked(sample).output, ignore_case=self.ignore_case)
        if not all(text.strip() for text in sample.expected):
            raise Unscorable(Unfit.SAMPLE, "an expected text is empty, and every answer contains it; fill it")
        return _first(
            sample,
            lambda text: _normal(text, ignore_case=self.ignore_case).strip() in answer,
            "contains",
        )


@dataclass(frozen=True, slots=True)
class Numeric:
    """Right where the last number of the answer is near enough to an expected one."""

    tolerance: str = ""

    def __call__(self, sample: Sample) -> Score:
        """See `Scorer`."""
        tolerance = _decimal(self.tolerance or "0")
        if tolerance is None or tolerance < 0:
            raise Unscorable(
                Unfit.SCORER, f"tolerance {self.tolerance!r} is no decimal from 0 up; correct it"
            )
        expected = [(text, _decimal(text.strip().replace(",", ""))) for text in _checked(sample).expected]
        for text, number in expected:
            if number is None:
                raise Unscorable(Unfit.SAMPLE, f"expected {_shown(text)} is no number; write a decimal")
        found = [match for match in _NUMBER.findall(sample.output) if match]
        if not found:
            return Score(0.0, "no number in the answer")
        last = _decimal(found[-1].replace(",", ""))
        if last is None:
            return Score(0.0, f"{_shown(found[-1])} is no number of a size that counts")
        for text, number in expected:
            if number is not None and abs(last - number) <= tolerance:
                return Score(1.0, f"{last} is within {tolerance} of {text.strip()}")
        return Score(0.0, f"{last} is not within {tolerance} of an expected number")


@dataclass(frozen=True, slots=True)
class Regex:
    """Right where the pattern, or an expected one where there is none, is found in the answer."""

    pattern: str = ""

    def __call__(self, sample: Sample) -> Score:
        """See `Scorer`."""
        if self.pattern:
            own = _compiled(self.pattern)
            if isinstance(own, str):
                raise Unscorable(Unfit.SCORER, own)
            patterns = {self.pattern: own}
        else:
            patterns = {text: _compiled(text) for text in _checked(sample).expected}
        _bounded(sample.output)
        for text, pattern in patterns.items():
            if isinstance(pattern, str):
                raise Unscorable(Unfit.SAMPLE, pattern)
            if pattern.search(sample.output):
                return Score(1.0, f"matches {_shown(text)}")
        return Score(0.0, "no pattern is found in the answer")


def _checked(sample: Sample) -> Sample:
    _bounded(sample.output)
    if not sample.expected:
        raise Unscorable(Unfit.SAMPLE, "no expected answer; give at least one")
    return sample


def _bounded(output: str) -> None:
    size = len(output.encode("utf-8", "surrogatepass"))
    if size > MAX_OUTPUT_BYTES:
        raise Unscorable(
            Unfit.EXHAUSTED, f"the answer has {size} bytes, more than {MAX_OUTPUT_BYTES}; lower maxTokens"
        )


def _first(sample: Sample, right: Callable[[str], bool], verb: str) -> Score:
    for text in sample.expected:
        if right(text):
            return Score(1.0, f"{verb} {_shown(text)}")
    return Score(0.0, f"{verb} none of {len(sample.expected)} expected")


def _normal(text: str, *, ignore_case: bool) -> str:
    text = unicodedata.normalize("NFC", text)
    return text.casefold() if ignore_case else text


def _decimal(text: str) -> Decimal | None:
    if len(text) > _MAX_DIGITS:
        return None
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() and abs(number.adjusted()) < 1000 else None


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re2._Regexp | str:
    """The pattern, ready to search with, or what is wrong with it."""
    options = re2.Options()
    options.max_mem = _MAX_PATTERN_MEMORY
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        words = error.args[0] if error.args else error
        told = words.decode("utf-8", "replace") if isinstance(words, bytes) else str(words)
        return (
            f"pattern {_shown(pattern)} is refused: {told}; write it in RE2 syntax, "
            "without look-around and backreferences"
        )


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")
