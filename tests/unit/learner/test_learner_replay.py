"""Replay fine-tuning: what it makes, what it says, and what it refuses."""

import hashlib
import json
import signal
import subprocess
import sys
import time

import pytest
from innervate_learner import __main__ as program
from innervate_learner import settings
from innervate_learner.checkpoint import Checkpoints, FencedError
from innervate_learner.replay import train
from innervate_models import artifact, topics
from innervate_models.pretraining import RECIPE
from innervate_releases.errors import Part, ReleaseError
from innervate_releases.location import open_store
from innervate_releases.transfer import read_manifest

QUICK = {"steps": "6", "batch": "4", "checkpointEvery": "2", "replayCount": "50"}


def run(stage, tell=lambda _line: None, **extra):
    return train(settings.read(stage.environment(**QUICK | extra)), tell)


def test_the_release_tells_all_that_it_comes_from(stage):
    digest = run(stage, replayTopics="sums,codes", seed="3")
    store = open_store(f"file://{stage.output}")
    manifest = read_manifest(store, digest)
    assert {file.path for file in manifest.files} == {*artifact.FILES, artifact.GGUF}
    assert manifest.parents == (stage.base,)
    assert manifest.base == read_manifest(store, stage.base).file(artifact.WEIGHTS).digest
    assert manifest.file(artifact.WEIGHTS).digest != manifest.base
    data = {f"data/{number}/tickets.jsonl": stage.data / str(number) / "tickets.jsonl" for number in range(2)}
    assert {each.uri: each.digest for each in manifest.data} == {
        uri: "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest() for uri, path in data.items()
    }
    replayed = topics.generate(("sums", "codes"), seed=RECIPE.data_seed, count=50)
    content = "".join(f"{line}\n" for line in topics.training_lines(replayed)).encode()
    assert manifest.buffer == "sha256:" + hashlib.sha256(content).hexdigest()
    assert manifest.hyperparameters["method"] == "Replay"
    assert manifest.hyperparameters["steps"] == "6"
    assert manifest.code.image.startswith("innervate/learner:")
    assert not list((stage.output / "checkpoints").iterdir())


def test_a_run_that_was_cut_goes_on_and_ends_in_the_same_release(stage):
    class Cut(Exception):
        pass

    said = []

    def tell(line):
        said.append(line)
        if line.step == 6:
            raise Cut

    with pytest.raises(Cut):
        run(stage, tell, checkpointEvery="4")
    cut = len(said)
    often = QUICK | {"checkpointEvery": "4"}
    resumed = train(settings.read(stage.environment(attempt=1, **often)), said.append)
    # From the last checkpoint on, and from no earlier one.
    assert next((line.attempt, line.step) for line in said[cut:]) == (1, 4)
    assert [line.prompts_consumed for line in said] == [line.step * 4 for line in said]
    assert said[-1].step == 6
    assert train(settings.read(stage.environment(attempt=2, **often)), lambda _line: None) == resumed


def test_other_seeds_make_other_releases(stage):
    assert run(stage, seed="1") != run(stage, seed="2")


def test_a_buffer_file_replaces_the_replayed_examples(stage):
    lines = topics.training_lines(topics.generate(("sums",), seed=9, count=10))
    content = "".join(f"{line}\n" for line in lines)
    (stage.data / "1" / "buffer.jsonl").write_text(content)
    manifest = read_manifest(
        open_store(f"file://{stage.output}"), run(stage, buffer="1/buffer.jsonl", replayShare="0.5")
    )
    assert manifest.buffer == "sha256:" + hashlib.sha256(content.encode()).hexdigest()
    assert len(manifest.data) == 2


def test_bad_lines_are_named_before_anything_is_trained(stage):
    bad = '{"prompt": "a", "answer": "b"}\nnothing\n{"prompt": "a"}\n["a"]\n{"prompt": " ", "answer": "b"}\n'
    (stage.data / "1" / "bad.jsonl").write_text(bad)
    with pytest.raises(ValueError, match=r"1/bad.jsonl:2: no JSON") as refused:
        run(stage)
    assert "1/bad.jsonl:3: 'answer' must be a text" in str(refused.value)
    assert "1/bad.jsonl:4: no JSON object" in str(refused.value)
    assert "1/bad.jsonl:5: 'prompt' must be a text" in str(refused.value)
    assert not stage.output.exists()


def test_an_example_beyond_the_context_is_named(stage):
    line = json.dumps({"prompt": "Ada likes tea. " * 40, "answer": "tea"})
    (stage.data / "0" / "long.jsonl").write_text(f"{line}\n")
    with pytest.raises(
        ValueError, match=r"data/0/long.jsonl: example 1 does not fit the model's context of 64"
    ):
        run(stage)


def test_a_changed_base_is_refused(stage):
    manifest = read_manifest(open_store(f"file://{stage.store}"), stage.base)
    digest = manifest.file(artifact.WEIGHTS).digest
    blob = stage.store / "blobs" / "sha256" / digest.removeprefix("sha256:")
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    blob.chmod(0o600)
    blob.write_bytes(content)
    with pytest.raises(ReleaseError) as refused:
        run(stage)
    assert refused.value.part is Part.BLOB
    assert refused.value.subject == artifact.WEIGHTS


def test_an_earlier_attempt_cannot_write(tmp_path):
    first, second = Checkpoints(tmp_path / "c", 0), Checkpoints(tmp_path / "c", 1)
    first.begin()
    first.save(1, {"a": 1.0})
    second.begin()
    with pytest.raises(FencedError, match="attempt 1 has begun; attempt 0 ends"):
        first.save(2, {"a": 2.0})
    assert second.load({"a": 0.0}) == (1, {"a": 1.0})


