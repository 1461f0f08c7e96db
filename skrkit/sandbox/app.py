"""Which service answers for which host. An unknown host gets an answer that says so; nothing is forwarded."""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Awaitable, Callable
from email.utils import format_datetime
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from skrkit.errors import ServiceError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from skrkit.sandbox.world import World

CONTROL_HOST = "sandbox.skrkit"
ARM_HOST = "management.azure.com"
IMDS_HOST = "169.254.169.254"

# Host, or suffix of one with a star, and the module whose `app(world)` answers for it. Imported when first asked.
SERVICES = {
    "login.microsoftonline.com": "skrkit.sandbox.entra",
    "login.windows.net": "skrkit.sandbox.entra",
    "*.login.microsoft.com": "skrkit.sandbox.entra",  # regional, where AZURE_REGIONAL_AUTHORITY_NAME is set
    ARM_HOST: "skrkit.sandbox.arm.app",
    "*.vault.azure.net": "skrkit.sandbox.vault.app",
    "*.managedhsm.azure.net": "skrkit.sandbox.hsm.app",
    "*.*.attest.azure.net": "skrkit.sandbox.maa.routes",
    "graph.microsoft.com": "skrkit.sandbox.graph",
    "kdsintf.amd.com": "skrkit.sandbox.kds",
}
PLAIN_SERVICES = {IMDS_HOST: "skrkit.sandbox.imds", CONTROL_HOST: "skrkit.sandbox.control"}
_LOG = logging.getLogger(__name__)


class HostRouter:
    """The ASGI app behind every door: chooses the service by host name, and keeps the time of the last request.

    `after_change` is awaited after a request that may have changed a VM, before its answer is sent: when a client
    hears of a VM, the VM's door is open.
    """

    def __init__(self, world: World, after_change: Callable[[], Awaitable[None]]) -> None:
        self._world = world
        self._after_change = after_change
        self._apps: dict[str, ASGIApp] = {}
        self.last_request = time.monotonic()

    def used(self) -> None:
        """Note that somebody uses the sandbox: it does not end while somebody does."""
        self.last_request = time.monotonic()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        host = _host_header(scope)
        try:
            app = self._service(host, scope)
        except ServiceError as cause:  # a service that is asked for the first time writes what it begins with
            app = _unavailable(cause)
        send = self._dated(send)
        if host != CONTROL_HOST:
            self.used()
        if host == ARM_HOST and scope["method"] not in ("GET", "HEAD"):
            send = self._announced(send)
        try:
            await app(scope, receive, send)
        except ClientDisconnect:
            _LOG.info("%s %s: the client left before its request had ended", scope["method"], host)
        except Exception:  # noqa: BLE001 - it was answered with 500 already; the traceback belongs in the log
            _LOG.exception("%s %s%s", scope["method"], host, scope["path"])

    def _dated(self, send: Send) -> Send:
        """Return `send` that adds the `Date` of the sandbox's clock: what a machine can hold its own clock against."""

        async def dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                date = format_datetime(self._world.now(), usegmt=True).encode()
                message["headers"] = [*message.get("headers", ()), (b"date", date)]
            await send(message)

        return dated

    def _service(self, host: str, scope: Scope) -> ASGIApp:
        """Return the app for a host. Everything that names one (tunnel, request line, header) must name the same."""
        tunnelled, target = scope["state"].get("connect_host"), scope["state"].get("target_host")
        if not host:
            return _refusal(400, "InvalidHostHeader", "A request has one Host header, which names one host.")
        if reason := _reason_against(scope):
            return _refusal(400, "BadRequest", reason)
        if target not in (None, host):
            return _refusal(400, "InvalidHostHeader", f"The request line names {target}, the Host header {host}.")
        if tunnelled not in (None, host):
            return _refusal(421, "MisdirectedRequest", f"The tunnel is to {tunnelled}, the request is for {host}.")
        module = PLAIN_SERVICES.get(host) if tunnelled is None else _secure_service(host)
        if module:
            return self._app(module)
        if tunnelled is None and _secure_service(host):
            return _refusal(403, "HttpsRequired", f"{host} speaks https alone.")
        if host == IMDS_HOST:
            return _refusal(403, "HttpRequired", f"{host} speaks http alone.")
        return _unknown_host(host)

    def _app(self, module: str) -> ASGIApp:
        if module not in self._apps:
            made: Starlette = importlib.import_module(module).app(self._world)
            made.add_exception_handler(ServiceError, _state_unavailable)
            made.add_exception_handler(HTTPException, _no_route)
            made.add_exception_handler(Exception, _internal_error)
            self._apps[module] = made
        return self._apps[module]

    def _announced(self, send: Send) -> Send:
        """Return a `send` that holds the answer back until the doors are right; if they cannot be, it is a 503."""
        failed = False

        async def announce(message: Message) -> None:
            nonlocal failed
            if message["type"] == "http.response.start":
                try:
                    await self._after_change()
                except (OSError, ServiceError) as cause:
                    _LOG.error("the doors of the VMs could not be opened: %s", cause)
                    failed = True
                    await _send_doors_shut(send)
            if not failed:
                await send(message)

        return announce


