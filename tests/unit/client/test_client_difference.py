"""What counts as a change."""

from __future__ import annotations

import pytest
from innervate.difference import Change, compare


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"spec": {"replicas": 2}}, {"spec": {"replicas": 3}}, [Change("spec.replicas", 2, 3)]),
        ({"a": 1}, {}, [Change("a", 1, None)]),
        ({}, {"a": {"b": 1}}, [Change("a", None, {"b": 1})]),
        (
            {"containers": [{"name": "x", "image": "1"}]},
            {"containers": [{"name": "x", "image": "2"}]},
            [Change("containers[x].image", "1", "2")],
        ),
        ({"ports": [1, 2]}, {"ports": [1, 3]}, [Change("ports[1]", 2, 3)]),
        ({"ports": [1]}, {"ports": [1, 3]}, [Change("ports", [1], [1, 3])]),
        ({"labels": {"a/b": "1"}}, {"labels": {"a/b": "2"}}, [Change("labels[a/b]", "1", "2")]),
        ({"data": {"ca": "pem"}}, {"data": {"ca": "<filled in by the operator>"}}, []),
    ],
)
def test_leaves_that_differ_are_named(before: object, after: object, changes: list[Change]) -> None:
    assert list(compare(before, after)) == changes
