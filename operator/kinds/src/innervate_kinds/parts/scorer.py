"""How answers are scored, and the sidecar that scores them: no token, no network, one unix socket."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from innervate_kinds.api import workload
from innervate_kinds.api.resource import Model
from innervate_kinds.api.room import Rule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from innervate_kinds.api.plan import Config, Manifest

NAME = "scorer"
"""The sidecar, and its volume."""
IMAGE = "evaluator"
_PATH = "/var/run/innervate/scorer"
SOCKET = f"{_PATH}/scorer.sock"
_RESOURCES: Manifest = {
    "requests": {"cpu": "50m", "memory": "64Mi"},
    "limits": {"cpu": "1", "memory": "256Mi"},
}

NonNegative = Annotated[str, Field(pattern=r"^[0-9]{1,15}(\.[0-9]{1,15})?$", max_length=31)]
"""A decimal that is not negative."""


class ScorerType(StrEnum):
    """How an answer is compared with the expected ones."""

    EXACT = "Exact"
    CONTAINS = "Contains"
    NUMERIC = "Numeric"
    REGEX = "Regex"


class Scoring(Model):
    """Turns an answer into a value from 0, wrong, to 1, right."""

    type: ScorerType
    """`Exact`: the answer is one of the expected ones, white space around it aside. `Contains`: it
    contains one of them. `Numeric`: its last number is near enough to an expected one. `Regex`: a
    pattern is found in it."""
    ignore_case: bool = False
    """For `Exact` and `Contains`: upper and lower case are the same."""
    tolerance: NonNegative | None = None
    """For `Numeric`: largest difference that still counts as right; left out, none."""
    pattern: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    """For `Regex`: what to look for, in RE2 syntax; left out, each expected text is a pattern."""


def rules(path: str, each: Callable[[Any], Iterable[Scoring]]) -> tuple[Rule, ...]:
    """Rules of one way to score, wherever it stands.

    Parameters
    ----------
    path
        Where it stands, as in `Rule.path`.
    each
        Every one that a resource holds there.
    """

    def every(holds: Callable[[Scoring], bool]) -> Callable[[Any, Any | None], bool]:
        return lambda resource, _old: all(map(holds, each(resource)))

    return (
        Rule(
            path=path,
            rule="!has(self.tolerance) || self.type == 'Numeric'",
            message="tolerance is for type Numeric only",
            holds=every(lambda one: one.tolerance is None or one.type is ScorerType.NUMERIC),
        ),
        Rule(
            path=path,
            rule="!has(self.pattern) || self.type == 'Regex'",
            message="pattern is for type Regex only",
            holds=every(lambda one: one.pattern is None or one.type is ScorerType.REGEX),
        ),
        Rule(
            path=path,
            rule="!self.ignoreCase || self.type in ['Exact', 'Contains']",
            message="ignoreCase is for types Exact and Contains only; a pattern may begin with (?i)",
            holds=every(
                lambda one: not one.ignore_case or one.type in {ScorerType.EXACT, ScorerType.CONTAINS}
            ),
        ),
    )


def sidecar(config: Config) -> Manifest:
    """Native sidecar; without token and trust: what scores answers has no business elsewhere."""
    port = workload.AGENT_HEALTH_PORT
    return {
        "name": NAME,
        "image": config.image(IMAGE),
        "imagePullPolicy": config.image_pull_policy,
        "command": ["python3", "-m", "innervate_evaluator.scorer"],
        "securityContext": workload.CONTAINER_SECURITY,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "args": [f"--socket={SOCKET}", f"--health-listen=0.0.0.0:{port}"],
        "restartPolicy": "Always",
        "env": workload.environment("innervate-scorer"),
        "ports": [{"name": "scorer-health", "containerPort": port, "protocol": "TCP"}],
        "startupProbe": workload.http_probe("/readyz", port, period=1, failures=120),
        "livenessProbe": workload.http_probe("/livez", port, period=15, failures=4),
        "resources": _RESOURCES,
        "volumeMounts": [mount()],
    }


def mount() -> Manifest:
    """Mount of the socket's volume, for the sidecar and for whoever asks it."""
    return {"name": NAME, "mountPath": _PATH}


def volume() -> Manifest:
    """Volume of the socket."""
    return {"name": NAME, "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}
