"""Refuses an uninstall while resources hold Innervate's finalizer: nobody would finish their deletion.

Runs in the operator's image before Helm deletes anything; needs the standard library only.
`NAMESPACES` limits the search, separated by commas; empty means the whole cluster. `KEEP` is the command by
which Helm takes the release for installed again.
"""
# ruff: noqa: INP001 - handed to `python3 -c`, never imported

from __future__ import annotations

import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

ACCOUNT = Path(os.environ.get("ACCOUNT", "/var/run/secrets/kubernetes.io/serviceaccount"))
FINALIZER = "innervate.dev/cleanup"
GROUP = "/apis/innervate.dev/v1alpha1"
NAMED = 20
PATIENCE_S = 15.0


def read(path: str) -> dict[str, Any]:
    """Read a path of the API server as the pod's ServiceAccount; empty when it is not there."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    host = f"[{host}]" if ":" in host else host
    token = (ACCOUNT / "token").read_text().strip()
    request = urllib.request.Request(
        f"https://{host}:{port}{path}", headers={"Authorization": f"Bearer {token}"}
    )
    context = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            with urllib.request.urlopen(request, timeout=20, context=context) as response:  # noqa: S310 - https, above
                found: dict[str, Any] = json.load(response)
                return found
        except urllib.error.HTTPError as error:
            if error.code == HTTPStatus.NOT_FOUND:
                return {}
            # A busy API server, or one that has just learnt of a kind, says so and means later.
            passes = (
                error.code == HTTPStatus.TOO_MANY_REQUESTS or error.code >= HTTPStatus.INTERNAL_SERVER_ERROR
            )
            if not passes or time.monotonic() > deadline:
                sys.exit(f"Innervate is not uninstalled: {path} cannot be read: {error.code} {error.reason}")
        time.sleep(0.5)


def collections(namespaces: list[str]) -> Iterator[tuple[str, str]]:
    """Give kind and path of every collection to look through."""
    for resource in read(GROUP).get("resources", []):
        if "/" in resource["name"]:
            continue
        if not namespaces:
            yield resource["kind"], f"{GROUP}/{resource['name']}"
        elif resource["namespaced"]:
            for namespace in namespaces:
                yield resource["kind"], f"{GROUP}/namespaces/{namespace}/{resource['name']}"


def held(namespaces: list[str]) -> list[str]:
    """Name every resource that holds the finalizer, as ``Kind namespace/name``."""
    return [
        f"{kind} {'/'.join(filter(None, (item['metadata'].get('namespace'), item['metadata']['name'])))}"
        for kind, path in collections(namespaces)
        for item in read(path).get("items", [])
        if FINALIZER in item["metadata"].get("finalizers", [])
    ]


names = held([name for name in os.environ.get("NAMESPACES", "").split(",") if name])
if names:
    listed = "".join(f"\n  {name}" for name in [*names[:NAMED], *(["…"] if len(names) > NAMED else [])])
    sys.exit(
        f"Innervate is not uninstalled: {len(names)} of its resources would never finish being deleted "
        f"without it:{listed}\n"
        "Delete them first, or annotate them with innervate.dev/abandon to leave what they hold outside "
        "their namespace as it is. To uninstall all the same: helm uninstall --no-hooks\n"
        "Nothing was removed, but Helm now takes the release for half gone. To go on using it: "
        f"{os.environ['KEEP']}"
    )
