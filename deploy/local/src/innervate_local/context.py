"""A cluster the user already has, named by a context."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_local import certificates, kubectl, slots, state
from innervate_local.errors import LocalError
from innervate_local.progress import say

if TYPE_CHECKING:
    from pathlib import Path


class ContextCluster:
    """A named context: used as it is, never created, never removed.

    Parameters
    ----------
    name
        What its copy of the kubeconfig is kept under.
    context
        The context in the user's kubeconfig.
    """

    def __init__(self, name: str, context: str) -> None:
        self.name = slots.check_name(name)
        self.context = context

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig of that context alone: whoever uses it reaches no other cluster."""
        return state.directory(self.name) / "context.kubeconfig"

    def up(self) -> None:
        """Check that the cluster answers, and note how it is reached.

        Raises
        ------
        LocalError
            When there is no such context or its cluster does not answer.
        """
        alone = kubectl.run(
            None, "config", "view", "--raw", "--minify", "--flatten", f"--context={self.context}"
        )
        certificates.write_private(self.kubeconfig, alone.encode())
        self.kubectl("get", "--raw", "/readyz")
        say(f"using the context {self.context}")

    def down(self) -> None:
        """Forget how it is reached; the cluster itself is not touched."""
        self.kubeconfig.unlink(missing_ok=True)
        say(f"the cluster of context {self.context} is yours and was left as it is")

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl in that context; see `innervate_local.kubectl.run`."""
        return kubectl.run(self.kubeconfig, *arguments, stdin=stdin)

    def status(self) -> str:
        """Describe its nodes."""
        return self.kubectl("get", "nodes", "--output=wide")

    def load(self, *archives: Path) -> None:
        """Refuse: a cluster somewhere else takes images from a registry.

        Raises
        ------
        LocalError
            Always.
        """
        names = ", ".join(each.name for each in archives)
        raise LocalError(
            f"{names}: images cannot be loaded through a context; push them to a registry its nodes can pull "
            "from and name that registry in the chart's values"
        )

    def cut_edge(self) -> None:
        """Refuse: only a cluster made here has an edge to cut.

        Raises
        ------
        LocalError
            Always.
        """
        raise LocalError(f"the nodes of context {self.context} are not ours to cut off")

    heal_edge = cut_edge
