"""A port of a Service on this machine, by `kubectl port-forward`."""

from __future__ import annotations

import re
import subprocess
import threading
import weakref
from typing import TYPE_CHECKING

from innervate import kubectl as kubectl_module
from innervate.closing import Closing
from innervate.errors import PermissionDenied, Unauthenticated, Unavailable

if TYPE_CHECKING:
    from innervate.errors import InnervateError
    from innervate.kubectl import Kubectl

_FORWARDING = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+) ")
_POD_S = 3
_START_S = 20.0
_STOP_S = 2.0
_RETRY_AFTER_S = 0.5


class PortForward(Closing):
    """One running `kubectl port-forward`, ended with the object or the program.

    Parameters
    ----------
    kubectl
        Where the Service is; its namespace must be set.
    target
        Name of a Service, or ``pod/name``. kubectl picks one of a Service's pods; the forward ends
        with that pod.
    port
        Port of the Service or pod.

    Raises
    ------
    Unavailable
        When no pod can be reached now.
    """

    def __init__(self, kubectl: Kubectl, target: str, port: int) -> None:
        resource = target if "/" in target else f"service/{target}"
        patience = f"--pod-running-timeout={_POD_S}s"
        self._process = kubectl.start("port-forward", "--address=127.0.0.1", patience, resource, f":{port}")
        self._end = weakref.finalize(self, _stop, self._process)
        # kubectl blocks when nobody takes what it prints, and without end when it hangs.
        impatience = threading.Timer(_START_S, self._process.kill)
        impatience.start()
        try:
            first = self._process.stdout.readline() if self._process.stdout else ""
        finally:
            impatience.cancel()
        found = _FORWARDING.search(first)
        if found is None:
            self._process.kill()
            words = self._process.communicate()[1]
            self._end()
            raise _no_forward(words, kubectl, resource)
        self.port = int(found[1])
        """The local port."""
        for stream in (self._process.stdout, self._process.stderr):
            threading.Thread(target=_drain, args=(stream,), daemon=True).start()

    @property
    def alive(self) -> bool:
        """Whether kubectl still runs; its pod may be gone all the same."""
        return self._process.poll() is None

    def close(self) -> None:
        """End it."""
        self._end()


def _no_forward(words: str, kubectl: Kubectl, resource: str) -> InnervateError:
    failure = kubectl_module.failure(words)
    kind, _, name = resource.partition("/")
    named = f'{kind}s "{name}" not found'
    if isinstance(failure, PermissionDenied | Unauthenticated) or named in words:
        return failure
    # Everything else passes: pods come and go, kubelets are out of reach for a while.
    return Unavailable(
        f"{resource} in namespace {kubectl.namespace} has no pod that can be reached: {failure.message}",
        fix=f"see why: kubectl -n {kubectl.namespace} get pods",
        retry_after=_RETRY_AFTER_S,
    )


def _drain(stream: object) -> None:
    for _ in stream:  # type: ignore[attr-defined]  # a text pipe; subprocess types it Optional
        pass


def _stop(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()
