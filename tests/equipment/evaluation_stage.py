"""A gateway of releases that know some answers, and the eval runner as a program in front of it."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import sys
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from aiohttp import web
from innervate_evaluator.__main__ import evaluate
from innervate_evaluator.config import RunnerConfig
from innervate_evaluator.failures import RunFailed
from innervate_evaluator.progress import Progress
from innervate_evaluator.scorer import start
from innervate_local.certificates import Authority

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

    from innervate_local.certificates import KeyPair

TOKEN = "account-token"
MODEL = "tutor"


class Asked(NamedTuple):
    """One request that arrived."""

    text: str
    release: str
    headers: Mapping[str, str]


class Gateway:
    """Speaks as a pool's gateway does, over TLS.

    Parameters
    ----------
    knows
        The answer of a release to a question.
    """

    def __init__(self, knows: Callable[[str, str], str]) -> None:
        self._knows = knows
        self.asked: list[Asked] = []
        self.trouble: Callable[[Asked, int], web.Response | None] = lambda _asked, _times: None
        """What answers instead, given a request and how often its question came before."""
        self.delay = 0.0
        self._times: Counter[tuple[str, str]] = Counter()
        self._arrived = asyncio.Condition()

    async def until(self, count: int) -> None:
        """Wait until so many requests have arrived."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.asked) >= count)

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.json()
        assert request.headers["authorization"] == f"Bearer {TOKEN}"
        assert body["model"] == MODEL
        text = body["messages"][0]["content"]
        asked = Asked(text, request.headers.get("x-innervate-release", "chosen"), dict(request.headers))
        times = self._times[asked.text, asked.release]
        self._times[asked.text, asked.release] += 1
        async with self._arrived:
            self.asked.append(asked)
            self._arrived.notify_all()
        await asyncio.sleep(self.delay)
        instead = self.trouble(asked, times)
        if instead is not None:
            return instead
        headers = {"x-innervate-request-id": f"r{len(self.asked)}", "x-innervate-release": asked.release}
        message = {"role": "assistant", "content": self._knows(asked.release, text)}
        usage = {"prompt_tokens": 3, "completion_tokens": 1}
        return web.json_response({"choices": [{"message": message}], "usage": usage}, headers=headers)


def refusal(status: int, **headers: str) -> web.Response:
    """An error in OpenAI's shape."""
    error = {"error": {"message": f"status {status} of the test"}}
    return web.json_response(
        error, status=status, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )


def questions(count: int, *, cluster: int = 1) -> str:
    """Dataset of additions, so many to a cluster."""
    return "".join(
        json.dumps(
            {
                "id": f"q{number}",
                "input": f"{number}+{number}",
                "expected": str(2 * number),
                **({"cluster": f"c{number // cluster}"} if cluster > 1 else {}),
            }
        )
        + "\n"
        for number in range(count)
    )


class Stage:
    """A directory with everything that a runner's pod has.

    Parameters
    ----------
    directory
        Empty; short enough for a socket's path.
    port
        The gateway's.
    gateway
        Whom the runner asks.
    """

    def __init__(self, directory: Path, port: int, gateway: Gateway) -> None:
        self.directory = directory
        self.gateway = gateway
        self.port = port
        self.data = directory / "data"
        self.termination = directory / "termination"
        self.dataset = directory / "golden.jsonl"
        self.progress = Progress()
        """Of the last run in the test's own process."""
        (directory / "token").write_text(TOKEN)

    def config(self, **changes: Any) -> dict[str, Any]:
        """Configuration of a runner."""
        run = {"parallelism": 4, "seed": 7, "requestSeconds": 200, "retrySeconds": 200}
        base: dict[str, Any] = {
            "job": {"namespace": "shop", "name": "exam"},
            "target": {"endpoint": f"https://localhost:{self.port}", "model": MODEL, "release": "b"},
            "baseline": {"release": "a"},
            "dataset": {"path": str(self.dataset)},
            "scorers": [{"name": "exact", "type": "Exact"}],
            "gate": {"metric": "exact", "test": "NonInferior", "margin": "0.1"},
            "healthListen": None,
            "metricsListen": None,
            "paths": {
                "authorities": str(self.directory / "ca.crt"),
                "token": str(self.directory / "token"),
                "data": str(self.data),
                "scorer": str(self.directory / "scorer.sock"),
                "termination": str(self.termination),
            },
        }
        return {**base, **changes, "run": run | changes.get("run", {})}

    async def start(self, **changes: Any) -> asyncio.subprocess.Process:
        """Start the runner as the pod does."""
        path = self.directory / "config.json"
        path.write_text(json.dumps(self.config(**changes)))
        self.termination.unlink(missing_ok=True)
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "innervate_evaluator",
            env={**os.environ, "INNERVATE_CONFIG": str(path)},
            stderr=asyncio.subprocess.PIPE,
        )

    async def judge(self, **changes: Any) -> tuple[int, dict[str, Any]]:
        """What `run` does, in the test's own process: sooner there."""
        config = RunnerConfig.model_validate(self.config(**changes))
        self.progress = Progress()
        try:
            found = await evaluate(config, self.progress)
        except RunFailed as failed:
            return failed.exit, {"error": {"reason": failed.reason, "message": failed.message}}
        return 0, found.document()

    async def run(self, **changes: Any) -> tuple[int, dict[str, Any]]:
        """Run the program to its end: exit code and last words."""
        process = await self.start(**changes)
        _, log = await process.communicate()
        assert process.returncode is not None
        words = json.loads(self.termination.read_text()) if self.termination.exists() else {"log": log}
        return process.returncode, words

    def lines(self) -> list[dict[str, Any]]:
        """Whole lines of the sample log, the first aside."""
        path = self.data / "samples.jsonl"
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_bytes().split(b"\n")[1:-1]]


@asynccontextmanager
async def stage(directory: Path, knows: Callable[[str, str], str]) -> AsyncIterator[Stage]:
    """Gateway and scoring service, both real, both gone in the end."""
    authority = Authority("gateways")
    gateway = Gateway(knows)
    application = web.Application()
    application.router.add_post("/v1/chat/completions", gateway.answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=_tls(directory, authority))
    await site.start()
    (directory / "ca.crt").write_bytes(authority.root.certificate)
    port = runner.addresses[0][1]
    scorer = await start(directory / "scorer.sock")
    try:
        yield Stage(directory, port, gateway)
    finally:
        await scorer.stop(0)
        await runner.cleanup()


def _tls(directory: Path, authority: Authority) -> ssl.SSLContext:
    pair: KeyPair = authority.issue("gateway", addresses=("localhost",))
    certificate, key = pair.write(directory, "gateway")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
