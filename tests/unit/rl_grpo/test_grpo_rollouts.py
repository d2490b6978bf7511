"""Rollouts: what is asked, what becomes of answers that nobody judged, and how far ahead they are made."""

import math
import threading

import numpy as np
import pytest
from grpo_stage import EVALUATION, SMALL, TRAINING, kinds, worth
from innervate_environments.episodes import Reason, Role
from innervate_rl.errors import RunError
from innervate_rl.grpo.ahead import Ahead
from innervate_rl.grpo.collecting import Collector, experience_of
from innervate_rl.grpo.evaluating import evaluate
from innervate_rl.grpo.hyperparameters import Hyperparameters
from innervate_rl.grpo.prompts import Cursor, Order
from innervate_rl.grpo.puzzles import Puzzle
from innervate_rl.grpo.recording import means
from innervate_rl.grpo.tasks import Answer, Judged, Tasks, Voided
from scripted_tasks import HUNG, UNVERIFIED, ScriptedTasks

CHOSEN = Hyperparameters.model_validate(SMALL)
ORDER = Order(TRAINING, seed=0)


def tasks_of(scripted, slots=16):
    return Tasks(scripted.connect, slots=slots, outage_seconds=0.1)


def collector_of(tiny, tasks, *, cursor=Cursor(), patient=True):  # noqa: B008  an immutable value
    return Collector(
        model=tiny, chosen=CHOSEN, tasks=tasks, order=ORDER, cursor=cursor, seed=0, patient=patient
    )


def test_every_answer_has_its_reward(tiny, scripted):
    batch = collector_of(tiny, tasks_of(scripted)).collect(tiny.parameters, version=3)
    assert batch.after == Cursor(4)
    assert [group.task for group in batch.groups] == [ORDER.task(place) for place in range(4)]
    for group in batch.groups:
        assert group.prompt == kinds()[0][group.task].prompt
        assert group.version == 3
        for text, judged in zip(group.texts, group.judged, strict=True):
            assert judged.reward == len(text) % 5 / 4
            assert judged.named["right"] == judged.reward
    assert [(one.task, one.text) for one in scripted.handed] == [
        (group.task, text) for group in batch.groups for text in group.texts
    ]


def test_batches_larger_than_the_lease_are_handed_in_by_parts(tiny, scripted):
    whole = collector_of(tiny, tasks_of(scripted)).collect(tiny.parameters, version=0)
    parts = collector_of(tiny, tasks_of(scripted, slots=5)).collect(tiny.parameters, version=0)
    assert [group.rewards for group in whole.groups] == [group.rewards for group in parts.groups]


def test_a_small_environment_is_asked_more_often(tiny, scripted):
    whole = collector_of(tiny, tasks_of(scripted)).collect(tiny.parameters, version=0)
    scripted.capacity = 3
    parts = collector_of(tiny, tasks_of(scripted)).collect(tiny.parameters, version=0)
    assert [group.rewards for group in whole.groups] == [group.rewards for group in parts.groups]


def test_what_was_not_judged_is_handed_in_again_the_same(tiny, scripted):
    undisturbed = collector_of(tiny, tasks_of(scripted)).collect(tiny.parameters, version=0)
    scripted.failing_once = {ORDER.task(1): HUNG}
    scripted.handed.clear()
    tasks = tasks_of(scripted)
    batch = collector_of(tiny, tasks).collect(tiny.parameters, version=0)
    assert [group.rewards for group in batch.groups] == [group.rewards for group in undisturbed.groups]
    texts = [one.text for one in scripted.handed if one.task == ORDER.task(1)]
    assert texts == batch.groups[1].texts * 2
    assert tasks.voided == Voided(infrastructure=4, late=4)


def test_a_task_that_is_never_judged_is_set_aside_and_has_no_reward(tiny, scripted):
    poison = ORDER.task(2)
    scripted.failing = {poison: UNVERIFIED}
    tasks = tasks_of(scripted)
    collector = collector_of(tiny, tasks)
    batch = collector.collect(tiny.parameters, version=0)
    assert batch.after == Cursor(4, aside=(poison,))
    assert all(math.isnan(reward) for reward in batch.groups[2].rewards)
    assert tasks.voided == Voided(verifier=4 * CHOSEN.rollout_tries)
    learned = experience_of(batch.groups, CHOSEN, fill=tiny.tokenizer.end)
    rows = slice(2 * CHOSEN.group, 3 * CHOSEN.group)
    assert not learned.mask[rows].any()
    assert not learned.advantages[rows].any()
    assert learned.mask[: 2 * CHOSEN.group].any()
    # Not in the next round of all tasks either.
    asked = {group.task for _ in range(6) for group in collector.collect(tiny.parameters, version=0).groups}
    assert asked == {*range(TRAINING)} - {poison}


def test_tasks_that_cannot_be_asked_make_room_for_others(tiny):
    training, evaluation = kinds()
    training[ORDER.task(0)] = Puzzle("Reverse this. " * 9, "")
    scripted = ScriptedTasks(training, evaluation)
    scripted.unreachable = {ORDER.task(3): HUNG}
    batch = collector_of(tiny, tasks_of(scripted)).collect(tiny.parameters, version=0)
    assert [group.task for group in batch.groups] == [ORDER.task(place) for place in (1, 2, 4, 5)]
    assert batch.after == Cursor(6, aside=tuple(sorted((ORDER.task(0), ORDER.task(3)))))


def test_no_task_left_ends_the_attempt(tiny):
    scripted = ScriptedTasks([Puzzle("Reverse this. " * 9, "")] * TRAINING, [])
    with pytest.raises(RunError, match="all 12 training tasks are set aside"):
        collector_of(tiny, tasks_of(scripted)).collect(tiny.parameters, version=0)


