"""Exported experience is read by Minari."""

import json

import gymnasium
import minari
import numpy as np
import pytest
from experience_steps import POLICY, World, origin, texts, whole
from innervate_rl.experience import ExperienceWriter, Keep, Split
from innervate_rl.experience import minari as exported
from innervate_rl.experience.reader import ExperienceReader


def load(monkeypatch, directory, reader, name="innervate/made-v0"):
    written = exported.write(directory / name, name, reader.episodes(), {"code_permalink": "made"})
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(directory))
    data = minari.load_dataset(name)
    assert data.total_episodes == written
    assert minari.list_local_datasets()[name]["total_episodes"] == written
    return data


def made(directory, fill, **options):
    with ExperienceWriter(directory, origin(), keep=Keep.ALL, **options) as writer:
        fill(writer)
        writer.flush()
    return ExperienceReader(directory)


def test_minari_reads_the_numbers_that_were_written(tmp_path, monkeypatch):
    steps = World(ends=0.3).steps(1, 30)
    reader = made(tmp_path / "e", lambda writer: writer.append_rollout(steps, iteration=0, policy=POLICY))
    data = load(monkeypatch, tmp_path / "m", reader)
    ours = [group.of(index) for group in reader.episodes() for index in range(len(group.number))]
    assert data.total_steps == 90
    assert data.observation_space == gymnasium.spaces.Box(-np.inf, np.inf, (4,), np.float32)
    assert data.action_space == gymnasium.spaces.Discrete(2)
    repeated = 0
    for theirs, rows in zip(data.iterate_episodes(), ours, strict=True):
        length = rows.num_rows
        assert theirs.observations.shape == (length + 1, 4)
        assert theirs.observations[:-1].tolist() == rows.column("observation").to_pylist()
        final = rows.column("final_observation")[length - 1].as_py()
        repeated += final is None
        assert theirs.observations[-1].tolist() == (final or rows.column("observation")[length - 1].as_py())
        assert theirs.actions.tolist() == rows.column("action").to_pylist()
        assert theirs.rewards.tolist() == rows.column("reward").to_pylist()
        assert theirs.terminations.tolist() == rows.column("terminated").to_pylist()
        assert theirs.truncations.tolist() == rows.column("truncated").to_pylist()
        assert theirs.infos["logprob"][:-1].tolist() == rows.column("logprob").to_pylist()
    about = list(data.storage.get_episode_metadata(range(data.total_episodes)))
    assert sum(each["finalObservation"] == "repeated" for each in about) == repeated > 0
    assert {(each["run"], each["runSeed"], each["policy"]) for each in about} == {("team/run", 3, POLICY)}
    assert {each["chain"] for each in about} == {origin().chain_digest()}


def test_minari_samples_and_filters_what_was_written(tmp_path, monkeypatch):
    def fill(writer):
        steps, lengths = whole([3, 4, 5], [1, 2, 3])
        writer.append_episodes(steps, lengths, iteration=0, policy=POLICY, split=Split.TRAINING)

    data = load(monkeypatch, tmp_path / "m", made(tmp_path / "e", fill))
    chosen = data.filter_episodes(lambda episode: episode.rewards.sum() >= 2)
    assert chosen.total_episodes == 2
    assert {len(episode) for episode in chosen.sample_episodes(2)} == {4, 5}


def test_texts_are_a_data_set_too(tmp_path, monkeypatch):
    reader = made(
        tmp_path / "e",
        lambda writer: writer.append_turns(texts(["one", "two!"]), iteration=0, policy=POLICY),
        rewards=("canary",),
    )
    data = load(monkeypatch, tmp_path / "m", reader)
    assert [list(episode.actions) for episode in data.iterate_episodes()] == [["one"], ["two!"]]
    assert [list(episode.observations) for episode in data.iterate_episodes()] == [["say it"] * 2] * 2
    assert isinstance(data.action_space, gymnasium.spaces.Text)
    assert [episode.infos["reward.canary"][0] for episode in data.iterate_episodes()] == [0.0, 0.0]


def test_pictures_keep_their_shape_and_type(tmp_path, monkeypatch):
    seen = np.random.default_rng(0).integers(0, 255, (3, 2, 5, 6, 1)).astype(np.uint8)
    steps, lengths = whole([3, 2], [1, 1])
    pictures = type(steps)(
        **{**{name: getattr(steps, name) for name in steps.__slots__}, "observation": seen}
    )
    reader = made(
        tmp_path / "e",
        lambda writer: writer.append_episodes(pictures, lengths, iteration=0, policy=POLICY),
    )
    data = load(monkeypatch, tmp_path / "m", reader)
    first, second = data.iterate_episodes()
    assert first.observations.dtype == np.uint8
    np.testing.assert_array_equal(first.observations[:-1], seen[:, 0])
    np.testing.assert_array_equal(second.observations[:-1], seen[:2, 1])


def test_an_export_of_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no episodes"):
        exported.write(tmp_path / "none-v0", "none-v0", iter(()), {})


def test_what_was_said_beside_the_data_stays(tmp_path):
    reader = made(
        tmp_path / "e", lambda writer: writer.append_rollout(World().steps(1, 9), iteration=0, policy=POLICY)
    )
    exported.write(tmp_path / "m-v0", "m-v0", reader.episodes(), {"innervate": {"digest": "sha256:0"}})
    document = json.loads((tmp_path / "m-v0" / "data" / "metadata.json").read_text())
    assert document["innervate"] == {"digest": "sha256:0"}
