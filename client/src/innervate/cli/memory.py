"""`innervate memory`: put, search and forget by hand, through the same SDK that agents use."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from innervate import calls, imports
from innervate.cli import output, telemetry
from innervate.cli.memory_options import (
    Account,
    Agent,
    Kinds,
    Meta,
    RecordAgent,
    RecordKey,
    RecordKindOption,
    RecordMeta,
    RecordSession,
    RecordSource,
    RecordTtl,
    RecordUser,
    Session,
    Space,
    Store,
    Supersedes,
    Timeout,
    User,
    WithTrace,
)
from innervate.cli.options import Context, Kubeconfig, Namespace, Output, OutputOption
from innervate.errors import InvalidArgument
from innervate.kubectl import Kubectl
from innervate.memory import MemoryClient
from innervate.records import Filter, NewRecord, Record, RecordKind
from innervate.retry import Retry
from innervate.route import Forwarded

app = typer.Typer(help="Put into a MemoryStore, recall from it, and forget.", no_args_is_help=True)


class _Call(NamedTuple):
    """How a command reaches its store."""

    kubectl: Kubectl
    store: str
    account: str
    timeout: float
    trace: bool


@contextmanager
def _client(command: str, call: _Call) -> Iterator[MemoryClient]:
    route = Forwarded(call.kubectl, call.store, call.account)
    with (
        telemetry.traced(f"innervate memory {command}", call.kubectl, wanted=call.trace),
        MemoryClient(route, retry=Retry(timeout=call.timeout)) as client,
    ):
        yield client


@app.command()
def put(
    store: Store,
    texts: Annotated[
        list[str] | None,
        typer.Argument(
            help="Texts to remember, each a record; none to read one from standard input.",
            metavar="[TEXT]...",
        ),
    ] = None,
    *,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file",
            help="Records as lines of JSON, such as memory list -o json makes; - for standard input.",
        ),
    ] = None,
    kind: RecordKindOption = RecordKind.UNSPECIFIED,
    key: RecordKey = "",
    session: RecordSession = "",
    user: RecordUser = "",
    agent: RecordAgent = "",
    source: RecordSource = "",
    meta: RecordMeta = None,
    ttl: RecordTtl = None,
    supersedes: Supersedes = "",
    space: Space = "",
    account: Account = "default",
    timeout: Timeout = 30.0,
    trace: WithTrace = False,
    output_: OutputOption = Output.TABLE,
    context: Context = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Remember texts, lines of a file, or standard input."""
    pattern = NewRecord(
        text="",
        kind=kind,
        user_id=user,
        agent_id=agent,
        session_id=session,
        source=source,
        metadata=_pairs(meta),
        ttl=None if ttl is None else timedelta(seconds=ttl),
    )
    records = _records(texts or [], file, pattern, key)
    if supersedes and len(records) != 1:
        raise InvalidArgument("--supersedes takes exactly one text", field="supersedes")
    call = _Call(Kubectl(context, namespace, kubeconfig), store, account, timeout, trace)
    with _client("put", call) as client:
        if supersedes:
            results = [client.supersede(supersedes, records[0], space=space)]
        else:
            results = []
            with _progress(len(records)) as progress:
                task = progress.add_task("putting", total=len(records))
                for batch in calls.batches(records):
                    results += client.put_all(batch, space=space)
                    progress.update(task, completed=len(results))
    if output_ is Output.JSON:
        output.print_json(results)
        return
    created = sum(result.created for result in results)
    known = len(results) - created
    if len(results) == 1:
        output.out.print(results[0].id + ("" if created else "  (was there already)"))
    else:
        output.out.print(f"{created} remembered" + (f", {known} were there already" if known else ""))


