"""`innervate eval`: what came of an EvalJob."""

from enum import StrEnum
from typing import Annotated, Any

import typer
from innervate_kinds.eval_job.model import EVAL_JOB
from rich.table import Table

from innervate import evaluation
from innervate.cli.options import Context, Kubeconfig, Namespace, Output, OutputOption
from innervate.cli.output import err, out, print_json
from innervate.errors import InvalidArgument, NotFound
from innervate.kubectl import Kubectl
from innervate.planning import Reader, operator_config

app = typer.Typer(help="See what came of an EvalJob.", no_args_is_help=True)

_STYLES = {"Passed": "bold green", "Failed": "bold red", "Underpowered": "bold yellow"}
_METRIC = ("metric", "value", "low", "high", "n")
_COMPARISON = ("metric", "difference", "low", "high", "n", "detectable")


class File(StrEnum):
    """A file of an eval job."""

    HTML = "html"
    JSON = "json"
    SAMPLES = "samples"


_FILES = {File.HTML: "report.html", File.JSON: "report.json", File.SAMPLES: "samples.jsonl"}


@app.callback()
def _group() -> None:
    """Keep `report` a command of its own while it is the only one."""


@app.command()
def report(
    name: Annotated[str, typer.Argument(help="Name of the EvalJob.", metavar="NAME", show_default=False)],
    *,
    file: Annotated[
        File | None,
        typer.Option(
            help="Print a file of the job instead, read from its volume through a pod: the report as one "
            "HTML page or as JSON, or every question with its answers and scores as JSON lines."
        ),
    ] = None,
    output: OutputOption = Output.TABLE,
    context: Context = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Show the result of an EvalJob: its verdict, its metrics, and how sure they are."""
    chosen = Kubectl(context, namespace, kubeconfig)
    kubectl = Kubectl(context, chosen.current_namespace(), kubeconfig)
    found = _get(kubectl, name)
    status = found.get("status") or {}
    if file is not None:
        if not status.get("endTime"):
            raise InvalidArgument(f"EvalJob {name!r} has not ended: {_told(status)}", field="NAME")
        config = operator_config(Reader([], kubectl, ""))
        typer.echo(evaluation.read(kubectl, name, _FILES[file], config), nl=False)
        return
    if output is Output.JSON:
        print_json({"name": name, "namespace": kubectl.namespace, **_result(status)})
        return
    _show(name, status)


def _get(kubectl: Kubectl, name: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = kubectl.read(EVAL_JOB.path(kubectl.namespace, name))
    except NotFound:
        raise NotFound(
            f"there is no EvalJob {name!r} in namespace {kubectl.namespace}",
            fix=f"see which there are: kubectl get -n {kubectl.namespace} evaljobs",
        ) from None
    return found


def _result(status: dict[str, Any]) -> dict[str, Any]:
    """What programs read: the result, and the conditions that tell of it."""
    names = ("verdict", "summary", "comparison", "counts", "report", "endTime", "conditions")
    return {each: status.get(each) for each in names}


def _show(name: str, status: dict[str, Any]) -> None:
    verdict = status.get("verdict")
    if verdict:
        out.print(f"{name}: {verdict}", style=_STYLES[verdict])
    else:
        out.print(f"{name}: {_told(status)}")
    passed = _condition(status, "Passed")
    if passed:
        out.print(passed["message"])
    if status.get("summary"):
        out.print(_table("metrics of the target", _METRIC, status["summary"]))
    if status.get("comparison"):
        out.print(_table("target minus baseline", _COMPARISON, [status["comparison"]]))
    counts = status.get("counts")
    if counts:
        out.print(
            f"{counts['samples']} questions: {counts['answered']} answered and scored, "
            f"{counts['errors']} in error"
        )
    if status.get("report"):
        err.print(f"the whole report: innervate eval report {name} --file html > report.html", markup=False)


def _told(status: dict[str, Any]) -> str:
    condition = _condition(status, "Succeeded")
    if condition is None:
        return "the operator has not seen it yet"
    message = condition.get("message", "")
    return f"{condition['reason']}: {message}" if message else str(condition["reason"])


def _condition(status: dict[str, Any], type_: str) -> dict[str, Any] | None:
    return next((each for each in status.get("conditions") or () if each["type"] == type_), None)


def _table(title: str, columns: tuple[str, ...], rows: list[dict[str, Any]]) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="left" if column == "metric" else "right")
    for row in rows:
        table.add_row(*(str(row[column]) for column in columns))
    return table
