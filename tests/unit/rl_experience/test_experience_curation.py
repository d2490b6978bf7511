"""Curation leaves out what it says, keeps what is rare, and does the same each time."""

import dataclasses

import numpy as np
import pytest
from experience_steps import POLICY, World, origin, texts, whole
from innervate_rl.experience import ExperienceWriter, Keep, Split, episodes, likeness, parts
from innervate_rl.experience.curation import Distinct, Rules, account, canonical, choose, chosen
from innervate_rl.experience.reader import ExperienceReader


def made(directory, fill, **options):
    with ExperienceWriter(directory, origin(), keep=Keep.ALL, **options) as writer:
        fill(writer)
        writer.flush()
    return ExperienceReader(directory)


def said(directory, answers, **options):
    return made(
        directory,
        lambda writer: writer.append_turns(texts(answers, **options), iteration=0, policy=POLICY),
        rewards=("canary",),
    )


def actions(reader, rules):
    choice = choose([reader], rules)
    found = [text for group in chosen([reader], choice) for text in group.rows.column("action").to_pylist()]
    return found, choice.counts


def test_void_and_unfinished_episodes_are_left_out(tmp_path):
    steps = World().steps(3, 40, void=0.05)
    reader = made(tmp_path, lambda writer: writer.append_rollout(steps, iteration=0, policy=POLICY))
    choice = choose([reader], Rules())
    kept = list(chosen([reader], choice))
    assert all(group.valid.all() and group.ended.all() for group in kept)
    assert choice.counts["void"] > 0
    assert choice.counts["unfinished"] > 0
    assert choice.counts["kept"] == sum(len(group.number) for group in kept)
    everything = choose([reader], Rules(valid=False, whole=False)).counts
    assert everything["kept"] == everything["read"] == choice.counts["read"]


def test_returns_outside_the_range_are_left_out(tmp_path):
    steps, lengths = whole([2] * 10, range(10))
    reader = made(tmp_path, lambda writer: writer.append_episodes(steps, lengths, iteration=0, policy=POLICY))
    choice = choose([reader], Rules(lowest=3, highest=6))
    assert choice.kept == (frozenset({3, 4, 5, 6}),)
    assert choice.counts["outOfRange"] == 6


def test_a_split_can_be_asked_for(tmp_path):
    def fill(writer):
        steps, lengths = whole([2, 2], [1, 2])
        writer.append_episodes(steps, lengths, iteration=0, policy=POLICY, split=Split.TRAINING)
        writer.append_episodes(steps, lengths, iteration=1, policy=POLICY)

    reader = made(tmp_path, fill)
    assert choose([reader], Rules(split=Split.EVALUATION)).kept == (frozenset({2, 3}),)


def test_equal_episodes_are_kept_once(tmp_path):
    found, counts = actions(said(tmp_path, ["a b", "c!", "a b", "a b"]), Rules(distinct=Distinct.EXACT))
    assert found == ["a b", "c!"]
    assert counts["duplicate"] == 2


def test_the_same_words_in_another_task_are_no_repetition(tmp_path):
    reader = said(tmp_path, ["a b", "a b"], task=["one", "other"])
    assert actions(reader, Rules(distinct=Distinct.NEAR))[1]["kept"] == 2


LONG = " ".join(f"word{number}" for number in range(120))


def test_nearly_equal_texts_are_kept_once(tmp_path):
    answers = [LONG, LONG.replace("word60", "else"), " ".join(f"other{number}" for number in range(120))]
    reader = said(tmp_path, answers)
    found, counts = actions(reader, Rules(distinct=Distinct.NEAR))
    assert found == [answers[0], answers[2]]
    assert counts["nearDuplicate"] == 1
    assert actions(reader, Rules(distinct=Distinct.EXACT))[1]["kept"] == 3


def test_trajectories_that_hardly_differ_are_near_duplicates(tmp_path):
    draw = np.random.default_rng(0)
    seen = draw.normal(size=(60, 1, 4))
    both = np.concatenate([seen, seen + 1e-4, draw.normal(size=(60, 1, 4))], axis=1)
    steps, lengths = whole([60] * 3, [1] * 3, observation=both)
    same = dataclasses.replace(steps, action=np.repeat(steps.action[:, :1], 3, axis=1))
    reader = made(tmp_path, lambda writer: writer.append_episodes(same, lengths, iteration=0, policy=POLICY))
    assert choose([reader], Rules(distinct=Distinct.NEAR)).kept == (frozenset({0, 2}),)


