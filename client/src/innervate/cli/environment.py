"""`innervate env`: what policies practise in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from innervate_kinds.environment.model import ENVIRONMENT as KIND
from rich.table import Table

from innervate.cli.options import Context, Kubeconfig, Namespace, Output, OutputOption
from innervate.cli.output import err, out, plain, print_json
from innervate.environments import ENVIRONMENT, EnvironmentClient
from innervate.errors import NotFound
from innervate.kubectl import Kubectl
from innervate.retry import Retry
from innervate.route import Forwarded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from innervate.environments import EnvironmentDescription

app = typer.Typer(help="See what policies practise in.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep `describe` a command of its own while it is the only one."""


@app.command()
def describe(
    name: Annotated[str, typer.Argument(help="Name of the Environment.", show_default=False)],
    *,
    account: Annotated[
        str, typer.Option("--service-account", help="Account of its namespace to ask as.")
    ] = "default",
    timeout: Annotated[float, typer.Option(help="Seconds to wait for its server.")] = 30.0,
    output: OutputOption = Output.TABLE,
    context: Context = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Ask an environment what it is: spaces, limits, rewards, tasks, and the digests of what decides them."""
    chosen = Kubectl(context, namespace, kubeconfig)
    kubectl = Kubectl(context, chosen.current_namespace(), kubeconfig)
    resource = _read(kubectl, name)
    said = None
    if (resource.get("spec") or {}).get("source", {}).get("jax") is None:
        route = Forwarded(kubectl, name, account, served=ENVIRONMENT)
        with EnvironmentClient(route, retry=Retry(timeout=timeout)) as client:
            said = client.describe()
    if output is Output.JSON:
        status = resource.get("status") or {}
        print_json({"name": name, "namespace": kubectl.namespace, "status": status, "server": plain(said)})
        return
    _show(name, resource, said)


def _read(kubectl: Kubectl, name: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = kubectl.read(KIND.path(kubectl.namespace, name))
    except NotFound as error:
        raise NotFound(
            f"there is no Environment {name!r} in namespace {kubectl.namespace}",
            fix=error.fix or "see which there are: innervate get environments -A",
        ) from None
    return found


def _show(name: str, resource: Mapping[str, Any], said: EnvironmentDescription | None) -> None:
    spec, status = resource["spec"], resource.get("status") or {}
    rows: list[tuple[str, str]] = [("source", json.dumps(spec["source"]))]
    if said is None:
        rows.append(("runs", "inside the trainer"))
        rows += [(f"chain {key}", str(value)) for key, value in (status.get("chain") or {}).items() if value]
    else:
        limit = f"{said.max_episode_steps:,} steps" if said.max_episode_steps else "none"
        rows += [
            ("id", said.id),
            ("observations", said.observation_space),
            ("actions", said.action_space),
            ("limit of an episode", limit),
            ("slots of all pods", f"{status.get('capacity', '–')}, free {status.get('free', '–')}"),
        ]
        if said.training_tasks or said.evaluation_tasks:
            rows.append(("tasks", f"{said.training_tasks:,} training, {said.evaluation_tasks:,} evaluation"))
        rows += [(f"chain {key}", value) for key, value in said.chain.items()]
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*row)
    out.print(name, style="bold")
    out.print(table)
    if said and said.rewards:
        out.print(_rewards(said))
    if status.get("endpoint"):
        err.print(f"it answers at {status['endpoint']}", markup=False)


def _rewards(said: EnvironmentDescription) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="bold")
    for column in ("reward", "weight", "role", ""):
        table.add_column(column, no_wrap=True)
    for each in said.rewards:
        learned = "learned from" if each.role == "Trained" else "told, never learned from"
        table.add_row(each.name, each.weight, each.role, learned)
    return table
