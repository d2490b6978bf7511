"""Configuration of the two Kubernetes components every node runs: kubelet and kube-proxy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from pathlib import Path

KUBELET_PORT = 10250
_NO_PRESSURE = {
    "memory.available": "100Mi",
    "nodefs.available": "1%",
    "nodefs.inodesFree": "1%",
    "imagefs.available": "1%",
}
"""A developer's machine is often fuller than a server; pods should still run."""


def kubelet_configuration(
    *,
    directory: Path,
    group: str,
    address: str,
    dns_address: str,
    root_certificate: Path,
    serving: tuple[Path, Path],
    containerd_socket: Path,
) -> str:
    """Render a kubelet's configuration.

    Parameters
    ----------
    directory
        The node's own directory.
    group
        The control group its pods live in, relative to the root.
    address
        Where it listens: the node's address.
    dns_address
        The Service address of the cluster's DNS.
    root_certificate
        Who certifies its callers.
    serving
        The certificate and key it serves with.
    containerd_socket
        The node's containerd.
    """
    certificate, key = map(str, serving)
    return _dump(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": address,
            "port": KUBELET_PORT,
            "readOnlyPort": 0,
            "healthzPort": 0,
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(root_certificate)},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": certificate,
            "tlsPrivateKeyFile": key,
            "clusterDNS": [dns_address],
            "clusterDomain": "cluster.local",
            "containerRuntimeEndpoint": f"unix://{containerd_socket}",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{group}",
            "enforceNodeAllocatable": [],
            # Machines with cgroup v1 and with swap are welcome.
            "failCgroupV1": False,
            "failSwapOn": False,
            "evictionHard": _NO_PRESSURE,
            # There is no registry to pull a collected image from again.
            "imageGCHighThresholdPercent": 100,
            # All of it below the node's directory, so that it goes with it.
            "podLogsDir": str(directory / "pod-logs"),
            "volumePluginDir": str(directory / "volume-plugins"),
        }
    )


def proxy_configuration(*, node: str, address: str, pod_cidr: str, kubeconfig: Path) -> str:
    """Render a kube-proxy's configuration.

    Parameters
    ----------
    node
        The node's name.
    address
        The node's address.
    pod_cidr
        The addresses of all pods: others are masqueraded on their way to a Service.
    kubeconfig
        How it reaches the API server.
    """
    return _dump(
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "clientConnection": {"kubeconfig": str(kubeconfig)},
            "mode": "iptables",
            "clusterCIDR": pod_cidr,
            "hostnameOverride": node,
            "healthzBindAddress": f"{address}:10256",
            "metricsBindAddress": "127.0.0.1:10249",
            # Leave the machine's own connection tracking settings alone.
            "conntrack": {
                "maxPerCore": 0,
                "min": 0,
                "tcpEstablishedTimeout": "0s",
                "tcpCloseWaitTimeout": "0s",
            },
        }
    )


def _dump(configuration: dict[str, Any]) -> str:
    return yaml.safe_dump(configuration, sort_keys=False)
