"""What the operator asks a runner on its way: how many questions it has asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from innervate_kinds.parts import progress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from innervate_kinds.api.reader import HttpProbe
    from innervate_kinds.eval_job.model import EvalJob
    from innervate_kinds.eval_job.state import Observed

_FIELDS = ("asked", "total", "errors")
_MOST = 2**53
"""No count is larger; JSON's numbers are exact up to here."""


def probes(_job: EvalJob, observed: Observed) -> Sequence[HttpProbe]:
    """Read the page of the newest runner, while it runs."""
    ran = observed.job
    if ran is None or ran.finished or ran.last is None or not ran.last.address or not ran.last.ready:
        return ()
    return (progress.probe(ran.last, _decode),)


def _decode(page: Mapping[str, Any]) -> Mapping[str, int]:
    found = {name: page[name] for name in _FIELDS}
    for name, value in found.items():
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MOST:
            raise ValueError(f"{name} is no count")
    return found
