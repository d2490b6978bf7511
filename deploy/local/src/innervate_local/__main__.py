"""The command ``innervate-local``: a Kubernetes to run on, found or made."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from innervate_local import binaries, images, places, preflight
from innervate_local.cluster import DEFAULT_NAME, Cluster
from innervate_local.errors import LocalError
from innervate_local.progress import say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from innervate_local.places import Place


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    arguments
        Its arguments; those of the process when left out.

    Returns
    -------
    int
        The exit status: 1 when something has to be done by the user first.
    """
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options) or 0
    except LocalError as error:
        sys.stderr.write(f"innervate-local: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("innervate-local: interrupted; the next `up` or `down` cleans up\n")
        return 130
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="innervate-local", description=__doc__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(name: str, explanation: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=explanation, description=explanation)
        added.set_defaults(run=globals()[f"_{name}"])
        return added

    for name, explanation in {
        "up": "make the cluster ready: nothing happens if it is",
        "down": "remove everything `up` made",
        "status": "describe the cluster",
        "kubeconfig": "print the path of its kubeconfig",
        "where": "say where it is or would be",
        "edge": "cut the edge node off, or heal it",
        "load": "give image archives to every node",
        "images": "build the project's images and give them to every node, or write them to a file",
    }.items():
        added = command(name, explanation)
        added.add_argument("--name", default=DEFAULT_NAME, help="the cluster's name (%(default)s)")
        added.add_argument("--context", help=f"a cluster you have; or set {places.CONTEXT_VARIABLE}")
        if name == "down":
            added.add_argument("--all", action="store_true", help="every cluster on this machine")
        elif name == "edge":
            added.add_argument("action", choices=("cut", "heal"))
        elif name == "load":
            added.add_argument("archives", nargs="+", type=Path, metavar="ARCHIVE")
        elif name == "images":
            added.add_argument("--archive", type=Path, help="the file, an OCI archive; no cluster is needed")
    command("build", "build every program that is not in the cache yet")
    command("preflight", "say what this machine lacks to carry a cluster itself")
    return parser


def _place(options: argparse.Namespace) -> Place:
    return places.choose(options.name, context=options.context).place


def _up(options: argparse.Namespace) -> None:
    choice = places.choose(options.name, context=options.context)
    say(f"where: {choice.reason}")
    choice.place.up()
    say(f"export KUBECONFIG={choice.place.kubeconfig}")


def _down(options: argparse.Namespace) -> None:
    if not options.all:
        _place(options).down()
        return
    for place in places.known():
        place.down()


def _status(options: argparse.Namespace) -> None:
    sys.stdout.write(_place(options).status())


def _kubeconfig(options: argparse.Namespace) -> None:
    kubeconfig = _place(options).kubeconfig
    if not kubeconfig.exists():
        raise LocalError(f"cluster {options.name} is not up")
    sys.stdout.write(f"{kubeconfig}\n")


def _where(options: argparse.Namespace) -> None:
    sys.stdout.write(f"{places.choose(options.name, context=options.context).reason}\n")


def _edge(options: argparse.Namespace) -> None:
    place = _place(options)
    if options.action == "cut":
        place.cut_edge()
    else:
        place.heal_edge()


def _load(options: argparse.Namespace) -> None:
    _place(options).load(*options.archives)


def _images(options: argparse.Namespace) -> None:
    if options.archive:
        images.archive.write(images.build(), options.archive)
        return
    place = _place(options)
    if isinstance(place, Cluster):
        images.load(images.build(), place.nodes)
        return
    with tempfile.TemporaryDirectory() as scratch:
        carried = Path(scratch) / "images.tar"
        images.archive.write(images.build(), carried)
        place.load(carried)


def _build(_: argparse.Namespace) -> None:
    for name in binaries.CATALOG:
        if not binaries.CATALOG[name].on_request:
            binaries.path(name)


def _preflight(_: argparse.Namespace) -> int:
    found = preflight.problems()
    for problem in found:
        sys.stdout.write(f"{problem}\n")
    sys.stdout.write("" if found else "this machine can carry a cluster\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
