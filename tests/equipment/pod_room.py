"""A namespace of a test's own in a real cluster, and pods of the base image in it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml
from innervate_local import images

if TYPE_CHECKING:
    from collections.abc import Callable

    from innervate_local.cluster import Cluster

PORT = 8000
CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=1.5).close()
except TimeoutError:
    print("dropped")
else:
    print("connected")
"""


def pod(name: str, node: str | None, *, labels: dict[str, str], command: list[str]) -> dict[str, Any]:
    """Give a pod of the base image, on a node if one is named."""
    container = {
        "name": "main",
        "image": images.BASE,
        "imagePullPolicy": "IfNotPresent",
        "command": command,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "containers": [container],
            **({"nodeName": node} if node else {}),
        },
    }


@dataclass(frozen=True)
class Room:
    """A namespace of a test's own."""

    cluster: Cluster
    namespace: str

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl in the namespace."""
        return self.cluster.kubectl("--namespace", self.namespace, *arguments, stdin=stdin)

    def apply(self, *objects: dict[str, Any]) -> None:
        """Apply objects in the namespace."""
        self.kubectl("apply", "--server-side", "--filename=-", stdin=yaml.safe_dump_all(objects))

    def run(self, pod: str, program: str, *arguments: str) -> str:
        """Run a Python program in a pod; give what it printed."""
        return self.kubectl("exec", pod, "--", "python3", "-c", program, *arguments).strip()

    def address(self, pod: str) -> str:
        """Give a pod's address."""
        return self.kubectl("get", "pod", pod, "--output=jsonpath={.status.podIP}")

    def connects(self, source: str, target: str, port: int = PORT) -> bool:
        """Tell whether a pod reaches another."""
        return self.run(source, CONNECT, self.address(target), str(port)) == "connected"

    def settles(self, expected: dict[tuple[str, str], bool]) -> None:
        """Wait until exactly these connections are made or dropped."""
        eventually(lambda: {pair: self.connects(*pair) for pair in expected} == expected)


def eventually(check: Callable[[], Any], *, seconds: float = 60) -> Any:
    """Wait until a check gives something true, and give it."""
    deadline = time.monotonic() + seconds
    while True:
        if found := check():
            return found
        assert time.monotonic() < deadline, f"still {found!r} after {seconds} s"
        time.sleep(0.2)
