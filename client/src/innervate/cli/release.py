"""`innervate release`: keys, pushing and signing, verdicts, and where a release comes from."""

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from innervate_kinds.api.plan import Config
from innervate_kinds.model_release import names
from innervate_kinds.model_release.model import MODEL_RELEASE, VERIFIED, ModelRelease
from innervate_kinds.model_release.plan import settled
from innervate_kinds.parts.releases import IMAGE, KEYS
from innervate_releases import keys
from innervate_releases.build import build
from innervate_releases.manifest import Code
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table
from rich.tree import Tree

from innervate import releases, waiting
from innervate.cli import release_ancestry as ancestry
from innervate.cli.options import Context, Kubeconfig, Namespace, Output, OutputOption
from innervate.cli.output import err, out, print_json, size
from innervate.errors import Conflict, InvalidArgument, NotFound, PermissionDenied, Unavailable
from innervate.kubectl import Kubectl
from innervate.planning import Reader, operator_config

app = typer.Typer(help="Push model releases, sign them, and see what became of them.", no_args_is_help=True)

_STORE = "Store"
_CONTENT = "What it comes from"
_SIGNER = "release-signer"

Name = Annotated[str, typer.Argument(help="Name of the ModelRelease.", metavar="NAME", show_default=False)]
Timeout = Annotated[float, typer.Option(help="Seconds to wait for the verdict.", min=0)]


