"""Our operator for the bench room alone: ``ours.py KUBECONFIG RESYNC_SECONDS``."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import uvloop
from innervate_operator import app
from innervate_operator.settings import Settings
from innervate_service.logs import configure_logs
from room import ROOM

LOOPBACK = "127.0.0.1:0"


def main() -> None:
    """Run as `python3 -m innervate_operator` does."""
    kubeconfig, resync_seconds = sys.argv[1:]
    settings = Settings(
        kubeconfig=Path(kubeconfig),
        namespace="default",
        identity_listen=LOOPBACK,
        health_listen=LOOPBACK,
        metrics_listen=LOOPBACK,
        resync_seconds=float(resync_seconds),
    )
    configure_logs(settings.log_level)
    logging.getLogger("kopf").setLevel(logging.WARNING)
    uvloop.run(app.run(settings, [ROOM]))


if __name__ == "__main__":
    main()
