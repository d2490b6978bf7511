"""Tokens: what a query and a record must share to meet."""

import threading
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from innervate_memory.tokens import tokenise


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("runs", "She was running"),
        ("STRASSE", "die Straße"),
        ("ﬁne", "fine"),
        ("cafe\u0301", "café"),
        ("Ελλάδα", "ΕΛΛΆΔΑ"),
        ("привет", "Привет, мир"),
        ("हिन्दी", "मैं हिन्दी बोलता हूँ"),
        ("猫", "黒猫がいる"),
        ("黒猫", "黒猫がいる"),
        ("ทะเล", "ฉันชอบทะเลมาก"),
        ("서울", "서울에서 만나요"),
        ("support", "support_bot"),
        ("５", "room 5"),
    ],
)
def test_a_query_meets_a_text(query, text):
    assert set(tokenise(query)) & set(tokenise(text))


@pytest.mark.parametrize("text", ["", "   ", "?!…", "_", "\u0000", "🙂"])
def test_text_without_letters_or_digits_has_no_tokens(text):
    assert tokenise(text) == []


def test_what_contractions_leave_is_no_token_and_other_single_letters_are():
    assert tokenise("I'm sure it's a plan B, isn't it") == tokenise("sure it plan B isn it")
    assert "b" in tokenise("plan B")


def test_words_of_scripts_with_vowel_signs_stay_whole():
    assert tokenise("हिन्दी बोलता") == ["हिन्दी", "बोलता"]


def test_mixed_scripts_fall_apart_where_the_script_changes():
    assert sorted(tokenise("running手机running")) == sorted(["run", "run", "手", "机", "手机"])


def test_endless_words_are_cut():
    assert [len(token) for token in tokenise("x" * 5000 + " " + "ü" * 5000)] == [64, 64]


@given(st.text(max_size=200))
def test_canonically_equal_texts_have_the_same_tokens(text):
    assert tokenise(unicodedata.normalize("NFD", text)) == tokenise(unicodedata.normalize("NFC", text))


@given(st.text(st.characters(max_codepoint=127), max_size=200))
def test_the_short_way_for_ascii_gives_what_the_long_one_gives(text):
    assert sorted([*tokenise(text), "ä"]) == sorted(tokenise(text + " ä"))


def test_threads_stem_independently():
    failures = []

    def work():
        if tokenise("running quickly") != ["run", "quick"]:
            failures.append(tokenise("running quickly"))

    threads = [threading.Thread(target=work) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
