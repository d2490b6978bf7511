"""kubectl on an API server without nodes: what a kubelet would do is done on this machine instead.

``python laptop_kubectl.py KUBECTL... -- ARGUMENTS``: `exec` runs the program here, `wait` finds every pod
ready, and `port-forward` leads to the port that the environment variable ``LAPTOP_PORTS`` (JSON, by pod)
names. Everything else goes to the real kubectl.
"""

import json
import os
import signal
import subprocess
import sys


def main():
    """Do one command, or hand it on."""
    split = sys.argv.index("--kubectl-ends-here")
    kubectl, arguments = sys.argv[1:split], sys.argv[split + 1 :]
    words = [word for word in arguments if not word.startswith("--")]
    if words[:1] == ["exec"]:
        command = arguments[arguments.index("--") + 1 :]
        assert command[0] == "python3"
        return subprocess.run([sys.executable, *command[1:]], check=False).returncode
    if words[:1] == ["wait"]:
        return 0
    if words[:1] == ["port-forward"]:
        port = json.loads(os.environ["LAPTOP_PORTS"]).get(words[1].removeprefix("pod/"))
        if port is None:
            sys.stderr.write("error: unable to forward port because pod is not running\n")
            return 1
        sys.stdout.write(f"Forwarding from 127.0.0.1:{port} -> {words[2].lstrip(':')}\n")
        sys.stdout.flush()
        signal.pause()
    return os.execvp(kubectl[0], [*kubectl, *arguments])  # noqa: S606  kubectl itself


if __name__ == "__main__":
    sys.exit(main())
