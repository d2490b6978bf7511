"""What a pipeline remembers: its status is its only memory, and each decision stands here before it acts."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from innervate_kinds.api.resource import Model, Status

Name = Annotated[str, Field(max_length=253)]
Message = Annotated[str, Field(max_length=1024)]
Whole = Annotated[int, Field(strict=True, ge=0)]
Decimal = Annotated[str, Field(max_length=32)]


class StepName(StrEnum):
    """How far a candidate is."""

    TRAINING = "Training"
    """A Job trains it."""
    RELEASING = "Releasing"
    """Its ModelRelease is being verified."""
    WARMING = "Warming"
    """It has an arm of weight 0, and its engine starts."""
    GATING = "Gating"
    """EvalJobs ask it questions."""
    AWAITING_APPROVAL = "AwaitingApproval"
    """It waits for a person."""
    CANARY = "Canary"
    """It takes a share of the traffic and is judged on feedback."""
    PROMOTING = "Promoting"
    """It is to take all traffic; gateways have yet to acknowledge."""
    ROLLING_BACK = "RollingBack"
    """The stable release is to take all traffic; gateways have yet to acknowledge."""


class Verdict(StrEnum):
    """How a candidate ended."""

    INITIAL = "Initial"
    """It was live when the pipeline came."""
    PROMOTED = "Promoted"
    """It became the stable release."""
    ROLLED_BACK = "RolledBack"
    """It took traffic, and does so no more."""
    REFUSED = "Refused"
    """Its release is not verified, or a gate did not let it through."""
    ABORTED = "Aborted"
    """It was called off, or left the specification."""
    FAILED = "Failed"
    """It could not be trained or served."""
    SKIPPED = "Skipped"
    """It was the stable release already."""


class Role(StrEnum):
    """What an arm is to its pool."""

    STABLE = "Stable"
    CANDIDATE = "Candidate"


class Arm(Model):
    """One way that traffic takes, as it stands in the pool's `spec.traffic`."""

    name: Name
    """Name of the arm; made for one rollout, so that the pool's log counts it from zero."""
    release: Name
    """ModelRelease that it serves."""
    weight: Annotated[int, Field(strict=True, ge=0, le=100)]
    """Percent of the traffic."""
    role: Role
    """`Stable` for exactly one arm."""


class Trial(Model):
    """The candidate under way."""

    name: Name
    """Its name in `spec.candidates`."""
    digest: Annotated[str, Field(max_length=64)]
    """Digest of what the specification said of it; another content is another candidate."""
    release: Name | None = None
    """Its ModelRelease; absent until it is trained."""
    base: Name | None = None
    """ModelRelease that it is trained from."""
    artifact_digest: Annotated[str, Field(max_length=128)] | None = None
    """Release digest that its training reported."""
    live_since: datetime | None = None
    """When it was first given traffic."""


class Step(Model):
    """How far the candidate is."""

    name: StepName
    """The step."""
    percent: Annotated[int, Field(strict=True, ge=0, le=100)] = 0
    """The candidate's share of the traffic."""
    start_time: datetime
    """When the step was decided."""
    index: Whole | None = None
    """Which of `spec.rollout.steps` it is, from 0; absent outside a canary."""
    start_units: Whole | None = None
    """The candidate's units when the step began, where they were known."""
    verdict: Verdict | None = None
    """While rolling back: how the candidate will have ended."""
    reason: Annotated[str, Field(max_length=64)] | None = None
    """Why the step is what it is, in a word."""
    message: Message | None = None
    """The same for people."""


class GateResult(Model):
    """What became of one gate."""

    name: Name
    """Name of the gate."""
    eval_job: Name
    """EvalJob that decides."""
    verdict: Annotated[str, Field(max_length=32)] | None = None
    """Its verdict; absent before its end."""


class Tally(Model):
    """What came of one arm."""

    units: Whole
    """Sessions, and requests without one, with feedback."""
    successes: Whole
    """Those that went well."""


class Judgement(Model):
    """What feedback says of the candidate so far; shown, and at most once a minute."""

    stable: Tally
    """Counts of the stable arm in this rollout."""
    candidate: Tally
    """Counts of the candidate's arm in this rollout."""
    difference: Decimal
    """Difference of success rates, candidate minus stable."""
    low: Decimal
    """Lower end of the confidence sequence."""
    high: Decimal
    """Upper end of the confidence sequence."""


