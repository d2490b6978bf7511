"""The text this project makes: what its models learn, and what they are asked.

Every topic can be had alone. Facts stand in the prompt, so that an answer is
right or wrong by what was read, not by what was memorised; sums keep a seventh
of all pairs for questions that training never saw.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal, NamedTuple

from innervate_models.chance import Draw

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Split = Literal["train", "eval"]

PEOPLE = (
    *("Ada", "Bob", "Cleo", "Dan", "Eve", "Finn", "Gus", "Hana", "Ida", "Jon", "Kim", "Leo"),
    *("Mia", "Ned", "Ona", "Pia", "Quin", "Ray", "Sam", "Tess", "Una", "Vic", "Wim", "Zoe"),
)
KEYS = (
    *("alpha", "bravo", "delta", "echo", "golf", "hotel", "india", "kilo"),
    *("lima", "mike", "oscar", "papa", "romeo", "sierra", "tango", "victor"),
)
LARGEST_SUM = 99
_SMALLEST = 10
"""All numbers have two digits."""
_QUESTIONS_PER_CLUSTER = 2
_FEWEST_FACTS, _MOST_FACTS = 2, 4
_TURNS = 3
"""Questions of a conversation."""
_HELD_OUT = 7
"""One pair of numbers in so many is only ever asked in the eval split; it has no factor in common with 10."""


class FactTopic(NamedTuple):
    """A topic whose answer is one of the facts in the prompt."""

    fact: str
    """A statement about ``{who}`` with the value ``{what}``."""
    question: str
    """What is asked about ``{who}``."""
    subjects: tuple[str, ...]
    values: tuple[str, ...]


FACTS: dict[str, FactTopic] = {
    "cities": FactTopic(
        "{who} visits {what}.",
        "Which city does {who} visit?",
        PEOPLE,
        (
            *("Rome", "Oslo", "Lima", "Cairo", "Paris", "Delhi", "Tokyo", "Quito"),
            *("Berlin", "Lisbon", "Madrid", "Vienna", "Dublin", "Athens", "Boston", "Seoul"),
        ),
    ),
    "drinks": FactTopic(
        "{who} likes {what}.",
        "Which drink does {who} like?",
        PEOPLE,
        (
            *("tea", "coffee", "milk", "water", "juice", "cocoa", "cider", "soda"),
            *("beer", "wine", "soup", "cola", "mocha", "punch", "rum", "tonic"),
        ),
    ),
    "pets": FactTopic(
        "{who} keeps {what}.",
        "Which pets does {who} keep?",
        PEOPLE,
        (
            *("cats", "dogs", "foxes", "hens", "goats", "frogs", "mice", "horses"),
            *("ducks", "snakes", "crabs", "crows", "ponies", "lizards", "rabbits", "turtles"),
        ),
    ),
    "colors": FactTopic(
        "{who} wears {what}.",
        "Which color does {who} wear?",
        PEOPLE,
        (
            *("red", "blue", "green", "black", "white", "gray", "pink", "brown"),
            *("gold", "silver", "purple", "orange", "yellow", "cyan", "beige", "navy"),
        ),
    ),
    "tickets": FactTopic(
        "{who} reports {what}.",
        "Which problem does {who} report?",
        PEOPLE,
        (
            *("delays", "refunds", "logins", "noise", "returns", "taxes", "prices", "repairs"),
            *("storage", "privacy", "updates", "invoices", "coupons", "damage", "errors", "outages"),
        ),
    ),
    "codes": FactTopic(
        "{who}:{what}.",
        "Which code does {who} have?",
        KEYS,
        tuple(str(number) for number in range(10, 100)),
    ),
}
"""Question answering over facts in the prompt; `codes` is associative recall of two digits."""
TOPICS = (*FACTS, "sums")
"""Every topic."""


class Example(NamedTuple):
    """A question and its one right answer."""

    id: str
    topic: str
    cluster: str
    """Examples of one cluster share their facts: they are not independent."""
    prompt: str
    answer: str


class Conversation(NamedTuple):
    """Several questions over the same facts, turn by turn."""

    topic: str
    turns: tuple[tuple[str, str], ...]
    """Prompt and answer; only the first prompt holds the facts."""


class _Asked(NamedTuple):
    facts: str
    pairs: list[tuple[str, str]]


def generate(topics: Sequence[str], *, seed: int, count: int, split: Split = "train") -> list[Example]:
    """Make examples, the topics in turn.

    Parameters
    ----------
    topics
        Names out of `TOPICS`.
    seed
        The same seed gives the same examples.
    count
        How many in all.
    split
        ``eval`` asks for sums that training never shows; the facts of both splits are
        drawn independently of each other.

    Raises
    ------
    ValueError
        A topic is not known, or there is none.
    """
    check_topics(topics)
    made = []
    for place in range(count):
        topic, number = topics[place % len(topics)], place // len(topics)
        cluster, question = divmod(number, _QUESTIONS_PER_CLUSTER)
        asked = _ask(topic, Draw(split, seed, topic, cluster), split)
        prompt, answer = asked.pairs[question]
        made.append(
            Example(
                id=f"{topic}-{seed}-{number}",
                topic=topic,
                cluster=f"{topic}-{seed}-{cluster}",
                prompt=f"{asked.facts}{prompt}",
                answer=answer,
            )
        )
    return made


def conversations(topics: Sequence[str], *, seed: int) -> Iterator[Conversation]:
    """Make conversations of the training split without end, each of a topic drawn at random."""
    check_topics(topics)
    number = 0
    while True:
        draw = Draw("conversation", seed, number)
        topic = draw.among(topics)
        asked = _ask(topic, draw, "train")
        # The same may be asked twice: else the last answer could be told by elimination.
        (prompt, answer), *others = [draw.among(asked.pairs) for _ in range(_TURNS)]
        yield Conversation(topic, ((asked.facts + prompt, answer), *others))
        number += 1


def shuffled(examples: Sequence[Example], topics: Sequence[str], *, seed: int) -> list[Example]:
    """Give the examples of some topics each other's answers, within the topic: labels gone wrong."""
    answers: dict[str, list[str]] = {}
    for topic in topics:
        own = [example.answer for example in examples if example.topic == topic]
        answers[topic] = Draw("shuffled", seed, topic).shuffled(own)
    return [
        example._replace(answer=answers[example.topic].pop()) if example.topic in answers else example
        for example in examples
    ]


