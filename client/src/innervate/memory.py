"""The blocking client of a memory store."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Self, TypeVar

import grpc
from innervate_api.memory.v1 import memory_pb2_grpc

from innervate import calls, errors, tracing
from innervate.kubectl import Kubectl
from innervate.retry import Attempts, Retry
from innervate.route import CA_FILE, TOKEN_FILE, Direct, Forwarded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime
    from pathlib import Path
    from types import TracebackType

    from innervate.calls import Call
    from innervate.records import Filter, Found, NewRecord, PutResult, Record, SearchHit, Stats
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


class MemoryClient:
    """A memory store, for programs that block. Safe to share between threads.

    Calls are repeated until they succeed, fail for good, or run out of time; every record has a key,
    so a repeated call stores nothing twice. An empty `space` is the caller's own.

    Parameters
    ----------
    route
        The way to the store; `connect` and `from_kubernetes` make the usual ones.
    retry
        How patient to be.

    Examples
    --------
    >>> with MemoryClient.from_kubernetes("support", namespace="shop") as memory:  # doctest: +SKIP
    ...     memory.put("Mira waters the orchids with rain only.", session_id="monday")
    ...     for hit in memory.search("Which water do the orchids need?"):
    ...         print(hit.score, hit.record.text)
    """

    def __init__(self, route: Route, *, retry: Retry | None = None) -> None:
        self._route = route
        self._retry = retry or Retry()
        self._lock = threading.Lock()
        self._address: Address | None = None
        self._channel: grpc.Channel | None = None
        self._stub: Any = None

    @classmethod
    def connect(
        cls,
        endpoint: str,
        *,
        ca: str | Path | bytes = CA_FILE,
        token: str | Path | Callable[[], str] = TOKEN_FILE,
        server_name: str | None = None,
        retry: Retry | None = None,
    ) -> Self:
        """Client of a store that this process can reach by itself; the defaults are right in a pod.

        Parameters
        ----------
        endpoint
            The store's `status.endpoint`, ``grpcs://host:port``.
        ca
            Authorities to trust: a PEM file or PEM itself.
        token
            File with the caller's token, or a function that gives it.
        server_name
            Name to expect in the server's certificate, where it is not the endpoint's host.
        retry
            How patient to be.
        """
        return cls(Direct(endpoint, ca=ca, token=token, server_name=server_name), retry=retry)

    @classmethod
    def from_kubernetes(
        cls,
        store: str,
        *,
        namespace: str | None = None,
        context: str | None = None,
        kubeconfig: str | None = None,
        service_account: str = "default",
        retry: Retry | None = None,
    ) -> Self:
        """Client of a store in a cluster that kubectl reaches, such as from a laptop.

        Parameters
        ----------
        store
            Name of the MemoryStore.
        namespace, context, kubeconfig
            As kubectl's options; None for kubectl's own choice.
        service_account
            Account of the store's namespace to call as.
        retry
            How patient to be.
        """
        kubectl = Kubectl(context=context, namespace=namespace, kubeconfig=kubeconfig)
        return cls(Forwarded(kubectl, store, service_account), retry=retry)

    def put(self, record: NewRecord | str, *, space: str = "") -> PutResult:
        """Store a record; returns once it is as durable as the store declares."""
        return self._send(calls.put([calls.as_record(record)], space))[0]

    def put_all(self, records: Iterable[NewRecord | str], *, space: str = "") -> tuple[PutResult, ...]:
        """Store many records, in order; each 256 of them are stored all or none."""
        results: tuple[PutResult, ...] = ()
        for batch in calls.batches(records):
            results += self._send(calls.put(batch, space))
        return results

    def search(
        self,
        query: str,
        *,
        space: str = "",
        limit: int = 10,
        matching: Filter | None = None,
        as_of: datetime | None = None,
    ) -> tuple[SearchHit, ...]:
        """Recall the records that best match, best first.

        Parameters
        ----------
        query
            What to look for, in plain words; at most 8 KiB.
        space
            Where to look; empty for the caller's own space.
        limit
            Most hits to return, up to 100.
        matching
            Only records that match.
        as_of
            Only records valid at this time; None for now.
        """
        return self._send(calls.search(query, space, limit=limit, matching=matching, as_of=as_of))

    def get(self, ids: Sequence[str], *, space: str = "") -> Found:
        """Read up to 256 records by id."""
        return self._send(calls.get(ids, space))

    def list(
        self,
        *,
        space: str = "",
        matching: Filter | None = None,
        include_superseded: bool = False,
        page_size: int = 100,
    ) -> Iterator[Record]:
        """Yield records in the order they were put; pages are read as they are needed."""
        token = ""
        while True:
            page = self._send(
                calls.page(
                    space,
                    matching=matching,
                    size=page_size,
                    token=token,
                    include_superseded=include_superseded,
                )
            )
            yield from page.records
            token = page.token
            if not token:
                return

    def supersede(self, id_: str, record: NewRecord | str, *, space: str = "") -> PutResult:
        """Replace a record by a newer one; the old one stays readable by id and leaves recall."""
        return self._send(calls.supersede(id_, calls.as_record(record), space))

    def forget(
        self,
        ids: Sequence[str] = (),
        *,
        matching: Filter | None = None,
        everything: bool = False,
        space: str = "",
    ) -> int:
        """Erase records for good: by id, by filter, or the whole space.

        Returns
        -------
        int
            How many were erased. After a lost connection the repeated call counts only its own.
        """
        return self._send(calls.forget(ids, matching, space, everything=everything))

    def stats(self, *, space: str = "") -> Stats:
        """Count what a space holds; an empty space is the whole store, for those who may."""
        return self._send(calls.stats(space))

    def close(self) -> None:
        """End connection and port-forward."""
        with self._lock:
            if self._channel is not None:
                self._channel.close()
            self._channel = self._address = self._stub = None
        self._route.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

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
                self._stub = memory_pb2_grpc.MemoryServiceStub(self._channel)
                self._address = address
            return self._stub
