"""`innervate install` and `innervate uninstall`: the operator in a cluster, by its Helm chart."""

import subprocess
import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from innervate_kinds.api.kind import DEPLOYMENT, PERSISTENT_VOLUME_CLAIM
from innervate_kinds.api.names import ABANDON, FINALIZER, OWNER_UID
from innervate_kinds.registry import ROOMS

from innervate import helm
from innervate.cli.options import Context, Kubeconfig
from innervate.cli.output import err, out
from innervate.errors import ClusterRefused, InnervateError, NotFound
from innervate.kubectl import Kubectl
from innervate.planning import OPERATOR_NAME, OPERATOR_NAMESPACE

_POLL_S = 1.0

OperatorNamespace = Annotated[str, typer.Option("--namespace", "-n", help="Namespace of the operator.")]
Release = Annotated[str, typer.Option(help="Name of the Helm release.")]


def install(
    *,
    chart: Annotated[
        str | None,
        typer.Option(help="Chart to install: a path or reference; left out, the one that comes along."),
    ] = None,
    values: Annotated[
        list[str] | None, typer.Option("--values", help="File of chart values; repeatable.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE of the chart; repeatable.")
    ] = None,
    timeout: Annotated[int, typer.Option(help="Seconds to wait until the operator runs.", min=1)] = 300,
    namespace: OperatorNamespace = OPERATOR_NAMESPACE,
    release: Release = helm.RELEASE,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Install the operator and its custom resources, or upgrade them; running it again changes nothing."""
    kubectl = Kubectl(context=context, namespace=namespace, kubeconfig=kubeconfig)
    kubectl.read("/version")
    passed = [*(f"--values={each}" for each in values or ()), *(f"--set={each}" for each in settings or ())]
    process = helm.start(
        kubectl,
        *("upgrade", "--install", release, helm.chart(chart), f"--namespace={namespace}"),
        *("--create-namespace", "--wait", f"--timeout={timeout}s", *passed),
    )
    _follow(process, kubectl, namespace)
    try:
        helm.finish(process)
    except ClusterRefused as error:
        error.fix = f"see what the operator says: kubectl -n {namespace} get pods,events"
        raise
    out.print(f"Innervate runs in namespace {namespace}.")
    out.print("Next: declare a memory, as in\n")
    out.print("  innervate apply -f - <<'YAML'\n  apiVersion: innervate.dev/v1alpha1\n  kind: MemoryStore")
    out.print("  metadata: {name: memory}\n  spec: {}\n  YAML")


def _follow(process: subprocess.Popen[str], kubectl: Kubectl, namespace: str) -> None:
    """Tell how far the operator is while helm waits for it."""
    path = DEPLOYMENT.path(namespace, OPERATOR_NAME)
    with err.status("installing") as status:
        try:
            while process.poll() is None:
                status.update(_progress(kubectl, path))
                time.sleep(_POLL_S)
        except BaseException:
            process.terminate()
            raise


def _progress(kubectl: Kubectl, path: str) -> str:
    try:
        deployment = kubectl.read(path)
    except InnervateError:
        return "installing: custom resources and roles"
    wanted = deployment["spec"].get("replicas", 1)
    state: Mapping[str, Any] = deployment.get("status") or {}
    return f"installing: operator {state.get('readyReplicas', 0)}/{wanted} ready"


def uninstall(
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    timeout: Annotated[int, typer.Option(help="Seconds to wait until the operator is gone.", min=1)] = 120,
    namespace: OperatorNamespace = OPERATOR_NAMESPACE,
    release: Release = helm.RELEASE,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Remove the operator. Custom resource definitions, resources and their data stay."""
    kubectl = Kubectl(context=context, namespace=namespace, kubeconfig=kubeconfig)
    resources = _resources(kubectl)
    held = [each for each in resources if FINALIZER in (each["metadata"].get("finalizers") or ())]
    if held:
        raise ClusterRefused(
            "the operator is still needed, to undo what is outside the namespace of "
            + ", ".join(_title(each) for each in held),
            fix=f"delete them first, or give up what they hold with the annotation {ABANDON}=true",
        )
    volumes = _volumes(kubectl)
    if resources:
        err.print("These resources stay and go on serving, but nobody looks after them:")
        for each in resources:
            err.print(f"  {_title(each)}", markup=False)
    if volumes:
        err.print("These volumes stay with their data:")
        for each in volumes:
            err.print(f"  {_title(each)}  {each['spec']['resources']['requests']['storage']}", markup=False)
    err.print("The custom resource definitions stay.")
    if not yes:
        typer.confirm(f"Remove the operator from namespace {namespace}?", abort=True)
    with err.status("uninstalling"):
        process = helm.start(
            kubectl, "uninstall", release, f"--namespace={namespace}", "--wait", f"--timeout={timeout}s"
        )
        helm.finish(process)
    out.print("The operator is gone. To remove the rest for good:")
    out.print("  kubectl delete crd -l app.kubernetes.io/part-of=innervate")


def _resources(kubectl: Kubectl) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for room in ROOMS:
        try:
            items = kubectl.read(room.kind.path())["items"]
        except NotFound:
            continue
        found += [{**item, "kind": room.kind.kind} for item in items]
    return found


def _volumes(kubectl: Kubectl) -> list[dict[str, Any]]:
    path = f"{PERSISTENT_VOLUME_CLAIM.path()}?labelSelector={OWNER_UID}"
    try:
        items = kubectl.read(path)["items"]
    except InnervateError as error:
        err.print(f"volumes are not known: {error}", markup=False, soft_wrap=True)
        return []
    return [{**item, "kind": PERSISTENT_VOLUME_CLAIM.kind} for item in items]


def _title(resource: Mapping[str, Any]) -> str:
    metadata = resource["metadata"]
    where = f"{metadata['namespace']}/" if metadata.get("namespace") else ""
    return f"{resource['kind']} {where}{metadata['name']}"
