"""What the pods of every service of ours have alike, whatever the service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_kinds.api import workload

if TYPE_CHECKING:
    from innervate_kinds.api.plan import Config, Manifest

TERMINATION_SECONDS = 45
"""More than a service takes to drain."""


def host(service: str, namespace: str | None) -> str:
    """DNS name of a Service inside the cluster."""
    return f"{service}.{namespace}.svc"


def configuration(config: Config, *, service: str, namespace: str, telemetry_name: str) -> Manifest:
    """The part of a configuration file that every service of ours has.

    Parameters
    ----------
    config
        The operator's set-up.
    service, namespace
        Name and place of the Service, which the certificate is for.
    telemetry_name
        What the service is called in traces.
    """
    return {
        "listen": f"0.0.0.0:{workload.GRPC_PORT}",
        "healthListen": f"0.0.0.0:{workload.HEALTH_PORT}",
        "metricsListen": f"0.0.0.0:{workload.METRICS_PORT}",
        "identity": {
            "endpoint": config.identity_endpoint,
            "trustDomain": config.trust_domain,
            "dnsNames": workload.dns_names(service, namespace),
        },
        "telemetry": {"otlpEndpoint": config.otlp_endpoint, "serviceName": telemetry_name},
    }


def pod(config: Config, *, account: str, termination_seconds: int = TERMINATION_SECONDS) -> Manifest:
    """Pod fields besides containers and volumes: its account, its limits, how images are pulled."""
    return {
        "serviceAccountName": account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": workload.POD_SECURITY,
        "terminationGracePeriodSeconds": termination_seconds,
        **workload.pull_settings(config),
    }


def spread(selector: dict[str, str]) -> Manifest:
    """Pod fields that keep pods of one workload on different nodes where there are several.

    Parameters
    ----------
    selector
        Labels that find its pods.
    """
    constraint = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": selector},
    }
    return {"topologySpreadConstraints": [constraint]}


def container_ports() -> list[Manifest]:
    """Ports that every service listens on."""
    numbers = {
        "grpc": workload.GRPC_PORT,
        "health": workload.HEALTH_PORT,
        "metrics": workload.METRICS_PORT,
    }
    return [{"name": name, "containerPort": number, "protocol": "TCP"} for name, number in numbers.items()]


def container_probes() -> Manifest:
    """Probes of a service's health port."""
    return {
        "startupProbe": workload.http_probe("/livez", "health", period=1, failures=120),
        "readinessProbe": workload.http_probe("/readyz", "health", period=2, failures=2),
        "livenessProbe": workload.http_probe("/livez", "health", period=10, failures=3),
    }


def disruption_budget(selector: dict[str, str]) -> Manifest:
    """Specification of the budget that a workload of several replicas has.

    Parameters
    ----------
    selector
        Labels that find its pods.
    """
    return {
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": {"matchLabels": selector},
    }
