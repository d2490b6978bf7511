"""Redis killed during writes, its disk and memory full, its disk away: nothing acknowledged is lost."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import grpc
import pytest
from eventually import eventually
from innervate_api.memory.v1 import memory_pb2 as pb
from memory_process import Cluster, RunningMemory, memory_config, running_memory
from redis_process import RedisProcess

pytestmark = pytest.mark.faults


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path / "cluster")


@asynccontextmanager
async def serving(
    cluster: Cluster, process: RedisProcess, *, durability: str = "Always"
) -> AsyncIterator[RunningMemory]:
    config = memory_config(
        cluster,
        port=process.port,
        password_file=process.password_file,
        tls=False,
        durability=durability,
        maxRecordsPerSpace=100_000,
    )
    async with running_memory(config, cluster) as running:
        await eventually(lambda: running.server.problem() is None)
        yield running


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisProcess]:
    directory = tmp_path / "redis"
    directory.mkdir()
    process = RedisProcess(directory)
    process.start()
    yield process
    process.stop()


async def listed(stub, cluster: Cluster) -> list[pb.Record]:
    records, token = [], ""
    while True:
        request = pb.ListRequest(page_size=1000, page_token=token, include_superseded=True)
        page = await stub.List(request, metadata=cluster.metadata())
        records += page.records
        token = page.next_page_token
        if not token:
            return records


async def test_nothing_acknowledged_is_lost_and_no_key_doubled_when_redis_is_killed(cluster, redis):
    """Two replicas write without pause while Redis is killed five times."""
    acknowledged: dict[str, str] = {}
    plain: set[str] = set()
    stop = asyncio.Event()

    async def write(stub, worker: int) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            keys = [f"{worker}/{number}/{part}" for part in range(3)]
            records = [pb.NewRecord(key=key, text=f"tea {key}") for key in keys]
            records.append(pb.NewRecord(text=f"plain {worker}/{number}"))
            try:
                request = pb.PutRequest(records=records)
                answer = await stub.Put(request, metadata=cluster.metadata(), timeout=20)
            except grpc.aio.AioRpcError as error:
                assert error.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}  # noqa: PT017
                continue
            acknowledged.update(zip(keys, (result.id for result in answer.results), strict=False))
            plain.add(answer.results[3].id)

    async with AsyncExitStack() as stack:
        first, second = [
            await stack.enter_async_context((await stack.enter_async_context(serving(cluster, redis))).stub())
            for _ in range(2)
        ]
        writers = [asyncio.create_task(write((first, second)[i % 2], i)) for i in range(6)]
        for _ in range(5):
            before = len(acknowledged)
            await eventually(lambda before=before: len(acknowledged) > before + 60)
            await asyncio.to_thread(redis.kill)
            await asyncio.to_thread(redis.start)
        stop.set()
        await asyncio.gather(*writers)
        records = await listed(first, cluster)
        by_key = {record.key: record.id for record in records if record.key}
        assert len(by_key) == sum(bool(record.key) for record in records)  # no key twice
        assert acknowledged.items() <= by_key.items()
        assert plain <= {record.id for record in records}
        texts = [record.text for record in records if not record.key]
        assert len(texts) == len(set(texts))  # what was tried again by the service is there once
        assert len(by_key) % 3 == 0  # batches came whole
        # Trying again with the same keys changes nothing, whoever asks.
        keys = list(acknowledged)[-90:]
        request = pb.PutRequest(records=[pb.NewRecord(key=key, text=f"tea {key}") for key in keys])
        again = await second.Put(request, metadata=cluster.metadata())
        assert [result.id for result in again.results] == [acknowledged[key] for key in keys]
        assert not any(result.created for result in again.results)
        # Both replicas find everything, though the one they follow was away.
        last = keys[-1]
        for stub in (first, second):
            hits = (
                await stub.Search(pb.SearchRequest(query=f"tea {last}"), metadata=cluster.metadata())
            ).hits
            assert acknowledged[last] in [hit.record.id for hit in hits]
        stats = await first.Stats(pb.StatsRequest(space="agent"), metadata=cluster.metadata())
        assert stats.records == len(records)


async def test_a_write_while_redis_is_away_is_done_when_it_is_back(cluster, redis):
    async with serving(cluster, redis) as running, running.stub() as stub:
        redis.kill()
        request = pb.PutRequest(records=[pb.NewRecord(text="tea")])
        call = asyncio.ensure_future(stub.Put(request, metadata=cluster.metadata(), timeout=30))
        await asyncio.sleep(0.5)
        assert not call.done()
        await asyncio.to_thread(redis.start)
        assert (await call).results[0].created
        assert len(await listed(stub, cluster)) == 1


async def test_without_redis_calls_end_in_time_and_say_what_is_known(cluster, redis):
    async with serving(cluster, redis) as running, running.stub() as stub:
        redis.kill()
        me = cluster.metadata()
        put = stub.Put(pb.PutRequest(records=[pb.NewRecord(text="tea")]), metadata=me, timeout=2)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await put
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        assert "outcome of this write is unknown" in caught.value.details()
        assert "same keys is safe" in caught.value.details()
        for call in (
            stub.Search(pb.SearchRequest(query="tea"), metadata=me, timeout=2),
            stub.List(pb.ListRequest(), metadata=me, timeout=2),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
            assert "Redis" in caught.value.details()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MiB."""
    if os.geteuid() != 0:
        pytest.fail("mounting a small file system needs root")
    directory = tmp_path / "disk"
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(directory)], check=True)
    yield directory
    subprocess.run(["umount", "--lazy", str(directory)], check=True)


