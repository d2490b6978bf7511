"""A run's experience leaves as an archive, with an account of what is in it."""

import dataclasses
import io
import json
import subprocess
import sys
import tarfile

import minari
import numpy as np
import pyarrow.parquet as pq
import pytest
from experience_steps import POLICY, World, origin, whole
from innervate_rl.experience import ExperienceWriter, Keep
from innervate_rl.experience.curation import Distinct, Rules
from innervate_rl.experience.export import ExportError, Format, Request, seeds, stream, write


@pytest.fixture
def run(tmp_path):
    directory = tmp_path / "run"
    for seed in (0, 1, 10):
        with ExperienceWriter(
            directory / "seeds" / str(seed) / "experience", origin(), keep=Keep.ALL
        ) as writer:
            for number in range(2):
                steps = World().steps(100 * seed + number, 30, void=0.02)
                writer.append_rollout(steps, iteration=number, policy=POLICY)
                writer.flush()
    (directory / "seeds" / "2" / "experience").mkdir(parents=True)
    return directory


def test_parquet_has_a_file_a_seed_with_whole_episodes(run, tmp_path):
    account = write(run, tmp_path / "out", Request("made", Format.PARQUET, Rules()))
    files = sorted((tmp_path / "out" / "made").glob("*.parquet"))
    assert [file.name for file in files] == ["seed-0000.parquet", "seed-0001.parquet", "seed-0010.parquet"]
    rows = [row for file in files for row in pq.read_table(file).to_pylist()]
    assert all(row["valid"] for row in rows)
    assert sum(row["step"] == 0 for row in rows) == account["episodes"]["kept"] > 0
    assert account["seeds"] == [0, 1, 10] == [seed for seed in seeds(run) if seed != 2]
    assert json.loads((tmp_path / "out" / "made" / "curation.json").read_text()) == account


def test_training_and_evaluation_are_in_one_file_though_one_counts_in_fewer_bits(tmp_path):
    with ExperienceWriter(tmp_path / "run" / "seeds" / "0" / "experience", origin(), keep=Keep.ALL) as writer:
        steps = World().steps(1, 30)
        writer.append_rollout(
            dataclasses.replace(steps, action=steps.action.astype(np.int32)), iteration=0, policy=POLICY
        )
        writer.flush()
        evaluated, lengths = whole([3, 5], [1.0, 2.0])
        writer.append_episodes(evaluated, lengths, iteration=1, policy=POLICY)
        writer.flush()
    write(tmp_path / "run", tmp_path / "out", Request("made", Format.PARQUET, Rules()))
    rows = pq.read_table(tmp_path / "out" / "made" / "seed-0000.parquet").to_pylist()
    assert {row["split"] for row in rows} == {"training", "evaluation"}


def test_an_archive_of_minari_is_read_by_minari(run, tmp_path, monkeypatch):
    out = io.BytesIO()
    request = Request("team/run-v0", Format.MINARI, Rules(distinct=Distinct.EXACT), seeds=(1,))
    account = stream(run, out, request)
    out.seek(0)
    with tarfile.open(fileobj=out) as archive:
        archive.extractall(tmp_path / "sets", filter="data")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "sets"))
    data = minari.load_dataset("team/run-v0")
    assert data.total_episodes == account["episodes"]["kept"]
    assert data.storage.metadata["innervate"]["digest"] == account["digest"]


def test_the_program_says_what_it_exported(run):
    command = [sys.executable, "-m", "innervate_rl.experience", f"--run={run}", "--name=made"]
    done = subprocess.run([*command, "--lowest=3", "--seed=0"], capture_output=True, check=True)
    account = json.loads(done.stderr.splitlines()[-1])
    assert account["rules"]["lowest"] == 3
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        assert "./made/seed-0000.parquet" in archive.getnames()
    refused = subprocess.run([*command, "--seed=2"], capture_output=True, check=False)
    assert refused.returncode == 2
    assert json.loads(refused.stderr)["error"] == "seed 2 has no experience"
    assert refused.stdout == b""


def test_an_export_of_no_episode_is_refused_with_its_reasons(run, tmp_path):
    with pytest.raises(ExportError, match="outOfRange"):
        write(run, tmp_path / "out", Request("made", Format.PARQUET, Rules(lowest=1e9)))
    assert not (tmp_path / "out").exists()
