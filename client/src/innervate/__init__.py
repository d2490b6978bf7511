"""Innervate's Python SDK and the innervate command."""

from innervate.aio import AsyncMemoryClient
from innervate.chat import Answer, ChatClient, Message
from innervate.errors import (
    ClusterRefused,
    Conflict,
    DeadlineExceeded,
    Exhausted,
    InnervateError,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ServiceFailed,
    ToolMissing,
    Unauthenticated,
    Unavailable,
)
from innervate.exchanges import ArmOutcomes, Exchange, ExchangeClient, Feedback, ReportResult
from innervate.memory import MemoryClient
from innervate.records import (
    Filter,
    Found,
    NewRecord,
    PutResult,
    Record,
    RecordKind,
    SearchHit,
    Stats,
)
from innervate.retry import Retry
from innervate.tracing import setup_tracing

__all__ = [
    "Answer",
    "ArmOutcomes",
    "AsyncMemoryClient",
    "ChatClient",
    "ClusterRefused",
    "Conflict",
    "DeadlineExceeded",
    "Exchange",
    "ExchangeClient",
    "Exhausted",
    "Feedback",
    "Filter",
    "Found",
    "InnervateError",
    "InvalidArgument",
    "MemoryClient",
    "Message",
    "NewRecord",
    "NotFound",
    "PermissionDenied",
    "PutResult",
    "Record",
    "RecordKind",
    "ReportResult",
    "Retry",
    "SearchHit",
    "ServiceFailed",
    "Stats",
    "ToolMissing",
    "Unauthenticated",
    "Unavailable",
    "setup_tracing",
]
