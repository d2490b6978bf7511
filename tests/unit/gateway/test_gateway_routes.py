"""Which routes a gateway serves, as the pool and its engines change."""

import asyncio
from types import SimpleNamespace

from eventually import eventually
from gateway_cluster import POOL, POOLS, SLICES, ClusterApi, arm, pool_document, slice_document
from gateway_engine import Engine
from gateway_process import chat
from innervate_api.exchange.v1 import exchange_pb2 as pb
from innervate_gateway import kubernetes
from innervate_gateway.config import KubernetesConfig
from innervate_gateway.kubernetes import ApiServer, Follower

STABLE = arm("stable-7", "first", 90)
CANDIDATE = arm("candidate-7", "second", 10, "Candidate")
OPERATOR = {"account": "innervate-operator", "namespace": "innervate-system"}


async def routes(gateway) -> pb.RoutesResponse:
    async with gateway.stub() as stub:
        return await stub.Routes(pb.RoutesRequest(), metadata=gateway.cluster.metadata(**OPERATOR))


async def generation(gateway, wanted: int) -> None:
    await eventually(lambda: gateway.gateway.routes.state.seen_generation == wanted)


async def test_a_generation_waits_for_the_engines_of_every_arm_with_traffic(start):
    other = Engine()
    await other.start()
    async with start() as gateway:
        assert (await routes(gateway)).generation == 1
        await gateway.api.put(pool_document(generation=2, traffic=[STABLE, CANDIDATE]))
        await generation(gateway, 2)
        told = await routes(gateway)
        assert (told.generation, told.seen_generation) == (1, 2)
        assert "candidate-7" in told.waits_for
        assert [route.arm for route in told.routes] == ["stable"]
        assert (await gateway.ask()).headers["x-innervate-arm"] == "stable"
        # An engine that is not ready does not count.
        await gateway.api.put(slice_document("two", release="second", port=other.port, ready=False))
        await eventually(lambda: len(gateway.gateway.routes._slices) == 2)
        assert gateway.gateway.routes.state.waits_for
        await gateway.api.put(slice_document("two", release="second", port=other.port))
        await eventually(lambda: not gateway.gateway.routes.state.waits_for)
        told = await routes(gateway)
        assert [(r.arm, r.release, r.weight, r.ready_replicas) for r in told.routes] == [
            ("stable-7", "first", 90, 1),
            ("candidate-7", "second", 10, 1),
        ]
        arms = {
            (await gateway.ask(x_innervate_session=f"s{n}")).headers["x-innervate-arm"] for n in range(60)
        }
        assert arms == {"stable-7", "candidate-7"}
        sticky = [await gateway.ask(x_innervate_session="one") for _ in range(5)]
        assert len({reply.headers["x-innervate-arm"] for reply in sticky}) == 1
    await other.kill()


async def test_a_candidate_without_traffic_is_asked_by_name_only(start):
    other = Engine()
    await other.start()
    none = arm("candidate-7", "second", 0, "Candidate")
    traffic = [arm("stable-7", "first", 100), none]
    async with start(pool=pool_document(traffic=traffic)) as gateway:
        reply = await gateway.ask(x_innervate_release="second")
        assert (reply.status, reply.error["code"]) == (503, "no_engine")
        await gateway.api.put(slice_document("two", release="second", port=other.port))
        await eventually(lambda: gateway.gateway.routes.current.endpoints["candidate-7"])
        reply = await gateway.ask(x_innervate_release="second")
        assert (reply.status, reply.headers["x-innervate-arm"]) == (200, "candidate-7")
        assert len(other.asked) == 1
        async with gateway.stub() as stub:
            page = await stub.List(pb.ListRequest(), metadata=gateway.cluster.metadata())
            told = await stub.Outcomes(
                pb.OutcomesRequest(feedback="success"), metadata=gateway.cluster.metadata(**OPERATOR)
            )
        assert page.exchanges[-1].propensity == 0
        assert not told.arms
    await other.kill()


