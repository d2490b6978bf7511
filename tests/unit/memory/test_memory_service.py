"""The whole service through real gRPC, with real tokens, and Redis behind TLS and client certificates."""

import asyncio
import datetime as dt
import ssl
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator

import grpc
import pytest
from eventually import eventually
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from innervate_api.memory.v1 import memory_pb2 as pb
from memory_process import Cluster, RunningMemory, memory_config, running_memory
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from redis_process import RedisProcess


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    return Cluster(tmp_path_factory.mktemp("cluster"))


@pytest.fixture(scope="module")
def secure_redis(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    files = cluster.authority.issue_files(cluster.directory / "redis-identity")
    process = RedisProcess(tmp_path_factory.mktemp("secure-redis"), tls=files)
    process.start()
    yield process
    process.stop()


@pytest.fixture
async def memory(
    cluster: Cluster, secure_redis: RedisProcess, request: pytest.FixtureRequest
) -> AsyncIterator[RunningMemory]:
    config = memory_config(
        cluster,
        port=secure_redis.port,
        password_file=secure_redis.password_file,
        tls=True,
        **getattr(request, "param", {}),
    )
    async with running_memory(config, cluster) as running:
        connection = running.service._connection
        await connection.command("FLUSHALL", deadline=asyncio.get_running_loop().time() + 10)
        await eventually(lambda: running.server.problem() is None)
        yield running


def put(*texts: str, space: str = "") -> pb.PutRequest:
    return pb.PutRequest(space=space, records=[pb.NewRecord(text=text) for text in texts])


async def test_what_was_put_is_searched_read_listed_superseded_counted_and_forgotten(memory, cluster):
    me = cluster.metadata()
    async with memory.stub() as stub:
        start = Timestamp()
        start.FromDatetime(dt.datetime(2024, 1, 1, tzinfo=dt.UTC))
        record = pb.NewRecord(
            key="k1",
            text="Ada likes green tea",
            kind=pb.RECORD_KIND_FACT,
            user_id="ada",
            session_id="s1",
            metadata={"topic": "drinks"},
            valid_from=start,
            source="chat",
            ttl=Duration(seconds=3600),
        )
        answer = await stub.Put(
            pb.PutRequest(records=[record, pb.NewRecord(text="The moon is far")]), metadata=me
        )
        first, second = answer.results
        assert first.created
        assert second.created

        hits = (await stub.Search(pb.SearchRequest(query="green teas"), metadata=me)).hits
        assert [hit.record.id for hit in hits] == [first.id]
        found = hits[0].record
        assert found.space == "agent"
        for name in ("key", "text", "kind", "user_id", "session_id", "metadata", "valid_from", "source"):
            assert getattr(found, name) == getattr(record, name)
        assert not found.HasField("valid_until")
        assert found.expire_time.seconds - found.create_time.seconds == 3600
        assert hits[0].score == pytest.approx(hits[0].turn_score + hits[0].session_score)

        absent = "0" * 26
        got = await stub.Get(pb.GetRequest(ids=[second.id, absent, first.id]), metadata=me)
        assert [each.id for each in got.records] == [second.id, first.id]
        assert got.missing == [absent]

        newer = await stub.Supersede(
            pb.SupersedeRequest(id=first.id, record=pb.NewRecord(text="Ada likes black tea")), metadata=me
        )
        hits = (await stub.Search(pb.SearchRequest(query="tea"), metadata=me)).hits
        assert [hit.record.id for hit in hits] == [newer.id]
        assert hits[0].record.supersedes == first.id
        old = (await stub.Get(pb.GetRequest(ids=[first.id]), metadata=me)).records[0]
        assert old.superseded_by == newer.id

        listed = await stub.List(pb.ListRequest(), metadata=me)
        assert [each.id for each in listed.records] == [second.id, newer.id]
        listed = await stub.List(pb.ListRequest(include_superseded=True), metadata=me)
        assert len(listed.records) == 3

        stats = await stub.Stats(pb.StatsRequest(space="agent"), metadata=me)
        assert (stats.records, stats.spaces, stats.durability) == (3, 1, "Always")
        assert stats.size_bytes > 0

        gone = await stub.Forget(pb.ForgetRequest(ids=pb.Ids(ids=[newer.id, absent])), metadata=me)
        assert gone.forgotten == 1
        gone = await stub.Forget(
            pb.ForgetRequest(matching=pb.Filter(metadata={"topic": "drinks"})), metadata=me
        )
        assert gone.forgotten == 1
        assert (await stub.Forget(pb.ForgetRequest(everything=True), metadata=me)).forgotten == 1
        assert not (await stub.List(pb.ListRequest(include_superseded=True), metadata=me)).records


async def refusal(call) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def test_a_foreign_space_is_refused_alike_whether_or_not_it_exists(memory, cluster):
    async with memory.stub() as stub:
        await stub.Put(put("secret tea"), metadata=cluster.metadata("other"))
        me = cluster.metadata("agent")
        told = []
        for space in ("other", "absent"):
            calls = [
                stub.Put(put("x", space=space), metadata=me),
                stub.Search(pb.SearchRequest(space=space, query="tea"), metadata=me),
                stub.Get(pb.GetRequest(space=space, ids=["0" * 26]), metadata=me),
                stub.List(pb.ListRequest(space=space), metadata=me),
                stub.Supersede(
                    pb.SupersedeRequest(space=space, id="0" * 26, record=pb.NewRecord(text="x")), metadata=me
                ),
                stub.Forget(pb.ForgetRequest(space=space, everything=True), metadata=me),
                stub.Stats(pb.StatsRequest(space=space), metadata=me),
            ]
            errors = [await refusal(call) for call in calls]
            assert {error.code() for error in errors} == {grpc.StatusCode.PERMISSION_DENIED}
            for error in errors:
                assert "shop/agent" in error.details()
                assert repr(space) in error.details()
            told.append([error.details().replace(space, "SPACE") for error in errors])
        assert told[0] == told[1]
        # The same account of another namespace is another caller.
        error = await refusal(stub.List(pb.ListRequest(), metadata=cluster.metadata("agent", "elsewhere")))
        assert error.code() == grpc.StatusCode.PERMISSION_DENIED
        assert len((await stub.List(pb.ListRequest(), metadata=cluster.metadata("other"))).records) == 1


async def test_only_the_operator_counts_the_whole_store_and_that_is_all_it_may(memory, cluster):
    operator = cluster.metadata("innervate-operator", "innervate-system")
    async with memory.stub() as stub:
        await stub.Put(put("a", "b"), metadata=cluster.metadata("one"))
        await stub.Put(put("c"), metadata=cluster.metadata("two"))
        stats = await stub.Stats(pb.StatsRequest(), metadata=operator)
        assert (stats.records, stats.spaces) == (3, 2)
        assert stats.size_bytes > 100_000  # Redis's own memory counts
        assert stats.limit_bytes == 0
        error = await refusal(stub.Stats(pb.StatsRequest(), metadata=cluster.metadata("one")))
        assert error.code() == grpc.StatusCode.PERMISSION_DENIED
        error = await refusal(stub.List(pb.ListRequest(space="one"), metadata=operator))
        assert error.code() == grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize(
    "memory",
    [
        {
            "access": [
                {
                    "serviceAccounts": [{"namespace": "shop", "name": "reader"}],
                    "spaces": ["support/*"],
                    "permissions": ["Read"],
                },
                {
                    "serviceAccounts": [{"namespace": "shop", "name": "writer"}],
                    "spaces": ["support/*"],
                    "permissions": ["Read", "Write"],
                },
            ]
        }
    ],
    indirect=True,
)
async def test_rules_let_one_write_what_another_reads(memory, cluster):
    async with memory.stub() as stub:
        await stub.Put(put("green tea", space="support/eu"), metadata=cluster.metadata("writer"))
        request = pb.SearchRequest(space="support/eu", query="tea")
        assert (await stub.Search(request, metadata=cluster.metadata("reader"))).hits
        error = await refusal(stub.Put(put("x", space="support/eu"), metadata=cluster.metadata("reader")))
        assert error.code() == grpc.StatusCode.PERMISSION_DENIED
        assert "Write" in error.details()


LARGE = "x" * (64 * 1024 + 1)


@pytest.mark.parametrize(
    ("method", "request_message", "named"),
    [
        ("Put", pb.PutRequest(), "records"),
        ("Put", pb.PutRequest(records=[pb.NewRecord(text="x")] * 257), "records"),
        ("Put", pb.PutRequest(records=[pb.NewRecord(text=" \n")]), "records[0].text"),
        ("Put", pb.PutRequest(records=[pb.NewRecord(text=LARGE)]), "records[0].text"),
        ("Put", pb.PutRequest(records=[pb.NewRecord(text=LARGE[:-1])] * 65), "records"),
        ("Put", pb.PutRequest(records=[pb.NewRecord(text="x", key="k" * 257)]), "records[0].key"),
        ("Put", pb.PutRequest(records=[pb.NewRecord(text="x", user_id="a\nb")]), "records[0].user_id"),
        ("Put", pb.PutRequest(records=[pb.NewRecord(text="x", kind=9)]), "records[0].kind"),
        ("Put", pb.PutRequest(records=[pb.NewRecord(text="x", ttl=Duration(seconds=-1))]), "records[0].ttl"),
        ("Put", pb.PutRequest(records=[pb.NewRecord(text="x", metadata={"": "v"})]), "records[0].metadata"),
        (
            "Put",
            pb.PutRequest(
                records=[
                    pb.NewRecord(text="x", valid_from=Timestamp(seconds=5), valid_until=Timestamp(seconds=5))
                ]
            ),
            "records[0].valid_until",
        ),
        (
            "Put",
            pb.PutRequest(records=[pb.NewRecord(text="x", valid_from=Timestamp(seconds=2**60))]),
            "records[0].valid_from",
        ),
        ("Put", pb.PutRequest(space="a//b", records=[pb.NewRecord(text="x")]), "space"),
        ("Search", pb.SearchRequest(query=""), "query"),
        ("Search", pb.SearchRequest(query="q" * 8193), "query"),
        ("Search", pb.SearchRequest(query="q", limit=101), "limit"),
        ("Search", pb.SearchRequest(query="q", limit=-1), "limit"),
        ("Search", pb.SearchRequest(query="q", as_of=Timestamp(seconds=2**60)), "as_of"),
        ("Get", pb.GetRequest(), "ids"),
        ("Get", pb.GetRequest(ids=["nonsense"]), "ids[0]"),
        ("List", pb.ListRequest(page_size=1001), "page_size"),
        ("List", pb.ListRequest(page_token="nonsense"), "page_token"),
        ("Supersede", pb.SupersedeRequest(id="x", record=pb.NewRecord(text="x")), "id"),
        ("Supersede", pb.SupersedeRequest(id="0" * 26), "record.text"),
        ("Forget", pb.ForgetRequest(), "what"),
        ("Forget", pb.ForgetRequest(everything=False), "what"),
        ("Forget", pb.ForgetRequest(matching=pb.Filter()), "matching"),
        ("Forget", pb.ForgetRequest(ids=pb.Ids()), "ids.ids"),
    ],
)
async def test_a_wrong_field_is_named(memory, cluster, method, request_message, named):
    async with memory.stub() as stub:
        call = getattr(stub, method)(request_message, metadata=cluster.metadata("agent"))
        error = await refusal(call)
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert error.details().startswith(f"{named} = ")
        listed = await stub.List(pb.ListRequest(include_superseded=True), metadata=cluster.metadata())
        assert not listed.records


async def test_an_answer_that_is_too_large_says_to_ask_for_less(memory, cluster):
    me = cluster.metadata()
    async with memory.stub() as stub:
        ids = []
        for _ in range(3):
            request = pb.PutRequest(records=[pb.NewRecord(text="tea " * 16_000)] * 60)
            ids += [result.id for result in (await stub.Put(request, metadata=me)).results]
        error = await refusal(stub.Get(pb.GetRequest(ids=ids), metadata=me))
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert "must be less" in error.details()
        seen, token = [], ""
        while True:
            page = await stub.List(pb.ListRequest(page_size=1000, page_token=token), metadata=me)
            seen += [record.id for record in page.records]
            token = page.next_page_token
            if not token:
                break
        assert seen == ids


async def test_redis_spans_are_children_of_the_call_and_hold_no_text(memory, cluster):
    exporter = InMemorySpanExporter()
    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        trace.set_tracer_provider(TracerProvider())
    processor = SimpleSpanProcessor(exporter)
    trace.get_tracer_provider().add_span_processor(processor)
    async with memory.stub() as stub:
        await stub.Put(put("a very private remark"), metadata=cluster.metadata())
        await stub.Search(pb.SearchRequest(query="private"), metadata=cluster.metadata())
    spans = exporter.get_finished_spans()
    servers = {
        span.attributes["gen_ai.operation.name"]: span for span in spans if span.kind == trace.SpanKind.SERVER
    }
    assert set(servers) == {"upsert_memory", "search_memory"}
    for operation, expected in (
        ("upsert_memory", {"EVALSHA put"}),
        ("search_memory", {"XREVRANGE", "HSCAN", "HMGET"}),
    ):
        server = servers[operation]
        children = [span for span in spans if span.parent and span.parent.span_id == server.context.span_id]
        assert expected <= {span.name for span in children}
        for child in children:
            assert child.kind == trace.SpanKind.CLIENT
            assert child.attributes["db.system.name"] == "redis"
        assert server.attributes["gen_ai.memory.store.id"] == "shop/memory"
        assert server.attributes["innervate.memory.records"] == 1
    assert "private" not in "".join(span.to_json() for span in spans)


async def test_it_is_not_ready_when_redis_is_less_durable_than_declared(cluster, tmp_path):
    process = RedisProcess(tmp_path, durability="everysec")
    process.start()
    config = memory_config(cluster, port=process.port, password_file=process.password_file, tls=False)
    try:
        async with running_memory(config, cluster) as running:
            said = "appendfsync is 'everysec' and must be 'always'"
            await eventually(lambda: said in (running.server.problem() or ""))
            url = f"http://localhost:{running.server.ports.health}/readyz"
            with pytest.raises(urllib.error.HTTPError) as caught:
                await asyncio.to_thread(urllib.request.urlopen, url)
            assert caught.value.code == 503
            assert b"appendfsync" in caught.value.read()
            connection = running.service._connection
            deadline = asyncio.get_running_loop().time() + 5
            await connection.command("CONFIG", "SET", "appendfsync", "always", deadline=deadline)
            await eventually(lambda: running.server.problem() is None)
    finally:
        process.stop()


async def test_redis_refuses_a_client_without_a_certificate(secure_redis, cluster):
    context = ssl.create_default_context(cadata=cluster.authority.pem.decode())
    # TLS 1.3: the refusal comes after the handshake, as an alert that a reset may overtake.
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        await ping(secure_redis.port, context)
    context.load_cert_chain(cluster.identity / "tls.crt", cluster.identity / "tls.key")
    assert (await ping(secure_redis.port, context)).startswith(b"-NOAUTH")


async def ping(port: int, context: ssl.SSLContext) -> bytes:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=context, server_hostname="localhost"
    )
    try:
        writer.write(b"PING\r\n")
        return await reader.readline()
    finally:
        writer.close()


async def test_a_rotated_certificate_is_used_for_new_connections(memory, cluster):
    async with memory.stub() as stub:
        await stub.Put(put("tea"), metadata=cluster.metadata())
        (cluster.identity / "tls.crt").rename(cluster.identity / "tls.crt.old")
        connection = memory.service._connection
        await connection._client.connection_pool.disconnect()
        error = await refusal(stub.List(pb.ListRequest(), metadata=cluster.metadata(), timeout=1))
        assert error.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
        cluster.authority.issue_files(cluster.identity)
        assert len((await stub.List(pb.ListRequest(), metadata=cluster.metadata())).records) == 1
