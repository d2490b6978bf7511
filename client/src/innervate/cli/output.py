"""What every command prints alike: values, times, errors; and the codes it ends with."""

from __future__ import annotations

import dataclasses
import json
import sys
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any

from rich.console import Console

from innervate import errors

out = Console(highlight=False, markup=False)
"""Results; what is remembered may look like markup."""
err = Console(stderr=True, highlight=False)
"""Progress, remarks and errors."""


class Exit(IntEnum):
    """Codes that the command ends with."""

    OK = 0
    FAILED = 1
    """The request is invalid, or was refused, or did not come true in time."""
    USAGE = 2
    """The command line is wrong."""
    UNAVAILABLE = 3
    """Cluster or service do not answer."""
    DENIED = 4
    """Not logged in, or not allowed."""
    NOT_FOUND = 5
    """What was named is not there."""
    TOOL_MISSING = 6
    """kubectl or helm is not installed."""
    INTERRUPTED = 130


_BY_ERROR: tuple[tuple[type[errors.InnervateError], Exit], ...] = (
    (errors.Unavailable, Exit.UNAVAILABLE),
    (errors.DeadlineExceeded, Exit.UNAVAILABLE),
    (errors.Exhausted, Exit.UNAVAILABLE),
    (errors.Unauthenticated, Exit.DENIED),
    (errors.PermissionDenied, Exit.DENIED),
    (errors.NotFound, Exit.NOT_FOUND),
    (errors.ToolMissing, Exit.TOOL_MISSING),
)


def exit_code(error: errors.InnervateError) -> Exit:
    """Code to end with after an error."""
    return next((code for kind, code in _BY_ERROR if isinstance(error, kind)), Exit.FAILED)


def print_error(error: errors.InnervateError) -> None:
    """Say what is wrong and why, and what to do next."""
    err.print("[bold red]error:[/] ", end="")
    err.print(error.message, markup=False, soft_wrap=True)
    if error.fix:
        err.print("[bold]next:[/]  ", end="")
        err.print(error.fix, markup=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """Print a value as JSON, one that other programs read: dataclasses as camelCase mappings."""
    sys.stdout.write(json.dumps(plain(value), indent=2, ensure_ascii=False) + "\n")


def print_json_line(value: Any) -> None:
    """Print a value as one line of JSON."""
    sys.stdout.write(json.dumps(plain(value), ensure_ascii=False) + "\n")


def shown(text: str) -> str:
    """Text that is safe for a terminal: control characters would let a record act on it."""
    return "".join(
        each if each.isprintable() or each == "\n" else "\N{REPLACEMENT CHARACTER}" for each in text
    )


def plain(value: Any) -> Any:
    """Value of JSON's types only; fields of dataclasses in camelCase, unset ones left out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return {
            _camel(name): plain(field) for name, field in fields.items() if field not in (None, "", {}, ())
        }
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def age(created: str | datetime | None, now: datetime | None = None) -> str:
    """Time since then, as kubectl writes it."""
    if not created:
        return "-"
    then = created if isinstance(created, datetime) else datetime.fromisoformat(created)
    return span((now or datetime.now(UTC)) - then)


def span(length: timedelta) -> str:
    """Length of time in its one or two largest units."""
    seconds = max(0, int(length.total_seconds()))
    for unit, size, below in (("d", 86400, 3600), ("h", 3600, 60), ("m", 60, 1)):
        if seconds >= 2 * size:
            rest = seconds % size // below
            smaller = {"d": "h", "h": "m", "m": "s"}[unit]
            few = seconds < 10 * size and rest
            return f"{seconds // size}{unit}" + (f"{rest}{smaller}" if few else "")
    return f"{seconds}s"


def size(number: int) -> str:
    """Bytes with a binary unit."""
    amount = float(number)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"
