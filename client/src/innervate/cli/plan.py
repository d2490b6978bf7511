"""`innervate plan`: what an apply would do, before it does."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml
from innervate_kinds.api.kind import Reference
from innervate_kinds.registry import ROOMS
from rich.text import Text
from rich.tree import Tree

from innervate import difference, manifests, planning, validation
from innervate.cli.options import Context, Files, Kubeconfig, Namespace, PlanOutput
from innervate.cli.output import err, out, print_json
from innervate.difference import Verdict
from innervate.errors import InnervateError, InvalidArgument, PermissionDenied
from innervate.kubectl import Kubectl
from innervate.planning import DRAWN, Planned, printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from innervate_kinds.api.plan import Child, Config

    from innervate.difference import Difference
    from innervate.manifests import Document
    from innervate.validation import Problem

_MARKS = {
    Verdict.CREATE: ("+", "green"),
    Verdict.CHANGE: ("~", "yellow"),
    Verdict.KEEP: ("=", "dim"),
    Verdict.REFUSED: ("✗", "red"),
}
_TOPICS = {"permission": "Permissions", "egress": "Egress", "cost": "Cost"}
_SHOWN_CHANGES = 20


def plan(
    files: Files,
    *,
    diff: Annotated[
        bool,
        typer.Option(
            "--diff", help="Compare with the cluster: what would be created and changed, field by field."
        ),
    ] = False,
    operator_namespace: Annotated[
        str, typer.Option(help="Namespace of the operator, whose settings --diff reads.")
    ] = planning.OPERATOR_NAMESPACE,
    output: Annotated[
        PlanOutput, typer.Option("--output", "-o", help="How to print the plan.")
    ] = PlanOutput.TABLE,
    context: Context = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Validate resources and show what an apply would do: children, permissions, egress, cost.

    Asks no cluster except with --diff. Ends with 1 when something is invalid.
    """
    kubectl = Kubectl(context=context, namespace=namespace, kubeconfig=kubeconfig)
    place = here(kubectl, offline=not diff)
    documents = manifests.load(files)
    reader = planning.Reader(documents, kubectl if diff else None, place)
    planned, others = validated(documents, reader, place, _settings(reader, operator_namespace))
    if output is PlanOutput.TABLE:
        for each in planned:
            differences = _differences(each, kubectl) if diff else None
            out.print(_tree(each, differences))
            for line in _notes(each):
                out.print(line)
            out.print()
        for document in others:
            out.print(Text(f"{document.title}: not of our kinds, applied as it is", "dim"))
    elif output is PlanOutput.JSON:
        print_json([_as_json(each, _differences(each, kubectl) if diff else None) for each in planned])
    else:
        _print_yaml(planned)


def _settings(reader: planning.Reader, namespace: str) -> Config:
    """Give the operator's settings; its defaults, with a word, where the person may not read them."""
    try:
        return planning.operator_config(reader, namespace)
    except PermissionDenied as error:
        err.print(
            f"the operator's defaults are assumed: {error.message}",
            style="yellow",
            markup=False,
            soft_wrap=True,
        )
        return planning.operator_config(planning.Reader((), None, ""), namespace)


def here(kubectl: Kubectl, *, offline: bool) -> str:
    """Namespace of resources that name none; ``default`` where nobody says, and no cluster is needed."""
    if kubectl.namespace or not offline:
        return kubectl.current_namespace()
    try:
        return kubectl.current_namespace()
    except InnervateError:
        return "default"


def validated(
    documents: Sequence[Document], reader: planning.Reader, namespace: str, config: Config
) -> tuple[list[Planned], list[Document]]:
    """Plan every document of our kinds.

    Returns
    -------
    list of Planned
        One for each document of our kinds.
    list of Document
        Documents of other kinds.

    Raises
    ------
    InvalidArgument
        If any is invalid; all problems are printed.
    """
    if not documents:
        raise InvalidArgument("the files hold no resources", field="filename")
    planned: list[Planned] = []
    others: list[Document] = []
    problems: list[Problem] = []
    for document in documents:
        old = _old(document, reader, namespace)
        room, resource, wrong = validation.check(document, ROOMS, namespace=namespace, old=old)
        problems += wrong
        if room and resource:
            planned.append(planning.decide(document, room, resource, reader, config))
        elif not wrong:
            others.append(document)
    if problems:
        for problem in problems:
            err.print(str(problem), markup=False, soft_wrap=True)
        count = f"{len(problems)} problems" if len(problems) > 1 else "1 problem"
        raise InvalidArgument(f"{count} found; nothing would be applied")
    return planned, others


def _old(document: Document, reader: planning.Reader, namespace: str) -> dict[str, Any] | None:
    """Read the resource as the cluster has it, for rules about changes."""
    room = next((room for room in ROOMS if room.kind.kind == document.data.get("kind")), None)
    metadata = document.data.get("metadata")
    if room is None or not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        return None
    live = reader.live(room.kind.path(metadata.get("namespace") or namespace, metadata["name"]))
    return dict(live) if live else None


