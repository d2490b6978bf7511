"""What a release was made from, drawn as a tree and told as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from innervate_kinds.model_release.model import MODEL_RELEASE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.tree import Tree

    from innervate.kubectl import Kubectl


def by_digest(kubectl: Kubectl) -> dict[str, Mapping[str, Any]]:
    """Verified releases of the namespace by digest; of several of one digest, the first by name."""
    items = kubectl.read(MODEL_RELEASE.path(kubectl.namespace))["items"]
    found: dict[str, Mapping[str, Any]] = {}
    for each in sorted(items, key=lambda item: str(item["metadata"]["name"])):
        digest = (each.get("status") or {}).get("digest")
        if digest:
            found.setdefault(digest, each)
    return found


def title(digest: str, known: Mapping[str, Mapping[str, Any]]) -> str:
    """Name and digest of a release, where its name is known."""
    release = known.get(digest)
    return f"{release['metadata']['name']}  {digest}" if release else digest


def line(resource: Mapping[str, Any]) -> str:
    """A release in one line of the tree."""
    status = resource.get("status") or {}
    told = [
        resource["metadata"]["name"],
        resource["spec"]["artifact"]["digest"][:19],
        f"signed by {status['keyId']}" if status.get("keyId") else "not verified",
        f"made by {status['producedBy']}" if status.get("producedBy") else "",
    ]
    return "  ".join(filter(None, told))


def grow(
    tree: Tree, resource: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]], drawn: set[str]
) -> None:
    """Add a release's ancestors to a tree; one that is drawn already is named only."""
    for digest in (resource.get("status") or {}).get("parents") or ():
        parent = known.get(digest)
        if parent is None:
            tree.add(f"{digest[:19]}  (no ModelRelease in this namespace)")
        elif digest in drawn:
            tree.add(f"{line(parent)}  (see above)")
        else:
            drawn.add(digest)
            grow(tree.add(line(parent)), parent, known, drawn)


def descent(digest: str, known: Mapping[str, Mapping[str, Any]], above: tuple[str, ...]) -> dict[str, Any]:
    """A release and its ancestors as nested values; ``above`` is the way here."""
    resource = known.get(digest)
    if resource is None or digest in above:
        return {"digest": digest}
    status = resource.get("status") or {}
    parents = [descent(each, known, (*above, digest)) for each in status.get("parents") or ()]
    return {
        "digest": digest,
        "name": resource["metadata"]["name"],
        "verified": status.get("verified", False),
        "keyId": status.get("keyId", ""),
        "producedBy": status.get("producedBy", ""),
        "parents": parents,
    }