def test_a_lost_server_is_looked_for_again(tiny, scripted):
    undisturbed = collector_of(tiny, tasks_of(scripted)).collect(tiny.parameters, version=0)
    again = ScriptedTasks(*kinds(), reward=worth)
    again.lost_steps = {0, 1}
    tasks = Tasks(again.connect, slots=16, outage_seconds=60)
    batch = collector_of(tiny, tasks).collect(tiny.parameters, version=0)
    assert again.opened == 2 * 3
    assert [group.rewards for group in batch.groups] == [group.rewards for group in undisturbed.groups]
    assert tasks.voided == Voided(infrastructure=32)


def test_where_nothing_is_judged_no_task_is_to_blame(tiny, scripted):
    scripted.failing = dict.fromkeys(range(TRAINING), UNVERIFIED)
    tasks = tasks_of(scripted)
    with pytest.raises(RunError, match=r"no environment for 0.1 s: everything fails: the verifier is gone"):
        collector_of(tiny, tasks).collect(tiny.parameters, version=0)
    assert tasks.voided.verifier > 0


def test_an_impatient_collector_goes_on_without_stragglers(tiny, scripted):
    straggler = ORDER.task(1)
    scripted.failing_once = {straggler: HUNG}
    collector = collector_of(tiny, tasks_of(scripted), patient=False)
    first = collector.collect(tiny.parameters, version=0)
    assert [group.task for group in first.groups] == [ORDER.task(place) for place in (0, 2, 3)]
    assert first.after == Cursor(4, owed=(1,))
    second = collector.collect(tiny.parameters, version=1)
    # It comes back with the answers that it had, of the policy that gave them.
    assert [(group.position, group.version) for group in second.groups] == [(1, 0), (4, 1), (5, 1), (6, 1)]
    assert second.after == Cursor(7)
    # Whoever goes on from the first batch asks it anew.
    resumed = collector_of(tiny, tasks_of(scripted), cursor=first.after, patient=False)
    assert [group.position for group in resumed.collect(tiny.parameters, version=1).groups] == [1, 4, 5, 6]


def test_an_impatient_collector_sets_poison_aside_in_the_end(tiny, scripted):
    poison = ORDER.task(1)
    scripted.failing = {poison: HUNG}
    collector = collector_of(tiny, tasks_of(scripted), patient=False)
    batches = [collector.collect(tiny.parameters, version=number) for number in range(3)]
    assert [batch.after.owed for batch in batches] == [(1,), (1,), ()]
    assert [batch.after.aside for batch in batches] == [(), (), (poison,)]


def test_rollouts_are_made_ahead_but_not_too_far(tiny, scripted):
    made, wait = [], threading.Event()
    collector = collector_of(tiny, tasks_of(scripted), patient=False)
    collect = collector.collect

    def told(parameters, *, version):
        made.append(version)
        if len(made) == 3:
            wait.set()
        return collect(parameters, version=version)

    collector.collect = told
    with Ahead(collector, tiny.parameters, version=0, lag=2) as ahead:
        assert wait.wait(60)
        for version in range(1, 5):
            ahead.take()
            ahead.publish(tiny.parameters, version=version)
    # The first three without any update; each later one may miss at most two.
    assert made[:3] == [0, 0, 0]
    assert all(number - version <= 2 for number, version in enumerate(made))


def test_whoever_waits_for_rollouts_learns_why_there_are_none(tiny, scripted):
    scripted.failing = dict.fromkeys(range(TRAINING), HUNG)
    collector = collector_of(tiny, tasks_of(scripted), patient=False)
    with (
        Ahead(collector, tiny.parameters, version=0, lag=1) as ahead,
        pytest.raises(RunError, match="everything fails: took too long"),
    ):
        ahead.take()


def test_an_evaluation_asks_what_training_never_does(tiny, scripted):
    scripted.failing = dict.fromkeys(range(TRAINING), HUNG)
    episodes = evaluate(tiny, CHOSEN, tasks_of(scripted), episodes=EVALUATION + 3, version=0, seed=0)
    assert {one.split for one in scripted.handed} == {"evaluation"}
    assert [one.task for one in episodes] == [*range(EVALUATION), 0, 1, 2]
    assert all(one.judged.failure is None for one in episodes)
    assert all(len(one.tokens) == len(one.logprobs) > 0 for one in episodes)


def test_a_reward_that_is_no_number_is_none(scripted):
    scripted._reward = lambda _puzzle, _text: math.nan
    tasks = tasks_of(scripted)
    (judged,) = tasks.judge([Answer(0, "1")], "training")
    assert judged.failure.reason is Reason.UNVERIFIED
    assert np.isnan(judged.reward)


def test_rewards_that_are_only_measured_are_told_by_role():
    roles = {"right": Role.TRAINED, "strict": Role.HELD_OUT, "other": Role.HELD_OUT, "begs": Role.CANARY}
    judged = [
        Judged(1.0, {"right": 1.0, "strict": 0.0, "other": 0.5, "begs": 1.0}),
        Judged(0.5, {"right": 0.5, "strict": 1.0, "other": 0.0, "begs": 0.0}),
        # Nobody could say whether this one begs; the next one is void altogether.
        Judged(0.0, {"right": 0.0, "strict": 0.0, "other": 0.0}),
        Judged(math.nan, {"strict": 1.0}, HUNG),
    ]
    found = means(judged, roles)
    assert found.reward == pytest.approx(0.5)
    assert found.held_out == pytest.approx((0.25 + 0.5 + 0.0) / 3)
    assert found.canary == pytest.approx(0.5)
    assert found.gap == pytest.approx(0.25)
    assert means(judged[3:], roles) == (None, None, None)
