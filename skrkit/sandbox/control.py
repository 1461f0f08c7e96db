"""The sandbox's own interface, for `skrkit sandbox`: health, status, faults, settings, principals, shutdown.

Needs the endpoint file's secret. What a caller did wrong is answered 409, with the members of the `UsageError`.
"""

from __future__ import annotations

import hmac
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from skrkit.errors import UsageError
from skrkit.sandbox.process import SECRET_HEADER
from skrkit.sandbox.web import AzureError, azure_error

if TYPE_CHECKING:
    from skrkit.sandbox.world import World


def app(world: World) -> Starlette:
    """Return the ASGI app of the control host. `world.cache["server"]` is the process it controls."""

    def checked(request: Request) -> Any:
        server = world.cache["server"]
        given = request.headers.get(SECRET_HEADER, "")
        if not hmac.compare_digest(given.encode(), server.endpoint.secret.encode()):
            raise AzureError(403, "Forbidden", "This interface takes the secret of the sandbox's endpoint file.")
        return server

    async def health(request: Request) -> Response:
        checked(request)
        return JSONResponse({"ok": True})

    async def status(request: Request) -> Response:
        server = checked(request)
        endpoint = server.endpoint
        return JSONResponse(
            {
                "pid": endpoint.pid,
                "proxy": endpoint.proxy_url,
                "ca_file": str(endpoint.ca_file),
                "version": endpoint.version,
                "started": endpoint.started,
                "uptime_s": int((datetime.now(UTC) - datetime.fromisoformat(endpoint.started)).total_seconds()),
                "tenant": endpoint.tenant,
                "subscription": endpoint.subscription,
                "seed": endpoint.seed,
                "clock": endpoint.clock,
                "resident_mb": resident_mb(),
                "documents": await run_in_threadpool(_counts, world),
                "faults": world.faults.names(),
                "settings": await run_in_threadpool(_settings_on, world),
                "vms": [
                    {"name": endpoint.called(door), "proxy": f"http://127.0.0.1:{door.proxy_port}", "tcti": door.tcti}
                    for door in endpoint.vms
                ],
            }
        )

    async def roots(request: Request) -> Response:
        checked(request)
        found = await run_in_threadpool(world.silicon.roots)
        return JSONResponse(dict(found.ark))

    async def shutdown(request: Request) -> Response:
        checked(request).stop()
        return JSONResponse({"ok": True})

    async def faults(request: Request) -> Response:
        checked(request)
        named = request.path_params.get("name", "")
        return JSONResponse(await run_in_threadpool(_FAULT_ROUTES[request.method, bool(named)], world, named))

    async def settings(request: Request) -> Response:
        checked(request)
        named = request.path_params.get("name", "")
        return JSONResponse(await run_in_threadpool(_settings, world, request.method, named))

    async def principals(request: Request) -> Response:
        from skrkit.sandbox.principals import answer

        checked(request)
        return JSONResponse(await run_in_threadpool(answer, world, request.method, dict(request.query_params)))

    routes = [
        Route("/health", health),
        Route("/status", status),
        Route("/roots", roots),
        Route("/faults", faults, methods=["GET", "DELETE"]),
        Route("/faults/{name}", faults, methods=["PUT", "DELETE"]),
        Route("/settings", settings),
        Route("/settings/{name}", settings, methods=["PUT", "DELETE"]),
        Route("/principals", principals, methods=["GET", "PUT", "DELETE"]),
        Route("/shutdown", shutdown, methods=["POST"]),
    ]
    return Starlette(routes=routes, exception_handlers={AzureError: azure_error, UsageError: _usage_error})


async def _usage_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, UsageError)
    return JSONResponse(error.to_json(), 409)


def _list_faults(world: World, _name: str) -> dict[str, Any]:
    from skrkit.sandbox.faults.table import all_faults

    return {"faults": [fault.to_json() | {"on": world.faulty(fault.name)} for fault in all_faults()]}


def _switch_on(world: World, name: str) -> dict[str, Any]:
    from skrkit.sandbox.faults.table import fault_named

    fault = fault_named(name)
    world.faults.switch_on(world, fault)
    return fault.to_json() | {"on": True}


def _switch_off(world: World, name: str) -> dict[str, Any]:
    from skrkit.sandbox.faults.table import fault_named

    return {"found": {name: world.faults.switch_off(world, fault_named(name))}}


def _switch_all_off(world: World, _name: str) -> dict[str, Any]:
    return {"found": world.faults.switch_all_off(world)}


# Method, and whether a name is in the path.
_FAULT_ROUTES = {
    ("GET", False): _list_faults,
    ("HEAD", False): _list_faults,
    ("PUT", True): _switch_on,
    ("DELETE", True): _switch_off,
    ("DELETE", False): _switch_all_off,
}


def _settings(world: World, method: str, name: str) -> dict[str, Any]:
    from skrkit.sandbox import settings

    if name:
        return settings.switch(world, name, on=method == "PUT")
    return {"settings": settings.all_settings(world)}


def _settings_on(world: World) -> list[str]:
    from skrkit.sandbox import settings

    return [each.name for each in settings.SETTINGS if settings.is_on(world, each.name)]


def _counts(world: World) -> dict[str, int]:
    return {kind: world.store.count(kind) for kind in ("arm", "vault-key", "machine", "principal")}


def resident_mb() -> float | None:
    """Return this process's resident memory in MiB, or None on a system that does not say."""
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:
            pages = int(statm.read().split()[1])
    except OSError:
        return None
    return round(pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20), 1)
