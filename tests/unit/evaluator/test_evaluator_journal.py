"""The sample log: what is in it stays, what is torn is cut off, and it is of one run only."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from innervate_evaluator.failures import Exit, RunFailed
from innervate_evaluator.journal import FILE, Answered, Journal, Key

if TYPE_CHECKING:
    from pathlib import Path

RUN = {"dataset": "d", "seed": 1}


def answered(number: int) -> Answered:
    return Answered(release="a", output=f"answer {number} ☃\n", scores={"exact": number % 2})


async def written(directory: Path, count: int) -> bytes:
    async with Journal(directory, RUN) as journal:
        await asyncio.gather(
            *(journal.append(Key(f"q{number}", "target"), answered(number)) for number in range(count))
        )
    return (directory / FILE).read_bytes()


async def test_what_was_appended_is_there_again(tmp_path: Path) -> None:
    await written(tmp_path, 20)
    async with Journal(tmp_path, RUN) as journal:
        assert journal.answered == {Key(f"q{number}", "target"): answered(number) for number in range(20)}


async def test_cut_anywhere_it_keeps_every_whole_line(tmp_path: Path) -> None:
    content = await written(tmp_path, 3)
    path = tmp_path / FILE
    for length in range(len(content)):
        path.write_bytes(content[:length])
        async with Journal(tmp_path, RUN) as journal:
            whole = max(content[:length].count(b"\n") - 1, 0)
            assert len(journal.answered) == whole
            await journal.append(Key("next", "target"), answered(9))
        async with Journal(tmp_path, RUN) as journal:
            assert len(journal.answered) == whole + 1


async def test_what_follows_an_unreadable_line_was_never_promised(tmp_path: Path) -> None:
    content = await written(tmp_path, 3)
    lines = content.splitlines(keepends=True)
    (tmp_path / FILE).write_bytes(b"".join(lines[:2]) + b"\0" * 40 + b"\n" + lines[3])
    async with Journal(tmp_path, RUN) as journal:
        assert len(journal.answered) == 1
    assert (tmp_path / FILE).read_bytes() == b"".join(lines[:2])


async def test_failures_of_the_infrastructure_are_asked_again(tmp_path: Path) -> None:
    async with Journal(tmp_path, RUN) as journal:
        await journal.append(Key("q", "target"), Answered(error="status 503", infrastructure=True))
        await journal.append(Key("r", "target"), Answered(error="status 400"))
    async with Journal(tmp_path, RUN) as journal:
        assert journal.answered.keys() == {Key("r", "target")}


async def test_the_log_of_another_run_is_refused(tmp_path: Path) -> None:
    await written(tmp_path, 1)
    with pytest.raises(RunFailed) as error:
        async with Journal(tmp_path, {**RUN, "dataset": "other"}):
            pass
    assert error.value.exit is Exit.REFUSED
    assert "(dataset)" in error.value.message


async def test_two_runners_never_write_one_log(tmp_path: Path) -> None:
    async with Journal(tmp_path, RUN):
        with pytest.raises(RunFailed) as error:
            async with Journal(tmp_path, RUN):
                pass
    assert error.value.reason == "AlreadyRunning"
    assert error.value.exit is Exit.TROUBLED
