"""One server for the tests that leave it as they found it."""

from collections.abc import Iterator

import pytest
from environment_process import environment_server
from innervate_environments.local import LocalServer


@pytest.fixture(scope="session")
def fragile() -> Iterator[LocalServer]:
    """Fragile instances, two to a process."""
    settings = {"capacity": 8, "instancesPerProcess": 2, "leaseSeconds": 3600, "stepSeconds": 60}
    with environment_server("practice_environments:Fragile-v0", **settings) as server:
        yield server
