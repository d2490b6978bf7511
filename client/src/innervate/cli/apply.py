"""`innervate apply`: plan, apply, and watch it come true."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from innervate_kinds.api.names import TRACEPARENT
from rich.live import Live
from rich.table import Table
from rich.text import Text

from innervate import jaeger, manifests, planning, tracing, waiting
from innervate.cli import telemetry, waterfall
from innervate.cli.options import Context, Files, Kubeconfig, Namespace, Output, OutputOption
from innervate.cli.output import Exit, err, out, print_json
from innervate.cli.plan import validated
from innervate.cli.trace import of_resource, query_service
from innervate.errors import InnervateError
from innervate.kubectl import Kubectl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from innervate.manifests import Document
    from innervate.planning import Planned

FIELD_MANAGER = "innervate-client"
_TRACE_WAIT_S = 15.0


def apply(
    files: Files,
    *,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until everything is ready.")] = True,
    timeout: Annotated[float, typer.Option(help="Seconds to wait at most.", min=1)] = 120.0,
    trace: Annotated[
        bool,
        typer.Option("--trace", help="Show the trace of it in the end; needs the cluster's trace store."),
    ] = False,
    output: OutputOption = Output.TABLE,
    context: Context = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Validate as plan does, apply, and wait until everything is ready, telling what happens.

    Every resource of ours is marked with the trace of this command, so that the operator's work
    links to it. Ends with 1 when something does not get ready in time.
    """
    kubectl = Kubectl(context=context, namespace=namespace, kubeconfig=kubeconfig)
    place = kubectl.current_namespace()
    documents = manifests.load(files)
    reader = planning.Reader(documents, kubectl, place)
    # Children are not shown here, so the operator's own settings need not be read, nor be readable.
    defaults = planning.operator_config(planning.Reader((), None, place))
    planned, _ = validated(documents, reader, place, defaults)
    with telemetry.traced("innervate apply", kubectl, wanted=trace) as span:
        said = kubectl.run(
            *("apply", "--server-side", f"--field-manager={FIELD_MANAGER}", "--filename=-"),
            stdin=_marked(documents, tracing.traceparent(span)),
        )
        err.print(said.rstrip(), markup=False, soft_wrap=True)
        resources = _await(planned, kubectl, timeout) if wait else _read(planned, kubectl)
    if output is Output.JSON:
        print_json(resources)
    if trace:
        _show_traces(planned, kubectl)
    else:
        _name_traces(resources)
    unready = [each for each in resources if wait and not waiting.settled(each)]
    for each in unready:
        kind, name, where = _names(each)
        err.print(
            f"{each['kind']} {name} is not ready; see: innervate get {kind} {name}{where} --tree",
            markup=False,
            soft_wrap=True,
        )
    if unready:
        raise typer.Exit(Exit.FAILED)


def _marked(documents: Sequence[Document], traceparent: str) -> str:
    """Documents for kubectl; those of our kinds with the trace that they belong to."""
    items: list[dict[str, Any]] = []
    for document in documents:
        data = document.data
        if traceparent and str(data["apiVersion"]).startswith("innervate.dev/"):
            metadata = data["metadata"]
            annotations = {**(metadata.get("annotations") or {}), TRACEPARENT: traceparent}
            data = {**data, "metadata": {**metadata, "annotations": annotations}}
        items.append(data)
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def _read(planned: Sequence[Planned], kubectl: Kubectl) -> list[Mapping[str, Any]]:
    return [kubectl.read(_path(each)) for each in planned]


def _path(planned: Planned) -> str:
    metadata = planned.resource.metadata
    return planned.room.kind.path(metadata.namespace, metadata.name)


def _await(planned: Sequence[Planned], kubectl: Kubectl, timeout: float) -> list[Mapping[str, Any]]:
    deadline = time.monotonic() + timeout
    last: list[Mapping[str, Any]] = []
    for each in planned:
        metadata = each.resource.metadata
        start = time.monotonic()
        resource: Mapping[str, Any] = {}
        with Live(console=err, transient=True, auto_refresh=False) as live:
            left = max(1.0, deadline - start)
            for resource in waiting.states(
                kubectl, each.room.kind, metadata.namespace, metadata.name, timeout=left
            ):
                live.update(_conditions(resource), refresh=True)
                if waiting.settled(resource) is not None:
                    break
        took = time.monotonic() - start
        last.append(resource)
        err.print(_conditions(resource))
        if waiting.settled(resource):
            err.print(Text(f"{each.resource.kind} {metadata.name} is ready after {took:.1f} s", "green"))
    return last


def _conditions(resource: Mapping[str, Any]) -> Table:
    metadata = resource["metadata"]
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="bold")
    for column in (f"{resource['kind']} {metadata['name']}", "", "reason", "message"):
        table.add_column(column)
    conditions = (resource.get("status") or {}).get("conditions") or ()
    generation = metadata.get("generation", 0)
    for each in conditions:
        fresh = each.get("observedGeneration", 0) >= generation
        good = each["status"] == ("False" if each["type"] in ("Reconciling", "Stalled") else "True")
        style = "dim" if not fresh else "green" if good else "yellow"
        table.add_row(
            each["type"], Text(each["status"], style), each["reason"], Text(each.get("message", ""))
        )
    if not conditions:
        table.add_row("", "", "", "no operator has looked at it yet")
    return table


def _names(resource: Mapping[str, Any]) -> tuple[str, str, str]:
    """Kind, name and namespace option, as a command takes them."""
    metadata = resource["metadata"]
    where = f" -n {metadata['namespace']}" if metadata.get("namespace") else ""
    return resource["kind"].lower(), metadata["name"], where


def _name_traces(resources: Sequence[Mapping[str, Any]]) -> None:
    for each in resources:
        kind, name, where = _names(each)
        if (each.get("status") or {}).get("trace"):
            what = f"{kind}/{name}{where}"
            err.print(f"what the operator did: innervate trace show {what}", markup=False, soft_wrap=True)


def _show_traces(planned: Sequence[Planned], kubectl: Kubectl) -> None:
    for each in planned:
        metadata = each.resource.metadata
        where = Kubectl(kubectl.context, metadata.namespace or kubectl.namespace, kubectl.kubeconfig)
        try:
            trace = of_resource(where, f"{each.room.kind.plural}/{metadata.name}")
            with query_service(kubectl, None) as url, err.status(f"reading trace {trace}"):
                found = jaeger.fetch(url, trace, wait_s=_TRACE_WAIT_S)
            out.print(waterfall.render(found, out.width))
        except InnervateError as error:
            err.print(f"no trace to show: {error}", markup=False, soft_wrap=True)
