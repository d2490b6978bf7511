"""Background upkeep of the store: expiry, forgetting by age, idleness or number, and the append-only file.

One replica at a time does a round, held to it by a key that expires. Nothing depends on that: every
erasure checks its condition again inside Redis, so two rounds at once do no harm, and expired records are
never returned even before they are purged.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final, Literal

from innervate_service.errors import ServiceError
from innervate_service.logs import get_logger

from innervate_memory.config import Durability, ForgetConfig
from innervate_memory.connection import USE, Argument, RedisConnection
from innervate_memory.memory import Usage, flush_usage
from innervate_memory.records import MICROSECONDS, IdSource, id_time
from innervate_memory.store import RecordStore, Totals, decode_space, space_key, store_key

_COMMAND_SECONDS: Final = 10.0
_BATCH: Final = 256
_SPACES: Final = 100
_FORGET_ROUNDS: Final = 12
"""Forgetting by rules walks all spaces, so it is done in one of so many rounds."""
_REWRITE_PAUSE_SECONDS: Final = 30.0
_REWRITE_SHARE: Final = 20
"""The append-only file is rewritten for at most a twentieth of the time."""
_log = get_logger(__name__)


class Upkeep:
    """Runs the rounds and knows whether Redis is set up as declared.

    Parameters
    ----------
    store
        The records.
    usage
        What this replica's callers used.
    clock
        The time now, in microseconds.
    durability
        What Redis must be configured for; None for a Redis that is not the store's own, and not ours to
        configure.
    forget
        What to erase beyond expiry.
    period
        Seconds between rounds.
    """

    def __init__(
        self,
        store: RecordStore,
        usage: Usage,
        *,
        clock: Callable[[], int],
        durability: Durability | None,
        forget: ForgetConfig | None,
        period: float,
    ) -> None:
        self._store = store
        self._connection: RedisConnection = store.connection
        self._usage = usage
        self._clock = clock
        self._durability = durability
        self._forget = forget
        self._period = period
        self._ids = IdSource(clock)
        self._rounds = 0
        self._problem: str | None = "Redis was not asked for its configuration yet"

    def problem(self) -> str | None:
        """Why the service must not take calls; None when it may."""
        return self._problem

    async def run(self) -> None:
        """Do rounds for ever."""
        while True:
            try:
                await self.check()
                await flush_usage(self._usage, self._store, now=self._clock(), seconds=_COMMAND_SECONDS)
                if await self._my_turn():
                    await self.sweep()
            except ServiceError as error:
                _log.warning("upkeep round failed", error=str(error))
            except Exception as error:  # noqa: BLE001  a bug in one round must not end the rounds
                _log.exception("upkeep round failed", error)
            await asyncio.sleep(self._period)

    async def check(self) -> None:
        """Compare Redis's configuration with what is declared. Redis being away changes nothing."""
        if self._durability is None:
            await self._ask("PING")
            self._problem = None
            return
        wanted = {
            "appendonly": "yes",
            "appendfsync": "always" if self._durability is Durability.ALWAYS else "everysec",
            "maxmemory-policy": "noeviction",
        }
        flat = await self._ask("CONFIG", "GET", *wanted)
        found = dict(zip((n.decode() for n in flat[::2]), (v.decode() for v in flat[1::2]), strict=True))
        differences = [
            f"{name} is {found.get(name, 'unknown')!r} and must be {value!r}"
            for name, value in wanted.items()
            if found.get(name) != value
        ]
        self._problem = (
            f"Redis is not configured for durability {self._durability.value}: {'; '.join(differences)}"
            if differences
            else None
        )

    async def _ask(self, *arguments: Argument) -> Any:
        """Run a command; until the first success its failure is the problem."""
        try:
            return await self._command(*arguments)
        except ServiceError as error:
            if self._problem is not None:
                self._problem = str(error)
            raise

    async def sweep(self) -> None:
        """Do one round now."""
        await self._purge_expired()
        if self._forget is not None and self._rounds % _FORGET_ROUNDS == 0:
            await self._forget_by_rules(self._forget)
        self._rounds += 1
        await self._rewrite_file()

    async def totals(self, *, deadline: float | None = None) -> tuple[Totals, int]:
        """Count the whole store; with Redis's memory limit in bytes, 0 for none.

        Raises
        ------
        Unavailable
            When Redis failed to write its append-only file: it refuses writes until that succeeds.
        """
        command = self._connection.command
        deadline = deadline or asyncio.get_running_loop().time() + _COMMAND_SECONDS
        records = await command("HGET", store_key("totals"), "records", deadline=deadline)
        spaces = await command("HLEN", store_key("counts"), deadline=deadline)
        memory = _parse_info(await command("INFO", "memory", deadline=deadline))
        persistence = _parse_info(await command("INFO", "persistence", deadline=deadline))
        if persistence.get("aof_last_write_status", "ok") != "ok":
            raise USE.disk_refused("its last write to the append-only file failed")
        totals = Totals(int(records or 0), int(spaces), int(memory["used_memory"]))
        return totals, int(memory["maxmemory"])

    async def _my_turn(self) -> bool:
        """Tell whether no other replica has begun a round within the period."""
        key, lasts = store_key("upkeep"), int(self._period * 900)
        return await self._command("SET", key, self._ids.next(), "NX", "PX", lasts, writes=True) is not None

    async def _purge_expired(self) -> None:
        now = self._clock()
        due = await self._command("ZRANGEBYSCORE", store_key("due"), "-inf", now, "LIMIT", 0, _SPACES)
        for encoded in due:
            space = decode_space(encoded.decode())
            while ids := await self._oldest(space, "expiry", until=now):
                await self._erase(space, ids, condition="expired", cutoff=now)

    async def _forget_by_rules(self, rules: ForgetConfig) -> None:
        cursor = b"0"
        while True:
            cursor, flat = await self._command("HSCAN", store_key("counts"), cursor, "COUNT", _SPACES)
            for encoded in flat[::2]:
                space = decode_space(encoded.decode())
                if rules.max_age_seconds is not None or rules.max_idle_seconds is None:
                    await self._forget_oldest(space, rules)
                if rules.max_idle_seconds is not None:
                    await self._forget_idle(space, rules, idle=rules.max_idle_seconds * MICROSECONDS)
            if cursor == b"0":
                return

    async def _forget_oldest(self, space: str, rules: ForgetConfig) -> None:
        """Erase from the oldest on: what is too old, or all but the newest where no age is given."""
        keep = rules.keep_newest or 0
        age = rules.max_age_seconds
        if age is None and rules.keep_newest is None:
            return
        while True:
            order = space_key(space, "order")
            excess = await self._command("ZCARD", order) - keep
            if excess <= 0:
                return
            oldest = await self._command("ZRANGE", order, 0, min(excess, _BATCH) - 1)
            ids = [record_id.decode() for record_id in oldest]
            if age is not None:
                ids = [i for i in ids if id_time(i) <= self._clock() - age * MICROSECONDS]
            if not ids or not await self._erase(space, ids, keep_newest=keep):
                return

    async def _forget_idle(self, space: str, rules: ForgetConfig, *, idle: int) -> None:
        await self._complete_use(space)
        cutoff, kept = self._clock() - idle, 0
        while ids := await self._oldest(space, "used", until=cutoff, skip=kept):
            erased = await self._erase(
                space, ids, condition="idle", cutoff=cutoff, keep_newest=rules.keep_newest or 0
            )
            kept += len(ids) - erased

    async def _complete_use(self, space: str) -> None:
        """Give records from before the rule was declared their creation as the last use."""
        order, used = space_key(space, "order"), space_key(space, "used")
        if await self._command("ZCARD", used) >= await self._command("ZCARD", order):
            return
        start = 0
        while ids := await self._command("ZRANGE", order, start, start + _BATCH - 1):
            times = [part for record_id in ids for part in (id_time(record_id.decode()), record_id)]
            await self._command("ZADD", used, "NX", *times, writes=True)
            start += len(ids)

    async def _rewrite_file(self) -> None:
        """Have Redis rewrite its append-only file after an erasure: until then the file holds the text."""
        if self._durability is None:
            return
        totals = store_key("totals")
        erased = await self._command("HGET", totals, "erased")
        if erased is None:
            return
        pause = int(_REWRITE_PAUSE_SECONDS * 1000)
        if not await self._command("SET", store_key("rewrite"), erased, "NX", "PX", pause, writes=True):
            return
        loop = asyncio.get_running_loop()
        started = loop.time()
        await self._command("BGREWRITEAOF")
        while True:
            state = _parse_info(await self._command("INFO", "persistence"))
            if state["aof_rewrite_in_progress"] == "0" and state["aof_rewrite_scheduled"] == "0":
                break
            await asyncio.sleep(0.2)
        took = loop.time() - started
        pause = max(pause, int(took * 1000 * _REWRITE_SHARE))
        await self._command("PEXPIRE", store_key("rewrite"), pause, writes=True)
        if state["aof_last_bgrewrite_status"] != "ok":
            _log.warning("Redis could not rewrite its append-only file; it is tried again")
            return
        await self._store.settle_erasure(erased, deadline=loop.time() + _COMMAND_SECONDS)

    async def _erase(
        self,
        space: str,
        ids: list[str],
        *,
        condition: Literal["any", "expired", "idle"] = "any",
        cutoff: int = 0,
        keep_newest: int = 0,
    ) -> int:
        return await self._store.erase(
            space,
            ids,
            change=self._ids.next(),
            deadline=asyncio.get_running_loop().time() + _COMMAND_SECONDS,
            condition=condition,
            cutoff=cutoff,
            keep_newest=keep_newest,
        )

    async def _oldest(self, space: str, part: str, *, until: int, skip: int = 0) -> list[str]:
        key = space_key(space, part)
        ids = await self._command("ZRANGEBYSCORE", key, "-inf", until, "LIMIT", skip, _BATCH)
        return [record_id.decode() for record_id in ids]

    async def _command(self, *arguments: Argument, writes: bool = False) -> Any:
        deadline = asyncio.get_running_loop().time() + _COMMAND_SECONDS
        return await self._connection.command(*arguments, deadline=deadline, writes=writes)


def _parse_info(text: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in text.decode().splitlines() if ":" in line)
    return {name: value for name, _, value in lines}
