"""That a run learns in one environment from its beginning to its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_environments.description import Chain
from innervate_service.config import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping


def require_same(expected: Mapping[str, str] | Chain, told: Mapping[str, str] | Chain) -> None:
    """Make sure that an environment is still the one that a run began in.

    Parameters
    ----------
    expected
        Digests by what they are of, as they were when the run began.
    told
        What the environment says now. Digests that either side does not have are not compared.

    Raises
    ------
    ConfigError
        They differ: what is learned now would be told as learned in what is no more.
    """
    before, now = _digests(expected), _digests(told)
    changed = [
        f"{field} was {digest} and is {now[field]}"
        for field, digest in before.items()
        if digest and now.get(field) and now[field] != digest
    ]
    if changed:
        raise ConfigError(
            f"the environment changed since the run began: {'; '.join(changed)}; create another run"
        )


def _digests(chain: Mapping[str, str] | Chain) -> Mapping[str, str]:
    return chain._asdict() if isinstance(chain, Chain) else chain
