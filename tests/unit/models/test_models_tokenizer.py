"""Our byte-level BPE against the reference implementation."""

import json

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from innervate_models import topics
from innervate_models.tokenizer import SPECIAL, Tokenizer, learn

TOKENIZER = learn(topics.words())
REFERENCE = tokenizers.Tokenizer.from_str(json.dumps(TOKENIZER.to_json()))
TEXTS = (
    "Ada lives in Rome. Where does Ada live?",
    "What is 23 plus 45?",
    "  two  spaces,\n\ttabs and\r\n lines \n",
    "it's we'll they've I'm you'd don't",
    "naïve Zoë, Übergröße, 日本語, русский, ½ ² Ⅳ ٣, 🙂👩‍👩‍👧",
    "<|user|>Ada<|end|><|assistant|>",
    "<|user |> <|unknown|>",
    "",
)


@pytest.mark.parametrize("text", TEXTS)
def test_encodes_as_the_reference_does(text):
    assert TOKENIZER.encode(text) == REFERENCE.encode(text).ids


@given(st.text())
@settings(max_examples=200)
def test_encodes_any_text_as_the_reference_does_and_gives_it_back(text):
    assert TOKENIZER.encode(text) == REFERENCE.encode(text).ids
    assert TOKENIZER.decode(TOKENIZER.encode_plain(text)) == text


def test_every_word_of_the_texts_is_one_token():
    assert {len(TOKENIZER.encode(word)) for word in topics.words()} == {1}


def test_digits_are_read_one_by_one():
    assert [TOKENIZER.decode([token]) for token in TOKENIZER.encode("4711")] == ["4", "7", "1", "1"]


def test_plain_text_cannot_hold_a_special_token():
    special = {TOKENIZER.user, TOKENIZER.assistant, TOKENIZER.end}
    assert special.isdisjoint(TOKENIZER.encode_plain("".join(SPECIAL)))
    assert TOKENIZER.encode("".join(SPECIAL)) == [TOKENIZER.user, TOKENIZER.assistant, TOKENIZER.end]


def test_comes_back_from_its_file():
    again = Tokenizer.from_json(json.loads(json.dumps(TOKENIZER.to_json())))
    assert again.vocabulary == TOKENIZER.vocabulary
    assert again.merges == TOKENIZER.merges


@pytest.mark.parametrize("key", ["model", "added_tokens"])
def test_refuses_another_kind_of_tokenizer(key):
    content = TOKENIZER.to_json()
    content[key] = {"type": "WordPiece"}
    with pytest.raises(ValueError, match="not a byte-level BPE tokenizer"):
        Tokenizer.from_json(content)


def test_refuses_ids_in_another_order():
    content = TOKENIZER.to_json()
    vocabulary = content["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    with pytest.raises(ValueError, match="another order"):
        Tokenizer.from_json(content)
