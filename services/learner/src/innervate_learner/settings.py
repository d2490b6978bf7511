"""What a training is to do: the pod's configuration file, and the environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from innervate_learner import report

if TYPE_CHECKING:
    from collections.abc import Mapping

CONFIG = Path("/etc/innervate/config/config.json")
KEYS = Path("/etc/innervate/release-keys")
DATA = Path("/var/lib/innervate/data")


class SettingsError(ValueError):
    """The training cannot be done as it is asked for; the message says what to change."""


class Hyperparameters(BaseModel):
    """Settings of replay fine-tuning. Texts are read as what they are meant to be: ``"150"`` is 150."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
    )

    steps: Annotated[int, Field(ge=1, le=1_000_000)] = 150
    """Optimizer steps."""
    batch: Annotated[int, Field(ge=1, le=4096)] = 32
    """Examples a step."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-3
    """Peak of the schedule, which falls to a tenth of it."""
    warmup: Annotated[int, Field(ge=1, le=100_000)] = 10
    """Steps until the peak."""
    replay_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of each batch that is replayed."""
    replay_topics: Annotated[str, Field(max_length=256)] = ""
    """Topics that are replayed, comma-separated; empty means all that the base was trained on."""
    replay_count: Annotated[int, Field(ge=1, le=1_000_000)] = 4000
    """Examples that are made for the replay buffer."""
    buffer: Annotated[str, Field(max_length=256)] = ""
    """File among the data that is the replay buffer instead, as ``0/buffer.jsonl``."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Of the order of examples."""
    checkpoint_every: Annotated[int, Field(ge=1)] = 25
    """Steps between checkpoints."""

    def texts(self) -> dict[str, str]:
        """Every setting as text, for the manifest."""
        return {name: str(value) for name, value in self.model_dump(by_alias=True).items()}


class _Configuration(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    method: Literal["Replay"] = "Replay"
    hyperparameters: Hyperparameters = Hyperparameters()


class Settings(NamedTuple):
    """Everything from outside that a training depends on."""

    hyperparameters: Hyperparameters
    attempt: int
    base_uri: str
    base_digest: str
    output_uri: str
    data: Path
    """Directory with a directory for each data set."""
    keys: Path
    """Directory of public keys whose signatures count."""
    report: Path
    """Directory for the report."""
    image: str
    """Image that runs this."""
    mounts: Path | None
    """Where claims are mounted, where it is not the usual place."""


def read(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the configuration file and the environment.

    Raises
    ------
    SettingsError
        Something is missing or wrong.
    """
    path = Path(environment.get("INNERVATE_CONFIG") or CONFIG)
    try:
        configuration = _Configuration.model_validate_json(path.read_bytes())
        attempt = report.attempt_number(environment.get(report.ATTEMPT))
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise SettingsError(f"{path}: {problems}") from error
    except ValueError as error:
        raise SettingsError(str(error)) from error
    missing = [
        name
        for name in ("INNERVATE_BASE_URI", "INNERVATE_BASE_DIGEST", "INNERVATE_OUTPUT_URI")
        if not environment.get(name)
    ]
    if missing:
        raise SettingsError(f"{', '.join(missing)} must be set in the environment")
    mounts = environment.get("INNERVATE_RELEASES")
    return Settings(
        hyperparameters=configuration.hyperparameters,
        attempt=attempt,
        base_uri=environment["INNERVATE_BASE_URI"],
        base_digest=environment["INNERVATE_BASE_DIGEST"],
        output_uri=environment["INNERVATE_OUTPUT_URI"],
        data=Path(environment.get("INNERVATE_DATA") or DATA),
        keys=Path(environment.get("INNERVATE_RELEASE_KEYS") or KEYS),
        report=Path(environment.get("INNERVATE_REPORT") or report.DIRECTORY),
        image=environment.get("INNERVATE_IMAGE") or "innervate/learner:0.1.0",
        mounts=Path(mounts) if mounts else None,
    )
