"""`innervate rl`: see how runs of reinforcement learning go, and take what they leave."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from innervate_kinds.rl_run.model import RL_RUN
from rich.live import Live
from rich.table import Table
from rich.text import Text

from innervate import runs
from innervate.cli import watching
from innervate.cli.options import Context, Kubeconfig, Namespace, Output, OutputOption
from innervate.cli.output import Exit, age, err, out, print_json, print_json_line
from innervate.errors import InvalidArgument, Unavailable
from innervate.kubectl import Kubectl
from innervate.planning import Reader, operator_config

if TYPE_CHECKING:
    from collections.abc import Mapping

app = typer.Typer(
    help="Watch runs of reinforcement learning; fetch their reports and their experience.",
    no_args_is_help=True,
)

_PATIENCE_S = 120.0
"""Time for which a cluster that does not answer is asked again, once it has answered."""

Name = Annotated[str, typer.Argument(help="Name of the RLRun.", show_default=False)]


class ReportFile(StrEnum):
    """A file that `innervate rl report` makes."""

    HTML = "html"


class Format(StrEnum):
    """A format of exported experience."""

    PARQUET = "parquet"
    MINARI = "minari"


class Distinct(StrEnum):
    """Which repetitions an export leaves out."""

    NO = "no"
    EXACT = "exact"
    NEAR = "near"


class Split(StrEnum):
    """What an episode was for."""

    TRAINING = "training"
    EVALUATION = "evaluation"


@app.command("list")
def list_(
    *,
    every: Annotated[bool, typer.Option("--all-namespaces", "-A", help="Runs of all namespaces.")] = False,
    output: OutputOption = Output.TABLE,
    context: Context = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Show which runs there are, how far they are, and what came of them."""
    kubectl = Kubectl(context, namespace, kubeconfig)
    place = None if every else kubectl.current_namespace()
    found = kubectl.read(RL_RUN.path(place))["items"]
    if output is Output.JSON:
        print_json([_summary(run) for run in found])
    elif found:
        out.print(_table(found, with_namespace=every))
    else:
        err.print(f"there are no RLRuns in {f'namespace {place}; try -A' if place else 'the cluster'}")


