"""The report as one HTML page, without scripts and without anything from elsewhere."""

from __future__ import annotations

import html
import json
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from innervate_rl.run_report import found, shown
from innervate_rl.run_report.drawing import COLOURS, Line, Mark, lines, number

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from innervate_rl.run_report.found import About, Seed, Verdict

_STYLE: Final = """
body{font:16px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;color:#1b1f24}
h1{margin-bottom:.2rem}h4{margin:.8rem 0 .1rem}
table{border-collapse:collapse;width:100%;margin:.5rem 0 1.5rem}
th,td{text-align:left;vertical-align:top;padding:.3rem .6rem;border-bottom:1px solid #d0d7de}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
td.t{white-space:pre-wrap;overflow-wrap:anywhere;font:14px/1.4 ui-monospace,monospace}
pre{overflow-x:auto;font:13px/1.4 ui-monospace,monospace}
.w{overflow-x:auto}.c{display:grid;grid-template-columns:repeat(auto-fit,minmax(26rem,1fr));gap:1rem}
.v{display:inline-block;padding:.1rem .7rem;border-radius:1rem;color:#fff;font-weight:600}
.Passed{background:#1a7f37}.Failed{background:#cf222e}.Open{background:#57606a}
figure{margin:0}.e figure,.e>svg{max-width:46rem}
figcaption{font-weight:600}svg{display:block}svg text{font-size:12px;fill:#57606a}
.g{stroke:#d0d7de;stroke-width:1}.k{margin:.1rem 0;font-size:.8rem}.k span{margin-right:.8rem}
.k i{display:inline-block;width:.7rem;height:.7rem;margin-right:.3rem;border-radius:2px}
.e{border-top:1px solid #d0d7de;padding-bottom:.8rem}small{color:#57606a}
@media (prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}th,td,.e{border-color:#30363d}
.g{stroke:#30363d}small,svg text{color:#8b949e;fill:#8b949e}}
"""
_FIRST: Final = ("reward", "heldOut", "canary", "gap", "length", "entropy", "kl", "loss", "policyLag")
"""Curves in this order; others after them, by name."""
_NOT_CURVES: Final = {"step", "time", "episodes"}
_TITLES: Final = {
    "best": ("Best episodes", "the highest returns"),
    "worst": ("Worst episodes", "the lowest returns"),
    "rarest": ("Rarest episodes", "farthest from the middle in return, length, likelihood and what was seen"),
}
_ERRORS: Final = 5


def page(seeds: Sequence[Seed], about: About) -> str:
    """HTML of the report of some seeds of a run."""
    verdict = found.judge(seeds, about)
    title = f"{about.name}: {about.algorithm} in {about.environment}" if about.algorithm else about.name
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        "<meta name='viewport' content='width=device-width'>",
        f"<title>{_text(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{_text(title)} {_badge(verdict, about)}</h1>",
        f"<p>{_text(_sentence(seeds, about, verdict))}</p>",
        "<h2>Seeds</h2>",
        _seeds(seeds),
        *_gate(seeds, about, verdict),
        "<h2>Curves</h2>",
        _curves(seeds, about),
        "<h2>Rollouts</h2>",
        *_rollouts(seeds),
        *_episodes(seeds),
        "<h2>Where it comes from</h2>",
        *_chains(seeds),
        "</body></html>",
    ]
    return "\n".join(filter(None, parts)) + "\n"


def _sentence(seeds: Sequence[Seed], about: About, verdict: Verdict | None) -> str:
    ended = sum(seed.result is not None for seed in seeds)
    declared = about.seeds or len(seeds)
    steps = number(sum(seed.steps for seed in seeds))
    begin = (
        f"{ended} of {declared} seeds {'has' if ended == 1 else 'have'} ended, after {steps} steps together."
    )
    if about.gate is None:
        return f"{begin} There is no gate, and so no verdict."
    if verdict is None:
        return f"{begin} The gate is judged when all have."
    said, wanted = verdict.gate, about.gate
    gap = ""
    if wanted.max_gap is not None and verdict.gap is not None:
        gap = f" The largest gap of a seed is {number(verdict.gap)}; {number(wanted.max_gap)} is allowed."
    return (
        f"{begin} With confidence {wanted.confidence:g} the true mean of {wanted.metric} over seeds is above "
        f"{number(said.low)} (one-sided t bound; the mean is {number(said.mean)}). It must reach "
        f"{number(wanted.threshold)}.{gap}"
    )


def _badge(verdict: Verdict | None, about: About) -> str:
    if verdict is None:
        return f"<span class='v Open'>{_text(about.outcome)}</span>" if about.outcome else ""
    word = "Passed" if verdict.gate.passed else "Failed"
    return f"<span class='v {word}'>{word}</span>"


