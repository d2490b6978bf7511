"""Digests of an environment, compared."""

from __future__ import annotations

import pytest
from innervate_environments.description import Chain
from innervate_rl.chain import require_same
from innervate_service.config import ConfigError


def test_the_same_environment_is_accepted() -> None:
    chain = Chain("sha256:a", "sha256:b", "sha256:c", "sha256:d")
    require_same(chain, chain)
    require_same(chain._asdict(), chain)


def test_what_one_side_does_not_say_is_not_compared() -> None:
    require_same({}, Chain("sha256:a", "", "", ""))
    require_same({"environment": "sha256:a", "image": "sha256:b"}, Chain("sha256:a", "", "sha256:c", ""))
    require_same({"environment": ""}, {"environment": "sha256:a"})
    require_same({"elsewhere": "sha256:a"}, Chain("sha256:a", "", "", ""))


def test_a_change_is_refused_in_words() -> None:
    before, after = (
        Chain("sha256:a", "", "sha256:c", "sha256:d"),
        Chain("sha256:b", "", "sha256:c", "sha256:e"),
    )
    message = (
        "the environment changed since the run began: environment was sha256:a and is sha256:b; "
        "tasks was sha256:d and is sha256:e; create another run"
    )
    with pytest.raises(ConfigError) as refused:
        require_same(before, after)
    assert str(refused.value) == message
    with pytest.raises(ConfigError, match="environment was sha256:a"):
        require_same({"environment": "sha256:a"}, after)
