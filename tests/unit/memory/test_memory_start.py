"""Starting the program, and changes larger than one answer of Redis."""

import json
import subprocess
import sys

from innervate_memory.records import Content


def start(config, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    return subprocess.run(
        [sys.executable, "-m", "innervate_memory"],
        env={"INNERVATE_CONFIG": str(path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_wrong_configuration_ends_the_program_with_the_field_named(tmp_path):
    config = {"store": {"namespace": "shop", "name": "memory"}, "redis": {"host": "localhost"}}
    done = start(config | {"durability": "Sometimes"}, tmp_path)
    assert done.returncode == 2
    assert "durability = 'Sometimes' is refused" in done.stderr
    assert "Traceback" not in done.stderr
    done = start(config | {"maxRecords": 5}, tmp_path)
    assert done.returncode == 2
    assert "maxRecords = 5 is not known" in done.stderr


async def test_more_changes_than_fit_one_answer_are_all_applied(make):
    one, two = make(), make()
    await one.put("space", "first marker")
    assert len(await two.found("space", "marker")) == 1
    for number in range(4):
        texts = [Content(text=f"marker {number} " + "filler " * 7000) for _ in range(60)]
        await one.put("space", *texts)
    assert len(await two.found("space", "marker", limit=100)) == 100
    assert len(two.recall._spaces["space"].index) == 241
