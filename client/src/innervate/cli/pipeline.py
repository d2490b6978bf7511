"""`innervate pipeline`: tell a LearningPipeline what to do, and see what was live when."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Annotated, Any

import typer
from innervate_kinds.learning_pipeline.model import LEARNING_PIPELINE
from innervate_kinds.learning_pipeline.names import COMMAND
from innervate_kinds.learning_pipeline.record import Action, CommandResult
from rich.table import Table
from rich.text import Text

from innervate import waiting
from innervate.cli.options import Context, Kubeconfig, Namespace, Output, OutputOption
from innervate.cli.output import err, out, print_json
from innervate.errors import Conflict, DeadlineExceeded, InnervateError, NotFound
from innervate.kubectl import Kubectl

if TYPE_CHECKING:
    from collections.abc import Mapping

_STYLES = {"Promoted": "green", "Initial": "green", "RolledBack": "red", "Refused": "red", "Failed": "red"}
_ID_BYTES = 8

app = typer.Typer(
    help="Approve, abort and roll back the candidates of a LearningPipeline; see what was live when.",
    no_args_is_help=True,
)

Name = Annotated[str, typer.Argument(help="Name of the LearningPipeline.")]
Candidate = Annotated[
    str,
    typer.Option("--candidate", help="Only if this candidate is under way; left out, whichever is."),
]
Timeout = Annotated[float, typer.Option(help="Seconds to wait until the operator took the command.")]


@app.command()
def approve(
    name: Name,
    *,
    candidate: Candidate = "",
    timeout: Timeout = 30.0,
    context: Context = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Let the candidate that waits for approval take traffic."""
    _tell(Kubectl(context, namespace, kubeconfig), name, Action.APPROVE, candidate, timeout)


@app.command()
def abort(
    name: Name,
    *,
    candidate: Candidate = "",
    timeout: Timeout = 30.0,
    context: Context = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Call off the candidate under way; what traffic it has goes back to the stable release."""
    _tell(Kubectl(context, namespace, kubeconfig), name, Action.ABORT, candidate, timeout)


@app.command()
def rollback(
    name: Name,
    *,
    candidate: Candidate = "",
    timeout: Timeout = 30.0,
    context: Context = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Take back the candidate under way, or the last promotion while the release before is warm."""
    _tell(Kubectl(context, namespace, kubeconfig), name, Action.ROLLBACK, candidate, timeout)


@app.command()
def history(
    name: Name,
    *,
    output: OutputOption = Output.TABLE,
    context: Context = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Show what was live when, and what was refused, the newest first."""
    kubectl = Kubectl(context, namespace, kubeconfig)
    resource = _read(kubectl, name)
    entries = (resource.get("status") or {}).get("history") or []
    if output is Output.JSON:
        print_json(entries)
    elif entries:
        out.print(_table(entries))
    else:
        err.print(f"LearningPipeline {name} has no history yet; see: innervate get lp {name}")


def _read(kubectl: Kubectl, name: str) -> Mapping[str, Any]:
    namespace = kubectl.current_namespace()
    try:
        found: Mapping[str, Any] = kubectl.read(LEARNING_PIPELINE.path(namespace, name))
    except NotFound as error:
        fix = error.fix or "see which there are: innervate get learningpipelines -A"
        raise NotFound(f"there is no LearningPipeline {name} in namespace {namespace}", fix=fix) from None
    return found


def _tell(kubectl: Kubectl, name: str, action: Action, candidate: str, timeout: float) -> None:
    """Give a command and wait until the operator took it.

    Raises
    ------
    Conflict
        If the pipeline refuses; in its own words.
    DeadlineExceeded
        If no operator took it in time; it may still.
    """
    _read(kubectl, name)
    identity = secrets.token_hex(_ID_BYTES)
    text = json.dumps(
        {"id": identity, "action": action.value, **({"candidate": candidate} if candidate else {})}
    )
    resource = f"{LEARNING_PIPELINE.plural}.{LEARNING_PIPELINE.group}/{name}"
    kubectl.run("annotate", "--overwrite", resource, f"{COMMAND}={text}")
    last = _answer(kubectl, name, identity, timeout)
    if last["result"] != CommandResult.DONE:
        raise Conflict(last["message"], fix=f"see where it stands: innervate get lp {name}")
    out.print(f"{action.value}: {last['message']}")


def _answer(kubectl: Kubectl, name: str, identity: str, timeout: float) -> Mapping[str, Any]:
    namespace = kubectl.current_namespace()
    for resource in waiting.states(kubectl, LEARNING_PIPELINE, namespace, name, timeout=timeout):
        last: Mapping[str, Any] = (resource.get("status") or {}).get("lastCommand") or {}
        if last.get("id") == identity:
            return last
    raise _unanswered(timeout)


def _unanswered(timeout: float) -> InnervateError:
    return DeadlineExceeded(
        f"no operator took the command within {timeout:.0f} s; it stands, and is taken when one comes",
        fix="see whether the operator runs: kubectl get pods -n innervate-system",
    )


def _table(entries: list[Mapping[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="bold")
    for column in ("rollout", "candidate", "release", "verdict", "reason", "live from", "live to", "message"):
        table.add_column(column, no_wrap=column != "message", overflow="fold")
    for entry in entries:
        verdict = entry["verdict"]
        until = entry.get("to") or ("now" if entry.get("from") else "-")
        table.add_row(
            str(entry["rollout"]),
            entry.get("candidate") or "-",
            entry.get("release") or "-",
            Text(verdict, _STYLES.get(verdict, "")),
            entry["reason"],
            entry.get("from") or "-",
            until,
            entry.get("message") or "",
        )
    return table
