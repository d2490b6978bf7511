"""What every client has in common: how it is made, and how the blocking ones end."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from innervate.closing import Closing
from innervate.kubectl import Kubectl
from innervate.retry import Retry
from innervate.route import CA_FILE, MEMORY_STORE, TOKEN_FILE, Direct, Forwarded

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from innervate.route import Address, Route, Served


class Client:
    """A client of one resource that answers at an endpoint.

    Parameters
    ----------
    route
        The way to the resource; `connect` and `from_kubernetes` make the usual ones.
    retry
        How patient to be.
    """

    served: ClassVar[Served] = MEMORY_STORE
    """What kind of resource it is a client of."""
    port: ClassVar[int | None] = None
    """Where it is asked, when that is not its endpoint's port."""

    def __init__(self, route: Route, *, retry: Retry | None = None) -> None:
        self._route = route
        self._retry = retry or Retry()
        self._address: Address | None = None

    @classmethod
    def connect(
        cls,
        endpoint: str,
        *,
        ca: str | Path | bytes = CA_FILE,
        token: str | Path | Callable[[], str] = TOKEN_FILE,
        server_name: str | None = None,
        port: int | None = None,
        retry: Retry | None = None,
    ) -> Self:
        """Client of a resource that this process can reach by itself; the defaults are right in a pod.

        Parameters
        ----------
        endpoint
            Its `status.endpoint`: ``grpcs://host:port`` or ``https://host:port``.
        ca
            Authorities to trust: a PEM file or PEM itself.
        token
            File with the caller's token, or a function that gives it.
        server_name
            Name to expect in the server's certificate, where it is not the endpoint's host.
        port
            Another port than the usual one.
        retry
            How patient to be.
        """
        route = Direct(endpoint, ca=ca, token=token, server_name=server_name, port=port or cls.port)
        return cls(route, retry=retry)

    @classmethod
    def from_kubernetes(
        cls,
        name: str,
        *,
        namespace: str | None = None,
        context: str | None = None,
        kubeconfig: str | None = None,
        service_account: str = "default",
        retry: Retry | None = None,
    ) -> Self:
        """Client of a resource in a cluster that kubectl reaches, such as from a laptop.

        The cluster is asked at the first call, not here.

        Parameters
        ----------
        name
            Name of the resource.
        namespace, context, kubeconfig
            As kubectl's options; None for kubectl's own choice.
        service_account
            Account of the resource's namespace to call as.
        retry
            How patient to be.
        """
        kubectl = Kubectl(context=context, namespace=namespace, kubeconfig=kubeconfig)
        return cls(Forwarded(kubectl, name, service_account, served=cls.served, port=cls.port), retry=retry)


class BlockingClient(Closing, Client):
    """A client for programs that block; a context manager that ends it."""

    def close(self) -> None:
        """End connection and port-forward."""
        self._route.close()
