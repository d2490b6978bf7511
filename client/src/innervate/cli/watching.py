"""What `innervate rl watch` shows: a plot of all seeds, and a line for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

from innervate import runs
from innervate.plot import Series, plot, spark

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import RenderableType

    from innervate.runs import Curve, Outcome

COLOURS: Final = ("blue", "red", "green", "yellow", "magenta", "cyan", "bright_blue", "bright_red")
_HEIGHT: Final = 10
_MARGIN: Final = 10
_SPARK: Final = 12
"""Characters that a line of bars needs."""
_SHOWN: Final = {
    "stepsPerSecond": "steps/s",
    "entropy": "entropy",
    "kl": "kl",
    "policyLag": "lag",
    "length": "length",
}
"""Metrics of a seed's line by what they are called there, as far as there is room."""
_KNOWN_WIDTH: Final = 44
_METRIC_WIDTH: Final = 10
_STATES: Final = {"Succeeded": "green", "Failed": "red", "Running": "blue", "Pending": "dim"}


def picture(
    run: Mapping[str, Any], curves: Mapping[int, Curve], width: int, problem: str = ""
) -> RenderableType:
    """Everything there is to see now.

    Parameters
    ----------
    run
        The RLRun.
    curves
        By seed.
    width
        Of the terminal, in characters.
    problem
        Why there are no curves.
    """
    told: list[RenderableType] = [_head(run)]
    for metric in ("reward", "heldOut"):
        drawn = _plot(metric, curves, width)
        if drawn:
            told.append(drawn)
    told.append(seeds(run, curves, width))
    if problem:
        told.append(Text(problem, "yellow"))
    return Group(*told)


def _head(run: Mapping[str, Any]) -> Text:
    spec, status, metadata = run["spec"], run.get("status") or {}, run["metadata"]
    said = runs.condition(run, "Succeeded")
    text = Text.assemble(
        (f"{metadata['namespace']}/{metadata['name']}", "bold"),
        f"  {spec['algorithm']['name']} in {spec['environmentRef']['name']}",
        f"  {status.get('steps', 0):,} of {spec['budget']['steps'] * spec.get('seeds', 1):,} steps",
    )
    rejected = status.get("rejected") or {}
    if any(rejected.values()):
        told = f"{rejected.get('infrastructure', 0)} environment, {rejected.get('verifier', 0)} verifier"
        text.append(f"  void: {told}", "yellow")
    if said and said["status"] == "Unknown":
        text.append(f"\n{said['reason']}: {said.get('message', '')}", "dim")
    return text


def _plot(metric: str, curves: Mapping[int, Curve], width: int) -> RenderableType | None:
    series = [Series(*curve.series(metric), style(seed)) for seed, curve in sorted(curves.items())]
    drawn = plot(series, width=max(20, width - _MARGIN - 2), height=_HEIGHT)
    if drawn is None:
        return None
    lines = [Text(metric, "bold")]
    levels = {0: drawn.high, _HEIGHT // 2: (drawn.high + drawn.low) / 2, _HEIGHT - 1: drawn.low}
    for number, row in enumerate(drawn.rows):
        level = figure(levels[number]) if number in levels else ""
        line = Text(f"{level:>{_MARGIN}} ", "dim")
        for cell in row:
            line.append(cell.character, cell.style)
        lines.append(line)
    end = f"{drawn.end:,.0f} steps"
    begin = f"{drawn.begin:,.0f}"
    room = len(drawn.rows[0]) - len(begin) - len(end)
    lines.append(Text(" " * (_MARGIN + 1) + begin + " " * max(1, room) + end, "dim"))
    return Group(*lines)


def seeds(run: Mapping[str, Any], curves: Mapping[int, Curve], width: int) -> Table:
    """A line for each seed."""
    status = run.get("status") or {}
    told = {each["seed"]: each for each in status.get("seeds") or ()}
    held_out = any("heldOut" in each for each in told.values())
    room = width - _KNOWN_WIDTH - (2 * _METRIC_WIDTH if held_out else 0)
    newest = [curve.metrics[-1] for curve in curves.values() if curve.metrics]
    metrics = [name for name in _SHOWN if any(name in last for last in newest)]
    metrics = metrics[: max(0, room // _METRIC_WIDTH)]
    room -= _METRIC_WIDTH * len(metrics)
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="bold")
    names = [_SHOWN[name] for name in metrics]
    for column in (
        "seed",
        "state",
        "steps",
        "reward",
        *(("held-out", "gap") if held_out else ()),
        *names,
        "",
    ):
        table.add_column(column, justify="left" if column in {"state", ""} else "right", no_wrap=True)
    for seed in range(run["spec"].get("seeds", 1)):
        one, curve = told.get(seed, {}), curves.get(seed)
        last = curve.metrics[-1] if curve and curve.metrics else {}
        state = one.get("state", "Pending")
        live = state == "Running" and curve
        steps = max(one.get("steps", 0), curve.steps[-1] if live and curve and curve.steps else 0)
        reward = last.get("reward") if live else None
        table.add_row(
            Text(str(seed), style(seed)),
            Text(state, _STATES.get(state, "")),
            f"{steps:,}",
            figure(reward) if reward is not None else one.get("reward") or "–",
            *((one.get("heldOut") or "–", one.get("gap") or "–") if held_out else ()),
            *(figure(last.get(name)) for name in metrics),
            Text(spark(curve.series("reward")[1], room) if curve and room >= _SPARK else "", style(seed)),
        )
    return table


def ended(run: Mapping[str, Any], outcome: Outcome) -> Text:
    """The last word."""
    text = Text(f"{outcome.reason}: {outcome.message}", "bold green" if outcome.succeeded else "bold red")
    gate = (run.get("status") or {}).get("gate")
    if gate:
        text.append(
            f"\ngate: {gate['metric']} mean {gate['mean']}, lower bound {gate['low']}, must reach "
            f"{gate['threshold']}: {'passed' if gate['passed'] else 'failed'}",
            "",
        )
    release = (run.get("status") or {}).get("release")
    if release:
        text.append(f"\npublished as ModelRelease {release}")
    return text


def style(seed: int) -> str:
    """Colour of a seed."""
    return COLOURS[seed % len(COLOURS)]


def figure(value: float | None) -> str:
    """A number as people read it."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) < 0.1 else f"{value:.4g}"
