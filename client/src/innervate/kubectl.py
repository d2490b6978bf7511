"""kubectl as a subprocess: whatever credentials a person's kubectl has, the client has too."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from dataclasses import dataclass
from typing import Any

from innervate.errors import (
    ClusterRefused,
    InnervateError,
    NotFound,
    PermissionDenied,
    ToolMissing,
    Unauthenticated,
    Unavailable,
)

COMMAND = "INNERVATE_KUBECTL"
"""Environment variable with another kubectl to use, with arguments where it needs them."""
_TIMEOUT_S = 60.0
_REQUEST_TIMEOUT = "--request-timeout=20s"
_SERVER_SAID = re.compile(r"Error from server(?: \((?P<reason>\w+)\))?: (?P<message>.*)", re.DOTALL)
_REASONS: dict[str, type[InnervateError]] = {
    "NotFound": NotFound,
    "Forbidden": PermissionDenied,
    "Unauthorized": Unauthenticated,
    "ServiceUnavailable": Unavailable,
    "Timeout": Unavailable,
    "TooManyRequests": Unavailable,
    "InternalError": Unavailable,
}
_CONTEXTS = "see what there is, and whether it is right: kubectl config get-contexts"
_SIGNS: tuple[tuple[re.Pattern[str], type[InnervateError], str], ...] = (
    (
        re.compile(
            r"current-context must exist|context was not found|context .* does not exist|no configuration"
        ),
        ClusterRefused,
        _CONTEXTS,
    ),
    (
        re.compile(
            r"unable to connect to the server|the connection to the server|connection refused|i/o timeout"
            r"|no such host|deadline exceeded|\beof\b"
        ),
        Unavailable,
        _CONTEXTS,
    ),
    (re.compile(r"you must be logged in"), Unauthenticated, "log in to the cluster again"),
    (re.compile(r" is forbidden: "), PermissionDenied, ""),
    (re.compile(r" not found$"), NotFound, ""),
)
"""What kubectl says where it quotes no server: the error it is, and what to do."""


@dataclass(frozen=True, slots=True)
class Kubectl:
    """Where kubectl goes.

    Parameters
    ----------
    context, kubeconfig
        As kubectl's own options; None for kubectl's own choice.
    namespace
        Namespace of what is asked for without one; None for the context's.
    """

    context: str | None = None
    namespace: str | None = None
    kubeconfig: str | None = None

    def command(self, *arguments: str) -> list[str]:
        """Full command line for these arguments."""
        options = {
            "--context": self.context,
            "--kubeconfig": self.kubeconfig,
            "--namespace": self.namespace,
        }
        chosen = [f"{option}={value}" for option, value in options.items() if value]
        return [*shlex.split(os.environ.get(COMMAND, "kubectl")), *chosen, *arguments]

    def current_namespace(self) -> str:
        """Namespace of what is asked for without one."""
        if self.namespace:
            return self.namespace
        return self.run("config", "view", "--minify", "-o", "jsonpath={..namespace}").strip() or "default"

    def run(self, *arguments: str, stdin: str | None = None) -> str:
        """Run to the end and return what it printed.

        Raises
        ------
        InnervateError
            In the type that fits what went wrong, with kubectl's words.
        """
        done = self.attempt(*arguments, stdin=stdin)
        if done.returncode:
            raise failure(done.stderr or done.stdout)
        return done.stdout

    def attempt(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run to the end, whatever the end is."""
        try:
            return subprocess.run(
                self.command(*arguments),
                input=stdin,
                stdin=subprocess.DEVNULL if stdin is None else None,
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
        except FileNotFoundError:
            raise missing() from None
        except subprocess.TimeoutExpired:
            raise Unavailable(
                f"kubectl {arguments[0]} did not end within {_TIMEOUT_S:.0f} s",
                fix="see whether the cluster answers: kubectl get --raw /readyz",
            ) from None

    def read(self, path: str) -> Any:
        """Object, or list, at a path of the API."""
        return json.loads(self.run("get", "--raw", path, _REQUEST_TIMEOUT))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start in the background, in a process group of its own: Ctrl-C is ours to handle."""
        try:
            return subprocess.Popen(
                self.command(*arguments),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        except FileNotFoundError:
            raise missing() from None


def missing() -> ToolMissing:
    """Error for a kubectl that is not there."""
    return ToolMissing(
        f"{os.environ.get(COMMAND, 'kubectl')} was not found",
        fix=f"install kubectl (https://kubernetes.io/docs/tasks/tools/) or name it in {COMMAND}",
    )


def failure(words: str) -> InnervateError:
    """Error for what kubectl said before it failed."""
    text = words.strip() or "kubectl failed without a word"
    said = _SERVER_SAID.search(text)
    if said:
        reason, message = said["reason"] or "", said["message"].strip()
        if reason == "NotFound" and "could not find the requested resource" in message:
            return NotFound(
                "the cluster does not know this kind of resource",
                fix="install Innervate's custom resources first: innervate install",
            )
        return _REASONS.get(reason, ClusterRefused)(message)
    last = text.splitlines()[-1].strip()
    for sign, kind, fix in _SIGNS:
        if sign.search(text.lower()):
            lead = "the cluster does not answer: " if kind is Unavailable else ""
            return kind(lead + last.removeprefix("error: "), fix=fix)
    return ClusterRefused(text.removeprefix("error: "))
