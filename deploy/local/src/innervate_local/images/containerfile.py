"""Read the last stage of a Containerfile: what an image says about itself.

``deploy/images/*/Containerfile`` are built by any container engine elsewhere.
Here their earlier stages are replaced by cached layers of the same content,
while user, environment, entry point and copied files still come from them, so
that both ways give the same image. Only the instructions used there are known;
any other is refused instead of being passed over.
"""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, NamedTuple

from innervate_local.errors import LocalError

if TYPE_CHECKING:
    from pathlib import Path


class Copy(NamedTuple):
    """One ``COPY`` of a file or of a directory's content."""

    source: str
    target: str
    stage: str | None
    """The stage it copies from; None for the build context."""


class Stage(NamedTuple):
    """The last stage."""

    base: str
    """What follows ``FROM``: an earlier stage's name or a reference to ``BASE_IMAGE``."""
    copies: tuple[Copy, ...]
    config: dict[str, object]
    """The ``config`` object of the OCI image configuration."""


def last_stage(path: Path) -> Stage:
    """Read a Containerfile's last stage.

    Parameters
    ----------
    path
        The Containerfile.

    Raises
    ------
    LocalError
        At an instruction this reader does not know.
    """
    base = ""
    copies: list[Copy] = []
    environment: list[str] = []
    labels: dict[str, str] = {}
    config: dict[str, object] = {}
    for keyword, rest in _last_instructions(path.read_text()):
        match keyword:
            case "FROM":
                base = rest
            case "COPY":
                copies.append(_copy(rest))
            case "ENV":
                environment.extend(shlex.split(rest))
            case "LABEL":
                labels.update(pair.partition("=")[::2] for pair in shlex.split(rest))
            case "USER":
                config["User"] = rest
            case "ENTRYPOINT":
                config["Entrypoint"] = json.loads(rest)
            case "CMD":
                config["Cmd"] = json.loads(rest)
            case _:
                raise LocalError(
                    f"{path}: {keyword} in the last stage is not known to the local image builder"
                )
    return Stage(base, tuple(copies), {**config, "Env": environment, "Labels": labels})


def _last_instructions(text: str) -> list[tuple[str, str]]:
    without_comments = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE)
    joined = re.sub(r"\\\n\s*", " ", without_comments)
    instructions: list[tuple[str, str]] = []
    for line in filter(None, (line.strip() for line in joined.splitlines())):
        keyword, _, rest = line.partition(" ")
        if keyword == "FROM":
            instructions.clear()
        instructions.append((keyword, rest.strip()))
    return instructions


def _copy(rest: str) -> Copy:
    words = shlex.split(rest)
    stage = None
    if words[0].startswith("--from="):
        stage = words.pop(0).removeprefix("--from=")
    source, target = words
    return Copy(source, target, stage)
