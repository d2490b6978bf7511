"""The hand-written pages show the examples as they are, and lead to what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = sorted((ROOT / "docs/kinds").glob("*.md"))
EXAMPLE = re.compile(r"```yaml\n# (deploy/examples/\S+)\n(.*?)```", re.DOTALL)
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_shows_examples_as_they_are(path: Path) -> None:
    shown = EXAMPLE.findall(path.read_text())
    assert shown
    for name, text in shown:
        committed = (ROOT / name).read_text()
        assert "".join(line for line in committed.splitlines(keepends=True) if line[0] != "#") == text


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_links_lead_somewhere(path: Path) -> None:
    links = LINK.findall(path.read_text())
    assert links
    for link in links:
        assert (path.parent / link).exists(), link


def test_every_kind_has_a_page_and_three_examples() -> None:
    references = {path.stem for path in (ROOT / "docs/reference").glob("*.md")}
    assert {path.stem for path in PAGES} == references
    for kind in references:
        names = {path.stem for path in (ROOT / "deploy/examples" / kind).glob("*.yaml")}
        assert {"minimal", "typical", "full"} <= names
