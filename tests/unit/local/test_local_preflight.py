"""A machine that cannot carry a cluster is told why, and what else would do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from innervate_local import preflight
from innervate_local.errors import LocalError


def test_without_root_it_names_root_and_the_alternatives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LocalError) as refused:
        preflight.require()
    said = str(refused.value)
    assert "root is needed" in said
    assert "Docker engine" in said
    assert "INNERVATE_CONTEXT" in said


def test_a_path_too_long_for_sockets_is_found_before_they_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(Path("/tmp", "x" * 80)))
    assert [problem for problem in preflight.problems() if "set XDG_STATE_HOME to a shorter one" in problem]
