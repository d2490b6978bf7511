"""What kubectl says becomes an error of the right type, with a remedy."""

from __future__ import annotations

import pytest
from innervate import (
    ClusterRefused,
    InnervateError,
    NotFound,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
    forward,
)
from innervate.kubectl import Kubectl, failure


@pytest.mark.parametrize(
    ("words", "kind", "message"),
    [
        ('Error from server (NotFound): pods "x" not found', NotFound, 'pods "x" not found'),
        (
            "Error from server (NotFound): the server could not find the requested resource",
            NotFound,
            "the cluster does not know this kind of resource",
        ),
        ("Error from server (Forbidden): no", PermissionDenied, "no"),
        ("Error from server (ServiceUnavailable): later", Unavailable, "later"),
        ("Error from server: error dialing backend: EOF", ClusterRefused, "error dialing backend: EOF"),
        (
            'error: failed to create token: serviceaccounts "x" not found',
            NotFound,
            'failed to create token: serviceaccounts "x" not found',
        ),
        (
            'error: failed to create token: serviceaccounts "x" is forbidden: User "y" cannot',
            PermissionDenied,
            'failed to create token: serviceaccounts "x" is forbidden: User "y" cannot',
        ),
        ('error: context "x" does not exist', ClusterRefused, 'context "x" does not exist'),
        (
            "E1121 memcache.go:265\nUnable to connect to the server: dial tcp: lookup x: no such host",
            Unavailable,
            "the cluster does not answer: Unable to connect to the server: dial tcp: lookup x: no such host",
        ),
        ("error: You must be logged in to the server (Unauthorized)", Unauthenticated, "You must"),
        ("", ClusterRefused, "kubectl failed without a word"),
    ],
)
def test_words_become_errors(words: str, kind: type[InnervateError], message: str) -> None:
    error = failure(words)
    assert type(error) is kind
    assert error.message.startswith(message)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ('Error from server (NotFound): services "x" not found', NotFound),
        ('Error from server (NotFound): pods "x-abc" not found', Unavailable),
        ("error: unable to forward port because pod is not running. Current status=Pending", Unavailable),
        ("error: timed out waiting for the condition", Unavailable),
        ("error: lost connection to pod", Unavailable),
        ("Error from server: error dialing backend: dial tcp: i/o timeout", Unavailable),
        ('Error from server (Forbidden): pods "x" is forbidden', PermissionDenied),
        ("", Unavailable),
    ],
)
def test_a_forward_that_may_work_later_is_worth_trying_again(words: str, kind: type[InnervateError]) -> None:
    error = forward._no_forward(words, Kubectl(namespace="shop"), "service/x")
    assert type(error) is kind
    assert (error.retry_after is not None) == (kind is Unavailable)


def test_options_of_kubectl_are_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INNERVATE_KUBECTL", "kubectl")
    kubectl = Kubectl(context="prod", namespace="shop", kubeconfig="/tmp/config")
    assert kubectl.command("get", "pods")[1:] == [
        "--context=prod",
        "--kubeconfig=/tmp/config",
        "--namespace=shop",
        "get",
        "pods",
    ]


def test_another_kubectl_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INNERVATE_KUBECTL", "minikube kubectl --")
    assert Kubectl().command("version") == ["minikube", "kubectl", "--", "version"]
