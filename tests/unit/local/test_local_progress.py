"""Progress is shown on a terminal and in a log, for steps within steps too."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import pytest
from innervate_local import progress
from rich.console import Console


@pytest.fixture(params=[True, False], ids=["terminal", "log"])
def shown(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    output = io.StringIO()
    console = Console(file=output, force_terminal=request.param, width=80, highlight=False, soft_wrap=True)
    monkeypatch.setattr(progress, "_console", console)
    return output


def test_steps_nest(shown: io.StringIO) -> None:
    with progress.step("outer"), progress.step("inner"):
        progress.say("[literally] said")
    with progress.step("later"):
        pass
    text = shown.getvalue()
    assert "[literally] said" in text
    order = [text.index(f"{title}: done in") for title in ("inner", "outer", "later")]
    assert order == sorted(order)


def test_steps_run_beside_each_other(shown: io.StringIO) -> None:
    def run(title: str) -> None:
        with progress.step(title):
            pass

    titles = [f"step {number}" for number in range(8)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, titles))
    assert all(f"{title}: done in" in shown.getvalue() for title in titles)


def test_a_failed_step_is_not_done(shown: io.StringIO) -> None:
    with pytest.raises(ValueError, match="broken"), progress.step("doomed"):
        raise ValueError("broken")
    assert "doomed" in shown.getvalue()
    assert "done" not in shown.getvalue()
    with progress.step("next"):
        pass
    assert "next: done in" in shown.getvalue()
