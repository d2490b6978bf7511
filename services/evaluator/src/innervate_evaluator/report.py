"""The report of a run: JSON for programs, one HTML file for people, both beside the sample log."""

from __future__ import annotations

import html
import json
import os
from typing import TYPE_CHECKING, Any, Final

from innervate_evaluator.journal import FILE, Answered, Key
from innervate_evaluator.results import BASELINE, TARGET, arms
from innervate_evaluator.verdict import Limit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from innervate_evaluator.config import RunnerConfig
    from innervate_evaluator.dataset import Dataset, Question
    from innervate_evaluator.results import Results

JSON_FILE: Final = "report.json"
HTML_FILE: Final = "report.html"
_SHOWN_SAMPLES: Final = 100
"""Rows of each table in the HTML; the sample log has all."""
_SHOWN_TEXT: Final = 600
_WIDTH: Final = 640
_STYLE: Final = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f24}
h1{margin-bottom:.2rem}table{border-collapse:collapse;width:100%;margin:.5rem 0 1.5rem}
th,td{text-align:left;vertical-align:top;padding:.3rem .6rem;border-bottom:1px solid #d0d7de}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
td.t{white-space:pre-wrap;overflow-wrap:anywhere;font:14px/1.4 ui-monospace,monospace}
.v{display:inline-block;padding:.1rem .7rem;border-radius:1rem;color:#fff;font-weight:600}
.Passed{background:#1a7f37}.Failed{background:#cf222e}.Underpowered{background:#9a6700}
small{color:#57606a}
@media (prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}th,td{border-color:#30363d}}
"""


def write(
    directory: Path, config: RunnerConfig, dataset: Dataset, found: Results, log: Mapping[Key, Answered]
) -> None:
    """Write both reports, each complete or not at all."""
    document = json_report(config, dataset, found, log)
    _replace(directory / JSON_FILE, json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    _replace(directory / HTML_FILE, html_report(config, dataset, found, log))


def json_report(
    config: RunnerConfig, dataset: Dataset, found: Results, log: Mapping[Key, Answered]
) -> dict[str, Any]:
    """Everything that the run found, samples aside."""
    return {
        "schemaVersion": 1,
        "job": config.job.model_dump(mode="json"),
        "target": config.target.model_dump(mode="json"),
        "baseline": config.baseline.model_dump(mode="json") if config.baseline else None,
        "dataset": {"source": config.dataset.source, "sha256": dataset.sha256},
        "scorers": [scorer.model_dump(mode="json", by_alias=True) for scorer in config.scorers],
        "gate": config.gate.model_dump(mode="json", by_alias=True) if config.gate else None,
        "run": config.run.model_dump(mode="json", by_alias=True),
        **found.document(),
        "releases": {arm: dict(releases) for arm, releases in found.releases.items()},
        "tokens": {
            "input": sum(one.input_tokens for one in log.values()),
            "output": sum(one.output_tokens for one in log.values()),
        },
        "samples": FILE,
    }


def html_report(config: RunnerConfig, dataset: Dataset, found: Results, log: Mapping[Key, Answered]) -> str:
    """One page without scripts and without anything from elsewhere."""
    document = found.document()
    title = f"{config.job.namespace}/{config.job.name}"
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'>",
        f"<title>{_text(title)}</title><style>{_STYLE}</style>",
        f"<h1>{_text(title)} {_badge(document['verdict'])}</h1>",
        f"<p>{_text(_sentence(config, found))}</p>",
        "<h2>Metrics of the target</h2>",
        _table(
            ("metric", "mean", "low", "high", "n"),
            [
                [each[name] for name in ("metric", "value", "low", "high", "n")]
                for each in document["summary"]
            ],
        ),
    ]
    if found.comparison:
        row = document["comparison"]
        columns = ("metric", "difference", "low", "high", "n", "detectable")
        parts += [
            "<h2>Target minus baseline</h2>",
            _table(columns, [[row[name] for name in columns]]),
            _picture(config, found),
        ]
    parts += [
        "<h2>Questions</h2>",
        _table(
            ("in the dataset", "answered and scored", "in error"),
            [[found.samples, found.answered, found.errors]],
        ),
        *_samples(config, dataset, log),
    ]
    parts += [_foot(config, dataset)]
    return "\n".join(parts) + "\n"


def _foot(config: RunnerConfig, dataset: Dataset) -> str:
    return (
        f"<p><small>dataset SHA-256 {dataset.sha256}; seed {config.run.seed}; every sample is in "
        f"{FILE} beside this report.</small></p></html>"
    )


def _sentence(config: RunnerConfig, found: Results) -> str:
    who = config.target.release or "the pool's choice of releases"
    if config.gate is None or found.comparison is None:
        return f"Target: {who}. There is no gate, and so no verdict."
    baseline = config.baseline
    against = (baseline.release or f"the mean {baseline.value}") if baseline else ""
    limit = Limit(config.gate.test, float(config.gate.margin)).difference
    interval = found.comparison.interval
    return (
        f"Target {who} against {against}: the true difference of {config.gate.metric} lies between "
        f"{interval.low:.4f} and {interval.high:.4f}, each bound right with probability "
        f"{1 - float(config.gate.alpha):g}. It must be above {limit:g} ({config.gate.test}). "
        f"A difference {found.comparison.detectable:.4f} away from there would be told in 8 of 10 such jobs."
    )


def _picture(config: RunnerConfig, found: Results) -> str:
    """The bounds on a line with zero and the gate's limit."""
    if found.comparison is None:
        return ""
    interval = found.comparison.interval
    limit = Limit(config.gate.test, float(config.gate.margin)).difference if config.gate else 0.0
    reach = max(abs(interval.low), abs(interval.high), abs(limit), 0.01) * 1.15

    def x(value: float) -> float:
        return round((value + reach) / (2 * reach) * _WIDTH, 1)

    def mark(value: float, colour: str, text: str) -> str:
        at = x(value)
        return (
            f"<line x1='{at}' x2='{at}' y1='18' y2='62' stroke='{colour}' stroke-dasharray='4 3'/>"
            f"<text x='{at}' y='12' font-size='12' fill='{colour}' text-anchor='middle'>{text}</text>"
        )

    low, high = x(interval.low), x(interval.high)
    return (
        f"<svg role='img' viewBox='0 0 {_WIDTH} 70' width='100%' aria-label='bounds of the difference'>"
        f"{mark(0, '#57606a', '0') if abs(x(limit) - x(0)) > 40 else ''}"
        f"{mark(limit, '#cf222e', f'limit {limit:g}')}"
        f"<line x1='{low}' x2='{high}' y1='40' y2='40' stroke='#0969da' stroke-width='4'/>"
        f"<circle cx='{x(interval.value)}' cy='40' r='6' fill='#0969da'/></svg>"
    )


def _samples(config: RunnerConfig, dataset: Dataset, log: Mapping[Key, Answered]) -> list[str]:
    """What a reader wants to see first: lost and won against the baseline, else what is wrong; errors."""
    name = config.gate.metric if config.gate else config.scorers[0].name
    rows: dict[str, list[list[str]]] = {"Lost": [], "Won": [], "Wrong": [], "In error": []}
    for question in dataset.questions:
        kind = _kind(question, name, config, log)
        if kind:
            rows[kind].append(_row(question, config, log))
    columns = ("id", "input", "expected", *arms(config))
    titles = {
        "Lost": "Right for the baseline, wrong for the target",
        "Won": "Wrong for the baseline, right for the target",
        "Wrong": "Wrong",
        "In error": "In error, and in no mean",
    }
    return [
        part
        for kind, found in rows.items()
        if found
        for part in (
            f"<h2>{titles[kind]}: {len(found)}</h2>",
            _table(columns, found[:_SHOWN_SAMPLES], texts=True),
            f"<p><small>{len(found) - _SHOWN_SAMPLES} more</small></p>"
            if len(found) > _SHOWN_SAMPLES
            else "",
        )
    ]


def _kind(question: Question, name: str, config: RunnerConfig, log: Mapping[Key, Answered]) -> str:
    found = [log.get(Key(question.id, arm)) for arm in arms(config)]
    scores = [one.scores.get(name) if one else None for one in found]
    mine, other = scores[0], scores[-1]
    if mine is None or other is None:
        return "In error"
    if len(scores) == 2 and mine != other:
        return "Lost" if mine < other else "Won"
    return "Wrong" if len(scores) == 1 and mine < 0.5 else ""


def _row(question: Question, config: RunnerConfig, log: Mapping[Key, Answered]) -> list[str]:
    said = []
    for arm in (TARGET, BASELINE)[: len(arms(config))]:
        one = log.get(Key(question.id, arm))
        wrong = "; ".join(one.unscored.values()) if one else "no answer: the infrastructure failed"
        said.append(f"{one.error or one.output}{f' [{wrong}]' if wrong else ''}" if one else wrong)
    return [question.id, question.input, " | ".join(question.expected), *said]


def _table(columns: tuple[str, ...], rows: list[list[Any]], *, texts: bool = False) -> str:
    head = "".join(f"<th{'' if texts else ' class=n'}>{_text(column)}</th>" for column in columns)
    body = "".join(
        "<tr>" + "".join(f"<td class={'t' if texts else 'n'}>{_text(cell)}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _badge(verdict: str | None) -> str:
    return f"<span class='v {verdict}'>{verdict}</span>" if verdict else ""


def _text(value: Any) -> str:
    text = str(value)
    return html.escape(text if len(text) <= _SHOWN_TEXT else text[:_SHOWN_TEXT] + "…")


def _replace(path: Path, content: str) -> None:
    new = path.with_name(f".{path.name}.new")
    with new.open("w", encoding="utf-8") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
