"""Which Kubernetes this operator can work with."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import orjson

from innervate_operator.errors import StartupError

if TYPE_CHECKING:
    from innervate_operator.client import Client


class KubernetesVersion(NamedTuple):
    """Major and minor version."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


MINIMUM = KubernetesVersion(1, 30)
"""CEL validation ratcheting, native sidecars and `unhealthyPodEvictionPolicy` are there from here on."""


def parse(answer: bytes) -> KubernetesVersion:
    """Version in the answer to ``/version``; vendors append to the minor version, as in ``30+``.

    Raises
    ------
    StartupError
        If the answer has none.
    """
    content = orjson.loads(answer)
    major, minor = (re.match(r"\d+", str(content.get(part, ""))) for part in ("major", "minor"))
    if major is None or minor is None:
        raise StartupError(f"the API server's version cannot be read: {content.get('gitVersion', content)!r}")
    return KubernetesVersion(int(major[0]), int(minor[0]))


async def check(client: Client) -> KubernetesVersion:
    """Ask the API server for its version.

    Raises
    ------
    StartupError
        If it is too old; the message names both versions.
    ApiError
        If it cannot be asked.
    """
    found = parse(await client.raw("/version"))
    if found < MINIMUM:
        raise StartupError(
            f"this is Kubernetes {found}, and Innervate needs {MINIMUM} or later: upgrade the cluster, "
            "then start the operator again"
        )
    return found
