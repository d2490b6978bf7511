"""A trainer of a language model that is killed goes on and ends as one that was left alone."""

import json
import os
import signal
import subprocess

import dying_trainer
from grpo_stage import EVALUATION, TRAINING, Stage, released, tiny_model
from innervate_rl import curves
from innervate_rl.experience import parts
from innervate_rl.grpo.puzzles import task_lines
from rl_seed import PROGRAM
from task_server import task_server

# An answer's letters are worth something, so that random answers differ and there is something to learn.
REWARDS = [
    {"name": name, "role": "Trained", "scorer": {"type": "Regex", "pattern": pattern}}
    for name, pattern in (("vowels", "[aeiou]"), ("short", "^.{0,12}$"), ("digits", "[0-9]"))
] + [{"name": "exact", "role": "HeldOut", "scorer": {"type": "Exact"}}]
UPDATES = 12
RUN = {"steps": 16 * UPDATES, "every": 48, "outageSeconds": "60", "keep": "All"}
SECONDS = 600
"""Far more than a run takes on a busy machine."""


def start(stage: Stage, command=PROGRAM, **changed):
    variables = stage.environment(**RUN, **changed)
    variables["INNERVATE_COMPILE_CACHE"] = str(stage.root / "compiled")
    return subprocess.Popen(command, env=os.environ | variables)


def result(stage: Stage, run: str) -> dict:
    return json.loads((stage.root / run / "seeds" / "0" / "result.json").read_text())


def rows(stage: Stage, run: str) -> list[tuple]:
    """What was learned from, answer by answer."""
    directory = stage.root / run / "seeds" / "0" / "experience"
    tables = [table.to_pylist() for part in parts.current(directory) for table in part.tables()]
    names = ("iteration", "task", "action", "reward", "policy")
    return sorted(tuple(row[name] for name in names) for table in tables for row in table)


def test_a_killed_run_ends_as_the_undisturbed_one(tmp_path):
    base = released(tiny_model(), tmp_path)
    with task_server(task_lines("reversal", training=TRAINING, evaluation=EVALUATION), REWARDS) as server:
        stage = Stage(tmp_path, base, server.endpoint)
        assert start(stage, run="undisturbed").wait(SECONDS) == 0
        file = tmp_path / "killed" / "seeds" / "0" / curves.FILE
        # Before the first checkpoint but that at the beginning, and behind a later one.
        for attempt, points in enumerate((2, 5)):
            command = (*dying_trainer.COMMAND, str(16 * points), "0")
            process = start(stage, command, run="killed", attempt=attempt)
            assert process.wait(SECONDS) == -signal.SIGKILL
            assert not (tmp_path / "killed" / "seeds" / "0" / "result.json").exists(), "it was not through"
        assert start(stage, run="killed", attempt=2).wait(SECONDS) == 0
    undisturbed, killed = result(stage, "undisturbed"), result(stage, "killed")
    assert killed["parameters"] == undisturbed["parameters"]
    assert killed["reward"] == undisturbed["reward"]
    # On a machine that stands still a lease may be lost, and answers handed in again: that counts, too.
    assert killed["rollouts"]["valid"] == undisturbed["rollouts"]["valid"]
    assert rows(stage, "killed") == rows(stage, "undisturbed")
    assert len(rows(stage, "killed")) == 16 * UPDATES + EVALUATION
    assert [point["step"] for point in curves.read(file)] == [16 * (n + 1) for n in range(UPDATES)]
    lines = [json.loads(line) for line in (tmp_path / "killed/report/report.jsonl").read_text().splitlines()]
    assert lines[-1]["final"]["result"]["parameters"] == killed["parameters"]
    assert {line["attempt"] for line in lines} == {0, 1, 2}
