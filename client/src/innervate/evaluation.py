"""What an eval job keeps on its volume, read through a pod that lives as long as the reading."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_kinds.eval_job.names import Names

from innervate import volume

if TYPE_CHECKING:
    from innervate_kinds.api.plan import Config

    from innervate.kubectl import Kubectl

_PATH = "/var/lib/innervate/evaluation"
_SHOW = "import shutil, sys; shutil.copyfileobj(open(sys.argv[1], 'rb'), sys.stdout.buffer)"


def read(kubectl: Kubectl, job: str, file: str, config: Config) -> str:
    """Content of a file on the volume of an eval job.

    Parameters
    ----------
    kubectl
        Names its namespace.
    job
        Name of the EvalJob.
    file
        Name of the file.
    config
        The operator's set-up, for the pod's image.

    Raises
    ------
    InnervateError
        The pod does not start, or the file is not there.
    """
    reader = volume.Reader(Names.of(job).data, _PATH, "evaluator", "eval-report")
    with volume.pod(kubectl, reader, config) as pod:
        return kubectl.run("exec", pod, "--", "python3", "-c", _SHOW, f"{_PATH}/{file}")
