"""Find and undo mounts below a directory."""

from __future__ import annotations

import re
from pathlib import Path

from innervate_local import process
from innervate_local.errors import LocalError


def below(*directories: Path) -> list[Path]:
    """List the mount points in directories, in the order in which they were mounted.

    Parameters
    ----------
    directories
        A directory that is a mount point itself counts.
    """
    return parse(Path("/proc/self/mountinfo").read_text(), *directories)


def parse(mountinfo: str, *directories: Path) -> list[Path]:
    """Do what `below` does with a given ``mountinfo`` table."""
    points = [Path(_unescape(line.split()[4])) for line in mountinfo.splitlines()]
    return [point for point in points if any(point.is_relative_to(each) for each in directories)]


def remove_below(*directories: Path) -> None:
    """Undo every mount in directories.

    Raises
    ------
    LocalError
        When one stays: what is below it must not be deleted then.
    """
    if found := below(*directories):
        # The latest first; lazily, as something may still be looking at it.
        process.run(["umount", "--lazy", "--", *map(str, reversed(found))])
    if left := below(*directories):
        raise LocalError(f"still mounted: {', '.join(map(str, left))}")


def _unescape(field: str) -> str:
    r"""Undo the kernel's escapes: a space is ``\040``."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), field)
