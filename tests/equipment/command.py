"""The innervate command in the test's own process, as `kubectl innervate` runs it."""

import io
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest
from innervate.cli import main, output


class Done(NamedTuple):
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


Innervate = Callable[..., Done]


@contextmanager
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kubeconfig: str
) -> Iterator[Innervate]:
    """Give what runs the command, with kubectl looking at this kubeconfig."""
    for console in (output.out, output.err):
        monkeypatch.setattr(console, "width", 200)
    monkeypatch.setenv("KUBECONFIG", kubeconfig)

    def run(*arguments: str, stdin: str = "") -> Done:
        monkeypatch.setattr(sys, "argv", ["kubectl-innervate", *arguments])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        with pytest.raises(SystemExit) as end:
            main()
        code = end.value.code
        return Done(code if isinstance(code, int) else 0, *capsys.readouterr())

    before = signal.getsignal(signal.SIGTERM)
    yield run
    signal.signal(signal.SIGTERM, before)
