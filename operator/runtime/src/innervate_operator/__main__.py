"""``python3 -m innervate_operator``: the operator for every kind there is."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

import uvloop
from innervate_kinds.registry import ROOMS
from innervate_service.logs import configure_logs

from innervate_operator import app, settings
from innervate_operator.errors import LeadershipLost, StartupError

if TYPE_CHECKING:
    from collections.abc import Sequence

_TEXT = "%(asctime)s %(levelname)-7s %(name)s %(message)s"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run; exit code 2 for wrong settings or an unfit cluster, 1 for lost leadership."""
    try:
        chosen = settings.load(sys.argv[1:] if arguments is None else arguments)
        configure_logs(chosen.log_level)
        if chosen.log_format == "text":
            for handler in logging.getLogger().handlers:
                handler.setFormatter(logging.Formatter(_TEXT))
        # kopf tells of every event it hands on; only its complaints are of use.
        logging.getLogger("kopf").setLevel(logging.WARNING)
        uvloop.run(app.run(chosen, ROOMS))
    except StartupError as error:
        print(error, file=sys.stderr)  # noqa: T201 -- for a person who reads the pod's log
        sys.exit(2)
    except LeadershipLost as error:
        print(error, file=sys.stderr)  # noqa: T201 -- as above
        sys.exit(1)


if __name__ == "__main__":
    main()
