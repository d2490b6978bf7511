"""Puzzles and the order in which they are asked."""

import itertools
import json

import pytest
from innervate_rl.grpo import puzzles
from innervate_rl.grpo.prompts import Cursor, Order


@pytest.mark.parametrize("kind", puzzles.PUZZLES)
def test_the_halves_have_no_puzzle_in_common(kind):
    halves = [
        {puzzle.prompt for puzzle in itertools.islice(puzzles.puzzles(kind, split, seed=seed), 300)}
        for split, seed in (("training", 1), ("evaluation", 2))
    ]
    assert not halves[0] & halves[1]
    again = list(itertools.islice(puzzles.puzzles(kind, "training", seed=1), 5))
    assert again == list(itertools.islice(puzzles.puzzles(kind, "training", seed=1), 5))
    assert again != list(itertools.islice(puzzles.puzzles(kind, "training", seed=3), 5))


def solve(kind, prompt):
    words = prompt.rstrip(".?").split()
    if kind == "reversal":
        return words[1][::-1]
    if kind == "addition":
        return str(int(words[2]) + int(words[4]))
    return str(words[3:].count(words[2].rstrip(":")))


@pytest.mark.parametrize("kind", puzzles.PUZZLES)
def test_answers_are_right(kind):
    for puzzle in itertools.islice(puzzles.puzzles(kind, "training", seed=4), 50):
        assert puzzle.answer == solve(kind, puzzle.prompt)


def test_a_task_set_has_each_puzzle_once(capsys):
    assert puzzles.main(["reversal", "--training", "30", "--evaluation", "10"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["split"] for line in lines] == ["training"] * 30 + ["evaluation"] * 10
    assert len({line["id"] for line in lines}) == len({line["input"] for line in lines}) == 40
    assert all(line["expected"] == [solve("reversal", line["input"])] for line in lines)


def test_all_tasks_are_asked_before_one_is_asked_again():
    order = Order(7, seed=1)
    rounds = [[order.task(number * 7 + place) for place in range(7)] for number in range(3)]
    assert all(sorted(tasks) == list(range(7)) for tasks in rounds)
    assert rounds[0] != rounds[1]
    # Back and forth: a position's task is a matter of the position alone.
    assert [Order(7, seed=1).task(place) for place in (15, 2, 20)] == [
        rounds[2][1],
        rounds[0][2],
        rounds[2][6],
    ]
    assert [Order(7, seed=2).task(place) for place in range(7)] != rounds[0]


def test_a_cursor_is_kept_as_json():
    cursor = Cursor(9, (3, 5), (1,))
    assert Cursor.of(json.loads(json.dumps(cursor.document()))) == cursor
