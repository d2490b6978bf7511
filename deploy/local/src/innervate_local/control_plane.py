"""A real Kubernetes control plane on this machine: etcd and the API server, and more on request.

>>> with ControlPlane(tmp_path) as plane:                        # doctest: +SKIP
...     kubernetes.config.load_kube_config(str(plane.kubeconfig))

Contract tests use it as it is; a cluster adds nodes.
"""

from __future__ import annotations

import http
import http.client
import random
import secrets
import socket
import ssl
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, NamedTuple, Self

from innervate_local import binaries, certificates, process
from innervate_local.certificates import Authority
from innervate_local.errors import LocalError

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterable, Sequence
    from pathlib import Path
    from types import TracebackType

ISSUER = "https://kubernetes.default.svc.cluster.local"
"""Issuer of ServiceAccount tokens, and the API server's default audience."""
_READY_S = 60.0
_PORTS = range(20000, 30000)
"""Where free ports are looked for: below those that the kernel gives to connections."""
_random = random.SystemRandom()
_LOOPBACK = "127.0.0.1"


class Ports(NamedTuple):
    """Where the control plane listens."""

    api: int
    etcd: int
    etcd_peer: int

    @classmethod
    def free(cls) -> Ports:
        """Choose ports that nobody listens on."""
        # Not by asking for any port: the kernel then gives one that an outgoing
        # connection of another program may take before we listen.
        candidates = iter(_random.sample(_PORTS, len(_PORTS)))
        with ExitStack() as stack:
            found: list[int] = []
            while len(found) < len(cls._fields):
                port, probe = next(candidates), stack.enter_context(socket.socket())
                with suppress(OSError):
                    probe.bind((_LOOPBACK, port))
                    found.append(port)
            return cls(*found)


