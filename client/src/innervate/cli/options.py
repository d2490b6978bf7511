"""Options that many commands share."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

_CLUSTER = "Cluster"


class Output(StrEnum):
    """How a result is printed."""

    TABLE = "table"
    JSON = "json"


class PlanOutput(StrEnum):
    """How a plan is printed."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


Context = Annotated[
    str | None,
    typer.Option(
        "--context", help="kubectl context to use instead of the current one.", rich_help_panel=_CLUSTER
    ),
]
Namespace = Annotated[
    str | None,
    typer.Option(
        "--namespace", "-n", help="Namespace to use instead of the context's.", rich_help_panel=_CLUSTER
    ),
]
Kubeconfig = Annotated[
    str | None,
    typer.Option(
        "--kubeconfig", help="kubeconfig file to use instead of kubectl's own.", rich_help_panel=_CLUSTER
    ),
]
OutputOption = Annotated[Output, typer.Option("--output", "-o", help="How to print the result.")]
Files = Annotated[
    list[str],
    typer.Option(
        "--filename", "-f", help="YAML or JSON file, directory of them, or - for standard input; repeatable."
    ),
]
