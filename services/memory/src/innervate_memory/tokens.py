"""Text to index terms: normalised, casefolded, split by Unicode, stemmed where it is English.

Three kinds of token come out:

- words of ASCII letters and digits, stemmed by the Snowball English stemmer;
- other words (Greek, Cyrillic, Devanagari, …) as they are, casefolded;
- for scripts written without spaces (Han, kana, Hangul, Thai, Lao, Khmer, Myanmar) every character and
  every pair of neighbours, because no word boundary is to be seen.
"""

import re
import sys
import threading
import unicodedata
from itertools import pairwise
from typing import Final

import Stemmer  # type: ignore[import-not-found]  # the package has no type information

_MAX_TERM: Final = 64
"""Characters kept of one term: longer runs are data (base64, hashes) and match by their beginning."""


def _combining_marks() -> str:
    """Build the regular expression class of combining marks, which word characters leave out.

    Without it every word of a script with vowel signs (Devanagari, Tamil, …) would fall apart.
    """
    marks = [
        code
        for code in range(0x300, min(sys.maxunicode, 0x1FFFF) + 1)
        if unicodedata.category(chr(code)).startswith("M")
    ]
    ranges: list[list[int]] = []
    for code in marks:
        if ranges and code == ranges[-1][1] + 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"{chr(low)}-{chr(high)}" for low, high in ranges)


_FRAGMENTS: Final = frozenset("adimst")
"""English words of one letter, and what contractions leave (it's, don't, I'd, I'm): they tell nothing."""

_WORD: Final = re.compile(f"(?:[^\\W_]|[{_combining_marks()}])+")
_ASCII_WORD: Final = re.compile(r"[a-z0-9]+")
_UNSPACED: Final = re.compile(
    "["
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f"  # Myanmar
    "\u1100-\u11ff\uac00-\ud7af"  # Hangul
    "\u1780-\u17ff"  # Khmer
    "\u3040-\u30ff\u31f0-\u31ff"  # kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
    "]+"
)
_stemmers: Final = threading.local()


def tokenise(text: str) -> list[str]:
    """Split a text into its index terms, in order, with repetitions.

    Parameters
    ----------
    text
        Any Unicode text; queries and records go through the same function.

    Returns
    -------
    list of str
        Terms; empty when the text holds no letter or digit of any script.
    """
    if text.isascii():
        return _stem(_ASCII_WORD.findall(text.lower()))
    # Casefolding can undo the normal form (for example of "ŉ"), hence normalising on both sides.
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    terms: list[str] = []
    plain: list[str] = []
    for word in _WORD.findall(folded):
        if word.isascii():
            plain.append(word)
        elif _UNSPACED.search(word):
            terms.extend(_split_unspaced(word))
        else:
            terms.append(word[:_MAX_TERM])
    terms.extend(_stem(plain))
    return terms


def _stem(words: list[str]) -> list[str]:
    """Stem English words; one stemmer for each thread, since its cache is not thread-safe."""
    stemmer: Stemmer.Stemmer | None = getattr(_stemmers, "english", None)
    if stemmer is None:
        stemmer = _stemmers.english = Stemmer.Stemmer("english")
    stems: list[str] = stemmer.stemWords([word[:_MAX_TERM] for word in words if word not in _FRAGMENTS])
    return stems


def _split_unspaced(word: str) -> list[str]:
    """Split a word that holds an unspaced script into characters and pairs, and whatever lies between."""
    terms: list[str] = []
    end = 0
    for run in _UNSPACED.finditer(word):
        if run.start() > end:
            terms.extend(_stem([word[end : run.start()]]))
        characters = run.group()
        terms.extend(characters)
        terms.extend(a + b for a, b in pairwise(characters))
        end = run.end()
    if end < len(word):
        terms.extend(_stem([word[end:]]))
    return terms
