"""Real operator processes, killed and told to end."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys

import pytest
from innervate_kinds.api.kind import SERVICE, Reference
from innervate_kinds.registry import ROOMS
from innervate_operator.elector import LEASE

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]
(STORE,) = (room.kind for room in ROOMS if room.kind.kind == "MemoryStore")


@pytest.fixture
def start(plane, tmp_path):
    with contextlib.ExitStack() as stack:

        def run(name, home, *more):
            command = [sys.executable, "-m", "innervate_operator", "--kubeconfig", str(plane.kubeconfig)]
            command += ["--namespace", home, "--pod-name", name, *more]
            for port in ("health", "metrics", "identity"):
                command += [f"--{port}-listen", "127.0.0.1:0"]
            log = stack.enter_context((tmp_path / f"{name}.log").open("wb"))
            process = subprocess.Popen(command, stdout=log, stderr=log)
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        yield run


@pytest.fixture
def holder(admin):
    async def found(home):
        lease = await admin.get(Reference(LEASE, home, "innervate-operator"))
        return lease and lease["spec"]["holderIdentity"].split("_")[0]

    return found


async def works(admin, namespace, name, wait):
    """Whether somebody reconciles: a new store gets its children and a status."""
    manifest = {
        "apiVersion": STORE.api_version,
        "kind": STORE.kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {},
    }
    reference = Reference.of(STORE, manifest)
    await admin.apply(reference, manifest, manager="test")

    async def told():
        return (await admin.get(reference)).get("status")

    await wait(told)
    assert await admin.get(Reference(SERVICE, namespace, f"{name}-memorystore")) is not None


async def test_after_a_kill_the_other_replica_takes_over(admin, namespace, start, holder, wait):
    home, shop = await namespace("kill-home"), await namespace("kill-shop")
    replicas = {name: start(name, home) for name in ("one", "two")}

    async def led():
        return await holder(home)

    first = await wait(led)
    await works(admin, shop, "before", wait)
    replicas[first].kill()
    second = next(name for name in replicas if name != first)

    async def taken():
        return await holder(home) == second

    await wait(taken)
    await works(admin, shop, "after", wait)
    assert replicas[second].poll() is None


async def test_after_a_signal_a_replica_drains_releases_the_lease_and_ends_well(
    admin, namespace, start, holder, wait
):
    home, shop = await namespace("term-home"), await namespace("term-shop")
    process = start("only", home)

    async def led():
        return await holder(home)

    await wait(led)
    await works(admin, shop, "m", wait)
    process.send_signal(signal.SIGTERM)
    assert process.wait(40) == 0
    assert await holder(home) == ""


async def test_a_replica_whose_lease_is_stolen_ends_with_an_error(admin, namespace, start, holder, wait):
    home = await namespace("steal-home")
    process = start("victim", home)
    reference = Reference(LEASE, home, "innervate-operator")

    async def led():
        return await holder(home)

    await wait(led)

    async def stolen():
        found = await admin.get(reference)
        with contextlib.suppress(Exception):
            await admin.replace(reference, {**found, "spec": {**found["spec"], "holderIdentity": "thief_1"}})
        return process.poll()

    assert await wait(stolen) == 1


def test_wrong_settings_end_with_the_flag_named():
    command = [sys.executable, "-m", "innervate_operator", "--workers", "none"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert "--workers = 'none' is refused" in ended.stderr
    assert "Traceback" not in ended.stderr