def enlarge(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)


async def fill(stub, cluster: Cluster) -> tuple[list[str], grpc.aio.AioRpcError]:
    """Put until it fails; give what was acknowledged and the failure."""
    acknowledged: list[str] = []
    for number in range(100):
        text = f"{number} " + os.urandom(30_000).hex()
        request = pb.PutRequest(records=[pb.NewRecord(text=text)] * 16)
        try:
            answer = await stub.Put(request, metadata=cluster.metadata(), timeout=5)
        except grpc.aio.AioRpcError as error:
            return acknowledged, error
        acknowledged += [result.id for result in answer.results]
    raise AssertionError("it never failed")


async def test_a_full_disk_is_said_and_reading_goes_on_until_it_is_larger(cluster, small_disk):
    process = RedisProcess(small_disk, durability="everysec")
    process.start()
    try:
        async with serving(cluster, process, durability="EverySecond") as running, running.stub() as stub:
            acknowledged, error = await fill(stub, cluster)
            assert error.code() == grpc.StatusCode.UNAVAILABLE
            assert "can't write to its disk" in error.details()
            assert "spec.storage.redis.size" in error.details()
            assert {record.id for record in await listed(stub, cluster)} >= set(acknowledged)
            enlarge(small_disk)
            request = pb.PutRequest(records=[pb.NewRecord(text="more")])
            again = None
            for _ in range(50):
                try:
                    again = await stub.Put(request, metadata=cluster.metadata(), timeout=5)
                    break
                except grpc.aio.AioRpcError:
                    await asyncio.sleep(0.2)
            assert again is not None
    finally:
        process.stop()


async def test_with_durability_always_a_full_disk_ends_redis_and_keeps_what_was_acknowledged(
    cluster, small_disk
):
    process = RedisProcess(small_disk)
    process.start()
    try:
        async with serving(cluster, process) as running, running.stub() as stub:
            acknowledged, error = await fill(stub, cluster)
            assert acknowledged
            assert error.code() == grpc.StatusCode.UNAVAILABLE
            assert "whether its disk is full" in error.details()
            assert process.process is not None
            assert process.process.wait(timeout=10) != 0
            assert "AOF write error" in process.log
            enlarge(small_disk)
            await asyncio.to_thread(process.start)
            assert {record.id for record in await listed(stub, cluster)} >= set(acknowledged)
            await stub.Put(pb.PutRequest(records=[pb.NewRecord(text="more")]), metadata=cluster.metadata())
    finally:
        process.stop()


async def test_full_memory_is_said_and_forgetting_makes_room(cluster, tmp_path):
    directory = tmp_path / "redis"
    directory.mkdir()
    process = RedisProcess(directory, options=("--maxmemory", "16mb"))
    process.start()
    try:
        async with serving(cluster, process) as running, running.stub() as stub:
            acknowledged, error = await fill(stub, cluster)
            assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "spec.storage.redis.memory" in error.details()
            operator = cluster.metadata("innervate-operator", "innervate-system")
            stats = await stub.Stats(pb.StatsRequest(), metadata=operator)
            assert stats.limit_bytes == 16 * 1024 * 1024
            assert {record.id for record in await listed(stub, cluster)} == set(acknowledged)
            forget = pb.ForgetRequest(ids=pb.Ids(ids=acknowledged[:100]))
            gone = await stub.Forget(forget, metadata=cluster.metadata())
            assert gone.forgotten == len(acknowledged[:100])
            await stub.Put(pb.PutRequest(records=[pb.NewRecord(text="more")]), metadata=cluster.metadata())
    finally:
        process.stop()


async def test_a_password_that_redis_refuses_is_said(cluster, redis):
    async with serving(cluster, redis) as running, running.stub() as stub:
        redis.password_file.write_text("another")
        await running.service._connection._client.connection_pool.disconnect()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.List(pb.ListRequest(), metadata=cluster.metadata(), timeout=10)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        assert "password" in caught.value.details()
        redis.password_file.write_text(redis.password)
        await stub.List(pb.ListRequest(), metadata=cluster.metadata())
