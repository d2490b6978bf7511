"""Rollouts: what is asked, what becomes of answers that nobody judged, and how far ahead they are made."""

import itertools
import math
import threading

import numpy as np
import pytest
from grpo_stage import EVALUATION, SMALL, TRAINING, kinds, worth
from innervate_environments.episodes import Reason, Role
from innervate_rl.errors import RunError
from innervate_rl.grpo.ahead import Ahead
from innervate_rl.grpo.collecting import Collector, experience_of
from innervate_rl.grpo.evaluating import Episode, evaluate
from innervate_rl.grpo.hyperparameters import Hyperparameters
from innervate_rl.grpo.prompts import Cursor, Order
from innervate_rl.grpo.puzzles import Puzzle
from innervate_rl.grpo.recording import means, of_tasks, over_tasks
from innervate_rl.grpo.tasks import Answer, Judged, Tasks, Voided
from innervate_service.config import ConfigError
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
    evaluation = evaluate(tiny, CHOSEN, tasks_of(scripted), episodes=EVALUATION + 3, version=0, seed=0)
    episodes = evaluation.complete()
    assert {one.split for one in scripted.handed} == {"evaluation"}
    assert [one.task for one in episodes] == [*range(EVALUATION), 0, 1, 2]
    assert all(one.judged.failure is None for one in episodes)
    assert all(len(one.tokens) == len(one.logprobs) > 0 for one in episodes)


def test_what_fails_in_an_evaluation_is_asked_again(tiny, scripted):
    undisturbed = evaluate(tiny, CHOSEN, tasks_of(scripted), episodes=EVALUATION, version=0, seed=0)
    scripted.evaluation_failing = {1: iter([HUNG, UNVERIFIED])}
    scripted.evaluation_unreachable = {4: iter([HUNG, HUNG])}
    tasks = tasks_of(scripted)
    again = evaluate(tiny, CHOSEN, tasks, episodes=EVALUATION, version=0, seed=0)
    assert again == undisturbed
    assert tasks.voided == Voided(infrastructure=1, verifier=1, late=1)


def test_an_evaluation_that_misses_episodes_says_which_and_why(tiny):
    training, evaluation = kinds()
    evaluation[2] = Puzzle("Reverse this. " * 9, "")
    scripted = ScriptedTasks(training, evaluation)
    scripted.evaluation_failing = {1: itertools.repeat(UNVERIFIED)}
    scripted.evaluation_unreachable = {4: itertools.repeat(HUNG)}
    tasks = tasks_of(scripted)
    found = evaluate(tiny, CHOSEN, tasks, episodes=EVALUATION + 2, version=0, seed=0)
    assert [one.task for one in found.episodes] == [0, 3, 5, 6, 7, 0]
    assert tasks.voided == Voided(verifier=2 * CHOSEN.rollout_tries)
    with pytest.raises(RunError) as error:
        found.complete()
    assert str(error.value) == (
        "4 of 10 episodes of the evaluation could not be judged: "
        "1 of task 2: the prompt is empty, or longer than promptTokens 24; "
        "1 of task 4: took too long; 2 of task 1: the verifier is gone"
    )


def test_each_task_of_an_evaluation_weighs_the_same():
    def episode(task, reward, strict):
        return Episode(task, str(task), "", "", [], [], Judged(reward, {"strict": strict}))

    each = of_tasks(
        [episode(0, 1.0, 0.0), episode(1, 0.0, 0.0), episode(0, 0.0, 1.0), episode(0, 1.0, 1.0)],
        {"strict": Role.HELD_OUT},
    )
    assert [one.reward for one in each] == [pytest.approx(2 / 3), 0.0]
    found = over_tasks(each)
    assert found == (pytest.approx(1 / 3), pytest.approx(1 / 3), None)
    assert found.gap == pytest.approx(0)


def test_thousands_of_tasks_may_be_aside(tiny):
    count, only = 8000, 7999
    order = Order(count, seed=0)
    scripted = ScriptedTasks(kinds()[0][:1] * count, [])
    aside = tuple(task for task in range(count) if task != order.task(only))
    collector = Collector(
        model=tiny,
        chosen=CHOSEN,
        tasks=tasks_of(scripted),
        order=order,
        cursor=Cursor(aside=aside),
        seed=0,
        patient=True,
    )
    batch = collector.collect(tiny.parameters, version=0)
    assert {group.task for group in batch.groups} == {order.task(only)}
    assert batch.groups[0].position == only
    assert len(batch.groups) == CHOSEN.prompts


def test_another_environment_after_an_outage_is_refused(scripted):
    tasks = tasks_of(scripted)
    assert tasks.prompts([0], "training") == [kinds()[0][0].prompt]
    scripted.lost_steps = {0}
    scripted.chain = scripted.chain._replace(environment="sha256:other", tasks="sha256:other", image="i")
    with pytest.raises(ConfigError) as error:
        tasks.judge([Answer(0, "1")], "training")
    assert str(error.value) == (
        "the environment changed since the run began: environment was sha256:e and is sha256:other; "
        "tasks was sha256:t and is sha256:other; create another run"
    )
    assert scripted.handed == []


def test_an_environment_other_than_the_run_was_made_for_is_refused(scripted):
    known = {"tasks": "sha256:t", "rewards": "", "image": "sha256:i"}
    same = Tasks(scripted.connect, slots=1, outage_seconds=0.1, chain=known)
    assert same.chain == {**known, "environment": "sha256:e", "rewards": "sha256:r"}
    with pytest.raises(ConfigError, match="tasks was sha256:old and is sha256:t; create another run"):
        Tasks(scripted.connect, slots=1, outage_seconds=0.1, chain=known | {"tasks": "sha256:old"})


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