def _print_yaml(planned: Sequence[Planned]) -> None:
    """Print manifests. Generated secrets are comments: applied as they are, they would be known to all."""
    decided = [each.plan for each in planned if each.plan]
    for plan_ in decided:
        for child in plan_.ensure:
            sys.stdout.write(f"# {Reference.of(child.kind, child.manifest)}: {DRAWN}\n")
    manifests_ = [printable(child.manifest) for plan_ in decided for child in plan_.apply]
    sys.stdout.write(yaml.safe_dump_all(manifests_, sort_keys=False, allow_unicode=True))


def _differences(planned: Planned, kubectl: Kubectl) -> list[Difference]:
    with err.status("asking the cluster what would change"):
        return difference.of(planned.plan.apply if planned.plan else (), kubectl)


def _tree(planned: Planned, differences: Sequence[Difference] | None) -> Tree:
    metadata = planned.resource.metadata
    where = f"{metadata.namespace}/" if metadata.namespace else ""
    root = Tree(
        Text.assemble(
            (f"{planned.resource.kind} {where}{metadata.name}", "bold"),
            (f"  {planned.document.source}:{planned.document.line(())}", "dim"),
        )
    )
    for warning in planned.warnings:
        root.add(Text(f"! {warning}", "yellow"))
    if planned.plan is None:
        return root
    for child in planned.plan.ensure:
        root.add(_line("+", "green", child, "created once if absent, then left alone and never read"))
    for number, child in enumerate(planned.plan.apply):
        told = differences[number] if differences else None
        mark, style = _MARKS[told.verdict if told else Verdict.CREATE]
        branch = root.add(_line(mark, style, child, facts(child)))
        if told:
            _add_changes(branch, told)
    for reference in planned.plan.delete:
        root.add(Text(f"- {reference}  deleted if there", "red"))
    return root


def _line(mark: str, style: str, child: Child, detail: str) -> Text:
    title = f"{child.kind.kind} {child.manifest['metadata']['name']}"
    return Text.assemble((f"{mark} ", style), title, (f"  {detail}" if detail else "", "dim"))


def _add_changes(branch: Tree, told: Difference) -> None:
    for change in told.changes[:_SHOWN_CHANGES]:
        before, after = (_value(side) for side in (change.before, change.after))
        branch.add(Text.assemble(f"{change.path}: ", (before, "red"), " → ", (after, "green")))
    if len(told.changes) > _SHOWN_CHANGES:
        branch.add(Text(f"and {len(told.changes) - _SHOWN_CHANGES} more: see --output json", "dim"))
    if told.message:
        branch.add(Text(told.message, "red"))


def _value(value: Any) -> str:
    if value is None:
        return "absent"
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "…"


def facts(child: Child) -> str:
    """What matters of a child, in a few words."""
    spec: Mapping[str, Any] = child.manifest.get("spec") or {}
    kind = child.kind.kind
    parts: list[str] = []
    if kind in ("Deployment", "StatefulSet"):
        containers = spec["template"]["spec"]["containers"]
        parts = [
            f"replicas {spec['replicas']}" if "replicas" in spec else "replicas left to the autoscaler",
            *(each["image"] for each in containers),
            *(_requests(each) for each in containers),
        ]
    elif kind == "PersistentVolumeClaim":
        parts = [str(spec["resources"]["requests"]["storage"])]
    elif kind == "Service":
        parts = [f"port {port['port']}" for port in spec.get("ports", ())]
    elif kind == "ConfigMap":
        parts = list(child.manifest.get("data", {}))
    if not child.owned:
        parts.append("stays when the resource is deleted")
    return ", ".join(part for part in parts if part)


def _requests(container: Mapping[str, Any]) -> str:
    requests = (container.get("resources") or {}).get("requests") or {}
    return " ".join(f"{name} {amount}" for name, amount in requests.items())


def _notes(planned: Planned) -> list[Text]:
    notes = planned.plan.notes if planned.plan else ()
    topics = dict.fromkeys(note.topic for note in notes)
    lines = []
    for topic in topics:
        lines.append(Text(_TOPICS.get(topic, topic.capitalize()), "bold"))
        lines += [Text(f"  {note.text}") for note in notes if note.topic == topic]
    return lines


def _as_json(planned: Planned, differences: Sequence[Difference] | None) -> dict[str, Any]:
    metadata = planned.resource.metadata
    decided = planned.plan
    result: dict[str, Any] = {
        "kind": planned.resource.kind,
        "namespace": metadata.namespace,
        "name": metadata.name,
        "source": f"{planned.document.source}:{planned.document.line(())}",
        "warnings": planned.warnings,
        "ensure": [printable(child.manifest) for child in decided.ensure] if decided else [],
        "apply": [printable(child.manifest) for child in decided.apply] if decided else [],
        "delete": [str(reference) for reference in decided.delete] if decided else [],
        "notes": [{"topic": note.topic, "text": note.text} for note in decided.notes] if decided else [],
    }
    if differences is not None:
        result["differences"] = differences
    return result
