"""Experience is written once: whole parts, no row lost or doubled by a crash."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from experience_steps import CHAIN, POLICY, World, one_by_one, origin, texts, whole
from innervate_rl.experience import Cursor, ExperienceWriter, Keep, Steps, parts, writer
from innervate_rl.experience.reader import ExperienceReader

WORLD = World()


def written(directory):
    found = ExperienceReader(directory)
    found.verify()
    tables = list(found.tables())
    return pa.concat_tables(tables).to_pylist() if tables else []


def train(directory, rollouts, *, keep=Keep.ALL, attempt=0, begin=0, killed=False, **options):
    """Append rollouts, flushing after each; returns the cursors, that of the beginning first."""
    made = ExperienceWriter(directory, origin(attempt), keep=keep, **options)
    cursors = [options.get("cursor", Cursor())]
    for number, steps in enumerate(rollouts[begin:], begin):
        made.append_rollout(steps, iteration=number, policy=POLICY)
        cursors.append(made.flush())
    if not killed:
        made.close()
    return cursors


def rollouts(count=6, length=20, void=0.02):
    return [WORLD.steps(seed, length, void=void) for seed in range(count)]


def without_attempt(rows):
    return [{name: value for name, value in row.items() if name != "attempt"} for row in rows]


def test_every_step_is_a_row_with_its_episode_and_origin(tmp_path):
    made = rollouts()
    train(tmp_path, made)
    rows = written(tmp_path)
    for row, known in zip(rows, one_by_one(made), strict=True):
        ended = known.pop("ended")
        assert {name: row[name] for name in known} == known
        assert (row["terminated"] or row["truncated"] or not row["valid"]) == ended
    assert {(row["run"], row["seed"], row["attempt"], row["policy"]) for row in rows} == {
        ("team/run", 3, 0, POLICY)
    }
    assert {row["chain"] for row in rows} == {origin().chain_digest()}
    assert ExperienceReader(tmp_path).chains() == [CHAIN]
    assert [row["iteration"] for row in rows] == sorted(row["iteration"] for row in rows)


def test_several_iterations_at_once_are_the_rows_of_one_after_the_other(tmp_path):
    made = WORLD.steps(1, 40)
    with ExperienceWriter(tmp_path, origin(), keep=Keep.ALL) as whole_writer:
        whole_writer.append_rollout(
            made, iteration=np.repeat([5, 6], 20), policy=["sha256:old"] * 20 + ["sha256:new"] * 20
        )
        whole_writer.flush()
    rows = written(tmp_path)
    assert {(row["iteration"], row["policy"]) for row in rows} == {(5, "sha256:old"), (6, "sha256:new")}
    assert len({(row["episode"], row["step"]) for row in rows}) == len(rows) == 40 * WORLD.environments


@pytest.mark.parametrize("keep", [Keep.ALL, Keep.BEST])
@pytest.mark.parametrize("committed", [0, 1, 4])
@pytest.mark.parametrize("spill", [30, 1 << 16])
def test_a_resumed_run_has_the_rows_of_an_undisturbed_one(tmp_path, monkeypatch, keep, committed, spill):
    monkeypatch.setattr(writer, "_SPILL_ROWS", spill)
    made = rollouts()
    train(tmp_path / "undisturbed", made, keep=keep, max_episodes=12)
    # The last flush was not followed by its checkpoint; half a part was on its way too.
    cursors = train(tmp_path / "killed", made[: committed + 1], keep=keep, max_episodes=12, killed=True)
    (tmp_path / "killed" / ".part-00000099.parquet.0").write_bytes(b"PAR1")
    train(
        tmp_path / "killed",
        made,
        keep=keep,
        max_episodes=12,
        attempt=1,
        cursor=Cursor.of(cursors[committed].document()),
        begin=committed,
    )
    undisturbed, resumed = written(tmp_path / "undisturbed"), written(tmp_path / "killed")
    assert undisturbed
    assert without_attempt(resumed) == without_attempt(undisturbed)
    assert not list((tmp_path / "killed").glob(".*"))


def test_what_was_not_flushed_is_not_there(tmp_path):
    with ExperienceWriter(tmp_path, origin(), keep=Keep.ALL) as made:
        made.append_rollout(WORLD.steps(0, 10), iteration=0, policy=POLICY)
    assert written(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_long_rollouts_leave_memory_before_they_are_flushed(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "_SPILL_ROWS", 64)
    made = rollouts(count=8)
    with ExperienceWriter(tmp_path, origin(), keep=Keep.ALL) as spilling:
        for number, steps in enumerate(made):
            spilling.append_rollout(steps, iteration=number, policy=POLICY)
            assert spilling._waiting_rows < 64
        assert spilling.flush() == Cursor(0, 1)
    assert [row["reward"] for row in written(tmp_path)] == [row["reward"] for row in one_by_one(made)]


def best(rows, count):
    """Numbers of the episodes of the highest returns, the plain way."""
    ended, gained, void = set(), {}, set()
    for row in rows:
        gained[row["episode"]] = gained.get(row["episode"], 0) + row["reward"]
        ended |= {row["episode"]} if row["ended"] else set()
        void |= set() if row["valid"] else {row["episode"]}
    order = sorted(ended - void, key=lambda number: (-gained[number], number))
    return set(order[:count]), set(gained) - ended


@pytest.mark.parametrize("spill", [0, 50, 1 << 16])
def test_the_best_episodes_stay(tmp_path, monkeypatch, spill):
    monkeypatch.setattr(writer, "_SPILL_ROWS", spill)
    made = rollouts(count=12)
    train(tmp_path, made, keep=Keep.BEST, max_episodes=7)
    known = one_by_one(made)
    wanted, unfinished = best(known, 7)
    rows = written(tmp_path)
    assert {row["episode"] for row in rows} == wanted | unfinished
    assert len(rows) == sum(row["episode"] in wanted | unfinished for row in known)
    assert {row["valid"] for row in rows if row["episode"] in wanted} == {True}


def test_rows_of_the_best_are_written_once_until_most_are_dead(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "_SPILL_ROWS", 100)
    made = rollouts(count=40)
    cursors = train(tmp_path, made, keep=Keep.BEST, max_episodes=7)
    firsts = [cursor.first for cursor in cursors]
    assert len(set(firsts)) > 2
    there = parts.current(tmp_path)
    assert [part.number for part in parts.present(tmp_path)] == [part.number for part in there]
    whole = sum(table.num_rows for part in there for table in part.tables())
    assert whole == there[-1].about()["rows"] <= 2 * len(written(tmp_path)) + 100 + 60
    # Each part but those put together anew has at most the rows that came in it.
    begun = [cursor.next - 1 for before, cursor in pairwise(cursors) if cursor.first == before.first]
    sizes = {part.number: sum(table.num_rows for table in part.tables()) for part in there}
    assert [sizes[number] for number in begun if sizes.get(number, 0) > 60] == []
    assert set(begun) & set(sizes)


def test_of_all_episodes_the_newest_stay_in_whole_parts(tmp_path):
    made = rollouts(count=10)
    cursors = train(tmp_path, made, max_episodes=20)
    ends = [sum(row["ended"] for row in one_by_one([steps])) for steps in made]
    first = cursors[-1].first
    assert first > 0
    assert sum(ends[first:]) >= 20 > sum(ends[first + 1 :])
    assert [part.number for part in parts.present(tmp_path)] == list(range(first, 10))
    assert {row["iteration"] for row in written(tmp_path)} == set(range(first, 10))


def test_a_checkpoint_finds_its_parts_until_the_next_one_is_saved(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "_MOST_PARTS", 1)
    cursors = train(tmp_path, rollouts(count=2), keep=Keep.BEST, max_episodes=3, killed=True)
    assert cursors[1:] == [Cursor(0, 1), Cursor(1, 2)]
    # It was killed before the second checkpoint was saved.
    ExperienceWriter(tmp_path, origin(1), keep=Keep.BEST, max_episodes=3, cursor=cursors[1])
    assert [part.number for part in parts.present(tmp_path)] == [0]


def test_a_writer_that_ends_in_an_error_leaves_what_the_last_checkpoint_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "_MOST_PARTS", 1)
    made, saved = rollouts(count=2), []

    def crash():
        with ExperienceWriter(tmp_path, origin(), keep=Keep.BEST, max_episodes=3) as running:
            for number, steps in enumerate(made):
                running.append_rollout(steps, iteration=number, policy=POLICY)
                saved.append(running.flush())
            raise OSError("the volume is full: the checkpoint is not saved")

    with pytest.raises(OSError, match="full"):
        crash()
    train(tmp_path, made, keep=Keep.BEST, max_episodes=3, attempt=1, cursor=saved[0], begin=1)
    train(tmp_path / "undisturbed", made, keep=Keep.BEST, max_episodes=3)
    assert without_attempt(written(tmp_path)) == without_attempt(written(tmp_path / "undisturbed"))


def test_nothing_of_the_training_is_kept_unless_asked_for(tmp_path):
    with ExperienceWriter(tmp_path, origin()) as made:
        assert not made.wants_training
        made.append_rollout(WORLD.steps(0, 50), iteration=0, policy=POLICY)
        assert made.flush() == Cursor()
        assert list(tmp_path.iterdir()) == []
        steps, lengths = whole([3] * 20, range(20))
        made.append_episodes(steps, lengths, iteration=9, policy=POLICY)
        assert made.flush() == Cursor(0, 1)
    shown = {row["episode"] for row in written(tmp_path)}
    assert len(shown) == 9
    assert {0, 1, 2, 17, 18, 19} <= shown


def test_of_several_evaluations_the_newest_is_shown(tmp_path):
    with ExperienceWriter(tmp_path, origin(), keep=Keep.BEST, max_episodes=2) as made:
        for iteration in (1, 2):
            steps, lengths = whole([3] * 20, range(20), seed=iteration)
            made.append_episodes(steps, lengths, iteration=iteration, policy=POLICY)
            made.flush()
    rows = written(tmp_path)
    assert {(row["split"], row["iteration"]) for row in rows} == {("evaluation", 2)}


def test_padding_is_no_experience(tmp_path):
    with ExperienceWriter(tmp_path, origin(), keep=Keep.ALL) as made:
        steps, lengths = whole([2, 5, 1], [7, 8, 9])
        made.append_episodes(steps, lengths, iteration=0, policy=POLICY)
        made.flush()
    rows = written(tmp_path)
    assert [(row["episode"], row["step"]) for row in rows] == [
        *((0, step) for step in range(2)),
        *((1, step) for step in range(5)),
        (2, 0),
    ]
    assert [row["reward"] for row in rows if row["terminated"]] == [7, 8, 9]
    assert {row["final_observation"] for row in rows} == {None}


def test_turns_of_text_carry_their_tokens_and_rewards_by_name(tmp_path):
    with ExperienceWriter(tmp_path, origin(), keep=Keep.ALL, rewards=("canary", "heldOut")) as made:
        made.append_turns(texts(["one", "two!"], valid=[True, False]), iteration=4, policy=POLICY)
        made.append_turns(texts(["three!"]), iteration=5, policy=POLICY)
        made.flush()
    rows = written(tmp_path)
    assert [row["episode"] for row in rows] == [0, 1, 2]
    assert [row["action"] for row in rows] == ["one", "two!", "three!"]
    assert [row["valid"] for row in rows] == [True, False, True]
    assert rows[1]["token_ids"] == [0, 1, 2, 3]
    assert rows[1]["logprob"] == sum(rows[1]["token_logprobs"]) == -2.0
    assert {(row["reward.canary"], row["reward.heldOut"]) for row in rows} == {(0.0, None)}


def test_turns_out_of_order_are_refused(tmp_path):
    turns = texts(["one", "two"])
    swapped = type(turns)(**{**{name: getattr(turns, name) for name in turns.__slots__}, "episode": [1, 0]})
    made = ExperienceWriter(tmp_path, origin(), keep=Keep.ALL, rewards=("canary",))
    with pytest.raises(ValueError, match="follow each other"):
        made.append_turns(swapped, iteration=0, policy=POLICY)


def test_a_reward_that_was_not_announced_is_refused(tmp_path):
    made = ExperienceWriter(tmp_path, origin(), keep=Keep.ALL, rewards=("heldOut",))
    with pytest.raises(ValueError, match="not announced: canary"):
        made.append_turns(texts(["one"]), iteration=0, policy=POLICY)


def test_other_environments_than_before_are_refused(tmp_path):
    made = ExperienceWriter(tmp_path, origin(), keep=Keep.ALL)
    made.append_rollout(WORLD.steps(0, 5), iteration=0, policy=POLICY)
    with pytest.raises(ValueError, match="3 environments, now there are 4"):
        made.append_rollout(World(4).steps(0, 5), iteration=1, policy=POLICY)


def test_an_attempt_that_was_shut_out_puts_nothing_in_place(tmp_path):
    class ShutOutError(Exception):
        pass

    def fence():
        raise ShutOutError

    made = ExperienceWriter(tmp_path, origin(), keep=Keep.ALL, fence=fence)
    made.append_rollout(WORLD.steps(0, 5), iteration=0, policy=POLICY)
    with pytest.raises(ShutOutError):
        made.flush()
    assert parts.present(tmp_path) == []


def test_two_writers_do_not_overwrite_each_other(tmp_path):
    first, second = (ExperienceWriter(tmp_path, origin(attempt), keep=Keep.ALL) for attempt in (0, 1))
    for made in (second, first):
        made.append_rollout(WORLD.steps(0, 5), iteration=0, policy=POLICY)
    second.flush()
    with pytest.raises(parts.PartError, match="another attempt"):
        first.flush()
    assert {row["attempt"] for row in written(tmp_path)} == {1}


def test_a_cursor_whose_parts_are_gone_is_refused(tmp_path):
    cursors = train(tmp_path, rollouts(count=2))
    parts.path(tmp_path, 0).unlink()
    with pytest.raises(parts.PartError, match="missing"):
        ExperienceWriter(tmp_path, origin(), keep=Keep.ALL, cursor=cursors[-1])


def test_an_empty_batch_changes_nothing(tmp_path):
    made = ExperienceWriter(tmp_path, origin(), keep=Keep.ALL)
    empty = Steps(
        observation=np.zeros((0, 2, 4)),
        action=np.zeros((0, 2), int),
        reward=np.zeros((0, 2)),
        terminated=np.zeros((0, 2), bool),
        truncated=np.zeros((0, 2), bool),
    )
    made.append_rollout(empty, iteration=0, policy=POLICY)
    made.append_rollout(World(2).steps(0, 5), iteration=1, policy=POLICY)
    made.flush()
    assert [row["episode"] for row in written(tmp_path)][:1] == [0]