@app.command()
def watch(
    name: Name,
    *,
    interval: Annotated[float, typer.Option(min=0.2, help="Seconds between looks.")] = 2.0,
    output: OutputOption = Output.TABLE,
    context: Context = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Follow a run until it ends: the curves of its seeds while they train.

    With --output json, a line for each point and each change of the status. Ends with 0 when the run
    succeeded and 1 when it failed.
    """
    kubectl = _kubectl(context, namespace, kubeconfig)
    with runs.Watch(kubectl) as watched:
        run = runs.read(kubectl, name)
        if output is Output.JSON:
            ended = _tell(kubectl, run, watched, interval)
        else:
            ended = _show(kubectl, run, watched, interval)
    if not ended.succeeded:
        raise typer.Exit(Exit.FAILED)


@app.command()
def report(
    name: Name,
    *,
    file: Annotated[
        ReportFile | None,
        typer.Option(
            help="Print the run's page instead: curves, gate, controls, and the best, worst and rarest "
            "episodes, made from the run's volume through a pod."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="With --file, only this seed.")] = None,
    output: OutputOption = Output.TABLE,
    context: Context = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Show what came of a run: its seeds, its gate, its release."""
    kubectl = _kubectl(context, namespace, kubeconfig)
    run = runs.read(kubectl, name)
    if file is ReportFile.HTML:
        _known(run, () if seed is None else (seed,))
        config = operator_config(Reader([], kubectl, ""))
        typer.echo(runs.page(kubectl, run, config, seed=seed), nl=False)
    elif output is Output.JSON:
        print_json(_summary(run) | {"status": run.get("status") or {}})
    else:
        said = runs.outcome(run)
        out.print(watching.picture(run, {}, out.width))
        if said:
            out.print(watching.ended(run, said))
        err.print(f"the whole report: innervate rl report {name} --file html > report.html")


@app.command()
def export(
    name: Name,
    *,
    to: Annotated[Path, typer.Option(help="Directory to write into.", file_okay=False)] = Path(),
    format_: Annotated[
        Format, typer.Option("--format", help="A Parquet file for each seed, or a data set of Minari.")
    ] = Format.PARQUET,
    data_set: Annotated[
        str | None,
        typer.Option(
            "--name", help="Name of the data set; left out, the run's, to Minari NAMESPACE/NAME-v0."
        ),
    ] = None,
    seed: Annotated[list[int] | None, typer.Option(min=0, help="Only this seed; repeatable.")] = None,
    split: Annotated[Split | None, typer.Option(help="Only episodes of this sort.")] = None,
    void: Annotated[
        bool, typer.Option("--void", help="Void episodes too: those in which something failed.")
    ] = False,
    lowest: Annotated[float | None, typer.Option(help="Only episodes that return at least this.")] = None,
    highest: Annotated[float | None, typer.Option(help="Only episodes that return at most this.")] = None,
    distinct: Annotated[
        Distinct, typer.Option(help="Leave out episodes that repeat another exactly, or nearly.")
    ] = Distinct.NO,
    balance: Annotated[
        bool,
        typer.Option("--balance", help="Thin out what is over-represented by difficulty; rare cases stay."),
    ] = False,
    success: Annotated[
        float, typer.Option(help="Return from which an attempt at a task is a success.")
    ] = 1.0,
    output: OutputOption = Output.TABLE,
    context: Context = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Fetch the experience that a run kept, curated where asked for; curation.json beside it says how."""
    kubectl = _kubectl(context, namespace, kubeconfig)
    run = runs.read(kubectl, name)
    _known(run, seed or ())
    called = data_set or (f"{kubectl.namespace}/{name}-v0" if format_ is Format.MINARI else name)
    given = {"--lowest": lowest, "--highest": highest, "--split": split}
    options = [
        f"--name={called}",
        f"--format={format_.value.capitalize()}",
        f"--distinct={distinct.value.capitalize()}",
        f"--success={success}",
        *(f"{option}={value}" for option, value in given.items() if value is not None),
        *(f"--seed={number}" for number in seed or ()),
        *(["--void"] if void else []),
        *(["--balance"] if balance else []),
    ]
    to.mkdir(parents=True, exist_ok=True)
    config = operator_config(Reader([], kubectl, ""))
    account = runs.export(kubectl, run, config, into=to, options=options)
    if output is Output.JSON:
        print_json(account)
        return
    counts = account["episodes"]
    left = {fate: count for fate, count in counts.items() if count and fate not in {"read", "kept", "rare"}}
    out.print(f"{counts['kept']} of {counts['read']} episodes in {to / called}")
    if left:
        out.print("left out: " + ", ".join(f"{fate} {count}" for fate, count in left.items()))
    out.print(f"digest {account['digest']}")


def _kubectl(context: str | None, namespace: str | None, kubeconfig: str | None) -> Kubectl:
    chosen = Kubectl(context, namespace, kubeconfig)
    return Kubectl(context, chosen.current_namespace(), kubeconfig)


def _known(run: Mapping[str, Any], seeds: Any) -> None:
    count = run["spec"].get("seeds", 1)
    for seed in seeds:
        if seed >= count:
            raise InvalidArgument(f"the run has seeds 0 to {count - 1}, and no {seed}", field="--seed")


def _show(kubectl: Kubectl, run: dict[str, Any], watched: runs.Watch, interval: float) -> runs.Outcome:
    with Live(console=out, auto_refresh=False, transient=False) as live:
        while True:
            for _ in watched.look(run):
                pass
            ended = runs.outcome(run)
            live.update(watching.picture(run, watched.curves, out.width, watched.problem), refresh=True)
            if ended:
                break
            time.sleep(interval)
            run = _again(kubectl, run, interval)
    out.print(watching.ended(run, ended))
    return ended


def _tell(kubectl: Kubectl, run: dict[str, Any], watched: runs.Watch, interval: float) -> runs.Outcome:
    told: Any = None
    while True:
        for seed, point in watched.look(run):
            print_json_line({"seed": seed, **point})
        status = run.get("status") or {}
        if status and status != told:
            told = status
            print_json_line({"status": status})
        ended = runs.outcome(run)
        if ended:
            print_json_line({"outcome": ended._asdict()})
            return ended
        time.sleep(interval)
        run = _again(kubectl, run, interval)


def _again(kubectl: Kubectl, run: dict[str, Any], interval: float) -> dict[str, Any]:
    """Read the run again; a cluster that does not answer for a while is no reason to end."""
    patience = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return runs.read(kubectl, run["metadata"]["name"])
        except Unavailable:
            if time.monotonic() >= patience:
                raise
            time.sleep(interval)


def _summary(run: Mapping[str, Any]) -> dict[str, Any]:
    """What programs read of a run."""
    spec, status, ended = run["spec"], run.get("status") or {}, runs.outcome(run)
    return {
        "namespace": run["metadata"]["namespace"],
        "name": run["metadata"]["name"],
        "environment": spec["environmentRef"]["name"],
        "algorithm": spec["algorithm"]["name"],
        "steps": status.get("steps", 0),
        "seeds": spec.get("seeds", 1),
        "bestReward": status.get("bestReward"),
        "gate": status.get("gate"),
        "release": status.get("release"),
        "outcome": ended._asdict() if ended else None,
    }


def _table(found: list[Mapping[str, Any]], *, with_namespace: bool) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="bold")
    place = ("namespace",) if with_namespace else ()
    for column in (*place, "name", "environment", "seeds", "steps", "best", "low", "state", "age"):
        right = column in {"seeds", "steps", "best", "low"}
        table.add_column(column, justify="right" if right else "left", overflow="fold")
    for run in found:
        spec, status, metadata = run["spec"], run.get("status") or {}, run["metadata"]
        said, ended = runs.condition(run, "Succeeded"), runs.outcome(run)
        done = sum(each["state"] == "Succeeded" for each in status.get("seeds") or ())
        style = ("green" if ended.succeeded else "red") if ended else ""
        table.add_row(
            *((metadata["namespace"],) if with_namespace else ()),
            metadata["name"],
            spec["environmentRef"]["name"],
            f"{done}/{spec.get('seeds', 1)}",
            f"{status.get('steps', 0):,}",
            status.get("bestReward") or "–",
            (status.get("gate") or {}).get("low") or "–",
            Text(said["reason"] if said else "Unseen", style),
            age(metadata.get("creationTimestamp")),
        )
    return table
