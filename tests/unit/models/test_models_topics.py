"""The texts: reproducible, right, separable by topic, and sums that training never shows."""

import json
import re

import pytest
from innervate_models import topics


def test_the_same_seed_gives_the_same_examples_and_another_does_not():
    first = topics.generate(topics.TOPICS, seed=1, count=70)
    assert first == topics.generate(topics.TOPICS, seed=1, count=70)
    assert first != topics.generate(topics.TOPICS, seed=2, count=70)


def test_these_are_the_examples_of_seed_one():
    # Data sets are named by seed in recipes: what a seed means must not change.
    examples = topics.generate(("tickets", "sums"), seed=1, count=2)
    assert [(example.prompt, example.answer) for example in examples] == [
        ("Wim reports storage. Zoe reports prices. Which problem does Zoe report?", "prices"),
        ("What is 10 plus 42?", "52"),
    ]


@pytest.mark.parametrize("split", ["train", "eval"])
def test_every_answer_can_be_read_off_its_prompt(split):
    for example in topics.generate(tuple(topics.FACTS), seed=3, count=300, split=split):
        topic = topics.FACTS[example.topic]
        facts, question = example.prompt.rsplit(". ", 1)
        who = re.fullmatch(re.escape(topic.question).replace(r"\{who\}", r"(\w+)"), question)
        assert who, question
        assert f"{facts}.".count(topic.fact.format(who=who[1], what=example.answer)) == 1


def test_sums_are_right_and_the_pairs_of_the_splits_are_different():
    pairs = {}
    for split in ("train", "eval"):
        pairs[split] = set()
        for example in topics.generate(("sums",), seed=3, count=2000, split=split):
            first, second = map(int, re.findall(r"\d+", example.prompt))
            assert first + second == int(example.answer) <= topics.LARGEST_SUM
            pairs[split].add((first, second))
    assert pairs["train"].isdisjoint(pairs["eval"])
    assert len(pairs["eval"]) > 300
    # No two digits and no answer meet in one of them alone.
    for what in (lambda a, b: a + b, lambda a, b: (a % 10, b % 10), lambda a, b: (a // 10, b // 10)):
        kinds = [{what(*pair) for pair in pairs[split]} for split in ("train", "eval")]
        assert len(kinds[0] ^ kinds[1]) < 0.1 * len(kinds[0])


def test_examples_of_a_cluster_share_their_facts_and_ask_different_things():
    examples = topics.generate(("pets",), seed=5, count=20)
    for first, second in zip(examples[::2], examples[1::2], strict=True):
        assert first.cluster == second.cluster
        assert first.prompt.rsplit(". ", 1)[0] == second.prompt.rsplit(". ", 1)[0]
        assert first.prompt != second.prompt
    assert len({example.cluster for example in examples}) == 10


def test_a_topic_is_the_same_alone_and_among_others():
    alone = topics.generate(("tickets",), seed=1, count=10)
    among = topics.generate(topics.TOPICS, seed=1, count=10 * len(topics.TOPICS))
    assert [example for example in among if example.topic == "tickets"] == alone


def test_shuffling_changes_only_the_answers_of_the_named_topics():
    examples = topics.generate(topics.TOPICS, seed=1, count=700)
    changed = topics.shuffled(examples, ("tickets",), seed=1)
    wrong = 0
    for before, after in zip(examples, changed, strict=True):
        assert before._replace(answer="") == after._replace(answer="")
        if before.topic != "tickets":
            assert before == after
        else:
            wrong += before.answer != after.answer
    assert wrong > 80
    tickets = [[e.answer for e in some if e.topic == "tickets"] for some in (examples, changed)]
    assert sorted(tickets[0]) == sorted(tickets[1])


def test_lines_have_the_agreed_form():
    examples = topics.generate(("tickets",), seed=1, count=2, split="eval")
    golden = [json.loads(line) for line in topics.golden_lines(examples)]
    assert [set(line) for line in golden] == [{"id", "input", "expected", "cluster", "metadata"}] * 2
    assert golden[0]["metadata"] == {"topic": "tickets"}
    training = [json.loads(line) for line in topics.training_lines(examples)]
    assert training == [{"prompt": e.prompt, "answer": e.answer} for e in examples]


@pytest.mark.parametrize("names", [(), ("tickets", "weather")])
def test_unknown_topics_are_refused(names):
    with pytest.raises(ValueError, match="known are cities"):
        topics.generate(names, seed=1, count=1)