def _seeds(seeds: Sequence[Seed]) -> str:
    columns = ("seed", "steps", "untrained", "evaluation", "low", "high", "held-out", "canary", "gap")
    rows = []
    for seed in seeds:
        said = seed.result or {}
        figures = [said.get(name) for name in ("reward", "low", "high", "heldOut", "canary", "gap")]
        rows.append([seed.number, seed.steps, seed.early("reward"), *figures, said.get("ended", "goes on")])
    return _table((*columns, "ended by"), rows)


def _gate(seeds: Sequence[Seed], about: About, verdict: Verdict | None) -> list[str]:
    if about.gate is None:
        return []
    rows = []
    control = found.control(seeds, about)
    for name, one in (("trained policies", verdict), ("control: the same seeds, untrained", control)):
        if one is not None:
            outcome = "passes" if one.gate.passed else "fails"
            rows.append([name, len(one.means), one.gate.mean, one.gate.low, about.gate.threshold, outcome])
    if not rows:
        return []
    told = ""
    if control and control.gate.passed:
        told = "<p><strong>The untrained policies pass this gate: it shows nothing.</strong></p>"
    return [
        "<h2>Gate</h2>",
        _table(("", "seeds", "mean", "low", "must reach", ""), rows),
        told,
        "<p><small>The control: what the seeds gained in their first updates, by the same gate.</small></p>",
    ]


def _curves(seeds: Sequence[Seed], about: About) -> str:
    there = {name for seed in seeds for point in seed.curves for name in point} - _NOT_CURVES
    names = [name for name in _FIRST if name in there] + sorted(there - set(_FIRST))
    pictures = []
    for name in names:
        drawn = []
        for seed in seeds:
            points = [point for point in seed.curves if isinstance(point.get(name), int | float)]
            drawn.append(
                Line(
                    f"seed {seed.number}",
                    [point["step"] for point in points],
                    [point[name] for point in points],
                    COLOURS[seed.number % len(COLOURS)],
                )
            )
        gate = about.gate
        judged = gate and {"Reward": "reward", "HeldOut": "heldOut"}[gate.metric] == name
        mark = Mark(f"gate {number(gate.threshold)}", gate.threshold) if gate and judged else None
        pictures.append(lines(name, drawn, mark=mark))
    return f"<div class='c'>{''.join(pictures)}</div>" if pictures else "<p>There are no curves yet.</p>"


def _rollouts(seeds: Sequence[Seed]) -> list[str]:
    rows = []
    for seed in seeds:
        counts = (seed.result or {}).get("rollouts")
        if counts:
            rows.append([seed.number, *(counts[name] for name in ("valid", "infrastructure", "verifier"))])
    errors: Counter[str] = Counter()
    for seed in seeds:
        errors.update(seed.kept.errors)
    reasons = errors.most_common(_ERRORS)
    return [
        "<p>A void episode is neither a success nor a failure, and no gradient has seen it.</p>",
        _table(("seed", "valid", "void: environment failed", "void: no reward could be given"), rows)
        if rows
        else "<p>No seed has ended yet.</p>",
        _table(("why episodes that are kept are void", "times"), reasons) if reasons else "",
    ]


def _episodes(seeds: Sequence[Seed]) -> list[str]:
    chosen = shown.select(one for seed in seeds for one in seed.kept.episodes)
    if not any(chosen.values()):
        return ["<h2>Episodes</h2>", "<p>No experience is kept yet.</p>"]
    parts = []
    for sort, ones in chosen.items():
        if ones:
            title, what = _TITLES[sort]
            parts += [f"<h2>{title}</h2>", f"<p><small>{what}</small></p>", *map(shown.picture, ones)]
    return parts


def _chains(seeds: Sequence[Seed]) -> Iterable[str]:
    for seed in seeds:
        said = {
            "result": (seed.result or {}).get("chain"),
            "parameters": (seed.result or {}).get("parameters"),
            "experience": {"newest part": seed.kept.head, "chains": seed.kept.chains},
        }
        content = json.dumps(said, indent=2, ensure_ascii=False)
        yield f"<details><summary>seed {seed.number}</summary><pre>{_text(content)}</pre></details>"


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    numeric = [all(not isinstance(row[at], str) for row in rows) for at in range(len(columns))]
    kinds = [" class='n'" if each else "" for each in numeric]
    head = "".join(f"<th{kind}>{_text(name)}</th>" for name, kind in zip(columns, kinds, strict=True))
    body = "".join(
        "<tr>"
        + "".join(
            f"<td{kind}>{_text('–' if cell is None else number(cell))}</td>"
            for cell, kind in zip(row, kinds, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return f"<div class='w'><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _text(value: Any) -> str:
    return html.escape(str(value))