@pytest.mark.parametrize("like", [0.3, 0.7, 0.95])
def test_signatures_agree_in_the_share_of_like_steps(like):
    draw = np.random.default_rng(1)
    shared, apart = int(400 * like), 400 - int(400 * like)
    first, second, both = (
        [f"{letter}{draw.integers(1 << 60)}" for _ in range(count)]
        for letter, count in (("a", apart), ("b", apart), ("c", shared))
    )
    jaccard = shared / (shared + 2 * apart)
    salted = [
        likeness._mixed(likeness._hashed(words)[:, None] ^ likeness._SALTS).min(axis=0)
        for words in (first + both, second + both)
    ]
    # 64 hashes: four standard errors.
    assert np.mean(salted[0] == salted[1]) == pytest.approx(
        jaccard, abs=4 * np.sqrt(jaccard * (1 - jaccard) / 64)
    )


def test_balancing_cuts_the_over_full_classes_of_difficulty(tmp_path):
    tasks, answers = [], []
    for task, right, wrong in (("easy", 40, 0), ("middle", 5, 5), ("hard", 1, 9)):
        tasks += [task] * (right + wrong)
        answers += [f"{task} {number}!" for number in range(right)]
        answers += [f"{task} {number}" for number in range(wrong)]
    reader = said(tmp_path, answers, task=tasks)
    found, counts = actions(reader, Rules(balance=True, rare=0.0))
    by_task = {task: sum(text.startswith(task) for text in found) for task in ("easy", "middle", "hard")}
    assert by_task == {"easy": 10, "middle": 10, "hard": 10}
    assert counts["balanced"] == 30
    assert "hard 0!" in found


def test_successes_in_hard_tasks_survive_balancing(tmp_path):
    right = [f"hard {number}!" for number in range(8)]
    answers = [f"hard {number}" for number in range(60)] + right
    reader = said(tmp_path, [*answers, "easy!"], task=["hard"] * 68 + ["easy"])
    found, counts = actions(reader, Rules(balance=True, rare=0.0))
    assert set(right) <= set(found)
    assert len(found) == 34 + 1 + counts["rare"]  # the median class has 34
    assert counts["rare"] > 0


def test_the_rarest_episode_survives_balancing(tmp_path):
    seen = np.random.default_rng(0).normal(size=(5, 41, 4)) * 0.01
    seen[:, 40] += 9.0
    steps, lengths = whole([5] * 41, [1.0] * 40 + [1.001], observation=seen)
    reader = made(tmp_path, lambda writer: writer.append_episodes(steps, lengths, iteration=0, policy=POLICY))
    (group,) = reader.episodes()
    assert int(np.argmax(episodes.rarity(episodes.features(group)))) == 40
    assert 40 in choose([reader], Rules(balance=True, rare=0.03)).kept[0]


def test_the_same_is_chosen_each_time_and_accounted_for(tmp_path):
    steps = World().steps(3, 200, void=0.01)
    readers = [
        made(tmp_path / str(seed), lambda writer: writer.append_rollout(steps, iteration=0, policy=POLICY))
        for seed in (0, 1)
    ]
    rules = Rules(distinct=Distinct.NEAR, balance=True)
    first, second = (choose(readers, rules) for _ in range(2))
    assert first == second
    assert first.counts["duplicate"] >= choose(readers[:1], rules).counts["kept"]
    told = account(readers, rules, first)
    assert told["digest"] == first.digest
    assert told["sources"] == [reader.head() for reader in readers]
    assert canonical(told) == canonical(account(readers, rules, second))
    counts = dict(first.counts)
    assert counts.pop("read") == sum(counts.values()) - counts["rare"]


def test_another_content_is_another_digest(tmp_path):
    digests = {
        choose([said(tmp_path / name, answers)], Rules()).digest
        for name, answers in (("a", ["one", "two"]), ("b", ["one", "three"]), ("c", ["one", "two"]))
    }
    assert len(digests) == 2


def test_nothing_read_is_nothing_chosen(tmp_path):
    choice = choose([ExperienceReader(tmp_path)], Rules(balance=True))
    assert choice.counts["read"] == choice.counts["kept"] == 0


def test_a_part_that_was_changed_is_found_out(tmp_path):
    with ExperienceWriter(tmp_path, origin(), keep=Keep.ALL) as writer:
        for number in range(3):
            writer.append_rollout(World().steps(number, 9), iteration=number, policy=POLICY)
            writer.flush()
    ExperienceReader(tmp_path).verify()
    first, second = (parts.path(tmp_path, number) for number in (0, 1))
    there = first.read_bytes(), second.read_bytes()
    first.write_bytes(there[1])
    with pytest.raises(parts.PartError, match="follows another file"):
        ExperienceReader(tmp_path).verify()
    first.write_bytes(there[0])
    second.unlink()
    with pytest.raises(parts.PartError, match="missing"):
        ExperienceReader(tmp_path)
