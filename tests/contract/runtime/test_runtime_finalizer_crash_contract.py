"""A crash before and after every write of a life with a finalizer, deletion included."""

from __future__ import annotations

import pytest
from innervate_kinds.api.kind import CONFIG_MAP, DEPLOYMENT

pytestmark = [pytest.mark.contract, pytest.mark.timeout(400)]


async def gone(stage, name):
    return await stage.admin.get(stage.gadget(name)) is None


async def delete(stage, name):
    live = await stage.admin.get(stage.gadget(name))
    if live and "deletionTimestamp" not in live["metadata"]:
        await stage.admin.delete(stage.gadget(name), uid=live["metadata"]["uid"])


async def whole(stage, name):
    """Nothing outside before it is held, everything there in the end."""
    gadget = await stage.ready(name)
    assert gadget["metadata"]["finalizers"]
    for kind in (CONFIG_MAP, DEPLOYMENT, stage.summit):
        assert await stage.admin.get(stage.child(kind, name)) is not None


async def test_a_crash_at_any_write_of_making_or_undoing_ends_the_same(stage, wait):
    name = f"reference-{stage.namespace}"
    stage.dies()
    async with stage.engine(stage.undoing):
        await stage.declare(name, outside=True)
        await whole(stage, name)
        making = sum(stage.writes().values())
        await delete(stage, name)
        await wait(lambda: gone(stage, name))
        total = sum(stage.writes().values())
    assert total > making >= 5
    for number in range(total):
        for moment in ("before", "after"):
            name = f"{moment}-{number}-{stage.namespace}"
            stage.dies(**{moment: number})
            async with stage.engine(stage.undoing) as engine:
                await stage.declare(name, outside=True)
                if number >= making:
                    await whole(stage, name)
                    await delete(stage, name)

                # A worker that dies takes the others along, and with them everything that was running.
                def died(queue=engine.queue, number=number):
                    return queue.running == 0 and sum(stage.writes().values()) > number

                await wait(died)
            stage.dies()
            async with stage.engine(stage.undoing):
                if number < making:
                    await whole(stage, name)
                    await delete(stage, name)
                await wait(lambda name=name: gone(stage, name))
            assert await stage.admin.get(stage.child(stage.summit, name)) is None
