"""A transport that keeps what an SDK client really sent and got, with every secret replaced by its digest."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from azure.core.exceptions import AzureError
from azure.core.pipeline.transport import RequestsTransport

from skrkit.wire import Json

if TYPE_CHECKING:
    from skrkit.cloud import Cloud

_SHOWN_HEADERS = frozenset(
    {
        "authorization", "content-type", "date", "metadata", "retry-after", "via", "www-authenticate",
        "x-ms-keyvault-region",
    }
)  # fmt: skip
_SECRET_MEMBERS = frozenset(
    {"access_token", "refresh_token", "id_token", "client_secret", "client_assertion", "assertion", "target", "token"}
)
_PRIVATE_JWK_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "k", "key_hsm"})
_SHOWN_BODY_BYTES = 64 << 10
_SHOWN_TEXT = 2_000  # characters of a refusal that is no JSON: a proxy's page says who made it in its first lines
_JWT = re.compile(r"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*")
_STREAMED = "<a stream, not kept>"


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpExchange:
    """One HTTP request and its answer, safe to show: bearer tokens and secrets are SHA-256 prefixes.

    `status` 0 means that no answer came, and `error` says why.
    """

    method: str
    url: str
    headers: dict[str, str]
    body: Json
    status: int
    response_headers: dict[str, str]
    response_body: Json
    error: str = ""

    def to_json(self) -> dict[str, Json]:
        """Return the exchange as JSON: `request` and `response`."""
        request: dict[str, Json] = {"line": f"{self.method} {self.url}", "headers": dict(self.headers)}
        if self.body is not None:
            request["body"] = self.body
        response: dict[str, Json] = {"status": self.status, "headers": dict(self.response_headers)}
        if self.response_body is not None:
            response["body"] = self.response_body
        if self.error:
            response["error"] = self.error
        return {"request": request, "response": response}


class RecordingTransport(RequestsTransport):  # type: ignore[misc]  # azure-core hands it out through __getattr__
    """The SDK's own transport over `requests`, which hands each exchange to `record`."""

    def __init__(self, record: Callable[[HttpExchange], None], **options: Any) -> None:
        super().__init__(**options)
        self._record = record

    def send(self, request: Any, **options: Any) -> Any:
        """Return the response, after its exchange was recorded. What is raised instead of one is recorded too.

        Of an answer that is streamed the body is left to its reader, unless it is a refusal, which is short.
        """
        asked = HttpExchange(
            method=request.method,
            url=request.url,
            headers=shown_headers(request.headers),
            body=shown_body(_text(request)),
            status=0,
            response_headers={},
            response_body=None,
        )
        try:
            response = super().send(request, **options)
        except AzureError as error:
            self._record(replace(asked, error=f"{type(error).__name__}: {str(error).splitlines()[0][:500]}"))
            raise
        self._record(
            replace(
                asked,
                status=response.status_code,
                response_headers=shown_headers(response.headers),
                response_body=_answered(response, streamed=bool(options.get("stream"))),
            )
        )
        return response


def recorded(cloud: Cloud, record: Callable[[HttpExchange], None]) -> Cloud:
    """Return the cloud, whose clients hand each exchange to `record` from now on."""
    return replace(cloud, make_transport=lambda options: RecordingTransport(record, **options))


def _answered(response: Any, *, streamed: bool) -> Json:
    refused = response.status_code > 299
    if streamed and not refused:
        return _STREAMED
    if streamed:
        content: bytes = response.read()
    else:
        content = response.body() if hasattr(response, "body") else response.content
    shown = shown_body(content)
    return shown_text(content) if refused and isinstance(shown, str) else shown


def _text(request: Any) -> bytes:
    content = getattr(request, "body", None) or getattr(request, "content", None) or getattr(request, "data", None)
    if isinstance(content, dict):
        return json.dumps(content).encode()
    if isinstance(content, str):
        return content.encode()
    return content if isinstance(content, bytes) else b""


def digest(secret: str) -> str:
    """Return how a secret is shown: the first 8 hex digits of its SHA-256."""
    return f"<sha256 {hashlib.sha256(secret.encode()).hexdigest()[:8]}…, {len(secret)} characters>"


def shown_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers worth showing, a bearer token replaced by its digest."""
    shown: dict[str, str] = {}
    for name, value in headers.items():
        if name.lower() == "authorization":
            scheme, space, secret = value.partition(" ")
            shown[name] = f"{scheme} {digest(secret)}" if space else digest(value)
        elif name.lower() in _SHOWN_HEADERS:
            shown[name] = value
    return shown


def shown_body(body: bytes) -> Json:
    """Return a JSON body with its secrets replaced; of any other body, only its size."""
    if not body:
        return None
    if len(body) <= _SHOWN_BODY_BYTES:
        try:
            return _redacted(json.loads(body))
        except ValueError:
            pass
    return f"<{len(body)} bytes>"


def shown_text(body: bytes) -> str:
    """Return the first 2,000 characters of a refusal that is no JSON, tokens replaced by their digests."""
    text = body[: 4 * _SHOWN_TEXT].decode("utf-8", "replace")
    return _JWT.sub(lambda found: digest(found[0]), text)[:_SHOWN_TEXT]


def _redacted(value: Any) -> Json:
    if isinstance(value, dict):
        secret = _SECRET_MEMBERS | _PRIVATE_JWK_MEMBERS if "kty" in value else _SECRET_MEMBERS
        return {
            name: digest(member if isinstance(member, str) else json.dumps(member))
            if name.lower() in secret and member
            else _redacted(member)
            for name, member in value.items()
        }
    if isinstance(value, list):
        return [_redacted(member) for member in value]
    return value  # type: ignore[no-any-return]  # a JSON scalar
