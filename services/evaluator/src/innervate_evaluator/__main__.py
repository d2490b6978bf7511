"""The runner of an eval job: ``python3 -m innervate_evaluator``. What came of it is its last message."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, Final

from innervate_service import telemetry
from innervate_service.config import ConfigError, config_path, load
from innervate_service.logs import get_logger
from innervate_service.probes import HttpServer, Response, metrics_response
from innervate_service.program import run
from opentelemetry import propagate, trace

from innervate_evaluator import dataset, report
from innervate_evaluator.asking import Gateway
from innervate_evaluator.config import RunnerConfig
from innervate_evaluator.failures import Exit, RunFailed
from innervate_evaluator.journal import Journal
from innervate_evaluator.judging import Judge
from innervate_evaluator.progress import Progress
from innervate_evaluator.runner import Run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from innervate_evaluator.results import Results

_LONGEST_MESSAGE: Final = 1500
_MAX_TERMINATION_BYTES: Final = 4096
"""What the kubelet reads of a termination message."""

_log = get_logger(__name__)
_tracer = trace.get_tracer("innervate_evaluator")


async def main() -> None:
    """Run, and exit with what `Exit` says."""
    config = load(config_path(), RunnerConfig)
    telemetry.configure(config.telemetry)
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    progress = Progress()
    servers = await _serve(config, progress)
    code = Exit.DONE
    try:
        found = await evaluate(config, progress)
        _leave(config.paths.termination, found.document())
    except RunFailed as failed:
        code = failed.exit
        _log.error("run failed", reason=failed.reason, problem=failed.message)
        error = {"reason": failed.reason, "message": failed.message[:_LONGEST_MESSAGE]}
        _leave(config.paths.termination, {"error": error})
    except asyncio.CancelledError:
        code = Exit.TROUBLED
        error = {
            "reason": "Stopped",
            "message": "the runner was told to stop; the next one goes on from there",
        }
        _leave(config.paths.termination, {"error": error})
    finally:
        for server in servers:
            await server.stop()
        await telemetry.shutdown()
    if code:
        sys.exit(code)


async def evaluate(config: RunnerConfig, progress: Progress) -> Results:
    """Read the questions, ask what the log lacks, sum up, and write the report.

    Parameters
    ----------
    config
        The whole configuration.
    progress
        Is kept up to date on the way.

    Raises
    ------
    RunFailed
        There is no result.
    """
    parent = propagate.extract({"traceparent": os.environ.get("TRACEPARENT", "")})
    attributes = {
        "innervate.eval.job": f"{config.job.namespace}/{config.job.name}",
        "innervate.eval.release": config.target.release or "",
    }
    with _tracer.start_as_current_span("evaluate", context=parent, attributes=attributes) as span:
        questions = await asyncio.to_thread(
            dataset.read, config.dataset.path, sha256=config.dataset.sha256, source=config.dataset.source
        )
        identity = _identity(config, questions.sha256)
        async with (
            Journal(config.paths.data, identity) as journal,
            Gateway(config.target, config.job, config.run, config.paths) as gateway,
            Judge(config.paths.scorer, config.scorers) as judge,
        ):
            found = await Run(config, questions, journal, gateway, judge, progress=progress).finish()
            await asyncio.to_thread(
                report.write, config.paths.data, config, questions, found, journal.answered
            )
        if found.verdict:
            span.set_attribute("innervate.eval.verdict", found.verdict.value)
        _log.info("run ends", **found.document())
        return found


def _identity(config: RunnerConfig, sha256: str) -> dict[str, Any]:
    """What an answer depends on: with another, the log's answers would be somebody else's."""
    return {
        "dataset": sha256,
        "target": config.target.release,
        "baseline": config.baseline.release if config.baseline else None,
        "model": config.target.model,
        "scorers": [scorer.model_dump(mode="json", by_alias=True) for scorer in config.scorers],
        "seed": config.run.seed,
        "maxTokens": config.run.max_tokens,
    }


def health(progress: Progress) -> dict[str, Callable[[], Response]]:
    """Pages of the health port: it lives, and how far it is."""
    return {
        "/livez": lambda: Response(200, b"ok\n"),
        "/progress": lambda: Response(200, progress.page(), "application/json"),
    }


async def _serve(config: RunnerConfig, progress: Progress) -> list[HttpServer]:
    routes = (
        (config.health_listen, health(progress)),
        (config.metrics_listen, {"/metrics": metrics_response}),
    )
    servers = []
    for address, answers in routes:
        if address is not None:
            server = HttpServer(answers)
            await server.start(address)
            servers.append(server)
    return servers


def _leave(path: Path, document: dict[str, Any]) -> None:
    """Write the last message, which the operator reads from the pod's status."""
    content = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
    if len(content) > _MAX_TERMINATION_BYTES:
        # Never so with 16 metrics; a longer name of one must not cost the verdict.
        content = json.dumps({**document, "summary": document.get("summary", [])[:1]}).encode()
    try:
        path.write_bytes(content)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}; name another path") from error


if __name__ == "__main__":
    run(main)
