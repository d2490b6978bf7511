"""A trainer that is killed without warning: ``python dying_trainer.py STEP DELAY``.

That is DELAY seconds after it wrote the first point from STEP on to its curves, whatever it does then, and at
its end at the latest. It kills itself: who watches it from outside may come too late on a busy machine.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from innervate_rl.curves import Curves

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

COMMAND = (sys.executable, __file__)


def die(delay: float = 0.0) -> None:
    """End as a container does whose memory ran out."""
    time.sleep(delay)
    os.kill(os.getpid(), signal.SIGKILL)


def main(step: int, delay: float) -> None:
    """Be the trainer until the end comes."""
    append = Curves.append

    def appending(curves: Curves, points: Iterable[Mapping[str, Any]]) -> None:
        told = list(points)
        append(curves, told)
        if any(point["step"] >= step for point in told):
            if not delay:
                die()
            threading.Thread(target=die, args=[delay], daemon=True).start()

    try:
        with patch.object(Curves, "append", appending):
            runpy.run_module("innervate_rl", run_name="__main__", alter_sys=True)
    finally:
        die()


if __name__ == "__main__":
    step, delay = sys.argv[1:]
    sys.argv[1:] = []
    main(int(step), float(delay))