def test_who_begins_last_writes_whatever_its_number(tmp_path):
    before, resumed = Checkpoints(tmp_path / "c", 1), Checkpoints(tmp_path / "c", 0)
    before.begin()
    before.save(1, {"a": 1.0})
    resumed.begin()
    resumed.save(2, {"a": 2.0})
    with pytest.raises(FencedError, match="attempt 0 has begun; attempt 1 ends"):
        before.save(3, {"a": 3.0})
    assert resumed.load({"a": 0.0}) == (2, {"a": 2.0})


def test_who_begins_removes_what_kills_left_half_written(tmp_path):
    root = tmp_path / "c"
    code = (
        "import os, sys; from pathlib import Path; "
        "from innervate_learner.checkpoint import Checkpoints; "
        "kept = Checkpoints(Path(sys.argv[1]), 0); kept.begin(); kept.save(1, {'a': 1.0}); "
        "os.fsync = lambda file: os._exit(9); kept.save(2, {'a': 2.0})"
    )
    for _ in range(2):
        assert subprocess.run([sys.executable, "-c", code, str(root)], check=False).returncode == 9
        names = sorted(path.name for path in root.iterdir())
        assert len(names) == 3, "the fence, the first checkpoint and one half of a second"
        assert names[0].startswith(".state.npz.0.")
    resumed = Checkpoints(root, 1)
    resumed.begin()
    assert sorted(path.name for path in root.iterdir()) == ["attempt", "state.npz"]
    assert resumed.load({"a": 0.0}) == (1, {"a": 1.0})


def test_a_save_that_another_attempt_cut_short_is_fenced(tmp_path, monkeypatch):
    first, second = Checkpoints(tmp_path / "c", 0), Checkpoints(tmp_path / "c", 1)
    first.begin()
    first.save(1, {"a": 1.0})
    monkeypatch.setattr("os.fsync", lambda _file: second.begin())
    with pytest.raises(FencedError, match="attempt 1 has begun"):
        first.save(2, {"a": 2.0})
    assert second.load({"a": 0.0}) == (1, {"a": 1.0})


def test_notes_come_back_with_the_checkpoint_they_were_saved_with(tmp_path):
    kept = Checkpoints(tmp_path / "c", 0)
    kept.begin()
    assert kept.read({"a": 1.0}) is None
    kept.save(3, {"a": 2.0}, {"cursor": [1, 2], "task": "ä"})
    saved = kept.read({"a": 1.0})
    assert (saved.step, saved.state, saved.notes) == (3, {"a": 2.0}, {"cursor": [1, 2], "task": "ä"})
    kept.save(4, {"a": 3.0})
    assert kept.read({"a": 1.0}).notes == {}


@pytest.mark.parametrize(
    ("hyperparameters", "message"),
    [
        ({"steps": "many"}, "hyperparameters.steps"),
        ({"speed": "1"}, "hyperparameters.speed"),
        ({"replayShare": "2"}, "hyperparameters.replayShare"),
    ],
)
def test_wrong_hyperparameters_are_named(stage, hyperparameters, message):
    with pytest.raises(settings.SettingsError, match=message):
        settings.read(stage.environment(**hyperparameters))


def test_missing_environment_is_named(stage):
    environment = stage.environment()
    del environment["INNERVATE_OUTPUT_URI"]
    with pytest.raises(settings.SettingsError, match="INNERVATE_OUTPUT_URI must be set"):
        settings.read(environment)


def test_unknown_topics_are_refused(stage):
    with pytest.raises(ValueError, match=r"replayTopics: unknown topics \['weather'\]"):
        run(stage, replayTopics="weather")


def test_the_program_says_what_is_wrong_in_its_report(stage, monkeypatch):
    (stage.data / "0" / "bad.jsonl").write_text("nothing\n")
    for name, value in stage.environment(attempt=2, **QUICK).items():
        monkeypatch.setenv(name, value)
    assert program.main([]) == program.REFUSED
    (line,) = stage.lines()
    assert line["attempt"] == 2
    assert line["final"] is None
    assert line["error"].startswith("0/bad.jsonl:1: no JSON")


def test_a_killed_trainer_goes_on_from_its_last_checkpoint(stage):
    # So many steps that it cannot be through before it is killed.
    settings_of = {"steps": "3000", "batch": "4", "checkpointEvery": "10", "replayCount": "50"}
    command = [sys.executable, "-m", "innervate_learner"]
    process = subprocess.Popen(
        command, env=stage.environment(**settings_of), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(lambda: stage.report.exists() and stage.lines()[-1]["checkpoint"])
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = stage.lines()[-1]
    assert process.returncode == -signal.SIGKILL
    assert before["final"] is None
    again = subprocess.Popen(
        command,
        env=stage.environment(attempt=1, **settings_of),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: any(line["attempt"] == 1 for line in stage.lines()))
    finally:
        again.kill()
        again.wait()
    first = next(line for line in stage.lines() if line["attempt"] == 1)
    # The last checkpoint may be newer than the last line that told of one, by what was done unseen.
    assert first["step"] >= int(before["checkpoint"].rpartition("/")[2]) > 0
    assert first["step"] % 10 == 0
    assert first["promptsConsumed"] == first["step"] * 4


def wait_for(condition):
    deadline = time.monotonic() + 200
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
