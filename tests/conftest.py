"""Settings of the property tests, for all of them.

A slow machine is no failure, and the same commit gives the same verdict everywhere: examples are the
same in every run. `INNERVATE_SEARCH=1` looks for new ones.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "innervate",
    deadline=None,
    derandomize=os.environ.get("INNERVATE_SEARCH") != "1",
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("innervate")
