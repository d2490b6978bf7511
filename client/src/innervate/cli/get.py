"""`innervate get`: resources of our kinds with what they say of themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from innervate_kinds.api.conditions import READY, SUCCEEDED
from innervate_kinds.api.kind import POD
from innervate_kinds.registry import ROOMS
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from innervate import rooms
from innervate.cli.options import Context, Kubeconfig, Namespace, Output, OutputOption
from innervate.cli.output import age, err, out, print_json
from innervate.errors import InnervateError, NotFound, PermissionDenied
from innervate.kubectl import Kubectl
from innervate.planning import Reader

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from innervate_kinds.api.room import Room

_STYLES = {"True": "green", "False": "red", "Unknown": "yellow"}


class _Found(NamedTuple):
    room: Room[Any, Any]
    resource: Mapping[str, Any]


def get(
    kind: Annotated[
        str | None,
        typer.Argument(help="Kind, such as memorystore or mem; or KIND/NAME; left out, all of ours."),
    ] = None,
    name: Annotated[str | None, typer.Argument(help="Name of one resource.")] = None,
    *,
    every: Annotated[
        bool, typer.Option("--all-namespaces", "-A", help="Resources of all namespaces.")
    ] = False,
    tree: Annotated[bool, typer.Option("--tree", help="Show the children of each resource too.")] = False,
    output: OutputOption = Output.TABLE,
    context: Context = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Show resources of Innervate's kinds: whether they are ready, and if not, why."""
    kubectl = Kubectl(context=context, namespace=namespace, kubeconfig=kubeconfig)
    if kind and "/" in kind and not name:
        kind, _, name = kind.partition("/")
    chosen = (rooms.find(kind),) if kind else ROOMS
    place = None if every else kubectl.current_namespace()
    found = [one(kubectl, chosen[0], name)] if name else list(_listed(kubectl, chosen, place))
    if output is Output.JSON:
        resources = [dict(each.resource) for each in found]
        print_json(resources[0] if name else {"apiVersion": "v1", "kind": "List", "items": resources})
    elif not found:
        where = f"in namespace {place}; try -A" if place else "in the cluster"
        err.print(f"there are no {chosen[0].kind.plural if kind else 'resources of ours'} {where}")
    elif tree:
        reader = Reader([], kubectl, "")
        for each in found:
            out.print(_tree(each, reader))
    else:
        out.print(_table(found, with_namespace=every))


def one(kubectl: Kubectl, room: Room[Any, Any], name: str) -> _Found:
    """Read one resource.

    Raises
    ------
    NotFound
        If it is not there; says where was looked.
    """
    namespace = kubectl.current_namespace() if room.kind.namespaced else None
    try:
        return _Found(room, kubectl.read(room.kind.path(namespace, name)))
    except NotFound as error:
        where = f" in namespace {namespace}" if namespace else ""
        fix = error.fix or f"see which there are: innervate get {room.kind.plural} -A"
        raise NotFound(f"there is no {room.kind.kind} {name}{where}", fix=fix) from None


def _listed(kubectl: Kubectl, chosen: tuple[Room[Any, Any], ...], namespace: str | None) -> Iterator[_Found]:
    unknown: list[InnervateError] = []
    for room in chosen:
        try:
            items = kubectl.read(room.kind.path(namespace))["items"]
        except (NotFound, PermissionDenied) as error:
            unknown.append(error)
            continue
        yield from (_Found(room, item) for item in items)
    if len(unknown) == len(chosen):
        raise unknown[0]
    for reason in unknown:
        err.print(f"left out: {reason}", markup=False, soft_wrap=True)


def _table(found: list[_Found], *, with_namespace: bool) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="bold")
    namespace = ("namespace",) if with_namespace else ()
    for column in (*namespace, "kind", "name", "ready", "reason", "age", "endpoint", "message"):
        table.add_column(column, no_wrap=column != "message", overflow="fold")
    for each in found:
        metadata = each.resource["metadata"]
        status = each.resource.get("status") or {}
        state, reason, message = _state(each.resource)
        place = (metadata.get("namespace", "-"),) if with_namespace else ()
        table.add_row(
            *place,
            each.room.kind.kind,
            metadata["name"],
            Text(state, _STYLES.get(state, "")),
            reason,
            age(metadata.get("creationTimestamp")),
            status.get("endpoint") or "-",
            message,
        )
    return table


def _state(resource: Mapping[str, Any]) -> tuple[str, str, str]:
    """Status, reason and message of the condition that sums up the others."""
    conditions = {each["type"]: each for each in (resource.get("status") or {}).get("conditions") or ()}
    if resource["metadata"].get("deletionTimestamp"):
        return "False", "Deleting", "it is being deleted"
    summary = conditions.get(READY) or conditions.get(SUCCEEDED)
    if summary is None:
        return "Unknown", "Unseen", "no operator has looked at it yet"
    return summary["status"], summary["reason"], summary.get("message", "")


def _tree(found: _Found, reader: Reader) -> Tree:
    metadata = found.resource["metadata"]
    state, reason, message = _state(found.resource)
    where = f"{metadata['namespace']}/" if metadata.get("namespace") else ""
    root = Tree(
        Text.assemble(
            (f"{found.room.kind.kind} {where}{metadata['name']}", "bold"),
            "  ",
            (f"{state} {reason}", _STYLES.get(state, "")),
            f"  {message}",
        )
    )
    near = reader.beside(metadata.get("namespace"))
    for kind in dict.fromkeys((*found.room.children, POD)):
        try:
            children = near.owned(kind, metadata["uid"])
        except PermissionDenied as error:
            root.add(Text(f"{kind.kind}: left out: {error.message}", "dim"))
            continue
        for child in children:
            text = f"{kind.kind} {child['metadata']['name']}"
            root.add(Text.assemble(text, ("  " + _child_state(child), "dim")))
    return root


def _sidecars(pod: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """States of the init containers that go on running beside the others."""
    initial = pod["spec"].get("initContainers") or ()
    names = {each["name"] for each in initial if each.get("restartPolicy") == "Always"}
    states = pod["status"].get("initContainerStatuses") or ()
    return (each for each in states if each["name"] in names)


def _child_state(child: Mapping[str, Any]) -> str:
    status = child.get("status") or {}
    since = age(child["metadata"].get("creationTimestamp"))
    if child["kind"] in ("Deployment", "StatefulSet"):
        return f"{status.get('readyReplicas', 0)}/{child['spec'].get('replicas', 1)} ready, {since}"
    if child["kind"] == "Pod":
        states = [*(status.get("containerStatuses") or ()), *_sidecars(child)]
        ready = sum(each.get("ready", False) for each in states)
        return f"{status.get('phase', '?')}, {ready}/{len(states)} ready, {since}"
    phase = status.get("phase")
    return f"{phase}, {since}" if phase else since
