"""`innervate trace`: what happened, step by step."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from innervate import jaeger, rooms
from innervate.cli import telemetry, waterfall
from innervate.cli.options import Context, Kubeconfig, Namespace, Output, OutputOption
from innervate.cli.output import err, out, print_json
from innervate.errors import InvalidArgument, NotFound
from innervate.forward import PortForward
from innervate.kubectl import Kubectl

if TYPE_CHECKING:
    from collections.abc import Iterator

app = typer.Typer(help="Show what happened, step by step.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Show what happened, step by step."""


@app.command("show")
def show(
    what: Annotated[
        str,
        typer.Argument(
            help="A traceparent, a trace id, or KIND/NAME for the last change of a resource.",
            metavar="TRACEPARENT|TRACE_ID|KIND/NAME",
        ),
    ],
    *,
    url: Annotated[
        str | None,
        typer.Option(
            help="Jaeger's query service, such as http://localhost:16686; else the cluster's own is used, "
            f"Service {telemetry.SERVICE} in namespace {telemetry.NAMESPACE}.",
        ),
    ] = None,
    wait: Annotated[
        float, typer.Option(help="Seconds to wait for a trace that has not arrived yet.", min=0)
    ] = 10.0,
    whole: Annotated[bool, typer.Option("--all", help="Show every span, however many do the same.")] = False,
    output: OutputOption = Output.TABLE,
    context: Context = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Show a trace as a waterfall: who did what, when, for how long, and what failed."""
    kubectl = Kubectl(context=context, namespace=namespace, kubeconfig=kubeconfig)
    trace = of_resource(kubectl, what) if "/" in what else jaeger.trace_id(what)
    with query_service(kubectl, url) as service, err.status(f"reading trace {trace}"):
        found = jaeger.fetch(service, trace, wait_s=wait)
    if output is Output.JSON:
        print_json({"id": found.id, "durationUs": found.duration_us, "spans": found.spans})
    else:
        out.print(waterfall.render(found, out.width, whole=whole))


def of_resource(kubectl: Kubectl, what: str) -> str:
    """Trace id of the last change of a resource, from its status."""
    kind, _, name = what.partition("/")
    room = rooms.find(kind)
    if not name:
        raise InvalidArgument(f"{what!r} names no resource", fix="write KIND/NAME, as in memorystore/support")
    namespace = kubectl.current_namespace() if room.kind.namespaced else None
    try:
        resource = kubectl.read(room.kind.path(namespace, name))
    except NotFound as error:
        where = f" -n {namespace}" if namespace else ""
        fix = error.fix or f"see which there are: innervate get {room.kind.plural}{where}"
        raise NotFound(f"{room.kind.kind} {name}: {error.message}", fix=fix) from None
    trace = (resource.get("status") or {}).get("trace")
    if not trace:
        raise NotFound(
            f"{room.kind.kind} {name} has no trace yet",
            fix="the operator sends traces only where it knows a collector: see docs/client.md, Traces",
        )
    return jaeger.trace_id(trace["traceparent"])


@contextmanager
def query_service(kubectl: Kubectl, url: str | None) -> Iterator[str]:
    """URL of Jaeger's query service: the given one, or a port-forward to the cluster's own."""
    if url:
        yield url
        return
    try:
        forward = PortForward(
            replace(kubectl, namespace=telemetry.NAMESPACE), telemetry.SERVICE, telemetry.QUERY_PORT
        )
    except NotFound as error:
        raise NotFound(
            f"the cluster has no trace store of ours: {error.message}",
            fix="name yours: innervate trace show … --url http://jaeger:16686",
        ) from None
    with forward:
        yield f"http://127.0.0.1:{forward.port}"
