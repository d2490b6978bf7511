"""`innervate memory` against a real memory service; only the way through kubectl is left out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from innervate.cli import memory
from innervate.cli.output import Exit
from innervate.route import Direct

from tests.unit.client.conftest import account_of

if TYPE_CHECKING:
    from pathlib import Path

    from command import Innervate

    from tests.unit.client.conftest import Service


@pytest.fixture(autouse=True)
def account(service: Service, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Account of the test's own, which every command calls as."""
    name = account_of(request)

    def direct(*_: object) -> Direct:
        return Direct(service.endpoint, ca=service.cluster.authority.pem, token=lambda: service.token(name))

    monkeypatch.setattr(memory, "Forwarded", direct)
    return name


def test_what_is_put_is_found(innervate: Innervate) -> None:
    put = innervate("memory", "put", "s", "The orchids want rain.", "--session", "monday", "--kind", "fact")
    assert put.returncode == Exit.OK, put.stderr
    (hit,) = json.loads(innervate("memory", "search", "s", "orchids", "-o", "json").stdout)
    assert hit["record"]["id"] == put.stdout.strip()
    assert (hit["record"]["sessionId"], hit["record"]["kind"]) == ("monday", "fact")
    table = innervate("memory", "search", "s", "orchids").stdout
    assert "The orchids want rain." in table
    assert "nothing matches" in innervate("memory", "search", "s", "pumps", "--session", "friday").stderr


def test_standard_input_is_one_record(innervate: Innervate) -> None:
    innervate("memory", "put", "s", stdin="two\nlines\n")
    assert "two\nlines" in json.loads(innervate("memory", "list", "s", "-o", "json").stdout)["text"]


def test_markup_is_shown_as_it_is(innervate: Innervate) -> None:
    innervate("memory", "put", "s", "[red]alarm[/red]")
    assert "[red]alarm[/red]" in innervate("memory", "list", "s").stdout


def test_a_file_is_put_once_however_often(innervate: Innervate, tmp_path: Path) -> None:
    file = tmp_path / "turns.jsonl"
    file.write_text("".join(json.dumps({"text": f"turn {n}"}) + "\n" for n in range(300)))
    assert innervate("memory", "put", "s", "--file", str(file)).stdout == "300 remembered\n"
    again = innervate("memory", "put", "s", "--file", str(file)).stdout
    assert again == "0 remembered, 300 were there already\n"


def test_what_list_prints_can_be_put_elsewhere(innervate: Innervate, account: str) -> None:
    innervate("memory", "put", "s", "one", "two", "--meta", "hall=3", "--session", "x")
    printed = innervate("memory", "list", "s", "-o", "json").stdout
    space = f"{account}/copy"
    put = innervate("memory", "put", "s", "--file", "-", "--space", space, stdin=printed)
    assert put.stdout == "2 remembered\n"
    lines = innervate("memory", "list", "s", "--space", space, "--meta", "hall=3", "-o", "json").stdout
    assert [json.loads(line)["text"] for line in lines.splitlines()] == ["one", "two"]


def test_a_list_stops_at_its_limit(innervate: Innervate) -> None:
    innervate("memory", "put", "s", "one", "two", "three")
    assert len(innervate("memory", "list", "s", "--limit", "2", "-o", "json").stdout.splitlines()) == 2


def test_superseded_records_leave_the_list(innervate: Innervate) -> None:
    old = innervate("memory", "put", "s", "over the door").stdout.strip()
    new = innervate("memory", "put", "s", "under the gutter", "--supersedes", old).stdout.strip()
    assert old not in innervate("memory", "list", "s").stdout
    assert old in innervate("memory", "list", "s", "--superseded").stdout
    found = json.loads(innervate("memory", "get", "s", old, new, "-o", "json").stdout)
    assert found["records"][0]["supersededBy"] == new


def test_what_is_missing_ends_with_its_code(innervate: Innervate) -> None:
    done = innervate("memory", "get", "s", "0" * 26)
    assert done.returncode == Exit.NOT_FOUND
    assert done.stderr == f"not there: {'0' * 26}\n"


def test_forget_says_how_many(innervate: Innervate) -> None:
    first = innervate("memory", "put", "s", "one").stdout.strip()
    innervate("memory", "put", "s", "two", "three", "--session", "x")
    assert innervate("memory", "forget", "s", first).stdout == "1 forgotten\n"
    assert innervate("memory", "forget", "s", "--session", "x", "--yes").stdout == "2 forgotten\n"


def test_stats_count(innervate: Innervate, account: str) -> None:
    innervate("memory", "put", "s", "one", "two")
    counted = json.loads(innervate("memory", "stats", "s", "--as", account, "-o", "json").stdout)
    assert (counted["records"], counted["durability"]) == (2, "Always")
    assert innervate("memory", "stats", "s", "--as", account).stdout.split()[:4] == [
        "records",
        "spaces",
        "used",
        "limit",
    ]


def test_a_foreign_space_ends_with_its_code(innervate: Innervate, account: str) -> None:
    done = innervate("memory", "search", "s", "x", "--space", "secrets-of-others")
    assert done.returncode == Exit.DENIED
    assert account in done.stderr


def test_a_wrong_field_is_named(innervate: Innervate) -> None:
    done = innervate("memory", "put", "s", "")
    assert done.returncode == Exit.FAILED
    assert "records[0].text" in done.stderr