class Detection(Model):
    """Live traffic showed that the candidate is worse; rollback follows."""

    id: Annotated[str, Field(max_length=64)]
    """Names this detection: the same for every look at it, another for every other."""
    rollout: Whole
    """Rollout in which it was made."""
    candidate: Name
    """The candidate."""
    release: Name
    """ModelRelease that was serving."""
    time: datetime
    """When it was made."""
    percent: Annotated[int, Field(strict=True, ge=0, le=100)]
    """The candidate's share of the traffic."""
    stable: Tally
    """Counts of the stable arm."""
    of_candidate: Tally
    """Counts of the candidate's arm."""
    evidence: Message
    """What it rests on: e-value, threshold, difference and interval."""


class Previous(Model):
    """The release before the stable one, kept warm."""

    release: Name
    """ModelRelease."""
    arm: Name
    """Its arm, of weight 0."""
    until_time: datetime
    """When it is let go."""


class Entry(Model):
    """What was live when, and how it came about."""

    rollout: Whole
    """Number of the rollout; 0 for what was there before."""
    candidate: Name | None = None
    """The candidate's name."""
    release: Name | None = None
    """Its ModelRelease; absent where there never was one."""
    from_: Annotated[datetime | None, Field(alias="from")] = None
    """When it was first given traffic; absent where it never was."""
    to: datetime | None = None
    """When it lost its traffic; absent while it is live."""
    decision_time: datetime
    """When it was decided."""
    verdict: Verdict
    """How it ended."""
    reason: Annotated[str, Field(max_length=64)]
    """Why, in a word."""
    message: Message | None = None
    """Why, for people."""


class Action(StrEnum):
    """What a person may tell a pipeline."""

    APPROVE = "approve"
    ABORT = "abort"
    ROLLBACK = "rollback"


class CommandResult(StrEnum):
    """What became of a command."""

    DONE = "Done"
    REFUSED = "Refused"


REMEMBERED_COMMANDS: Final = 32
"""Of so many commands the ids are kept."""


class LastCommand(Model):
    """The last command, handled once."""

    id: Annotated[str, Field(max_length=64)]
    """Its id."""
    action: Annotated[str, Field(max_length=32)]
    """What was asked for."""
    result: CommandResult
    """Whether it was done."""
    message: Message
    """What was done, or why it was not."""
    time: datetime
    """When it was handled."""


class LearningPipelineStatus(Status):
    """Where the pipeline stands. The operator goes on from here after any interruption."""

    stable: Name | None = None
    """ModelRelease that is live."""
    candidate: Trial | None = None
    """The candidate under way."""
    step: Step | None = None
    """How far it is."""
    rollout: Whole = 0
    """Number of the last rollout that was begun."""
    traffic: Annotated[tuple[Arm, ...], Field(max_length=3)] = ()
    """The pool's traffic as decided; empty as long as the pool's own release serves."""
    previous: Previous | None = None
    """The release before the stable one, as long as it is kept warm."""
    gates: Annotated[tuple[GateResult, ...], Field(max_length=8)] = ()
    """Gates of the candidate under way, or of the last one."""
    judgement: Judgement | None = None
    """What feedback says of the candidate under way, or of the last one."""
    detection: Detection | None = None
    """The last detection."""
    completed: Annotated[tuple[Annotated[str, Field(max_length=320)], ...], Field(max_length=64)] = ()
    """Candidates of the specification that had their turn: name, `@`, digest of their content."""
    history: Annotated[tuple[Entry, ...], Field(max_length=101)] = ()
    """What was live when and what was refused, the newest first."""
    last_command: LastCommand | None = None
    """The last command."""
    handled_commands: Annotated[
        tuple[Annotated[str, Field(max_length=64)], ...], Field(max_length=REMEMBERED_COMMANDS)
    ] = ()
    """Ids of the last commands, the newest last: none of them is handled again."""


ACTS_ON = (
    *("stable", "candidate", "step", "rollout", "traffic", "previous"),
    *("gates", "detection", "completed", "history", "lastCommand", "handledCommands"),
)
"""JSON names of what plans act on, and of what must not be told late."""