async def test_engines_come_and_go_without_a_new_generation(start):
    other = Engine()
    await other.start()
    async with start() as gateway:
        await gateway.api.put(slice_document("two", release="first", port=other.port))
        endpoints = gateway.gateway.routes.current.endpoints
        await eventually(lambda: len(endpoints["stable"]) == 2)
        await gateway.api.delete(SLICES, "one")
        await eventually(lambda: len(endpoints["stable"]) == 1)
        assert (await gateway.ask()).status == 200
        assert (len(gateway.engine.asked), len(other.asked)) == (0, 1)
        await gateway.api.delete(SLICES, "two")
        await eventually(lambda: not endpoints["stable"])
        reply = await gateway.ask()
        assert (reply.status, reply.error["code"]) == (503, "no_engine")
        assert (await routes(gateway)).generation == 1
    await other.kill()


async def test_it_is_not_ready_before_its_first_routes(start):
    async with start(slices=[slice_document("far", release="other", port=1)], wait=False) as gateway:
        await generation(gateway, 1)
        assert "stable" in gateway.gateway.routes.problem()
        assert gateway.server.problem()
        assert (await gateway.ask()).error["code"] == "not_ready"
        told = await routes(gateway)
        assert (told.generation, told.seen_generation, len(told.routes)) == (0, 1, 0)
        await gateway.api.put(slice_document("one", release="first", port=gateway.engine.port))
        await eventually(lambda: gateway.server.problem() is None)


async def test_the_last_routes_serve_while_the_api_server_is_away(start):
    async with start() as gateway:
        await gateway.api.stop()
        assert (await gateway.ask()).status == 200
        await gateway.api.put(pool_document(generation=5))
        await gateway.api.start()
        await eventually(lambda: gateway.gateway.routes.current.pool.generation == 5)


async def test_an_api_server_that_fails_is_asked_less_and_less_often(monkeypatch):
    """Many gateways must not keep one down that is coming back."""
    api, pauses, enough = ClusterApi(), [], asyncio.Event()
    await api.put(pool_document())
    await api.start()
    sleep = asyncio.sleep

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 8:
            enough.set()
        await sleep(0)

    config = KubernetesConfig(server=api.url, token_file=None, ca_file=None)
    async with ApiServer(config) as server:
        follower = Follower(server, POOLS, {}, lambda _objects: None)
        await follower._list()
        api.fail_with = 500
        monkeypatch.setattr(kubernetes, "asyncio", SimpleNamespace(**vars(asyncio) | {"sleep": pause}))
        following = asyncio.create_task(follower.run())
        await asyncio.wait_for(enough.wait(), 30)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    await api.stop()
    assert pauses[0] <= 0.2
    assert min(pauses[6:]) >= 5


async def test_lost_history_leads_to_a_new_list(start):
    async with start() as gateway:
        await eventually(lambda: len(gateway.api.queries) >= 4)
        gateway.api.fail_with = 500
        gateway.api.cut()
        await gateway.api.put(pool_document(generation=3))
        await gateway.api.delete(SLICES, "one")
        await gateway.api.put(slice_document("new", release="first", port=gateway.engine.port))
        await gateway.api.forget_history()
        gateway.api.fail_with = None
        book = gateway.gateway.routes
        await eventually(lambda: book.current.pool.generation == 3)
        await eventually(lambda: [s["metadata"]["name"] for s in book._slices] == ["new"])


async def test_a_watch_goes_on_from_the_last_bookmark(start):
    async with start() as gateway:
        await gateway.api.bookmark(POOLS)
        marked = str(gateway.api._version)
        await eventually(lambda: gateway.api.queries)
        follower_version = lambda: [q for p, q in gateway.api.queries if p == POOLS][-1]  # noqa: E731
        await eventually(lambda: follower_version().get("watch") == "1")
        await gateway.api.put(pool_document(generation=2))
        await generation(gateway, 2)
        gateway.api.cut()
        await eventually(lambda: int(follower_version()["resourceVersion"]) > int(marked))
        await gateway.api.put(pool_document(generation=3))
        await generation(gateway, 3)
        lists = [q for p, q in gateway.api.queries if p == POOLS and "watch" not in q]
        assert len(lists) == 1
        assert {q["fieldSelector"] for p, q in gateway.api.queries if p == POOLS} == {f"metadata.name={POOL}"}
        assert set(gateway.api.tokens) == {"Bearer kubernetes-token"}


