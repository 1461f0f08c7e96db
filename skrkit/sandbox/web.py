"""HTTP pieces that the sandbox's services share: bounded JSON bodies, Azure's error shape, request ids."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse as StarletteJson
from starlette.responses import Response

from skrkit.sandbox import chance
from skrkit.sandbox.content import reason_against

MAX_BODY_BYTES = 1 << 20
Answer = TypeVar("Answer")


class JSONResponse(StarletteJson):
    """JSON with the content type that Azure's services give."""

    media_type = "application/json; charset=utf-8"


class AzureError(Exception):
    """An answer in Azure's shape, `{"error": {"code", "message", "innererror"?}}`; `app` makes it a response.

    `headers` are added to the answer (`WWW-Authenticate`, `Retry-After`). `flat` gives the shape of OAuth and IMDS:
    `{"error": code, "error_description": message}`.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        inner: str = "",
        headers: Mapping[str, str] | None = None,
        flat: bool = False,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.inner = inner
        self.headers = dict(headers or {})
        self.flat = flat
        self.extra = dict(extra or {})

    def response(self) -> Response:
        """Return the HTTP response."""
        if self.flat:
            body: dict[str, Any] = {"error": self.code, "error_description": self.message, **self.extra}
        else:
            error: dict[str, Any] = {"code": self.code, "message": self.message, **self.extra}
            if self.inner:
                error["innererror"] = {"code": self.inner}
            body = {"error": error}
        return JSONResponse(body, self.status, headers=self.headers)


async def azure_error(_request: Request, error: Exception) -> Response:
    """Return the response of an `AzureError`: the exception handler that every service's app installs."""
    assert isinstance(error, AzureError)
    return error.response()


async def body_bytes(request: Request, *, limit: int = MAX_BODY_BYTES) -> bytes:
    """Return the request's body. Raises `AzureError` 413 beyond `limit` bytes, before reading all of it."""
    read = bytearray()
    async for chunk in request.stream():
        read += chunk
        if len(read) > limit:
            raise AzureError(413, "RequestEntityTooLarge", f"The request body is larger than {limit} bytes.")
    return bytes(read)


async def json_body(request: Request, *, code: str = "BadParameter", limit: int = MAX_BODY_BYTES) -> dict[str, Any]:
    """Return the request's body as a JSON object. Raises `AzureError` 400 with `code` for anything else."""
    return body_object(await body_bytes(request, limit=limit), code=code)


def body_object(
    raw: bytes,
    *,
    code: str = "BadParameter",
    words: str = "The request body is not valid JSON: {}.",
    decode: Callable[[bytes], object] = json.loads,
) -> dict[str, Any]:
    """Return a request's body, read already, as a JSON object; none is `{}`. Raises `AzureError` 400 with `code`.

    `words` say that it is none, with the reason at their `{}`. What is returned can be written as JSON again.
    """
    try:
        value = decode(raw or b"{}")
    except (ValueError, RecursionError) as cause:
        raise AzureError(400, code, words.format(cause)) from None
    if not isinstance(value, dict):
        raise AzureError(400, code, "The request body must be a JSON object.")
    reason = reason_against(value)
    if reason:
        raise AzureError(400, code, words.format(reason))
    return value


def media_type(request: Request) -> str:
    """Return the media type that the request gives its body, lower case without parameters; empty without one."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def off_loop(function: Callable[..., Answer], *arguments: Any) -> Answer:
    """Return what a function returns that waits or computes, called in one of asyncio's own threads.

    Starlette's way there takes a third of a millisecond, several times what most requests do.
    """
    return await asyncio.get_running_loop().run_in_executor(None, partial(function, *arguments))


def door(request: Request) -> str | None:
    """Return the resource id, lower case, of the VM whose door the request came through; None for the outer door."""
    name = request.scope.get("state", {}).get("vm")
    return str(name) if name else None


def host(request: Request) -> str:
    """Return the host name that the client asked for, lower case, without a port."""
    return request.headers.get("host", "").rpartition("@")[2].partition(":")[0].lower()


def segments(request: Request) -> list[str]:
    """Return the parts of the path, as they are once decoded, without those between doubled or trailing slashes."""
    path: str = request.scope["path"]
    return [part for part in path.split("/") if part]


def new_request_id() -> str:
    """Return a fresh id for `x-ms-request-id`."""
    return chance.uuid4("http/request")
