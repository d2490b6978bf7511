"""The command's root: its subcommands, and what becomes of errors."""

from __future__ import annotations

import signal
import sys
from importlib.metadata import version as distribution_version
from typing import TYPE_CHECKING, Annotated

import typer

from innervate.cli import (
    chat,
    environment,
    evaluation,
    get,
    install,
    memory,
    pipeline,
    plan,
    release,
    rl,
    trace,
)
from innervate.cli.apply import apply
from innervate.cli.options import Output, OutputOption
from innervate.cli.output import Exit, err, exit_code, out, print_error, print_json
from innervate.errors import InnervateError

if TYPE_CHECKING:
    from types import FrameType

_EPILOG = (
    "Ends with 0 when done, 1 when refused or failed, 2 on wrong usage, 3 when cluster or service do not "
    "answer, 4 when not allowed, 5 when something is not there, 6 when kubectl or helm is missing."
)

app = typer.Typer(
    name="innervate",
    help="The nervous system of compound AI, declared with kubectl apply.",
    epilog=_EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("install")(install.install)
app.command("uninstall")(install.uninstall)
app.command("plan")(plan.plan)
app.command("apply")(apply)
app.command("get")(get.get)
app.command("chat")(chat.chat)
app.command("feedback")(chat.feedback)
app.add_typer(environment.app, name="env")
app.add_typer(evaluation.app, name="eval")
app.add_typer(memory.app, name="memory")
app.add_typer(pipeline.app, name="pipeline")
app.add_typer(release.app, name="release")
app.add_typer(rl.app, name="rl")
app.add_typer(trace.app, name="trace")


@app.callback()
def _root(
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Show where an error came from, for a report of it.")
    ] = False,
) -> None:
    """Read by `main` itself: an error may come before this is called."""


@app.command()
def version(output: OutputOption = Output.TABLE) -> None:
    """Show the version of this command."""
    own = distribution_version("innervate")
    if output is Output.JSON:
        print_json({"innervate": own, "python": sys.version.split()[0]})
    else:
        out.print(f"innervate {own}")


def main() -> None:
    """Run the command and end with its code."""
    signal.signal(signal.SIGTERM, _leave)
    try:
        app()
    except InnervateError as error:
        print_error(error)
        if "--verbose" in sys.argv:
            err.print_exception()
        sys.exit(exit_code(error))
    except KeyboardInterrupt:
        sys.exit(Exit.INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output, such as head, has seen enough.
        sys.stderr.close()
        sys.exit(Exit.OK)


def _leave(number: int, _frame: FrameType | None) -> None:
    """End as on an exception, so that port-forwards are ended too."""
    sys.exit(128 + number)
