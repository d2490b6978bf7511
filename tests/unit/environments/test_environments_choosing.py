"""Which task a slot gets."""

from typing import Any

import pytest
from innervate_environments.choosing import Choice
from innervate_service.errors import InvalidArgument


def test_options_name_a_task_and_seeds_draw_the_same_ones() -> None:
    choice = Choice(2, {"training": 5, "evaluation": 2})
    named = choice.choose([0, 1], None, [{"task": 4}, {"task": 1, "split": "evaluation"}])
    assert [(place.split, place.task) for place in named] == [("training", 4), ("evaluation", 1)]
    first = [choice.choose([0], [3], None), choice.choose([0], None, None)]
    assert first == [choice.choose([0], [3], None), choice.choose([0], None, None)]


def test_without_tasks_to_train_on_those_for_evaluation_are_given() -> None:
    choice = Choice(1, {"training": 0, "evaluation": 2})
    assert choice.choose([0], [1], None)[0].split == "evaluation"
    with pytest.raises(InvalidArgument, match="has no tasks; name the other"):
        choice.choose([0], None, [{"split": "training"}])


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        ({"task": 5}, r"options\[0\].task = 5: must be 0 to 4"),
        ({"task": True}, "must be 0 to 4"),
        ({"split": "test"}, "must be"),
        ({"taks": 1}, "must be"),
    ],
)
def test_what_options_cannot_name_is_refused(option: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidArgument, match=problem):
        Choice(1, {"training": 5, "evaluation": 2}).choose([0], None, [option])
