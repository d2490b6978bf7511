"""Byte-level BPE, as GPT-2 defines it: no text is unknown, and three tokens are special.

The merges are learned from the project's own words, each once, until every word
is one token. Digits are never merged: a number is read digit by digit.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import regex

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

USER, ASSISTANT, END = "<|user|>", "<|assistant|>", "<|end|>"
SPECIAL = (USER, ASSISTANT, END)
"""The special tokens, in the order of their ids, after all others."""

PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""GPT-2's pre-tokenization; merges never cross its pieces."""
_PIECES = regex.compile(PATTERN)
_SPLIT_SPECIAL = regex.compile("(" + "|".join(map(regex.escape, SPECIAL)) + ")")

Merge = tuple[str, str]


def _byte_characters() -> list[str]:
    # GPT-2's table: printable bytes stand for themselves, the others are moved above 255.
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    moved = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(moved)) for byte in range(256)]


_CHARACTERS = _byte_characters()
_BYTES = {character: byte for byte, character in enumerate(_CHARACTERS)}


class Tokenizer:
    """Text to token ids and back.

    Parameters
    ----------
    merges
        Pairs of pieces, the earlier first.
    """

    def __init__(self, merges: Sequence[Merge]) -> None:
        self.merges = tuple(merges)
        self.vocabulary = (*_CHARACTERS, *("".join(merge) for merge in self.merges), *SPECIAL)
        self._ids = {piece: number for number, piece in enumerate(self.vocabulary)}
        if len(self._ids) != len(self.vocabulary):
            raise ValueError("two tokens of the vocabulary are the same")
        self._ranks = {merge: rank for rank, merge in enumerate(self.merges)}
        self._encode_piece = lru_cache(maxsize=65_536)(self._merge_piece)
        self.user, self.assistant, self.end = (self._ids[name] for name in SPECIAL)

    def __len__(self) -> int:
        return len(self.vocabulary)

    def encode(self, text: str) -> list[int]:
        """Ids of a text; special tokens in it are taken for what they are."""
        ids: list[int] = []
        for part in _SPLIT_SPECIAL.split(text):
            if part in SPECIAL:
                ids.append(self._ids[part])
            else:
                ids.extend(self.encode_plain(part))
        return ids

    def encode_plain(self, text: str) -> list[int]:
        """Ids of a text that cannot hold a special token: what looks like one is read as characters."""
        return [number for piece in _PIECES.findall(text) for number in self._encode_piece(piece)]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids; special tokens are left out, broken UTF-8 shows as U+FFFD."""
        pieces = (self.vocabulary[number] for number in ids if number < len(self.vocabulary) - len(SPECIAL))
        return bytes(_BYTES[character] for piece in pieces for character in piece).decode(errors="replace")

    def twins(self) -> list[tuple[int, int]]:
        """Pairs of ids: a word after a space, and the same word without."""
        space = _CHARACTERS[ord(" ")]
        return [
            (number, self._ids[piece[1:]])
            for piece, number in self._ids.items()
            if piece.startswith(space) and len(piece) > 1 and piece[1:] in self._ids
        ]

    def _merge_piece(self, piece: str) -> tuple[int, ...]:
        parts = [_CHARACTERS[byte] for byte in piece.encode()]
        while len(parts) > 1:
            ranked = [
                (self._ranks[pair], place)
                for place in range(len(parts) - 1)
                if (pair := (parts[place], parts[place + 1])) in self._ranks
            ]
            if not ranked:
                break
            _, place = min(ranked)
            parts[place : place + 2] = [parts[place] + parts[place + 1]]
        return tuple(self._ids[part] for part in parts)

    def to_json(self) -> dict[str, Any]:
        """The content of Hugging Face's ``tokenizer.json``."""
        first = len(self.vocabulary) - len(SPECIAL)
        byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
        return {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [
                {
                    "id": first + place,
                    "content": content,
                    "single_word": False,
                    "lstrip": False,
                    "rstrip": False,
                    "normalized": False,
                    "special": True,
                }
                for place, content in enumerate(SPECIAL)
            ],
            "normalizer": None,
            "pre_tokenizer": byte_level,
            "post_processor": None,
            "decoder": byte_level,
            "model": {
                "type": "BPE",
                "dropout": None,
                "unk_token": None,
                "continuing_subword_prefix": None,
                "end_of_word_suffix": None,
                "fuse_unk": False,
                "byte_fallback": False,
                "ignore_merges": False,
                "vocab": {piece: number for number, piece in enumerate(self.vocabulary[:first])},
                "merges": [list(merge) for merge in self.merges],
            },
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Tokenizer:
        """Read back what `to_json` gave.

        Raises
        ------
        ValueError
            It is another kind of tokenizer, or its ids are not in this one's order.
        """
        try:
            model = content["model"]
            tokenizer = cls([(left, right) for left, right in model["merges"]])
            known = model["vocab"] | {token["content"]: token["id"] for token in content["added_tokens"]}
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not a byte-level BPE tokenizer of this project: {error!r}") from error
        if known != tokenizer._ids:
            raise ValueError("not a byte-level BPE tokenizer of this project: its ids have another order")
        return tokenizer


def learn(words: Iterable[str]) -> Tokenizer:
    """Learn merges until every word is one token.

    The most frequent pair first; among equals the first in code point order.
    """
    texts = [[_CHARACTERS[byte] for byte in word.encode()] for word in words]
    merges: list[Merge] = []
    while True:
        pairs = Counter(pair for text in texts for pair in pairwise(text))
        if not pairs:
            return Tokenizer(merges)
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        texts = [_merged(text, best) for text in texts]


def _merged(text: list[str], pair: Merge) -> list[str]:
    result: list[str] = []
    for part in text:
        if result and (result[-1], part) == pair:
            result[-1] += part
        else:
            result.append(part)
    return result
