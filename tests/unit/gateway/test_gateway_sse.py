"""Streams of events cut anywhere."""

import itertools
import json
import tracemalloc

import pytest
from gateway_engine import event, stream_events
from hypothesis import given
from hypothesis import strategies as st
from innervate_gateway import completions
from innervate_gateway.completions import Usage, engine_body, parse_completion, usage_of
from innervate_gateway.sse import MAX_EVENT_BYTES, BadStream, EventFilter


def run(data: bytes, cuts: list[int], *, keep: bool) -> tuple[bytes, bytes, EventFilter]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    events = EventFilter(keep_usage=keep)
    passed = b"".join(events.feed(data[a:b]) for a, b in itertools.pairwise(edges))
    return passed, events.finish(), events


@given(
    st.lists(st.text(max_size=20), max_size=6),
    st.lists(st.integers(0, 10_000), max_size=30),
    st.booleans(),
    st.sampled_from([b"\n\n", b"\r\n\r\n"]),
)
def test_wherever_it_is_cut_the_same_passes(words, cuts, keep, end):
    events = [each.replace(b"\n\n", end) for each in stream_events(tuple(words))]
    passed, held, filtered = run(b"".join(events), cuts, keep=keep)
    assert passed == b"".join(events[: -1 if keep else -2])
    assert held == events[-1]
    assert filtered.usage == Usage(7, 0, len(words))


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=10))
def test_of_any_bytes_none_is_lost_or_doubled(data, cuts):
    passed, rest, _ = run(data, cuts, keep=True)
    assert passed + rest == data


def test_whole_events_pass_at_once():
    events = EventFilter(keep_usage=False)
    assert events.feed(b"data: 1\n\ndata: 2\n\nda") == b"data: 1\n\ndata: 2\n\n"
    assert events.feed(b"ta: 3\n") == b""
    assert events.feed(b"\n") == b"data: 3\n\n"


def test_usage_beside_choices_is_noted_and_passed():
    last = event({"choices": [{"delta": {}}], "usage": {"prompt_tokens": 4, "completion_tokens": 2}})
    events = EventFilter(keep_usage=False)
    assert events.feed(last) == last
    assert events.usage == Usage(4, 0, 2)


def test_null_usage_is_no_usage():
    first = event({"choices": [{"delta": {}}], "usage": None})
    events = EventFilter(keep_usage=False)
    assert events.feed(first) == first
    assert events.usage is None


def test_done_within_a_text_does_not_end_the_stream():
    said = event({"choices": [{"delta": {"content": "[DONE]"}}]})
    events = EventFilter(keep_usage=False)
    assert events.feed(said) == said
    assert events.feed(event("[DONE]")) == b""


def test_an_event_without_end_is_refused():
    events = EventFilter(keep_usage=False)
    with pytest.raises(BadStream):
        events.feed(b"data: " + b"x" * MAX_EVENT_BYTES)


@pytest.mark.parametrize(
    ("document", "usage"),
    [
        ({"usage": {"prompt_tokens": 5, "completion_tokens": 2}}, Usage(5, 0, 2)),
        ({"usage": {"prompt_tokens": 5}, "timings": {"cache_n": 3}}, Usage(5, 3, 0)),
        ({"timings": {"cache_n": 3, "prompt_n": 4, "predicted_n": 2}}, Usage(7, 3, 2)),
        ({"usage": {"prompt_tokens": -5, "completion_tokens": "2"}}, Usage(0, 0, 0)),
        ({"usage": {"prompt_tokens": True, "completion_tokens": 2**70}}, Usage(0, 0, 0)),
        ({"usage": None}, None),
        ([], None),
    ],
)
def test_usage_is_read_as_engines_write_it(document, usage):
    assert usage_of(document) == usage


@given(
    st.dictionaries(st.text(max_size=5), st.integers() | st.text(), max_size=4),
    st.sampled_from([None, {}, {"include_usage": False}, {"include_usage": True}, {"other": 1}]),
    st.sampled_from(["", " ", "\r\n\t "]),
    st.sampled_from([None, "theirs"]),
    st.booleans(),
)
def test_the_engine_is_asked_the_same_and_for_the_usage(fields, options, space, model, stream):
    document = {**fields, "model": "tiny", "stream": stream}
    if options is not None:
        document["stream_options"] = options
    body = (json.dumps(document) + space).encode()
    sent = json.loads(engine_body(parse_completion(body), body, model=model))
    wanted = {**document, "model": model or "tiny"}
    if stream:
        wanted["stream_options"] = {**(options or {}), "include_usage": True}
    assert sent == wanted


def test_a_request_is_not_kept_as_objects():
    body = b'{"model":"tiny","x":[' + b",".join([b"[]"] * 100_000) + b"]}"
    tracemalloc.start()
    try:
        completion = parse_completion(body)
        _, most = tracemalloc.get_traced_memory()
        # Other threads of this process may take memory meanwhile.
        own = tracemalloc.Filter(inclusive=True, filename_pattern=completions.__file__)
        kept = sum(each.size for each in tracemalloc.take_snapshot().filter_traces([own]).traces)
    finally:
        tracemalloc.stop()
    assert completion.model == "tiny"
    assert 0 < kept < 10_000 < len(body) < most


def test_a_stream_that_does_not_end_after_its_end_is_none():
    events = EventFilter(keep_usage=True)
    events.feed(b"data: [DONE]\n\n")
    for _ in range(MAX_EVENT_BYTES // 1000):
        assert events.feed(b"x" * 998 + b"\n\n") == b""
    with pytest.raises(BadStream, match="after its end"):
        events.feed(b"x" * 998 + b"\n\n")
