"""From a model's directory to a manifest."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from innervate_releases import digests
from innervate_releases.errors import Part, ReleaseError
from innervate_releases.manifest import MAX_FILES, File, FilePath, Manifest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from innervate_releases.manifest import Code, Data

_MEDIA_TYPES = {
    ".safetensors": "application/vnd.safetensors",
    ".gguf": "application/vnd.gguf",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".jinja": "text/x-jinja",
    ".md": "text/markdown",
    ".txt": "text/plain",
}
_PATH: TypeAdapter[str] = TypeAdapter(FilePath)


def build(
    directory: Path,
    *,
    base: str | None = None,
    adapter: str | None = None,
    data: Sequence[Data] = (),
    buffer: str | None = None,
    hyperparameters: Mapping[str, str] | None = None,
    code: Code | None = None,
    parents: Sequence[str] = (),
    produced_by: str = "",
) -> Manifest:
    """Describe a directory's files as a release. Files whose names start with a dot are left out.

    Parameters
    ----------
    directory
        Holds the model; ``tokenizer.json`` and ``chat_template.jinja`` are recognised by name.
    base, adapter, buffer
        Digests, as in the manifest.
    data, hyperparameters, code, parents, produced_by
        As in the manifest.

    Raises
    ------
    ReleaseError
        No directory, no files, or a file that a release cannot hold.
    """
    files = tuple(_files(directory))
    found = {file.path: file.digest for file in files}
    try:
        return Manifest(
            files=files,
            base=base,
            adapter=adapter,
            tokenizer=found.get("tokenizer.json"),
            chat_template=found.get("chat_template.jinja"),
            data=tuple(data),
            buffer=buffer,
            hyperparameters=dict(hyperparameters or {}),
            code=code,
            parents=tuple(parents),
            produced_by=produced_by,
        )
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(map(str, problem["loc"])) or "the release"
        raise ReleaseError(Part.MANIFEST, str(directory), f"{field}: {problem['msg']}") from error


def media_type(path: str) -> str:
    """Media type of a file, by its name's end."""
    ending = re.search(r"\.[a-z]+$", path)
    return _MEDIA_TYPES.get(ending.group() if ending else "", "application/octet-stream")


def _files(directory: Path) -> Iterator[File]:
    if not directory.is_dir():
        raise ReleaseError(Part.BLOB, str(directory), f"{directory} is no directory", missing=True)
    paths = {
        path.relative_to(directory).as_posix(): path
        for path in directory.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(directory).parts)
    }
    if not paths:
        raise ReleaseError(Part.BLOB, str(directory), f"{directory} holds no files", missing=True)
    if len(paths) > MAX_FILES:
        message = f"{directory} holds {len(paths)} files; a release has at most {MAX_FILES}"
        raise ReleaseError(Part.BLOB, str(directory), message)
    for name, path in sorted(paths.items()):
        try:
            _PATH.validate_python(name)
        except ValidationError as error:
            message = f"a release cannot hold a file named {name!r}; use letters, digits, '.', '_' and '-'"
            raise ReleaseError(Part.BLOB, name, message) from error
        digest, size = digests.of_file(path)
        yield File(path=name, media_type=media_type(name), digest=digest, size=size)
