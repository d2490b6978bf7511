"""The identity agent as a program: a sidecar for servers that are not ours.

``python3 -m innervate_service.identity.agent`` keeps a directory supplied with a certificate, says on
``/readyz`` when the first is there, and makes Redis read each later one.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from innervate_service.config import ConfigError, IdentityConfig, PathsConfig
from innervate_service.identity.redis_reload import RedisReload
from innervate_service.identity.renewal import CertificateRenewal
from innervate_service.probes import HttpServer, Response, readiness_response
from innervate_service.program import run
from innervate_service.tls import CertificateStore

if TYPE_CHECKING:
    from collections.abc import Sequence

_FLAGS: dict[int | str, str] = {
    "endpoint": "--endpoint",
    "trustDomain": "--trust-domain",
    "dnsNames": "--dns-name",
}
"""The flag that each field of `IdentityConfig` comes from."""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    paths = PathsConfig()
    parser = argparse.ArgumentParser(
        prog="innervate-identity-agent",
        description="Keeps a directory supplied with this pod's certificate.",
    )
    parser.add_argument("--endpoint", required=True, help="the identity authority, host:port")
    parser.add_argument(
        "--dns-name", required=True, action="append", dest="dns_names", help="a name to hold; repeatable"
    )
    parser.add_argument("--trust-domain", default="innervate.local", help="default: %(default)s")
    parser.add_argument(
        "--directory", type=Path, default=paths.identity_directory, help="default: %(default)s"
    )
    parser.add_argument("--token-file", type=Path, default=paths.token_file, help="default: %(default)s")
    parser.add_argument(
        "--trust-directory", type=Path, default=paths.trust_directory, help="default: %(default)s"
    )
    parser.add_argument("--reload-redis", metavar="HOST:PORT", help="make this Redis read each certificate")
    parser.add_argument("--password-file", type=Path, help="the password of that Redis")
    parser.add_argument(
        "--health-listen",
        default=os.environ.get("INNERVATE_HEALTH_LISTEN") or "0.0.0.0:8082",
        help="/livez and /readyz; default: $INNERVATE_HEALTH_LISTEN or 0.0.0.0:8082",
    )
    return parser.parse_args(arguments)


async def follow(arguments: argparse.Namespace) -> None:
    """Run the agent until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        config = IdentityConfig(
            endpoint=arguments.endpoint,
            trust_domain=arguments.trust_domain,
            dns_names=tuple(arguments.dns_names),
        )
    except ValidationError as error:
        problem = error.errors()[0]
        raise ConfigError(
            f"{_FLAGS[problem['loc'][0]]} = {problem['input']!r} is refused; {problem['msg']}"
        ) from error
    paths = PathsConfig(
        trust_directory=arguments.trust_directory,
        token_file=arguments.token_file,
        identity_directory=arguments.directory,
    )
    certificates = CertificateStore()
    server = HttpServer(
        {
            "/livez": lambda: Response(200, b"ok\n"),
            "/readyz": lambda: readiness_response(certificates.problem()),
        }
    )
    await server.start(arguments.health_listen)
    async with asyncio.TaskGroup() as tasks:
        running = []
        if arguments.reload_redis:
            reload = RedisReload(
                address=arguments.reload_redis,
                password_file=arguments.password_file,
                directory=arguments.directory,
                certificates=certificates,
            )
            running.append(tasks.create_task(reload.run()))
        running.append(tasks.create_task(CertificateRenewal(config, paths, certificates).run()))
        await stop.wait()
        for task in running:
            task.cancel()
    await server.stop()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program."""
    parsed = parse(sys.argv[1:] if arguments is None else arguments)
    run(lambda: follow(parsed))


if __name__ == "__main__":
    main()
