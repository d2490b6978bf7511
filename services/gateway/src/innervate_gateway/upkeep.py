"""Background upkeep of the exchange log: its Redis is set up as declared, and what is too old leaves it.

Every gateway of a pool does it; doing it twice does no harm.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

from innervate_service.errors import ServiceError
from innervate_service.logs import get_logger

from innervate_gateway.records import ARMS, STREAM, counts_key, units_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from innervate_service.redis import Argument, RedisConnection

_WANTED: Final = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
_COMMAND_SECONDS: Final = 10.0
_UNITS: Final = b"units:"
_ARM_MS: Final = 90 * 86_400_000
"""Counts of an arm that got nothing for so long are given up, unless the log is kept for longer."""
_log = get_logger(__name__)


class Upkeep:
    """Runs the rounds and knows whether the log may be used.

    Parameters
    ----------
    connection
        The log's Redis.
    own
        Whether Redis is the pool's own, set up by the operator; another's settings are its owner's.
    retention_seconds
        Age at which records leave.
    period
        Seconds between rounds.
    clock
        Milliseconds since 1970.
    """

    def __init__(
        self,
        connection: RedisConnection,
        *,
        own: bool,
        retention_seconds: int,
        period: float = 30.0,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._connection = connection
        self._own = own
        self._retention_ms = retention_seconds * 1000
        self._period = period
        self._clock = clock
        self._problem: str | None = "Redis was not asked for its configuration yet"

    def problem(self) -> str | None:
        """Why the log must not be used; None when it may."""
        return self._problem

    async def run(self) -> None:
        """Do rounds for ever."""
        while True:
            try:
                await self.check()
                if self._problem is None:
                    await self.trim()
            except ServiceError as error:
                _log.warning("upkeep round failed", error=str(error))
            except Exception as error:  # noqa: BLE001  a bug in one round must not end the rounds
                _log.exception("upkeep round failed", error)
            # Until Redis was seen to be set up well nothing can be served: ask again soon.
            await asyncio.sleep(self._period if self._problem is None else min(1.0, self._period))

    async def check(self) -> None:
        """Compare Redis's configuration with what durable records need. Its being away changes nothing."""
        try:
            differences = await self._differences() if self._own else []
            if not self._own:
                await self._command("PING")
        except ServiceError as error:
            if self._problem is not None:
                self._problem = str(error)
            raise
        self._problem = (
            f"Redis is not configured for durable records: {'; '.join(differences)}" if differences else None
        )

    async def _differences(self) -> list[str]:
        flat = await self._command("CONFIG", "GET", *_WANTED)
        found = dict(zip((n.decode() for n in flat[::2]), (v.decode() for v in flat[1::2]), strict=True))
        return [
            f"{name} is {found.get(name, 'unknown')!r} and must be {value!r}"
            for name, value in _WANTED.items()
            if found.get(name) != value
        ]

    async def trim(self) -> None:
        """Do one round now: indexes and feedback expire by themselves."""
        now = self._clock()
        await self._command("XTRIM", STREAM, "MINID", f"{max(0, now - self._retention_ms)}-0", writes=True)
        for arm in [name.decode() for name in await self._command("ZRANGE", ARMS, 0, -1)]:
            fields = await self._command("HKEYS", counts_key(arm))
            units = [
                units_key(arm, field.removeprefix(_UNITS).decode())
                for field in fields
                if field.startswith(_UNITS)
            ]
            for key in units:
                # A session that comes back after all its records are gone is a new unit.
                await self._command("ZREMRANGEBYSCORE", key, "-inf", now - self._retention_ms, writes=True)
            last = float(await self._command("ZSCORE", ARMS, arm) or now)
            if last < now - max(self._retention_ms, _ARM_MS):
                await self._command("UNLINK", counts_key(arm), *units, writes=True)
                await self._command("ZREM", ARMS, arm, writes=True)

    async def _command(self, *arguments: Argument, writes: bool = False) -> Any:
        deadline = asyncio.get_running_loop().time() + _COMMAND_SECONDS
        return await self._connection.command(*arguments, deadline=deadline, writes=writes)
