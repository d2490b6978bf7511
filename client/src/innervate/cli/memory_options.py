"""Options of the memory commands: how to call, what a record says, which records count."""

from __future__ import annotations

from typing import Annotated

import typer

from innervate.records import RecordKind

_CALL = "Call"
_RECORD = "Record"
_FILTER = "Filter"

Store = Annotated[str, typer.Argument(help="Name of the MemoryStore.", metavar="STORE", show_default=False)]
Space = Annotated[
    str, typer.Option(help="Space of records; left out, the account's own.", rich_help_panel=_CALL)
]
Account = Annotated[
    str,
    typer.Option("--as", help="ServiceAccount of the store's namespace to call as.", rich_help_panel=_CALL),
]
Timeout = Annotated[
    float,
    typer.Option(help="Seconds until the call fails, retries included.", min=0.1, rich_help_panel=_CALL),
]
WithTrace = Annotated[
    bool,
    typer.Option("--trace", help="Record a trace of this call, and print its id.", rich_help_panel=_CALL),
]
Session = Annotated[str, typer.Option(help="Session id.", rich_help_panel=_FILTER)]
User = Annotated[str, typer.Option(help="User id.", rich_help_panel=_FILTER)]
Agent = Annotated[str, typer.Option(help="Agent id.", rich_help_panel=_FILTER)]
Kinds = Annotated[
    list[RecordKind] | None, typer.Option("--kind", help="Kind; repeatable.", rich_help_panel=_FILTER)
]
Meta = Annotated[
    list[str] | None,
    typer.Option("--meta", help="KEY=VALUE of the metadata; repeatable.", rich_help_panel=_FILTER),
]
RecordKindOption = Annotated[
    RecordKind, typer.Option("--kind", help="What the records are.", rich_help_panel=_RECORD)
]
RecordKey = Annotated[
    str,
    typer.Option("--key", help="Your own key: putting it twice stores one record.", rich_help_panel=_RECORD),
]
RecordSession = Annotated[str, typer.Option("--session", help="Session id.", rich_help_panel=_RECORD)]
RecordUser = Annotated[str, typer.Option("--user", help="User id.", rich_help_panel=_RECORD)]
RecordAgent = Annotated[str, typer.Option("--agent", help="Agent id.", rich_help_panel=_RECORD)]
RecordSource = Annotated[str, typer.Option("--source", help="Where it came from.", rich_help_panel=_RECORD)]
RecordMeta = Annotated[
    list[str] | None,
    typer.Option("--meta", help="KEY=VALUE to filter by; repeatable.", rich_help_panel=_RECORD),
]
RecordTtl = Annotated[
    int | None,
    typer.Option(
        "--ttl",
        help="Seconds to keep it; 0 for ever; left out, the store's default.",
        min=0,
        rich_help_panel=_RECORD,
    ),
]
Supersedes = Annotated[
    str,
    typer.Option("--supersedes", help="Id of the record that this one replaces.", rich_help_panel=_RECORD),
]
