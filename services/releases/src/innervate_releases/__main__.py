"""What pods run: ``python3 -m innervate_releases sign|verify|fetch|manifest|missing|receive``.

The outcome is one JSON object on the container's termination message and on
standard output: ``{"result": "Verified", "digest", "keyId", "parents",
"producedBy", "sizeBytes"}``, or ``{"result": "Refused" or "Failed", "part",
"subject", "missing", "message"}``. Exit codes: 0 done; 1 failed, worth another
attempt (a store that does not answer, keys that are not there); 3 refused, for
good, because bytes are wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from innervate_releases import keys, receiving, transfer
from innervate_releases.errors import Part, ReleaseError
from innervate_releases.location import open_store
from innervate_releases.verify import verify

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

TERMINATION_MESSAGE = Path("/dev/termination-log")
KEYS = Path("/etc/innervate/release-keys")
SIGNING_KEY = "INNERVATE_SIGNING_KEY"
"""Environment variable with the private key in PEM."""
FAILED, REFUSED = 1, 3
_MESSAGE = 1500
"""Characters of a message that are told: the kubelet cuts at 4096 bytes, and JSON must stay whole."""
_REPORT_SECONDS = 5.0


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and end with its exit code."""
    parsed = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], Mapping[str, object]] = parsed.run
    try:
        outcome, code = command(parsed), 0
    except ReleaseError as error:
        # Keys and stores are mended without touching the release: another attempt may succeed.
        final = error.part not in {Part.STORE, Part.KEY}
        code = REFUSED if final else FAILED
        outcome = {
            "result": "Refused" if final else "Failed",
            "part": error.part,
            "subject": error.subject[:300],
            "missing": error.missing,
            "message": str(error)[:_MESSAGE],
        }
    _tell(outcome)
    sys.exit(code)


def _sign(arguments: argparse.Namespace) -> Mapping[str, object]:
    pem = os.environ.get(SIGNING_KEY, "")
    key = keys.load_private(pem.encode(), f"${SIGNING_KEY}")
    transfer.sign(open_store(arguments.uri), arguments.digest, key)
    return {"result": "Signed", "digest": arguments.digest, "key": keys.fingerprint(key.public_key())}


def _verify(arguments: argparse.Namespace) -> Mapping[str, object]:
    trusted = keys.load_trusted(arguments.keys)
    found = verify(open_store(arguments.uri), arguments.digest, trusted, progress=_Report("verified"))
    return {
        "result": "Verified",
        "digest": found.digest,
        "keyId": found.key,
        "parents": list(found.manifest.parents),
        "producedBy": found.manifest.produced_by[:_MESSAGE],
        "sizeBytes": found.manifest.size,
    }


def _fetch(arguments: argparse.Namespace) -> Mapping[str, object]:
    found = transfer.fetch(
        open_store(arguments.uri),
        arguments.digest,
        keys.load_trusted(arguments.keys),
        into=arguments.into,
        files=arguments.file,
        progress=_Report("fetched"),
    )
    return {"result": "Fetched", "digest": arguments.digest, "files": len(arguments.file or found.files)}


def _manifest(arguments: argparse.Namespace) -> Mapping[str, object]:
    found = transfer.read_manifest(open_store(arguments.uri), arguments.digest)
    return {"result": "Manifest", "manifest": found.model_dump(mode="json", by_alias=True)}


def _missing(arguments: argparse.Namespace) -> Mapping[str, object]:
    asked = json.load(sys.stdin)
    return {"result": "Missing", "keys": receiving.missing(open_store(arguments.uri), asked)}


def _receive(arguments: argparse.Namespace) -> Mapping[str, object]:
    count = receiving.receive(open_store(arguments.uri), sys.stdin.buffer)
    return {"result": "Received", "objects": count}


class _Report:
    """Tells on standard error how far it is, now and then."""

    def __init__(self, done: str) -> None:
        self._done = done
        self._bytes = 0
        self._next = time.monotonic() + _REPORT_SECONDS

    def __call__(self, path: str, count: int) -> None:
        self._bytes += count
        if time.monotonic() >= self._next:
            sys.stderr.write(f"{self._done} {self._bytes / 2**20:.0f} MiB, now {path}\n")
            sys.stderr.flush()
            self._next = time.monotonic() + _REPORT_SECONDS


def _tell(outcome: Mapping[str, object]) -> None:
    text = json.dumps(outcome, ensure_ascii=False)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
    if TERMINATION_MESSAGE.exists():
        TERMINATION_MESSAGE.write_text(text, encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="innervate-releases", description="Model releases, in pods.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(
        name: str, run: Callable[[argparse.Namespace], Mapping[str, object]], text: str
    ) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text)
        made.set_defaults(run=run)
        made.add_argument("--uri", required=True, help="the store: pvc://, s3://, oci:// or file://")
        return made

    sign = command("sign", _sign, f"Sign a release that is in a store, with the key in ${SIGNING_KEY}.")
    check = command("verify", _verify, "Check every byte of a release, its ancestors and its signature.")
    fetch = command("fetch", _fetch, "Bring a release's files, each named only once it is verified.")
    read = command("manifest", _manifest, "Show a release's manifest, which has its digest.")
    for made in (sign, check, fetch, read):
        made.add_argument("--digest", required=True, type=_digest, help="the release, as sha256:<hex>")
    for made in (check, fetch):
        made.add_argument("--keys", type=Path, default=KEYS, help="directory of trusted public keys")
    fetch.add_argument("--file", action="append", default=[], help="a file of it; left out, all")
    fetch.add_argument("--into", required=True, type=Path, help="directory to put files into")
    command("missing", _missing, "Tell which of the keys on standard input the store lacks.")
    command("receive", _receive, "Take a tar stream of a store's objects from standard input.")
    return parser


def _digest(text: str) -> str:
    if not receiving.is_digest(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no digest; it is sha256: and 64 hexadecimal digits")
    return text


if __name__ == "__main__":
    main()
