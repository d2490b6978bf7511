"""The episodes of a run to look at: the best, the worst and the rarest."""

from __future__ import annotations

import html
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from innervate_rl.experience import episodes
from innervate_rl.experience.keeping import SHOWN, to_look_at
from innervate_rl.experience.reader import ExperienceReader
from innervate_rl.experience.rows import Split
from innervate_rl.run_report.drawing import COLOURS, Line, lines, number, strip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

_TURNS: Final = 40
"""Turns of an episode that are shown."""
_TEXT: Final = 2000
_CHOICES: Final = 16
"""Kinds of actions that a strip tells apart."""
_DIMENSIONS: Final = 12


class Shown(NamedTuple):
    """An episode to look at."""

    seed: int
    gained: float
    rarity: float
    rows: Any


_ORDERS: Final[dict[str, Callable[[Shown], float]]] = {
    "best": lambda one: -one.gained,
    "worst": lambda one: one.gained,
    "rarest": lambda one: -one.rarity,
}


class Kept(NamedTuple):
    """What a seed's experience says."""

    episodes: list[Shown]
    errors: Counter[str]
    """Reasons of void episodes among those that are kept."""
    chains: list[dict[str, Any]]
    head: str | None
    """Digest of the newest part."""


def of_seed(seed: int, directory: Path) -> Kept:
    """Read a seed's experience; what to look at is of its evaluation, if there was one."""
    reader = ExperienceReader(directory)
    errors: Counter[str] = Counter()
    found: dict[Split, list[Shown]] = {}
    for split in Split:
        for group in reader.episodes(split):
            errors.update(filter(None, group.rows.column("error").to_pylist()))
            rarity = episodes.rarity(episodes.features(group))
            seen = [
                Shown(seed, float(group.returns[index]), float(rarity[index]), group.of(index))
                for sort in to_look_at(group)
                for index in sort
            ]
            best = select([*found.get(split, ()), *seen])
            found[split] = [one for sort in best.values() for one in sort]
    chosen = found.get(Split.EVALUATION) or found.get(Split.TRAINING) or []
    return Kept(chosen, errors, reader.chains(), reader.head())


def select(candidates: Iterable[Shown]) -> dict[str, list[Shown]]:
    """Best, worst and rarest over all seeds, none twice."""
    every = list(candidates)
    taken: set[tuple[int, int]] = set()
    chosen: dict[str, list[Shown]] = {}
    for sort in _ORDERS:
        left = [one for one in every if (one.seed, _number(one)) not in taken]
        chosen[sort] = sorted(left, key=lambda one: (_ORDERS[sort](one), one.seed, _number(one)))[:SHOWN]
        taken.update((one.seed, _number(one)) for one in chosen[sort])
    return chosen


def picture(one: Shown) -> str:
    """An episode as HTML."""
    first = one.rows.slice(0, 1).to_pylist()[0]
    task = f", task {first['task']}" if first["task"] else ""
    head = (
        f"<h4>return {number(one.gained)} · {_length(one.rows)}</h4>"
        f"<p><small>seed {one.seed}, episode {first['episode']} ({first['split']}){html.escape(task)}, "
        f"iteration {first['iteration']}, by policy {html.escape(short(first['policy']))}, "
        f"rarity {number(one.rarity)}, {_ending(one.rows)}</small></p>"
    )
    body = _turns(one.rows) if _is_text(one.rows) else _trajectory(one.rows)
    return f"<section class='e'>{head}{body}</section>"


def short(digest: str | None) -> str:
    """The beginning of a digest."""
    return (digest or "–").removeprefix("sha256:")[:12]


def _length(rows: Any) -> str:
    unit = "turn" if _is_text(rows) else "step"
    return f"{rows.num_rows:,} {unit}{'' if rows.num_rows == 1 else 's'}"


def _number(one: Shown) -> int:
    return int(one.rows.column("episode")[0].as_py())


def _is_text(rows: Any) -> bool:
    return episodes.vectors(rows, "observation") is None


def _ending(rows: Any) -> str:
    last = rows.slice(rows.num_rows - 1, 1).to_pylist()[0]
    if not last["valid"]:
        return "void"
    return "terminated" if last["terminated"] else "truncated" if last["truncated"] else "without an end"


def _trajectory(rows: Any) -> str:
    steps = episodes.column(rows, "step").tolist()
    seen = episodes.vectors(rows, "observation")
    did = episodes.vectors(rows, "action")
    shown = [] if seen is None else list(seen.T[:_DIMENSIONS])
    drawn = [
        Line(f"observation[{at}]", steps, values.tolist(), COLOURS[at % len(COLOURS)])
        for at, values in enumerate(shown)
    ]
    parts = [lines("what was seen", drawn)]
    if did is not None and did.shape[1] == 1 and len(np.unique(did)) <= _CHOICES:
        parts.append(strip("action", did[:, 0].astype(int).tolist()))
    elif did is not None:
        acted = [
            Line(f"action[{at}]", steps, values.tolist(), COLOURS[at % len(COLOURS)])
            for at, values in enumerate(did.T[:_DIMENSIONS])
        ]
        parts.append(lines("what was done", acted))
    return "".join(parts)


def _turns(rows: Any) -> str:
    body = []
    for row in rows.slice(0, _TURNS).to_pylist():
        named = {name.removeprefix("reward."): row[name] for name in row if name.startswith("reward.")}
        said = _rewards(row["reward"], named)
        problem = f"<br><em>{html.escape(row['error'])}</em>" if row["error"] else ""
        body.append(
            f"<tr><td class='t'>{_cut(row['observation'])}</td>"
            f"<td class='t'>{_cut(row['action'])}{problem}</td><td class='n'>{said}</td></tr>"
        )
    more = rows.num_rows - _TURNS
    left = f"<p><small>{more} more turns</small></p>" if more > 0 else ""
    return (
        "<table><thead><tr><th>shown</th><th>said</th><th class='n'>rewards</th></tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table>{left}"
    )


def _rewards(reward: float, named: Mapping[str, float | None]) -> str:
    told = [number(float("nan") if reward is None else reward)]
    told += [
        f"<small>{html.escape(name)} {number(value)}</small>"
        for name, value in named.items()
        if value is not None
    ]
    return "<br>".join(told)


def _cut(text: str) -> str:
    return html.escape(text if len(text) <= _TEXT else text[:_TEXT] + "…")