@app.command()
def search(
    store: Store,
    query: Annotated[str, typer.Argument(help="What to look for, in plain words.", metavar="QUERY")],
    *,
    limit: Annotated[int, typer.Option("--limit", "-l", help="Most records to return.", min=1, max=100)] = 10,
    as_of: Annotated[
        datetime | None,
        typer.Option(
            "--as-of",
            help="Only records valid at this time (UTC); left out, now.",
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"],
        ),
    ] = None,
    session: Session = "",
    user: User = "",
    agent: Agent = "",
    kind: Kinds = None,
    meta: Meta = None,
    space: Space = "",
    account: Account = "default",
    timeout: Timeout = 30.0,
    trace: WithTrace = False,
    output_: OutputOption = Output.TABLE,
    context: Context = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Recall the records that best match a query, best first."""
    call = _Call(Kubectl(context, namespace, kubeconfig), store, account, timeout, trace)
    matching = _filter(session, user, agent, kind, meta)
    with _client("search", call) as client:
        hits = client.search(
            query,
            space=space,
            limit=limit,
            matching=None if matching.empty else matching,
            as_of=as_of.replace(tzinfo=UTC) if as_of else None,
        )
    if output_ is Output.JSON:
        output.print_json(hits)
        return
    if not hits:
        output.err.print("nothing matches")
        return
    table = _table("score", "age", "session", "text", "id")
    for hit in hits:
        table.add_row(f"{hit.score:.2f}", *_cells(hit.record))
    output.out.print(table)


@app.command()
def get(
    store: Store,
    ids: Annotated[list[str], typer.Argument(help="Ids of records.", metavar="ID...")],
    *,
    space: Space = "",
    account: Account = "default",
    timeout: Timeout = 30.0,
    trace: WithTrace = False,
    output_: OutputOption = Output.TABLE,
    context: Context = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Read records by id, superseded ones too. Ends with 5 when one is not there."""
    call = _Call(Kubectl(context, namespace, kubeconfig), store, account, timeout, trace)
    with _client("get", call) as client:
        found = client.get(ids, space=space)
    if output_ is Output.JSON:
        output.print_json(found)
    elif found.records:
        _print_records(found.records)
    if found.missing:
        output.err.print(f"not there: {', '.join(found.missing)}", markup=False, soft_wrap=True)
        raise typer.Exit(output.Exit.NOT_FOUND)


@app.command("list")
def list_(
    store: Store,
    *,
    limit: Annotated[
        int | None, typer.Option("--limit", "-l", help="Most records to return; left out, all.", min=1)
    ] = None,
    superseded: Annotated[
        bool, typer.Option("--superseded", help="Include records that were replaced.")
    ] = False,
    session: Session = "",
    user: User = "",
    agent: Agent = "",
    kind: Kinds = None,
    meta: Meta = None,
    space: Space = "",
    account: Account = "default",
    timeout: Timeout = 30.0,
    trace: WithTrace = False,
    output_: OutputOption = Output.TABLE,
    context: Context = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """List records in the order they were put. JSON output is one record per line, for put --file."""
    call = _Call(Kubectl(context, namespace, kubeconfig), store, account, timeout, trace)
    matching = _filter(session, user, agent, kind, meta)
    with _client("list", call) as client:
        records = client.list(
            space=space,
            matching=None if matching.empty else matching,
            include_superseded=superseded,
            page_size=min(limit or 500, 500),
        )
        shown = (record for record, _ in zip(records, range(limit or sys.maxsize), strict=False))
        if output_ is Output.JSON:
            for record in shown:
                output.print_json_line(record)
        else:
            _print_records(tuple(shown))


@app.command()
def forget(
    store: Store,
    ids: Annotated[list[str] | None, typer.Argument(help="Ids of records.", metavar="[ID]...")] = None,
    *,
    everything: Annotated[bool, typer.Option("--everything", help="Erase the whole space.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    session: Session = "",
    user: User = "",
    agent: Agent = "",
    kind: Kinds = None,
    meta: Meta = None,
    space: Space = "",
    account: Account = "default",
    timeout: Timeout = 30.0,
    trace: WithTrace = False,
    output_: OutputOption = Output.TABLE,
    context: Context = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Erase records for good: by id, by filter, or everything in the space."""
    matching = _filter(session, user, agent, kind, meta)
    chosen = None if matching.empty else matching
    calls.forget(ids or [], chosen, space, everything=everything)
    if not ids and not yes:
        what = "everything" if everything else "every record that matches"
        question = f"Erase {what} in {f'space {space}' if space else f'the space of {account}'} for good?"
        if not sys.stdin.isatty():
            raise InvalidArgument("this erases many records", fix="repeat it with --yes if that is meant")
        typer.confirm(question, abort=True)
    call = _Call(Kubectl(context, namespace, kubeconfig), store, account, timeout, trace)
    with _client("forget", call) as client:
        count = client.forget(ids or (), matching=chosen, everything=everything, space=space)
    if output_ is Output.JSON:
        output.print_json({"forgotten": count})
    else:
        output.out.print(f"{count} forgotten")


@app.command()
def stats(
    store: Store,
    *,
    space: Space = "",
    whole: Annotated[
        bool, typer.Option("--whole", help="Count the whole store; needs access to every space.")
    ] = False,
    account: Account = "default",
    timeout: Timeout = 30.0,
    trace: WithTrace = False,
    output_: OutputOption = Output.TABLE,
    context: Context = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Count what a space holds."""
    call = _Call(Kubectl(context, namespace, kubeconfig), store, account, timeout, trace)
    with _client("stats", call) as client:
        counted = client.stats(space="" if whole else space or account)
    if output_ is Output.JSON:
        output.print_json(counted)
        return
    table = _table("records", "spaces", "used", "limit", "durability")
    limit = output.size(counted.limit_bytes) if counted.limit_bytes else "-"
    table.add_row(
        str(counted.records), str(counted.spaces), output.size(counted.size_bytes), limit, counted.durability
    )
    output.out.print(table)


def _records(texts: Sequence[str], file: Path | None, pattern: NewRecord, key: str) -> list[NewRecord]:
    if file is not None:
        if texts or key:
            raise InvalidArgument("--file takes neither texts nor --key", field="file")
        source = "-" if str(file) == "-" else str(file)
        try:
            text = sys.stdin.read() if source == "-" else file.read_text(encoding="utf-8")
        except OSError as error:
            raise InvalidArgument(f"{file} cannot be read: {error.strerror}", field="file") from None
        return list(imports.read(text.splitlines(), source, pattern))
    if not texts:
        if sys.stdin.isatty():
            raise InvalidArgument(
                "there is nothing to remember", fix="give a text, --file, or standard input"
            )
        texts = [sys.stdin.read().strip()]
    if key and len(texts) > 1:
        raise InvalidArgument("--key takes exactly one text", field="key")
    return [replace(pattern, text=text, key=key) for text in texts]


def _pairs(given: Sequence[str] | None) -> dict[str, str]:
    pairs = [each.partition("=") for each in given or ()]
    for key, equals, _ in pairs:
        if not equals or not key:
            raise InvalidArgument(f"--meta {key!r} is not of the form KEY=VALUE", field="meta")
    return {key: value for key, _, value in pairs}


def _filter(
    session: str, user: str, agent: str, kinds: Sequence[RecordKind] | None, meta: Sequence[str] | None
) -> Filter:
    return Filter(
        kinds=tuple(kinds or ()), user_id=user, agent_id=agent, session_id=session, metadata=_pairs(meta)
    )


def _progress(total: int) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=output.err, transient=True, disable=total <= calls.BATCH)


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column != "text")
    return table


def _cells(record: Record) -> tuple[str, ...]:
    return (
        output.age(record.create_time),
        output.shown(record.session_id) or "-",
        output.shown(record.text),
        record.id,
    )


def _print_records(records: Sequence[Record]) -> None:
    table = _table("age", "session", "text", "id")
    for record in records:
        table.add_row(*_cells(record))
    output.out.print(table)
