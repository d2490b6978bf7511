"""The limits of the interface, and the refusal of what breaks them."""

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Final

from innervate_service.errors import InvalidArgument

from innervate_memory.records import MICROSECONDS, Content, Filter, is_id

MAX_NAME_BYTES: Final = 256
MAX_TEXT_BYTES: Final = 64 * 1024
MAX_SOURCE_BYTES: Final = 2 * 1024
MAX_METADATA_PAIRS: Final = 64
MAX_METADATA_VALUE_BYTES: Final = 4 * 1024
MAX_METADATA_BYTES: Final = 16 * 1024
MAX_BATCH: Final = 256
MAX_BATCH_BYTES: Final = 4 * 1024 * 1024
MAX_QUERY_BYTES: Final = 8 * 1024
MAX_HITS: Final = 100
DEFAULT_HITS: Final = 10
MAX_IDS: Final = 256
MAX_PAGE: Final = 1000
DEFAULT_PAGE: Final = 100
MAX_TTL_SECONDS: Final = 100 * 365 * 86_400
"""A hundred years: as microseconds still exact in a double, which Redis scores and Lua numbers are."""
MIN_TIME: Final = -62_135_596_800 * MICROSECONDS
MAX_TIME: Final = 253_402_300_800 * MICROSECONDS - 1
"""Years 1 to 9999, the range of a protobuf timestamp."""


def check_batch(contents: Sequence[Content]) -> None:
    """Refuse a batch that is empty or too large, or holds a bad record or one key twice."""
    if not 1 <= len(contents) <= MAX_BATCH:
        raise InvalidArgument("records", f"{len(contents)} records", f"must be 1 to {MAX_BATCH}")
    places: dict[str, int] = {}
    total = 0
    for index, content in enumerate(contents):
        path = f"records[{index}]"
        total += check_content(content, path=path)
        if content.key:
            first = places.setdefault(content.key, index)
            if first != index:
                raise InvalidArgument(
                    f"{path}.key", content.key, f"must differ from that of records[{first}]"
                )
    _check_size("records", total, limit=MAX_BATCH_BYTES)


def check_content(content: Content, *, path: str) -> int:
    """Refuse a content that breaks a limit.

    Returns
    -------
    int
        Its size in bytes.
    """
    if not content.text.strip():
        raise InvalidArgument(f"{path}.text", "", "must not be empty or blank")
    size = _check_size(f"{path}.text", len(content.text.encode()), limit=MAX_TEXT_BYTES)
    for name in ("key", "user_id", "agent_id", "session_id"):
        size += _check_name(f"{path}.{name}", getattr(content, name), limit=MAX_NAME_BYTES)
    size += _check_name(f"{path}.source", content.source, limit=MAX_SOURCE_BYTES)
    size += check_metadata(content.metadata, path=f"{path}.metadata")
    start, end = content.valid_from, content.valid_until
    for name, time in (("valid_from", start), ("valid_until", end)):
        if time is not None:
            check_time(f"{path}.{name}", time)
    if start is not None and end is not None and end <= start:
        raise InvalidArgument(f"{path}.valid_until", end, "must be later than valid_from")
    if content.ttl is not None and not 0 <= content.ttl <= MAX_TTL_SECONDS * MICROSECONDS:
        raise InvalidArgument(
            f"{path}.ttl", f"{content.ttl / MICROSECONDS}s", f"must be 0 (for ever) to {MAX_TTL_SECONDS}s"
        )
    return size


def check_metadata(metadata: Mapping[str, str], *, path: str) -> int:
    """Refuse metadata with too many or too large pairs; returns its size in bytes."""
    if len(metadata) > MAX_METADATA_PAIRS:
        raise InvalidArgument(path, f"{len(metadata)} pairs", f"must be at most {MAX_METADATA_PAIRS}")
    size = 0
    for name, value in metadata.items():
        if not name:
            raise InvalidArgument(path, name, "must not have an empty name")
        size += _check_name(path, name, limit=MAX_NAME_BYTES)
        size += _check_size(f"{path}[{name!r}]", len(value.encode()), limit=MAX_METADATA_VALUE_BYTES)
    return _check_size(path, size, limit=MAX_METADATA_BYTES)


def check_filter(chosen: Filter, *, path: str) -> None:
    """Refuse a filter whose parts no record could have."""
    for name in ("user_id", "agent_id", "session_id"):
        _check_name(f"{path}.{name}", getattr(chosen, name), limit=MAX_NAME_BYTES)
    check_metadata(chosen.metadata, path=f"{path}.metadata")


def check_query(query: str) -> None:
    """Refuse a query that is blank or too long."""
    if not query.strip():
        raise InvalidArgument("query", "", "must not be empty or blank")
    _check_size("query", len(query.encode()), limit=MAX_QUERY_BYTES)


def check_ids(ids: Sequence[str], *, path: str = "ids") -> None:
    """Refuse a list of identifiers that is empty, too long, or holds what can't be one."""
    if not 1 <= len(ids) <= MAX_IDS:
        raise InvalidArgument(path, f"{len(ids)} ids", f"must be 1 to {MAX_IDS}")
    for index, record_id in enumerate(ids):
        check_id(record_id, path=f"{path}[{index}]")


def check_id(record_id: str, *, path: str) -> None:
    """Refuse what can't be a record's identifier."""
    if not is_id(record_id):
        raise InvalidArgument(path, record_id, "must be a record id: 26 digits and capital letters")


def check_count(name: str, value: int, *, limit: int, default: int) -> int:
    """Resolve a requested count: 0 means the default, anything outside 1 to the limit is refused."""
    if value == 0:
        return default
    if not 1 <= value <= limit:
        raise InvalidArgument(name, value, f"must be 1 to {limit}, or 0 for {default}")
    return value


def check_time(path: str, time: int) -> None:
    """Refuse a time outside the years 1 to 9999."""
    if not MIN_TIME <= time <= MAX_TIME:
        raise InvalidArgument(path, time, "must lie in the years 1 to 9999")


def _check_size(path: str, size: int, *, limit: int) -> int:
    if size > limit:
        raise InvalidArgument(path, f"{size} bytes", f"must be at most {limit} bytes")
    return size


def _check_name(path: str, name: str, *, limit: int) -> int:
    if any(unicodedata.category(character) == "Cc" for character in name):
        raise InvalidArgument(path, name, "must not hold control characters")
    return _check_size(path, len(name.encode()), limit=limit)
