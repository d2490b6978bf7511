"""A group holds everything started in it, in every kind of tree the machine mounts."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from innervate_local import cgroups, process

if TYPE_CHECKING:
    from pathlib import Path

    from innervate_local.cgroups import Hierarchy

pytestmark = pytest.mark.e2e

GROUP = f"innervate-trees-{os.getpid()}"
# A v2 tree beside v1 trees has no controllers, but its groups hold processes all the same.
TREES = {
    "active": cgroups.active(),
    "v2": [each for each in cgroups.hierarchies() if each.unified],
}


@pytest.fixture(params=[name for name, trees in TREES.items() if trees])
def trees(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[Hierarchy]:
    chosen = TREES[request.param]
    monkeypatch.setattr(cgroups, "hierarchies", lambda: chosen)
    return chosen


def test_ending_a_group_ends_orphans_and_leaves_no_group(trees: list[Hierarchy], tmp_path: Path) -> None:
    cgroups.create(f"{GROUP}/core/daemons")
    try:
        # The shell ends, and its child has a session of its own: nothing but the group knows it.
        orphaning = ["sh", "-c", "setsid sleep 600 & setsid sleep 600 & exit 0"]
        started = process.start(
            orphaning,
            log=tmp_path / "log",
            prefix=cgroups.joining(f"{GROUP}/core/daemons"),
            dies_with_parent=False,
        )
        assert started.wait() == 0, (tmp_path / "log").read_text()
        held = cgroups.processes(GROUP)
        assert len(held) == 2
        identities = [identity for pid in held if (identity := process.identify(pid))]
        assert len(identities) == 2
    finally:
        cgroups.end(GROUP)
    assert not any(map(process.is_running, identities))
    assert not [tree for tree in trees if (tree.root / GROUP).exists()]


def test_a_group_that_is_not_there_is_no_error(trees: list[Hierarchy]) -> None:
    assert trees
    cgroups.end(f"{GROUP}-never-made")
