"""Blocking calls by gRPC, repeated until they succeed, fail for good, or run out of time."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import grpc

from innervate import errors, tracing
from innervate.clients import BlockingClient
from innervate.retry import Attempts

if TYPE_CHECKING:
    from collections.abc import Callable

    from innervate.calls import Call
    from innervate.retry import Retry
    from innervate.route import Address, Route

ResultT = TypeVar("ResultT")

CHANNEL_OPTIONS: tuple[tuple[str, Any], ...] = (
    # The client retries by itself, where it knows what is safe and how long there is.
    ("grpc.enable_retries", 0),
    # A lost server is tried again soon: the client's own backoff spreads the load.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # Port-forwards and Services end at different pods: never share a connection between clients.
    ("grpc.use_local_subchannel_pool", 1),
    # A search may answer with a hundred records of 64 KiB.
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    ("grpc.lb_policy_name", "round_robin"),
    # Neither Services nor port-forwards are behind a web proxy.
    ("grpc.enable_http_proxy", 0),
)


def channel_arguments(address: Address) -> tuple[str, grpc.ChannelCredentials, list[tuple[str, Any]]]:
    """What both kinds of channel are made of."""
    options = [
        *CHANNEL_OPTIONS,
        ("grpc.ssl_target_name_override", address.server_name),
        ("grpc.default_authority", address.server_name),
    ]
    return address.target, grpc.ssl_channel_credentials(root_certificates=address.ca), options


class RpcClient(BlockingClient):
    """What the blocking clients have in common. Safe to share between threads.

    Parameters
    ----------
    route
        The way to the service.
    retry
        How patient to be.
    """

    stub: ClassVar[Callable[..., Any]]
    """Makes the service's stub on a channel."""

    def __init__(self, route: Route, *, retry: Retry | None = None) -> None:
        super().__init__(route, retry=retry)
        self._lock = threading.Lock()
        self._channel: grpc.Channel | None = None
        self._stub: Any = None

    def close(self) -> None:
        """End connection and port-forward."""
        with self._lock:
            if self._channel is not None:
                self._channel.close()
            self._channel = self._address = self._stub = None
        super().close()

    def _send(self, call: Call[ResultT]) -> ResultT:
        attempts = Attempts(self._retry, f"{call.method} on {self._route.store}")
        with tracing.client_span(call, self._route.store) as span:
            while True:
                number = attempts.number
                try:
                    return self._attempt(call, attempts)
                except errors.InnervateError as error:
                    delay = attempts.after(error)
                    tracing.note_retry(span, number, error)
                    time.sleep(delay)

    def _attempt(self, call: Call[ResultT], attempts: Attempts) -> ResultT:
        address = self._route.address()
        stub = self._connected(address)
        metadata = tracing.metadata(self._route.token())
        try:
            reply = getattr(stub, call.method)(call.request, timeout=attempts.timeout(), metadata=metadata)
        except grpc.RpcError as error:
            failure, doubtful = errors.from_rpc(error)
        else:
            return call.read(reply)
        if doubtful:
            self._route.lost(address)
        if isinstance(failure, errors.Unauthenticated) and attempts.renew_token():
            self._route.renew_token()
            failure.retry_after = 0.0
        raise failure

    def _connected(self, address: Address) -> Any:
        with self._lock:
            if self._stub is None or address != self._address:
                # Calls of other threads still end on the old channel; it goes with the last of them.
                self._channel = grpc.secure_channel(*channel_arguments(address))
                self._stub = type(self).stub(self._channel)
                self._address = address
            return self._stub
