"""The scoring service on a Unix domain socket: ``python3 -m innervate_evaluator.scorer``.

It runs beside the runner without token and without network, so that what scores answers can reach
nothing but them.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import grpc
from innervate_api.scoring.v1 import scoring_pb2, scoring_pb2_grpc
from innervate_service.logs import get_logger
from innervate_service.probes import HttpServer, Response
from innervate_service.program import run

from innervate_evaluator.scoring import Contains, Exact, Numeric, Regex, Sample, Unfit, Unscorable

if TYPE_CHECKING:
    from innervate_evaluator.scoring import Scorer

_MAX_MESSAGE_BYTES: Final = 8 * 1024 * 1024
_GRACE_SECONDS: Final = 5.0
_REASONS: Final = {
    Unfit.SAMPLE: scoring_pb2.SCORE_ERROR_REASON_INVALID_SAMPLE,
    Unfit.SCORER: scoring_pb2.SCORE_ERROR_REASON_INVALID_SCORER,
    Unfit.EXHAUSTED: scoring_pb2.SCORE_ERROR_REASON_EXHAUSTED,
}

_log = get_logger(__name__)


class ScoringServicer(scoring_pb2_grpc.ScoringServiceServicer):
    """Serves the interface."""

    async def Score(  # noqa: N802  the interface's name
        self,
        request: scoring_pb2.ScoreRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> scoring_pb2.ScoreResponse:
        """Score one sample by one scorer."""
        del context
        sample = Sample(output=request.sample.output, expected=request.sample.expected)
        try:
            score = _scorer(request.scorer)(sample)
        except Unscorable as error:
            return scoring_pb2.ScoreResponse(
                error=scoring_pb2.ScoreError(reason=_REASONS[error.reason], message=error.message)
            )
        return scoring_pb2.ScoreResponse(value=score.value, evidence=score.evidence, cost="0")


def _scorer(message: scoring_pb2.Scorer) -> Scorer:
    match message.WhichOneof("type"):
        case "exact":
            return Exact(ignore_case=message.exact.ignore_case)
        case "contains":
            return Contains(ignore_case=message.contains.ignore_case)
        case "numeric":
            return Numeric(tolerance=message.numeric.tolerance)
        case "regex":
            return Regex(pattern=message.regex.pattern)
        case _:
            raise Unscorable(Unfit.SCORER, f"scorer {message.name!r} has no type that is known here; set one")


async def start(socket: Path) -> grpc.aio.Server:
    """Serve on a socket; gRPC takes the place of one that an earlier process left."""
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES)])
    scoring_pb2_grpc.add_ScoringServiceServicer_to_server(ScoringServicer(), server)
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    return server


async def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python3 -m innervate_evaluator.scorer", description=__doc__)
    parser.add_argument("--socket", type=Path, required=True, help="path of the socket to make")
    parser.add_argument("--health-listen", default="", help="host:port for /livez and /readyz; none if empty")
    arguments = parser.parse_args()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = await start(arguments.socket)
    probes = HttpServer({path: lambda: Response(200, b"ok\n") for path in ("/livez", "/readyz")})
    if arguments.health_listen:
        await probes.start(arguments.health_listen)
    _log.info("serving", socket=str(arguments.socket))
    await stop.wait()
    await server.stop(_GRACE_SECONDS)
    await probes.stop()


if __name__ == "__main__":
    run(main)