async def _send_doors_shut(send: Send) -> None:
    message = "The change was made, but the door of a VM could not be opened; the sandbox's log says why."
    response = _json_error(503, "DoorsShut", message)
    await send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
    await send({"type": "http.response.body", "body": response.body})


def _host_header(scope: Scope) -> str:
    values = [value for name, value in scope["headers"] if name == b"host"]
    if len(values) != 1:
        return ""
    host = bytes(values[0]).decode("latin-1").strip().lower()
    return host.removesuffix(":443") if host.endswith(":443") else host.removesuffix(":80")  # one port, not two


def _reason_against(scope: Scope) -> str:
    """Return what no service should see of a request, or an empty text: what could be read in two ways.

    Azure's own front doors take dots out of a path, and refuse control characters; here both are refused.
    """
    if sum(name == b"authorization" for name, _ in scope["headers"]) > 1:
        return "A request has one Authorization header."
    path: str = scope["path"]
    if not path.isprintable() or "\\" in path or "\ufffd" in path:
        return "The path has a backslash, or something that is no printable character in UTF-8."
    if "/." in path and any(part in (".", "..") for part in path.split("/")):
        return "The path has '.' or '..' as a segment. Name the resource itself."
    return ""


def _secure_service(host: str) -> str | None:
    """Return the module that answers for a host over https. A star stands for one label, as in a certificate."""
    _, _, parent = host.partition(".")
    return SERVICES.get(host) or SERVICES.get(f"*.{parent}") or SERVICES.get(f"*.*.{parent.partition('.')[2]}")


def _unknown_host(host: str) -> ASGIApp:
    known = ", ".join([*SERVICES, IMDS_HOST])
    return _refusal(502, "HostNotInSandbox", f"The sandbox has no {host}, and forwards nothing. It has: {known}")


def _refusal(status: int, code: str, message: str) -> ASGIApp:
    return _json_error(status, code, message)


def _json_error(status: int, code: str, message: str) -> JSONResponse:
    return JSONResponse({"error": {"code": code, "message": message}}, status)


async def _state_unavailable(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    return _unavailable(error)


def _unavailable(error: ServiceError) -> Response:
    _LOG.error("%s", error)
    body = {"error": {"code": "StateUnavailable", "message": f"{error.what}: {error.found}. {error.fix}"}}
    return JSONResponse(body, 503, headers={"Retry-After": "1"})


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: "NotFound", 405: "MethodNotAllowed"}.get(error.status_code, "BadRequest")
    message = f"The sandbox does not have {request.method} {request.url.path}. See skrkit/sandbox/FIDELITY.md."
    response = _json_error(error.status_code, code, message)
    response.headers.update(error.headers or {})
    return response


async def _internal_error(_request: Request, _error: Exception) -> Response:
    message = "The sandbox failed; its log says why. This is a bug in skrkit, not in your request."
    return _json_error(500, "InternalServerError", message)
