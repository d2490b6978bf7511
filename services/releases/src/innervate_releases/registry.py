"""The distribution API of container registries, as far as a store needs it.

Open Container Initiative, Distribution Specification 1.1; tokens as in
https://distribution.github.io/distribution/spec/auth/token/.
"""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import httpx

from innervate_releases.digests import CHUNK
from innervate_releases.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping

IMAGE_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_MAX_MANIFEST = 4 << 20
"""Registries need take no longer ones."""
_MAX_ERROR = 1 << 20
"""Of what a registry says is wrong, more is not read."""
_TIMEOUT = httpx.Timeout(30, read=300, write=300)
_LOOPBACK = re.compile(r"^(localhost|127\.[0-9.]+)(:[0-9]+)?$")
_PARAMETER = re.compile(r'([a-z_]+)="([^"]*)"')
_NAMES = {"docker.io": "registry-1.docker.io"}
"""Registries whose API is elsewhere than their name."""


class SignIn(httpx.Auth):
    """Basic login, or a token got with it, as the registry asks for."""

    def __init__(self, login: tuple[str, str] | None) -> None:
        self._login = httpx.BasicAuth(*login) if login else None
        self._header: str | None = None

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Send with what was granted last; asked again, get something new once."""
        if self._header:
            request.headers["authorization"] = self._header
        response = yield request
        if response.status_code != httpx.codes.UNAUTHORIZED:
            return
        scheme, _, rest = response.headers.get("www-authenticate", "").partition(" ")
        if scheme.lower() == "bearer":
            asked = dict(_PARAMETER.findall(rest))
            if "realm" not in asked:
                return
            answer = yield self._with_login(httpx.Request("GET", asked.pop("realm"), params=asked))
            if answer.status_code != httpx.codes.OK:
                return
            # Not by `requires_response_body`: then whole blobs would be read into memory, too.
            self._header = f"Bearer {_token(answer.read())}"
        elif scheme.lower() == "basic" and self._login:
            self._header = self._with_login(httpx.Request("GET", request.url)).headers["authorization"]
        else:
            return
        request.headers["authorization"] = self._header
        yield request

    def _with_login(self, request: httpx.Request) -> httpx.Request:
        return next(self._login.auth_flow(request)) if self._login else request


class Registry:
    """One repository of a registry."""

    def __init__(self, uri: str, host: str, repository: str, login: tuple[str, str] | None) -> None:
        # Like every container tool: plain HTTP on this machine, TLS everywhere else.
        scheme = "http" if _LOOPBACK.match(host) else "https"
        self._uri = uri
        self._base = f"{scheme}://{_NAMES.get(host, host)}/v2/{repository}"
        self._client = httpx.Client(timeout=_TIMEOUT, follow_redirects=True, auth=SignIn(login))

    def blob_size(self, digest: str) -> int | None:
        """Size of a blob; None where there is none."""
        with self._request("HEAD", f"/blobs/{digest}", may_miss=True) as response:
            return None if _is_missing(response) else int(response.headers["content-length"])

    def blob(self, digest: str, offset: int) -> Iterator[bytes]:
        """A blob's bytes from an offset on; `FileNotFoundError` where there is none."""
        headers = {"range": f"bytes={offset}-"} if offset else {}
        with self._request("GET", f"/blobs/{digest}", headers=headers, may_miss=True) as response:
            if _is_missing(response):
                raise FileNotFoundError(digest)
            # A registry may ignore the range.
            skip = offset if response.status_code == httpx.codes.OK else 0
            for chunk in response.iter_bytes(CHUNK):
                if skip < len(chunk):
                    yield chunk[skip:]
                skip = max(0, skip - len(chunk))

    def put_blob(self, digest: str, content: Iterable[bytes], size: int) -> None:
        """Upload a blob; the registry keeps it only when its digest is right."""
        # This request signs in: the next one's body can be sent only once.
        with self._request("POST", "/blobs/uploads/") as response:
            target = httpx.URL(urljoin(str(response.url), response.headers["location"]))
        headers = {"content-type": "application/octet-stream", "content-length": str(size)}
        target = target.copy_add_param("digest", digest)
        with self._request("PUT", str(target), headers=headers, content=content):
            pass

    def manifest(self, reference: str) -> bytes | None:
        """An image manifest by tag or digest; None where there is none."""
        headers = {"accept": IMAGE_MANIFEST}
        with self._request("GET", f"/manifests/{reference}", headers=headers, may_miss=True) as response:
            if _is_missing(response):
                return None
            content = _read(response, _MAX_MANIFEST)
            if content is None:
                message = f"{self._uri}:{reference} is larger than {_MAX_MANIFEST} bytes"
                raise StoreError(self._uri, message)
            return content

    def put_manifest(self, reference: str, manifest: Mapping[str, object]) -> None:
        """Put an image manifest under a tag."""
        content = json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()
        headers = {"content-type": IMAGE_MANIFEST}
        with self._request("PUT", f"/manifests/{reference}", headers=headers, content=content):
            pass

    @contextmanager
    def _request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: Iterable[bytes] | bytes | None = None,
        may_miss: bool = False,
    ) -> Iterator[httpx.Response]:
        url = path if path.startswith("http") else self._base + path
        try:
            with self._client.stream(method, url, headers=headers, content=content) as response:
                if response.is_error and not (may_miss and _is_missing(response)):
                    raise StoreError(self._uri, f"{self._uri} refuses: {_say(response)}")
                yield response
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise StoreError(self._uri, f"{self._uri} does not answer: {error}") from error


def _is_missing(response: httpx.Response) -> bool:
    return response.status_code == httpx.codes.NOT_FOUND


def _read(response: httpx.Response, limit: int) -> bytes | None:
    """The body of a response; None where it is longer than the limit, and then it was not read on."""
    content = bytearray()
    for chunk in response.iter_bytes(CHUNK):
        content += chunk
        if len(content) > limit:
            return None
    return bytes(content)


def _token(granted: bytes) -> str:
    """The token in a registry's answer; empty where there is none."""
    try:
        content = json.loads(granted)
        return str(content.get("token") or content.get("access_token") or "")
    except (ValueError, AttributeError):
        return ""


def _say(response: httpx.Response) -> str:
    """What a registry says is wrong: its error list, or the status line."""
    line = f"{response.status_code} {response.reason_phrase}"
    try:
        problem = json.loads(_read(response, _MAX_ERROR) or b"")["errors"][0]
    except (ValueError, LookupError, TypeError):
        return line
    return f"{line}: {str(problem.get('message') or problem.get('code'))[:200]}"