class ControlPlane:
    """etcd and kube-apiserver, with a certificate authority of their own.

    Parameters
    ----------
    directory
        Where everything is kept: certificates, data, logs, kubeconfigs.
    name
        What kubeconfigs call the cluster and its context.
    controller_manager
        Run kube-controller-manager too: garbage collection, default
        ServiceAccounts, workloads.
    scheduler
        Run kube-scheduler too.
    ports
        Where to listen; free ones are taken when left out.
    address
        The address of the API server, which it is also advertised under.
    service_cidr
        The range of Service addresses.
    pod_cidr
        The range the controller manager gives nodes their pods' addresses from.
    durable
        Have etcd wait for the disk. Tests that throw the data away do not need it.
    detached
        Let the processes outlive this one; otherwise the kernel kills them
        when the thread that called `start` ends.
    prefix
        A command each process is started through, for instance one that joins a cgroup.
    api_server_flags
        Further flags of the API server, such as an audit policy.
    """

    def __init__(
        self,
        directory: Path,
        *,
        name: str = "innervate-local",
        controller_manager: bool = False,
        scheduler: bool = False,
        ports: Ports | None = None,
        address: str = _LOOPBACK,
        service_cidr: str = "10.0.0.0/16",
        pod_cidr: str | None = None,
        durable: bool = False,
        detached: bool = False,
        prefix: Sequence[str] = (),
        api_server_flags: Sequence[str] = (),
    ) -> None:
        self.directory = directory
        self.processes: dict[str, process.Identity] = {}
        """What runs, by component."""
        self._name = name
        self._controller_manager = controller_manager
        self._scheduler = scheduler
        self._ports = ports or Ports.free()
        self._address = address
        self._service_cidr = service_cidr
        self._pod_cidr = pod_cidr
        self._durable = durable
        self._detached = detached
        self._prefix = prefix
        self._api_server_flags = api_server_flags
        self._authority = Authority(name)
        self._started: list[subprocess.Popen[bytes]] = []

    @property
    def url(self) -> str:
        """Where the API server answers."""
        return f"https://{self._address}:{self._ports.api}"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.directory / "kubeconfig"

    @property
    def ca(self) -> Path:
        """The root certificate, PEM."""
        return self.directory / "pki" / "ca.crt"

    @property
    def authority(self) -> Authority:
        """What issues this control plane's certificates."""
        return self._authority

    def kubeconfig_for(self, user: str, *, groups: Iterable[str] = ()) -> Path:
        """Write a kubeconfig for another user.

        Parameters
        ----------
        user
            The name Kubernetes will know the user by.
        groups
            The groups it will see them in.

        Returns
        -------
        pathlib.Path
            The file; it holds the key.
        """
        return self._write_kubeconfig(
            self.directory / "users" / f"{user.replace(':', '-')}.kubeconfig", user, groups
        )

    def start(self) -> Self:
        """Start everything and wait until the API server is ready.

        Raises
        ------
        LocalError
            When a process ends early or readiness takes longer than a minute.
        """
        try:
            self._write_identities()
            self._start_etcd()
            self._start_api_server()
            self._await_ready()
            if self._controller_manager:
                self._start_controller_manager()
            if self._scheduler:
                self._start_scheduler()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End every process that `start` started, in reverse order."""
        for component in reversed(list(self.processes)):
            process.stop([self.processes.pop(component)])
        for child in self._started:
            child.wait()
        self._started.clear()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def _pki(self) -> Path:
        return self.directory / "pki"

    def _write_identities(self) -> None:
        first_service_address = self._service_cidr.rsplit(".", 1)[0] + ".1"
        names = [f"kubernetes{suffix}" for suffix in ("", ".default", ".default.svc")]
        serving = self._authority.issue(
            "kube-apiserver",
            addresses=[
                *dict.fromkeys((_LOOPBACK, self._address, first_service_address)),
                *("localhost", *names, f"{names[-1]}.cluster.local"),
            ],
        )
        kubelet_client = self._authority.issue("kube-apiserver-kubelet-client", groups=["system:masters"])
        # A separate authority: whoever it certifies may read and write everything.
        storage = Authority(f"{self._name}-etcd")
        certificates.write_private(self._pki / "etcd-ca.crt", storage.root.certificate)
        storage.issue("etcd", addresses=[_LOOPBACK]).write(self._pki, "etcd")
        self._authority.root.write(self._pki, "ca")
        serving.write(self._pki, "apiserver")
        kubelet_client.write(self._pki, "kubelet-client")
        certificates.signing_key().write(self._pki, "service-account")
        self._write_kubeconfig(self.kubeconfig, "innervate-admin", ["system:masters"])

    def _write_kubeconfig(self, path: Path, user: str, groups: Iterable[str]) -> Path:
        text = certificates.kubeconfig(
            cluster=self._name,
            url=self.url,
            root=self._authority.root.certificate,
            user=user,
            identity=self._authority.issue(user, groups=groups),
        )
        return certificates.write_private(path, text.encode())

    def _start_etcd(self) -> None:
        client, peer = (f"https://{_LOOPBACK}:{port}" for port in (self._ports.etcd, self._ports.etcd_peer))
        self._run(
            "etcd",
            [
                str(binaries.path("etcd")),
                *("--name", "local", "--data-dir", str(self.directory / "etcd")),
                *("--listen-client-urls", client, "--advertise-client-urls", client),
                *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
                *("--initial-cluster", f"local={peer}"),
                *("--initial-cluster-token", secrets.token_hex(8)),
                f"--cert-file={self._pki / 'etcd.crt'}",
                f"--key-file={self._pki / 'etcd.key'}",
                f"--trusted-ca-file={self._pki / 'etcd-ca.crt'}",
                "--client-cert-auth",
                f"--peer-cert-file={self._pki / 'etcd.crt'}",
                f"--peer-key-file={self._pki / 'etcd.key'}",
                f"--peer-trusted-ca-file={self._pki / 'etcd-ca.crt'}",
                "--peer-client-cert-auth",
                "--log-level=warn",
                *(() if self._durable else ("--unsafe-no-fsync",)),
            ],
        )

    def _start_api_server(self) -> None:
        reconciler = "none" if self._address == _LOOPBACK else "lease"
        # Nobody makes the default ServiceAccounts that this plugin asks pods to have.
        without = () if self._controller_manager else ("--disable-admission-plugins=ServiceAccount",)
        self._run(
            "kube-apiserver",
            [
                *(str(binaries.path("kubernetes")), "kube-apiserver"),
                f"--bind-address={self._address}",
                f"--advertise-address={self._address}",
                f"--secure-port={self._ports.api}",
                # Endpoints of the `kubernetes` Service must not be loopback addresses.
                f"--endpoint-reconciler-type={reconciler}",
                f"--etcd-servers=https://{_LOOPBACK}:{self._ports.etcd}",
                f"--etcd-cafile={self._pki / 'etcd-ca.crt'}",
                f"--etcd-certfile={self._pki / 'etcd.crt'}",
                f"--etcd-keyfile={self._pki / 'etcd.key'}",
                f"--tls-cert-file={self._pki / 'apiserver.crt'}",
                f"--tls-private-key-file={self._pki / 'apiserver.key'}",
                f"--client-ca-file={self.ca}",
                f"--kubelet-certificate-authority={self.ca}",
                f"--kubelet-client-certificate={self._pki / 'kubelet-client.crt'}",
                f"--kubelet-client-key={self._pki / 'kubelet-client.key'}",
                # Else `kubectl logs` looks node names up in DNS.
                "--kubelet-preferred-address-types=InternalIP,Hostname",
                f"--service-account-issuer={ISSUER}",
                f"--service-account-key-file={self._pki / 'service-account.crt'}",
                f"--service-account-signing-key-file={self._pki / 'service-account.key'}",
                f"--service-cluster-ip-range={self._service_cidr}",
                "--authorization-mode=Node,RBAC",
                "--enable-admission-plugins=NodeRestriction",
                *without,
                "--allow-privileged=true",
                # Webhooks and aggregated APIs are called at their pods: the
                # machine itself has no kube-proxy.
                "--enable-aggregator-routing=true",
                "--profiling=false",
                *self._api_server_flags,
            ],
        )

    def _start_controller_manager(self) -> None:
        kubeconfig = self.kubeconfig_for("system:kube-controller-manager")
        pods = (
            ("--allocate-node-cidrs=true", f"--cluster-cidr={self._pod_cidr}")
            if self._pod_cidr
            else ("--allocate-node-cidrs=false",)
        )
        self._run(
            "kube-controller-manager",
            [
                *(str(binaries.path("kubernetes")), "kube-controller-manager"),
                f"--kubeconfig={kubeconfig}",
                *("--leader-elect=false", "--secure-port=0", "--use-service-account-credentials=true"),
                *pods,
                f"--service-cluster-ip-range={self._service_cidr}",
                f"--root-ca-file={self.ca}",
                f"--service-account-private-key-file={self._pki / 'service-account.key'}",
                f"--cluster-signing-cert-file={self.ca}",
                f"--cluster-signing-key-file={self._pki / 'ca.key'}",
            ],
        )

    def _start_scheduler(self) -> None:
        kubeconfig = self.kubeconfig_for("system:kube-scheduler")
        self._run(
            "kube-scheduler",
            [
                *(str(binaries.path("kubernetes")), "kube-scheduler"),
                *(f"--kubeconfig={kubeconfig}", "--leader-elect=false", "--secure-port=0"),
            ],
        )

    def _run(self, component: str, command: Sequence[str]) -> None:
        child = process.start(
            command,
            log=self._log(component),
            prefix=self._prefix,
            dies_with_parent=not self._detached,
        )
        self._started.append(child)
        identity = process.identify(child.pid)
        if identity is None:
            raise LocalError(f"{component} ended at once:\n{self._last_words(component)}")
        self.processes[component] = identity

    def _await_ready(self) -> None:
        context = ssl.create_default_context(cafile=str(self.ca))
        context.load_cert_chain(self._pki / "kubelet-client.crt", self._pki / "kubelet-client.key")
        server = http.client.HTTPSConnection(self._address, self._ports.api, timeout=5, context=context)
        deadline = time.monotonic() + _READY_S
        # The namespace `default` is made shortly after the server calls itself ready.
        for check in ("/readyz", "/api/v1/namespaces/default"):
            while not _answers(server, check):
                for component, identity in self.processes.items():
                    if not process.is_running(identity):
                        raise LocalError(f"{component} ended:\n{self._last_words(component)}")
                if time.monotonic() > deadline:
                    words = self._last_words("kube-apiserver")
                    raise LocalError(f"kube-apiserver was not ready after {_READY_S:.0f} s:\n{words}")
                time.sleep(0.1)

    def _log(self, component: str) -> Path:
        return self.directory / "logs" / f"{component}.log"

    def _last_words(self, component: str) -> str:
        return "\n".join(self._log(component).read_text(errors="replace").splitlines()[-15:])


def _answers(connection: http.client.HTTPSConnection, path: str) -> bool:
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
