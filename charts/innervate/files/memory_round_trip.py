"""Puts a record into a MemoryStore of its own and recalls it: what `helm test` runs, in the client's image.

`STORE` and `STORE_NAMESPACE` name the store, `MANIFEST` is it as JSON, `TRUST` is the ConfigMap with the
authorities its service is certified by, and `TIMEOUT_SECONDS` is how long it may take to become Ready.
"""
# ruff: noqa: INP001, T201 - handed to `python3 -c`; its output is for the person who ran the test

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
from typing import Any

from innervate import MemoryClient

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
NAMESPACE = os.environ["STORE_NAMESPACE"]
STORES = f"/apis/innervate.dev/v1alpha1/namespaces/{NAMESPACE}/memorystores"
STORE = f"{STORES}/{os.environ['STORE']}"
TRUST = f"/api/v1/namespaces/{NAMESPACE}/configmaps/{os.environ['TRUST']}"
SAID = "The spare key of the greenhouse hangs behind the watering can."
NOTHING_SAID = {"reason": "Waiting", "message": "the operator has not said anything yet"}
ASKED = "Where is the key of the greenhouse?"


def call(method: str, path: str, body: str | None = None) -> dict[str, Any] | None:
    """Call the API server as the pod's ServiceAccount; None when the object is not there."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    host = f"[{host}]" if ":" in host else host
    request = urllib.request.Request(
        f"https://{host}:{port}{path}",
        method=method,
        data=body.encode() if body else None,
        headers={
            "Authorization": f"Bearer {(ACCOUNT / 'token').read_text().strip()}",
            "Content-Type": "application/json",
        },
    )
    context = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    try:
        with urllib.request.urlopen(request, timeout=20, context=context) as response:  # noqa: S310 - https, above
            answer: dict[str, Any] = json.load(response)
            return answer
    except urllib.error.HTTPError as error:
        if error.code == HTTPStatus.NOT_FOUND:
            return None
        sys.exit(f"{method} {path}: {error.code} {error.read().decode()}")


def remove(deadline: float) -> None:
    """Delete the store, with its data, and wait until it is gone."""
    call("DELETE", STORE)
    while call("GET", STORE) is not None:
        if time.monotonic() > deadline:
            sys.exit("the MemoryStore of an earlier test is still being deleted")
        time.sleep(0.5)


def endpoint(deadline: float) -> str:
    """Wait until the store is Ready and give its address."""
    told = ""
    while time.monotonic() < deadline:
        store = call("GET", STORE) or {}
        status = store.get("status", {})
        conditions: list[dict[str, Any]] = status.get("conditions", [])
        ready = next((each for each in conditions if each["type"] == "Ready"), NOTHING_SAID)
        if ready.get("status") == "True" and ready["observedGeneration"] == store["metadata"]["generation"]:
            return str(status["endpoint"])
        said = f"{ready['reason']}: {ready['message']}"
        if said != told:
            print(said, flush=True)
            told = said
        time.sleep(0.5)
    sys.exit(f"the MemoryStore did not become Ready in time. {told}")


def main() -> None:
    """Create, remember, recall, delete."""
    deadline = time.monotonic() + float(os.environ["TIMEOUT_SECONDS"])
    remove(deadline)
    call("POST", STORES, os.environ["MANIFEST"])
    try:
        address = endpoint(deadline)
        print(f"The store is Ready at {address}.", flush=True)
        trust = call("GET", TRUST) or sys.exit("the store's ConfigMap of authorities is not there")
        with MemoryClient.connect(address, ca=trust["data"]["ca.crt"].encode()) as memory:
            put = memory.put(SAID)
            hits = memory.search(ASKED)
        if put.id not in [hit.record.id for hit in hits]:
            sys.exit(f"the record that was put was not recalled; these were: {hits}")
        print(f"Put {SAID!r}, asked {ASKED!r}, recalled {hits[0].record.text!r}.", flush=True)
    finally:
        remove(time.monotonic() + 60)


main()
