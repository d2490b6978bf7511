"""The manifest: everything a release consists of and comes from, by digest.

Its bytes are RFC 8785 canonical JSON, so equal content has one spelling; their
SHA-256 is the release's digest.
"""

from __future__ import annotations

import json
from typing import Annotated, Literal, Self

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from innervate_releases import digests
from innervate_releases.digests import Digest
from innervate_releases.errors import Part, ReleaseError

MAX_BYTES = 1 << 20
"""Largest manifest that is read."""
MAX_FILES = 1024
MAX_PARENTS = 16

# No segment starts with a dot: neither ".." nor the names of unfinished downloads can occur.
FilePath = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*){0,7}$", max_length=255)
]
"""A relative path inside the release."""
Text = Annotated[str, Field(max_length=1024)]
Name = Annotated[str, Field(min_length=1, max_length=253)]


class _Model(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
    )


class File(_Model):
    """One file of the release."""

    path: FilePath
    """Where it lies in the model's directory."""
    media_type: Name
    """What it is, as a media type."""
    digest: Digest
    """Of its bytes."""
    size: Annotated[int, Field(ge=0, le=2**53 - 1)]
    """In bytes."""


class Data(_Model):
    """A data set that the release was trained on."""

    uri: Text
    """Where it was read from."""
    digest: Digest
    """Of its bytes as they were read."""


class Code(_Model):
    """What made the release."""

    image: Text
    """Container image of the program."""
    digest: Digest | None = None
    """Digest of the image, where it is known."""


class Manifest(_Model):
    """Everything a release consists of and comes from."""

    schema_version: Literal[1] = 1
    """Version of this layout."""
    files: Annotated[tuple[File, ...], Field(min_length=1, max_length=MAX_FILES, strict=False)]
    """The release's files, sorted by path."""
    base: Digest | None = None
    """Weights that it started from, or that its adapter belongs to."""
    adapter: Digest | None = None
    """Weights of the adapter, where it is one."""
    tokenizer: Digest | None = None
    """The file tokenizer.json; null where the tokenizer lies inside the weights."""
    chat_template: Digest | None = None
    """The file chat_template.jinja; null where there is none or it lies inside the weights."""
    data: Annotated[tuple[Data, ...], Field(max_length=256, strict=False)] = ()
    """Data sets it was trained on."""
    buffer: Digest | None = None
    """Replay buffer it was trained with."""
    hyperparameters: Annotated[dict[Name, Text], Field(max_length=256)] = Field(default_factory=dict)
    """Settings of the training, as text: canonical JSON has no exact decimal numbers."""
    code: Code | None = None
    """What made it."""
    parents: Annotated[tuple[Digest, ...], Field(max_length=MAX_PARENTS, strict=False)] = ()
    """Releases it comes from."""
    produced_by: Text = ""
    """Who made it: a resource, a pipeline's run, a person."""

    @model_validator(mode="after")
    def _is_one_spelling(self) -> Self:
        paths = [file.path for file in self.files]
        if paths != sorted(set(paths)):
            raise ValueError("files must be sorted by path, each path once")
        if len(set(self.parents)) != len(self.parents):
            raise ValueError("a parent is named twice")
        return self

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def digest(self) -> str:
        """The release's digest."""
        return digests.of_bytes(self.canonical())

    def canonical(self) -> bytes:
        """The manifest's only spelling: RFC 8785 JSON."""
        return rfc8785.dumps(self.model_dump(mode="json", by_alias=True))

    def file(self, path: str) -> File:
        """The file of a path.

        Raises
        ------
        ReleaseError
            The release has no such file.
        """
        for file in self.files:
            if file.path == path:
                return file
        has = ", ".join(file.path for file in self.files[:10])
        raise ReleaseError(Part.BLOB, path, f"the release has no file {path!r}; it has {has}", missing=True)


def parse(content: bytes, digest: str, *, part: Part = Part.MANIFEST) -> Manifest:
    """Read a manifest, which must have the digest it is asked for by.

    Parameters
    ----------
    content
        Its bytes.
    digest
        What they must hash to.
    part
        Whose manifest it is: what an error says is wrong.

    Raises
    ------
    ReleaseError
        Other bytes, no JSON, another layout or another spelling.
    """
    if digests.of_bytes(content) != digest:
        raise ReleaseError(part, digest, f"manifest {digest} was changed: its bytes have another digest")
    try:
        manifest = Manifest.model_validate_json(content)
        # A dictionary keeps the last of two equal keys: only the spelling tells.
        canonical = rfc8785.dumps(json.loads(content))
    except (ValidationError, ValueError) as error:
        detail = _first(error) if isinstance(error, ValidationError) else str(error)
        raise ReleaseError(
            part, digest, f"manifest {digest} is no manifest of a release: {detail}"
        ) from error
    if canonical != content:
        raise ReleaseError(part, digest, f"manifest {digest} is not written in canonical JSON (RFC 8785)")
    return manifest


def _first(error: ValidationError) -> str:
    problem = error.errors()[0]
    field = ".".join(map(str, problem["loc"])) or "the document"
    return f"{field}: {problem['msg']}"