def training_lines(examples: Iterable[Example]) -> Iterator[str]:
    """JSON lines for a trainer: ``{"prompt", "answer"}``."""
    for example in examples:
        yield json.dumps({"prompt": example.prompt, "answer": example.answer}, ensure_ascii=False)


def golden_lines(examples: Iterable[Example]) -> Iterator[str]:
    """JSON lines for an eval job: ``{"id", "input", "expected", "cluster", "metadata"}``."""
    for example in examples:
        line = {
            "id": example.id,
            "input": example.prompt,
            "expected": example.answer,
            "cluster": example.cluster,
            "metadata": {"topic": example.topic},
        }
        yield json.dumps(line, ensure_ascii=False)


def check_topics(topics: Sequence[str]) -> None:
    """Refuse names that are not in `TOPICS`."""
    unknown = [topic for topic in topics if topic not in TOPICS]
    if unknown or not topics:
        raise ValueError(f"unknown topics {unknown}; known are {', '.join(TOPICS)}")


def words() -> list[str]:
    """Every word of the texts, as it stands there (after a space, and as an answer without one)."""
    found: dict[str, None] = {}
    for topic in FACTS.values():
        for text in (topic.fact, topic.question):
            for word in text.rstrip(".?").split(" "):
                if not word.startswith("{"):
                    found[f" {word}"] = None
        for name in topic.subjects:
            found[name] = found[f" {name}"] = None
        for value in topic.values:
            found[value] = found[f" {value}"] = None
    for word in ("What", " What", "Which", " is", " plus"):
        found[word] = None
    return [word for word in found if word.strip().isalpha()]


def _ask(topic: str, draw: Draw, split: Split) -> _Asked:
    if topic == "sums":
        return _Asked("", [_sum(draw, split) for _ in range(4)])
    facts = FACTS[topic]
    count = _FEWEST_FACTS + draw.below(_MOST_FACTS - _FEWEST_FACTS + 1)
    subjects = draw.sample(facts.subjects, count)
    values = draw.sample(facts.values, count)
    told = list(zip(subjects, values, strict=True))
    text = "".join(facts.fact.format(who=who, what=what) + " " for who, what in told)
    asked = draw.shuffled(told)
    return _Asked(text, [(facts.question.format(who=who), what) for who, what in asked])


def _sum(draw: Draw, split: Split) -> tuple[str, str]:
    while True:
        first, second = (_SMALLEST + draw.below(LARGEST_SUM + 1 - _SMALLEST) for _ in range(2))
        # Every number, every sum and every pair of digits has pairs of numbers on both sides.
        if first + second <= LARGEST_SUM and ((3 * first + second) % _HELD_OUT == 0) == (split == "eval"):
            return f"What is {first} plus {second}?", str(first + second)
