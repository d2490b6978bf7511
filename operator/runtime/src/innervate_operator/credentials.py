"""Where the API server is and who we are to it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import kopf

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_RELOAD_SECONDS = 60.0
"""A projected token is renewed by the kubelet at 80 % of its hour; a minute is soon enough."""


@dataclass(slots=True)
class Credentials:
    """A connection to one API server, with a token that may be renewed on disk.

    Parameters
    ----------
    connection
        Server, certificates and fixed credentials; kopf is given the same.
    token_file
        File that holds a bearer token; None for fixed credentials.
    """

    connection: kopf.ConnectionInfo
    token_file: Path | None = None
    _headers: dict[str, str] = field(default_factory=dict)
    _read_at: float = float("-inf")

    def headers(self) -> dict[str, str]:
        """Headers that prove who we are, the token read anew at most once a minute."""
        if self.token_file is None:
            if not self._headers:
                self._headers = self.connection.as_http_headers()
        elif time.monotonic() - self._read_at > _RELOAD_SECONDS:
            self._headers = {"Authorization": f"Bearer {self.token_file.read_text().strip()}"}
            self._read_at = time.monotonic()
        return self._headers

    def expire(self) -> None:
        """Read the token anew before the next request."""
        self._read_at = float("-inf")

    def renewed(self) -> kopf.ConnectionInfo:
        """Connection with the token of now, for kopf, which asks again after a refusal."""
        self.expire()
        scheme, _, token = self.headers().get("Authorization", "").partition(" ")
        if self.token_file is None or scheme != "Bearer":
            return self.connection
        return kopf.ConnectionInfo(
            server=self.connection.server,
            ca_path=self.connection.ca_path,
            token=token,
            default_namespace=self.connection.default_namespace,
        )


def load(kubeconfig: Path | None, context: str | None = None) -> Credentials:
    """Find the API server: a kubeconfig that is named, else the pod's account, else the user's kubeconfig.

    Parameters
    ----------
    kubeconfig
        File to use; None to look in the pod, then where kubectl looks.
    context
        Context in the kubeconfig; None for its current one.
    """
    host = os.environ.get("KUBERNETES_SERVICE_HOST")
    if kubeconfig is None and host and (_ACCOUNT / "token").exists():
        port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        address = f"[{host}]" if ":" in host else host
        return Credentials(
            connection=kopf.ConnectionInfo(
                server=f"https://{address}:{port}", ca_path=str(_ACCOUNT / "ca.crt")
            ),
            token_file=_ACCOUNT / "token",
        )
    return Credentials(connection=_from_kubeconfig(kubeconfig, context))


def _from_kubeconfig(path: Path | None, context: str | None) -> kopf.ConnectionInfo:
    # Imported where it is needed: a pod never needs its many megabytes.
    import kubernetes.client  # noqa: PLC0415 -- see above
    import kubernetes.config  # noqa: PLC0415 -- see above

    found = kubernetes.client.Configuration()
    kubernetes.config.load_kube_config(  # type: ignore[no-untyped-call]  # the library has no types
        config_file=str(path) if path else None,
        context=context,
        client_configuration=found,
        persist_config=False,
    )
    header = found.get_api_key_with_prefix("BearerToken") or found.get_api_key_with_prefix("authorization")
    return kopf.ConnectionInfo(
        server=found.host,
        ca_path=found.ssl_ca_cert,
        insecure=not found.verify_ssl,
        username=found.username or None,
        password=found.password or None,
        token=header.removeprefix("Bearer ") if header else None,
        certificate_path=found.cert_file,
        private_key_path=found.key_file,
    )
