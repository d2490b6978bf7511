"""Every sample gets the same verdict from our models and from a real API server.

A sample is one manifest; with two documents the second changes what the first created. An invalid one
begins with ``# refused: <field>``, and both must refuse it naming that field.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from innervate.manifests import load
from innervate.validation import check
from innervate_kinds.registry import ROOMS

if TYPE_CHECKING:
    from innervate.manifests import Document
    from innervate_kinds.api.room import Room

    from .conftest import Api

pytestmark = pytest.mark.contract

SAMPLES = Path(__file__).parent / "samples"
EXAMPLES = Path(__file__).parents[3] / "deploy/examples"
VALID = sorted(SAMPLES.glob("*/valid/*.yaml")) + sorted(EXAMPLES.glob("*/*.yaml"))
INVALID = sorted(SAMPLES.glob("*/invalid/*.yaml"))


def ours(documents: list[Document]) -> list[str]:
    old = documents[0].data if len(documents) == 2 else None
    _room, _resource, problems = check(documents[-1], ROOMS, namespace="default", old=old)
    return [f"{problem.path}: {problem.message}" for problem in problems]


def theirs(api: Api, documents: list[Document]) -> tuple[int, str]:
    """Status code and message of a dry run, with strict field validation."""
    room = next(room for room in ROOMS if room.kind.kind == documents[0].data["kind"])
    collection = api.collection(room.kind)
    if len(documents) == 1:
        code, answer = api.request(
            "POST", collection, documents[0].data, dryRun="All", fieldValidation="Strict"
        )
        return code, answer.get("message", "")
    path = f"{collection}/{documents[0].data['metadata']['name']}"
    code, created = api.request("POST", collection, documents[0].data, fieldValidation="Strict")
    assert code == 201, created
    try:
        changed = {**documents[1].data, "metadata": created["metadata"]}
        code, answer = api.request("PUT", path, changed, dryRun="All", fieldValidation="Strict")
    finally:
        api.request("DELETE", path)
    return code, answer.get("message", "")


def identifier(path: Path) -> str:
    return "-".join(path.relative_to(path.parents[2]).with_suffix("").parts)


@pytest.mark.parametrize("path", VALID, ids=identifier)
def test_valid_for_both(api: Api, path: Path) -> None:
    documents = load([str(path)])
    assert ours(documents) == []
    code, message = theirs(api, documents)
    assert code in (200, 201), message


@pytest.mark.parametrize("path", INVALID, ids=identifier)
def test_refused_by_both_for_the_same_field(api: Api, path: Path) -> None:
    field = path.read_text().splitlines()[0].removeprefix("# refused: ")
    documents = load([str(path)])
    problems = ours(documents)
    assert any(re.sub(r"\[\]", "", problem).startswith(field) for problem in problems), problems
    code, message = theirs(api, documents)
    assert code in (400, 422), message
    assert field in message


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.kind.kind)
def test_each_kind_has_samples_of_both_verdicts(room: Room[Any, Any]) -> None:
    name = room.kind.kind.lower()
    for paths in (VALID, INVALID):
        assert any(path.is_relative_to(SAMPLES / name) for path in paths)