@app.command()
def keygen(
    *,
    name: Annotated[str, typer.Option(help="Name of the key, which statuses will show.")] = _SIGNER,
    out_: Annotated[
        Path | None,
        typer.Option("--out", help="File for the private key, to sign on this machine; else it is a Secret."),
    ] = None,
    secret: Annotated[str, typer.Option(help="Secret for the private key, for the cluster to sign with.")] = (
        _SIGNER
    ),
    trust: Annotated[
        bool, typer.Option("--trust/--no-trust", help="Let its signatures count in the namespace.")
    ] = True,
    output: OutputOption = Output.TABLE,
    context: Context = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Make a key pair for signing: the private half in a Secret or a file, the public half trusted."""
    kubectl = _kubectl(context, namespace, kubeconfig)
    private, public = keys.generate()
    if out_:
        releases.keep_file(out_, private)
    else:
        releases.keep_secret(kubectl, secret, private)
    if trust:
        releases.trust(kubectl, name, public)
    kept = str(out_) if out_ else f"Secret {secret}"
    with releases.plainly():
        fingerprint = keys.fingerprint(keys.load_public(public, name))
    if output is Output.JSON:
        print_json({"name": name, "kept": kept, "fingerprint": fingerprint, "publicKey": public.decode()})
        return
    out.print(public.decode().strip())
    err.print(f"the private key is in {kept}", markup=False, soft_wrap=True)
    if trust:
        err.print(
            f"key {name!r} is trusted in namespace {kubectl.namespace} (ConfigMap {KEYS})",
            markup=False,
            soft_wrap=True,
        )


@app.command()
def push(
    directory: Annotated[
        Path,
        typer.Argument(help="Directory with the model's files.", metavar="DIRECTORY", show_default=False),
    ],
    *,
    to: Annotated[
        str,
        typer.Option(
            help="Store: pvc://CLAIM/PATH, s3://BUCKET/PREFIX, oci://REGISTRY/REPOSITORY or file:///PATH.",
            rich_help_panel=_STORE,
        ),
    ],
    name: Annotated[
        str, typer.Option(help="ModelRelease to create; left out, the release is only stored.")
    ] = "",
    key: Annotated[Path | None, typer.Option(help="Private key to sign with on this machine.")] = None,
    signer: Annotated[
        str, typer.Option(help="Secret, as NAME or NAME/KEY, that the cluster is to sign with.")
    ] = "",
    parent: Annotated[
        list[str] | None,
        typer.Option(
            help="Release it was made from, by name or digest; repeatable.", rich_help_panel=_CONTENT
        ),
    ] = None,
    base: Annotated[
        str | None, typer.Option(help="Digest of the weights it started from.", rich_help_panel=_CONTENT)
    ] = None,
    hyperparameter: Annotated[
        list[str] | None,
        typer.Option(help="NAME=VALUE of its training; repeatable.", rich_help_panel=_CONTENT),
    ] = None,
    code: Annotated[
        str, typer.Option(help="Image of the program that made it.", rich_help_panel=_CONTENT)
    ] = "",
    produced_by: Annotated[
        str, typer.Option(help="Who made it, in your words.", rich_help_panel=_CONTENT)
    ] = "",
    endpoint: Annotated[
        str, typer.Option(help="Where S3 is, as the cluster sees it.", rich_help_panel=_STORE)
    ] = "",
    region: Annotated[str, typer.Option(help="Region of the bucket.", rich_help_panel=_STORE)] = "",
    credentials: Annotated[
        str, typer.Option(help="Secret with which the cluster enters the store.", rich_help_panel=_STORE)
    ] = "",
    image: Annotated[
        str,
        typer.Option(
            help="Image of the pod that mounts a claim; left out, the operator's.", rich_help_panel=_STORE
        ),
    ] = "",
    again: Annotated[
        bool, typer.Option("--again", help="Send what is there already too: repairs damage.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the verdict.")] = True,
    timeout: Timeout = 600.0,
    output: OutputOption = Output.TABLE,
    context: Context = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Put a model's directory into a store as a release, sign it, declare it, and wait until it is verified.

    What the store has is not sent again, so a push that broke off goes on.
    """
    if key and signer:
        raise InvalidArgument("--key signs here and --signer in the cluster; choose one", field="key")
    if signer and not name:
        raise InvalidArgument("--signer needs --name: the cluster signs what is declared", field="signer")
    if name and to.startswith("file:"):
        raise InvalidArgument("the cluster does not reach a file of this machine", field="to")
    kubectl = _kubectl(context, namespace, kubeconfig)
    digest_of = [_parent(kubectl, each) for each in parent or ()]
    with releases.plainly(), err.status(f"reading {directory}"):
        private = keys.load_private(_read(key), str(key)) if key else None
        manifest = build(
            directory,
            base=base,
            hyperparameters=dict(_pair(each) for each in hyperparameter or ()),
            code=Code(image=code) if code else None,
            parents=digest_of,
            produced_by=produced_by,
        )
    with _progress("sending", manifest.size) as advance:
        digest = releases.push(
            to,
            directory,
            manifest,
            kubectl=kubectl,
            config=lambda: _config(kubectl, image),
            key=private,
            again=again,
            progress=advance,
        )
    err.print(f"{to} holds {digest}", markup=False, soft_wrap=True)
    resource: Mapping[str, Any] | None = None
    if name:
        artifact: dict[str, Any] = {"uri": to, "digest": digest}
        artifact |= {"endpoint": endpoint} if endpoint else {}
        artifact |= {"region": region} if region else {}
        artifact |= {"credentials": {"secretRef": {"name": credentials}}} if credentials else {}
        spec: dict[str, Any] = {"artifact": artifact}
        if signer:
            secret, _, entry = signer.partition("/")
            spec["signing"] = {"secretKeyRef": {"name": secret, "key": entry or keys.PRIVATE_KEY}}
        releases.declare(kubectl, name, spec)
        resource = _await(kubectl, name, timeout) if wait else None
    if output is Output.JSON:
        print_json(resource or {"digest": digest, "uri": to, "sizeBytes": manifest.size})
    elif not resource:
        out.print(digest)
    _conclude(resource)


@app.command()
def verify(
    name: Name,
    *,
    timeout: Timeout = 600.0,
    output: OutputOption = Output.TABLE,
    context: Context = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Have the cluster read a release wholly once more, and wait for the verdict."""
    kubectl = _kubectl(context, namespace, kubeconfig)
    _get(kubectl, name)
    asked = f"{names.ASK}={uuid.uuid4().hex[:12]}"
    kubectl.run("annotate", "--overwrite", MODEL_RELEASE.plural, name, asked)
    resource = _await(kubectl, name, timeout)
    if output is Output.JSON:
        print_json(resource)
    _conclude(resource)


@app.command()
def show(
    name: Name,
    *,
    manifest: Annotated[
        bool, typer.Option("--manifest", help="Read its manifest from the store and print it as JSON.")
    ] = False,
    output: OutputOption = Output.TABLE,
    context: Context = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Show a release: what it is, where it is, whether it is verified, and by whose signature."""
    kubectl = _kubectl(context, namespace, kubeconfig)
    resource = _get(kubectl, name)
    if manifest:
        artifact = ModelRelease.model_validate(resource).spec.artifact
        found = releases.read_manifest(artifact, kubectl=kubectl, config=lambda: _config(kubectl, ""))
        print_json(found.model_dump(mode="json", by_alias=True))
        return
    if output is Output.JSON:
        print_json(resource)
        return
    spec, status = resource["spec"], resource.get("status") or {}
    place = spec["artifact"]
    verified = _verified(resource)
    known = ancestry.by_digest(kubectl)
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")  # a digest is of use only whole
    rows = {
        "release": name,
        "digest": place["digest"],
        "store": place["uri"],
        "verified": f"{verified.get('status', 'Unknown')}  {verified.get('reason', '')}".strip(),
        "message": verified.get("message", ""),
        "key": status.get("keyId", ""),
        "time": status.get("verifiedTime", ""),
        "size": size(status["sizeBytes"]) if status.get("sizeBytes") is not None else "",
        "made by": status.get("producedBy", ""),
        "parents": "\n".join(ancestry.title(each, known) for each in status.get("parents") or ()),
    }
    for label, value in rows.items():
        if value:
            table.add_row(label, str(value))
    out.print(table)


@app.command()
def lineage(
    name: Name,
    *,
    output: OutputOption = Output.TABLE,
    context: Context = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Draw what a release was made from: its parents, their parents, and so on.

    Parents are known by digest; those without a verified ModelRelease in the namespace end their branch.
    """
    kubectl = _kubectl(context, namespace, kubeconfig)
    resource = _get(kubectl, name)
    known = ancestry.by_digest(kubectl)
    digest = resource["spec"]["artifact"]["digest"]
    if output is Output.JSON:
        print_json(ancestry.descent(digest, {**known, digest: resource}, ()))
        return
    tree = Tree(ancestry.line(resource), guide_style="dim")
    ancestry.grow(tree, resource, known, {digest})
    out.print(tree)


def _kubectl(context: str | None, namespace: str | None, kubeconfig: str | None) -> Kubectl:
    """Make a kubectl that names its namespace in every call."""
    chosen = Kubectl(context, namespace, kubeconfig)
    return Kubectl(context, chosen.current_namespace(), kubeconfig)


def _config(kubectl: Kubectl, image: str) -> Config:
    """Read the operator's settings, as far as one may, for the image of its pods."""
    try:
        config = operator_config(Reader([], kubectl, ""))
    except PermissionDenied:
        config = operator_config(Reader([], None, ""))
    return replace(config, images={**config.images, IMAGE: image}) if image else config


def _get(kubectl: Kubectl, name: str) -> Mapping[str, Any]:
    try:
        found: Mapping[str, Any] = kubectl.read(MODEL_RELEASE.path(kubectl.namespace, name))
    except NotFound as error:
        fix = error.fix or f"see which there are: innervate get modelreleases -n {kubectl.namespace}"
        raise NotFound(f"ModelRelease {name}: {error.message}", fix=fix) from None
    return found


def _parent(kubectl: Kubectl, given: str) -> str:
    if given.startswith("sha256:"):
        return given
    digest: str = _get(kubectl, given)["spec"]["artifact"]["digest"]
    return digest


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidArgument(f"{path} cannot be read: {error.strerror}", field="key") from error


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise InvalidArgument(f"{text!r} is not NAME=VALUE", field="hyperparameter")
    return name, value


@contextmanager
def _progress(what: str, total: int) -> Iterator[Any]:
    """A bar on standard error; gives what moves it on."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
    )
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task(what, total=total)

        def advance(path: str, count: int) -> None:
            progress.update(task, advance=count, description=f"{what} {path}")

        yield advance


def _await(kubectl: Kubectl, name: str, timeout: float) -> Mapping[str, Any]:
    """Wait until the verdict that was asked for last is there, telling what stands in its way."""
    resource: Mapping[str, Any] = {}
    with err.status(f"{name}: waiting for the operator") as shown:
        for resource in waiting.states(
            kubectl, MODEL_RELEASE, kubectl.namespace, name, timeout=max(1.0, timeout)
        ):
            if settled(ModelRelease.model_validate(resource)):
                return resource
            on_its_way = _condition(resource, "Reconciling") or _condition(resource, "Stalled")
            if on_its_way:
                shown.update(f"{name}: {on_its_way['message']}")
            if _condition(resource, "Stalled").get("status") == "True":
                return resource
    message = (_condition(resource, "Reconciling") or _verified(resource)).get("message")
    raise Unavailable(
        f"there is no verdict on ModelRelease {name} after {timeout:.0f} s: {message or 'nothing is told'}",
        fix=f"see: innervate get modelrelease {name} -n {kubectl.namespace} --tree",
    )


def _conclude(resource: Mapping[str, Any] | None) -> None:
    """Say the verdict; a release that is not verified ends the command with an error."""
    if resource is None:
        return
    name, verified = resource["metadata"]["name"], _verified(resource)
    if verified.get("status") == "True":
        err.print(f"ModelRelease {name} is verified: {verified['message']}", style="green", markup=False)
        return
    raise Conflict(
        f"ModelRelease {name} is not verified ({verified.get('reason')}): {verified.get('message')}"
    )


def _condition(resource: Mapping[str, Any], type_: str) -> Mapping[str, Any]:
    conditions = (resource.get("status") or {}).get("conditions") or ()
    return next((each for each in conditions if each["type"] == type_), {})


def _verified(resource: Mapping[str, Any]) -> Mapping[str, Any]:
    return _condition(resource, VERIFIED)
