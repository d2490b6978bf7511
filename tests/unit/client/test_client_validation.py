"""Wrong resources are refused with file, line, field, value and what was probably meant."""

from __future__ import annotations

import textwrap

import pytest
from innervate import InvalidArgument, manifests, validation
from innervate_kinds.registry import ROOMS

HEAD = "apiVersion: innervate.dev/v1alpha1\nkind: MemoryStore\n"


def problems(text: str, old: dict[str, object] | None = None) -> list[str]:
    found = []
    for document in manifests.parse(textwrap.dedent(text), "x.yaml"):
        found += validation.check(document, ROOMS, namespace="shop", old=old)[2]
    return [str(problem) for problem in found]


def test_a_good_resource_has_no_problems() -> None:
    text = HEAD + "metadata: {name: support, labels: {team: a}}\nspec: {storage: {redis: {size: 8Gi}}}\n"
    (document,) = manifests.parse(text, "x.yaml")
    room, resource, wrong = validation.check(document, ROOMS, namespace="shop")
    assert wrong == []
    assert room is not None
    assert resource is not None
    assert (resource.metadata.namespace, resource.spec.storage.redis.size) == ("shop", "8Gi")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            "metadata: {name: x}\nspec:\n  storage:\n    redis: {sise: 8Gi}\n",
            "x.yaml:6: spec.storage.redis.sise = '8Gi': unknown field; did you mean size?",
        ),
        (
            "metadata: {name: x}\nspec:\n  reclaim_policy: Delete\n",
            "x.yaml:5: spec.reclaim_policy = 'Delete': unknown field; did you mean reclaimPolicy?",
        ),
        (
            "metadata: {name: x}\nspec: {reclaimPolicy: delete}\n",
            "x.yaml:4: spec.reclaimPolicy = 'delete': must be 'Retain' or 'Delete'; did you mean Delete?",
        ),
        (
            "metadata: {name: x}\nspec: {service: {replicas: 0}}\n",
            "x.yaml:4: spec.service.replicas = 0: must be greater than or equal to 1",
        ),
        (
            "metadata: {name: x}\nspec: {service: {placement: {}}}\n",
            "x.yaml:4: spec.service.placement.computePoolRef: is required",
        ),
        (
            "metadata: {name: x}\nspec:\n access:\n - serviceAccounts: [{name: a, nam: b}]\n   spaces: [s]\n",
            "x.yaml:6: spec.access[0].serviceAccounts[0].nam = 'b': unknown field; did you mean name?",
        ),
        (
            "metadata: {name: x}\nspec: {storage: {}}\n",
            "x.yaml:4: spec.storage: exactly one of redis and external must be set",
        ),
        ("metadata: {name: x}\nspecs: {}\n", "x.yaml:4: specs: unknown field; did you mean spec?"),
        ("metadata: {nme: x}\n", "x.yaml:3: metadata.nme = 'x': unknown field; did you mean name?"),
        ("metadata: {nme: x}\n", "x.yaml:3: metadata.name: is required and must be text"),
        ("spec: {}\n", "x.yaml:1: metadata: is required and must be a mapping with a name"),
        (
            f"metadata: {{name: {'a' * 254}}}\n",
            f"x.yaml:3: metadata.name = '{'a' * 79}…: has 254 characters; at most 253 are allowed",
        ),
        (
            "metadata: {name: Gedächtnis 1}\n",
            (
                "x.yaml:3: metadata.name = 'Gedächtnis 1': must be lower-case letters, digits, '-' and '.', "
                "and start and end with a letter or digit; did you mean ged-chtnis-1?"
            ),
        ),
        (
            "metadata: {name: x, labels: {a: 1}}\n",
            'x.yaml:3: metadata.labels.a = 1: must be text; did you mean "1" with quotes?',
        ),
    ],
)
def test_each_problem_is_told_with_place_and_remedy(body: str, expected: str) -> None:
    assert expected in problems(HEAD + body)


def test_an_unknown_kind_names_the_known_ones() -> None:
    (problem,) = problems("{apiVersion: innervate.dev/v1alpha1, kind: Memorystore, metadata: {name: x}}")
    assert problem.endswith("did you mean MemoryStore?")
    assert "ComputePool" in problem


def test_another_version_is_refused() -> None:
    (problem,) = problems("{apiVersion: innervate.dev/v1, kind: MemoryStore, metadata: {name: x}}")
    assert "must be innervate.dev/v1alpha1" in problem


def test_other_kinds_are_not_ours_to_judge() -> None:
    assert problems("{apiVersion: v1, kind: Secret, metadata: {name: x}, anything: true}") == []
    assert problems("{apiVersion: v1}") == ["x.yaml:1: kind: is required"]


def test_a_pool_belongs_to_no_namespace() -> None:
    text = "apiVersion: innervate.dev/v1alpha1\nkind: ComputePool\nmetadata: {name: x, namespace: y}\n"
    found = problems(text + "spec: {class: cpu}\n")
    assert any("belongs to no namespace" in problem for problem in found)


def test_a_change_that_is_not_allowed_is_told_before_the_cluster_does() -> None:
    def store(size: str) -> str:
        return HEAD + f"metadata: {{name: x}}\nspec: {{storage: {{redis: {{size: {size}}}}}}}\n"

    (document,) = manifests.parse(store("8Gi"), "old")
    (problem,) = problems(store("4Gi"), document.data)
    assert problem == "x.yaml:4: spec.storage.redis.size = '4Gi': the size may grow but never shrink"
    assert problems(store("9Gi"), document.data) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\na: 2\n", "x.yaml:2: a is given twice, first in line 1"),
        ("a: [\n", "x.yaml:2: this is no YAML"),
        ("- a\n", "x.yaml:1: a resource is a mapping, not list"),
        ("just text\n", "x.yaml:1: a resource is a mapping, not str"),
    ],
)
def test_files_that_are_no_resources_are_refused_with_the_line(text: str, expected: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        manifests.parse(text, "x.yaml")
    assert str(refused.value).startswith(expected)


def test_lists_are_taken_apart_and_dates_stay_text() -> None:
    text = "{kind: List, apiVersion: v1, items: [{kind: A, at: 2026-01-01}, {kind: B}]}"
    first, second = manifests.parse(text, "x.yaml")
    assert (first.data, second.data) == ({"kind": "A", "at": "2026-01-01"}, {"kind": "B"})


def test_empty_documents_are_passed_over() -> None:
    assert manifests.parse("---\n# nothing\n---\n", "x.yaml") == []
