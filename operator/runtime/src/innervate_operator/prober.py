"""Asks running services, a bounded number at a time, and wakes a resource when an answer differs."""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from google.rpc import (  # type: ignore[import-untyped]  # ships no py.typed
    error_details_pb2,
    status_pb2,
)
from innervate_kinds.api.reader import HttpProbe, Probe, ProbeResult
from innervate_service.logs import get_logger

from innervate_operator.page import Pages, PageUnread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from innervate_kinds.api.kind import Reference
    from innervate_kinds.api.reader import AnyProbe

    from innervate_operator.clock import Clock

_CONCURRENT = 16
_TIMEOUT_SECONDS = 5.0
_IDLE_SECONDS = 120.0
_DETAILS = "grpc-status-details-bin"

_log = get_logger(__name__)


@dataclass(slots=True)
class _Target:
    """Probes of one resource."""

    probes: dict[str, AnyProbe]
    results: dict[str, ProbeResult] = field(default_factory=dict)
    tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)


@dataclass(slots=True)
class _Line:
    """A channel and when it was last used."""

    channel: grpc.aio.Channel
    used_at: float


class Prober:
    """Runs the probes that reconciles ask for.

    Parameters
    ----------
    clock
        Dates answers and spaces questions.
    authorities
        PEM of the authorities to trust, as of now.
    token_file
        Our own token, read anew for each question: the kubelet renews it.
    wake
        Told of a resource whose answer differs from the last.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        authorities: Callable[[], str],
        token_file: Path,
        wake: Callable[[Reference], None],
        concurrent: int = _CONCURRENT,
    ) -> None:
        self._clock = clock
        self._authorities = authorities
        self._token_file = token_file
        self._wake = wake
        self._places = asyncio.Semaphore(concurrent)
        self._targets: dict[Reference, _Target] = {}
        self._lines: dict[tuple[str, str, str], _Line] = {}
        self._pages = Pages(timeout_seconds=_TIMEOUT_SECONDS)

    def results(self, key: Reference) -> Mapping[str, ProbeResult]:
        """Last answers of a resource's probes, by name."""
        target = self._targets.get(key)
        return target.results if target is not None else {}

    def complete(self, key: Reference) -> bool:
        """Whether every probe of a resource was answered, or failed, at least once."""
        target = self._targets.get(key)
        return target is None or target.probes.keys() <= target.results.keys()

    def set(self, key: Reference, probes: Sequence[AnyProbe]) -> None:
        """Ask these from now on, in place of what was asked before."""
        target = self._targets.get(key)
        if target is None:
            if not probes:
                return
            target = self._targets[key] = _Target(probes={})
        wanted = {probe.name: probe for probe in probes}
        for name in [name for name, probe in target.probes.items() if wanted.get(name) != probe]:
            target.tasks.pop(name).cancel()
            target.results.pop(name, None)
            del target.probes[name]
        for name, probe in wanted.items():
            if name not in target.probes:
                target.probes[name] = probe
                target.tasks[name] = asyncio.create_task(self._repeat(key, target, probe))
        if not target.probes:
            del self._targets[key]

    def stop(self, key: Reference) -> None:
        """Ask nothing more about a resource."""
        self.set(key, ())

    async def close(self) -> None:
        """End everything."""
        tasks = [task for target in self._targets.values() for task in target.tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._targets.clear()
        for line in self._lines.values():
            await line.channel.close()
        self._lines.clear()
        await self._pages.close()

    async def ask(self, probe: AnyProbe) -> ProbeResult:
        """Ask once; a failure is an answer too."""
        async with self._places:
            try:
                if isinstance(probe, HttpProbe):
                    value = probe.decode(await self._pages.read(probe))
                else:
                    value = probe.decode(await self._call(probe))
                return ProbeResult(time=self._clock.now(), value=value)
            except PageUnread as error:
                return ProbeResult(time=self._clock.now(), code=error.code, message=error.message)
            except grpc.aio.AioRpcError as error:
                return ProbeResult(
                    time=self._clock.now(),
                    code=error.code().name,
                    reason=_reason(error),
                    message=error.details() or "",
                )
            except Exception as error:  # noqa: BLE001  the boundary: whatever a decoder stumbles over is no end
                message = str(error) or type(error).__name__
                return ProbeResult(time=self._clock.now(), code="UNKNOWN", message=message)

    async def _repeat(self, key: Reference, target: _Target, probe: AnyProbe) -> None:
        while True:
            result = await self.ask(probe)
            previous = target.results.get(probe.name)
            target.results[probe.name] = result
            if previous is None or _said(previous) != _said(result):
                self._wake(key)
            # A tenth of jitter: a thousand stores made at once must not be asked at once for ever.
            await self._clock.sleep(probe.interval_seconds * random.uniform(0.9, 1.1))  # noqa: S311 -- as above
            await self._close_idle()

    async def _call(self, probe: Probe) -> bytes:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self._line(probe).unary_unary(probe.method)
        metadata = (("authorization", f"Bearer {self._token()}"),)
        return await call(probe.request, timeout=_TIMEOUT_SECONDS, metadata=metadata)

    def _line(self, probe: Probe) -> grpc.aio.Channel:
        authorities = self._authorities()
        key = (probe.target, probe.server_name, authorities)
        line = self._lines.get(key)
        if line is None:
            credentials = grpc.ssl_channel_credentials(root_certificates=authorities.encode())
            options: list[tuple[str, Any]] = [
                ("grpc.enable_retries", 0),
                ("grpc.use_local_subchannel_pool", 1),
            ]
            if probe.server_name:
                options.append(("grpc.ssl_target_name_override", probe.server_name))
            line = _Line(grpc.aio.secure_channel(probe.target, credentials, options), 0.0)
            self._lines[key] = line
        line.used_at = self._clock.monotonic()
        return line.channel

    async def _close_idle(self) -> None:
        # Channels of gone services, and of authorities that were replaced.
        limit = self._clock.monotonic() - _IDLE_SECONDS
        for name in [name for name, line in self._lines.items() if line.used_at < limit]:
            await self._lines.pop(name).channel.close()

    def _token(self) -> str:
        with contextlib.suppress(FileNotFoundError):
            return self._token_file.read_text().strip()
        return ""


def _said(result: ProbeResult) -> tuple[Any, ...]:
    return result.value, result.code, result.reason


def _reason(error: grpc.aio.AioRpcError) -> str:
    details = error.trailing_metadata().get(_DETAILS)
    if not isinstance(details, bytes):
        return ""
    status = status_pb2.Status()
    info = error_details_pb2.ErrorInfo()
    try:
        status.ParseFromString(details)
        for detail in status.details:
            if detail.Unpack(info):
                return str(info.reason)
    except DecodeError:
        _log.debug("a probe's error details could not be decoded", code=error.code().name)
    return ""
