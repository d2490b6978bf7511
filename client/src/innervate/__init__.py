"""Innervate's Python SDK and the innervate command."""

from innervate.aio import AsyncMemoryClient
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
    "AsyncMemoryClient",
    "ClusterRefused",
    "Conflict",
    "DeadlineExceeded",
    "Exhausted",
    "Filter",
    "Found",
    "InnervateError",
    "InvalidArgument",
    "MemoryClient",
    "NewRecord",
    "NotFound",
    "PermissionDenied",
    "PutResult",
    "Record",
    "RecordKind",
    "Retry",
    "SearchHit",
    "ServiceFailed",
    "Stats",
    "ToolMissing",
    "Unauthenticated",
    "Unavailable",
    "setup_tracing",
]