async def test_a_pool_made_anew_brings_its_own_engines(start):
    async with start() as gateway:
        await gateway.api.delete(POOLS, POOL)
        await eventually(lambda: gateway.gateway.routes.state.waits_for)
        assert (await gateway.ask()).status == 200
        other = Engine()
        await other.start()
        await gateway.api.put(slice_document("anew", release="first", port=other.port, uid="other-uid"))
        await gateway.api.put(pool_document(uid="other-uid"))
        await eventually(lambda: gateway.gateway.routes.current.pool.uid == "other-uid")
        book = gateway.gateway.routes
        await eventually(lambda: [each["metadata"]["name"] for each in book._slices] == ["anew"])
        assert (await gateway.ask()).status == 200
        assert len(other.asked) == 1
        await other.kill()


async def test_an_external_engine_is_asked_with_its_own_key_and_model(start, cluster):
    key = cluster.directory / "external" / "cloud" / "key"
    key.parent.mkdir(parents=True)
    key.write_text("their-key\n")
    engine = Engine()
    await engine.start()
    url = f"http://127.0.0.1:{engine.port}/base/v1"
    variant = {"name": "cloud", "engine": "External", "external": {"url": url, "model": "theirs"}}
    async with start(pool=pool_document(variants=[variant])) as gateway:
        for document in (chat(), chat(stream=True)):
            assert (await gateway.ask(document)).status == 200
        for asked in engine.asked:
            assert asked.path == "/base/v1/chat/completions"
            assert asked.headers["authorization"] == "Bearer their-key"
            assert asked.document["model"] == "theirs"
        assert engine.asked[1].document["stream_options"] == {"include_usage": True}
    await engine.kill()


async def test_an_external_engine_that_no_host_can_be_is_told_at_once(start):
    external = {"url": "http://two..dots:8000", "model": "theirs"}
    variant = {"name": "cloud", "engine": "External", "external": external}
    async with start(pool=pool_document(variants=[variant])) as gateway:
        reply = await gateway.ask()
        assert reply.status == 502
        assert "two..dots" in reply.error["message"]


async def test_only_the_operator_and_callers_of_the_pool_see_routes(start):
    async with start() as gateway, gateway.stub() as stub:
        stranger = gateway.cluster.metadata(namespace="elsewhere")
        for call, request in (
            (stub.Routes, pb.RoutesRequest()),
            (stub.Outcomes, pb.OutcomesRequest()),
            (stub.List, pb.ListRequest()),
            (stub.Report, pb.ReportRequest()),
        ):
            code = await _code(call(request, metadata=stranger))
            assert code == "PERMISSION_DENIED", call
        operator = gateway.cluster.metadata(**OPERATOR)
        assert await _code(stub.List(pb.ListRequest(), metadata=operator)) == "PERMISSION_DENIED"
        assert await _code(stub.Report(pb.ReportRequest(), metadata=operator)) == "PERMISSION_DENIED"


async def _code(call) -> str:
    return (await call.code()).name


async def test_cost_is_the_share_of_the_engines_time_at_its_price(start):
    engine = Engine()
    await engine.start()
    priced = slice_document("one", release="first", port=engine.port, cost="3600000")
    async with start(slices=[priced]) as gateway:
        await gateway.ask()
        async with gateway.stub() as stub:
            page = await stub.List(pb.ListRequest(), metadata=gateway.cluster.metadata())
        assert float(page.exchanges[0].cost) > 0
    await engine.kill()
