"""A pod that asks a pool all the time, as a workload in the cluster does, and tells of every answer."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from innervate_local import images

if TYPE_CHECKING:
    from tests.e2e.lab import Lab

PROGRAM = """
import http.client, itertools, json, pathlib, ssl, sys, threading, time

HOST, MODEL = sys.argv[1:]
TLS = ssl.create_default_context(cafile="/trust/ca.crt")
STOP = pathlib.Path("/tmp/stop")
LOCK = threading.Lock()

def connected():
    # As clients do: what was not sent yet is tried again. What was sent must be answered.
    for attempt in itertools.count(1):
        line = http.client.HTTPSConnection(HOST, 8443, context=TLS, timeout=60)
        try:
            line.connect()
            return line
        except OSError:
            if attempt == 60:
                raise
            time.sleep(0.5)

def ask(number, worker):
    stream = number % 2 == 0
    body = {"model": MODEL, "stream": stream, "max_tokens": (8, 600)[worker % 2],
            "messages": [{"role": "user", "content": "hello"}]}
    told = {"number": number, "worker": worker, "begun": time.time()}
    try:
        # A connection for each request, so that they reach every gateway.
        line = connected()
        token = pathlib.Path("/token/token").read_text()
        headers = {"authorization": "Bearer " + token, "content-type": "application/json",
                   "x-innervate-session": f"{worker}-{number}"}
        line.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        answer = line.getresponse()
        content = answer.read().decode()
        told |= {"status": answer.status, "release": answer.headers.get("x-innervate-release")}
        if answer.status != 200:
            told["problem"] = content[:300]
        elif stream:
            events = [event[6:] for event in content.split("\\n\\n") if event.startswith("data: ")]
            choices = [json.loads(event)["choices"] for event in events[:-1]]
            told["text"] = "".join(each[0]["delta"].get("content") or "" for each in choices if each)
            told["whole"] = events[-1] == "[DONE]"
        else:
            told["text"] = json.loads(content)["choices"][0]["message"]["content"]
            told["whole"] = True
        # The node keeps little of a container's log.
        told["letters"] = "".join(sorted(set(told.pop("text", ""))))
        line.close()
    except Exception as error:
        told["problem"] = repr(error)
    with LOCK:
        print(json.dumps(told), flush=True)

def work(worker):
    for number in itertools.count():
        if STOP.exists():
            return
        ask(number, worker)
        time.sleep(0.05)

workers = [threading.Thread(target=work, args=(worker,)) for worker in range(2)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
print(json.dumps({"end": True}), flush=True)
"""


@dataclass
class Caller:
    """Asks from two threads until the `with` block ends: one for short answers, one for long ones.

    Parameters
    ----------
    lab
        The cluster.
    namespace, pool, model
        Whom to ask.
    """

    lab: Lab
    namespace: str
    pool: str
    model: str
    name: str = field(default_factory=lambda: f"caller-{uuid.uuid4().hex[:6]}")

    def __enter__(self) -> Self:
        self.lab.apply(self._pod())
        self.lab.kubectl(
            "wait", "pod", self.name, "-n", self.namespace, "--for=condition=Ready", "--timeout=120s"
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.lab.kubectl("delete", "pod", self.name, "-n", self.namespace, "--wait=false")

    def answers(self) -> list[dict[str, Any]]:
        """What was told so far."""
        text = self.lab.kubectl("logs", self.name, "-n", self.namespace)
        # The last line may be half written.
        lines = text.splitlines() if text.endswith("\n") else text.splitlines()[:-1]
        return [json.loads(line) for line in lines]

    def advance(self, answers: int, *, seconds: float = 120) -> None:
        """Wait until more requests were answered."""
        wanted = len(self.answers()) + answers
        self.lab.eventually(lambda: len(self.answers()) >= wanted, seconds=seconds, every=1)

    def finish(self) -> list[dict[str, Any]]:
        """Ask nothing more, and give what was told of every request that was begun."""
        self.lab.kubectl("exec", self.name, "-n", self.namespace, "--", "touch", "/tmp/stop")
        self.lab.eventually(lambda: self.answers()[-1].get("end"), seconds=120, every=1)
        return self.answers()[:-1]

    def _pod(self) -> dict[str, Any]:
        token = {"serviceAccountToken": {"audience": "innervate", "expirationSeconds": 3600, "path": "token"}}
        container = {
            "name": "caller",
            "image": images.BASE,
            "imagePullPolicy": "IfNotPresent",
            "command": [
                "python3",
                "-c",
                PROGRAM,
                f"{self.pool}-inferencepool.{self.namespace}.svc",
                self.model,
            ],
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "volumeMounts": [
                {"name": "trust", "mountPath": "/trust"},
                {"name": "token", "mountPath": "/token"},
            ],
        }
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": {
                "terminationGracePeriodSeconds": 0,
                "automountServiceAccountToken": False,
                "containers": [container],
                "volumes": [
                    {"name": "trust", "configMap": {"name": f"{self.pool}-inferencepool-trust"}},
                    {"name": "token", "projected": {"sources": [token]}},
                ],
            },
        }
