"""The ASGI app of *.managedhsm.azure.net: which HSM, who calls, is it active, may they, and then the handler."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from skrkit.sandbox.faults import key, network
from skrkit.sandbox.hsm import access, account_settings, full_backup, rng, role_calls, roles, security_domain
from skrkit.sandbox.hsm.resource import SUFFIX, HsmResource, find_hsm
from skrkit.sandbox.hsm.wording import in_own_words
from skrkit.sandbox.vault import app as vaults
from skrkit.sandbox.vault.access import check_network
from skrkit.sandbox.vault.bundle import in_order
from skrkit.sandbox.vault.call import API_VERSIONS, Call, Handler, vault_lock
from skrkit.sandbox.vault.errors import unsupported_media_type
from skrkit.sandbox.web import (
    AzureError,
    azure_error,
    body_bytes,
    body_object,
    host,
    media_type,
    new_request_id,
    segments,
)

if TYPE_CHECKING:
    from skrkit.sandbox.world import World

BUILD_VERSION = "1.0.20260301-1-skrkit"

_JOB = re.compile(r"/(?:backup|restore)/[^/]+/pending", re.IGNORECASE)

# method, path without doubled and trailing slashes, data action, handler. The keys' are a vault's own.
ROUTES: tuple[tuple[str, str, str, Handler], ...] = (
    *(
        (method, path, access.key_action(permission, path), handler)
        for method, path, permission, handler in vaults.ROUTES
    ),
    ("POST", "/rng", f"{roles.PREFIX}/rng/action", rng.random_bytes),
    *(
        (method, path, f"{roles.PREFIX}/{action}", handler)
        for method, path, action, handler in (
            *role_calls.ROUTES,
            *security_domain.ROUTES,
            *account_settings.ROUTES,
            *full_backup.ROUTES,
        )
    ),
)


def app(world: World) -> Starlette:
    """Return the ASGI app of every Managed HSM of the sandbox; the host name says which one a request is for."""
    lock = vault_lock(world)
    table = [(method, _pattern(path), action, handler) for method, path, action, handler in ROUTES]

    async def endpoint(request: Request) -> Response:
        try:
            raw = await body_bytes(request, limit=vaults.MAX_VAULT_BODY_BYTES)
        except AzureError as refusal:
            return refusal.response()
        return await run_in_threadpool(_finished, world, lock, table, request, raw)

    routes = [Route("/{path:path}", endpoint, methods=vaults.METHODS)]
    return Starlette(routes=routes, exception_handlers={AzureError: azure_error})


def _pattern(path: str) -> re.Pattern[str]:
    path = path.replace("{scope}", "(?P<scope>(?:/keys(?:/[^/]+)?)?)")
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path), re.IGNORECASE)


def _finished(world: World, lock: threading.RLock, table: list[Any], request: Request, raw: bytes) -> Response:
    activity = new_request_id()
    try:
        network.check_vault(world)
        response = _sorted(_answer(world, lock, table, _hsm(world, request), request, raw))
    except AzureError as refusal:
        response = in_own_words(refusal, activity).response()
    if response.headers.get("content-type") == "application/json":
        response.headers["content-type"] = "application/json; charset=utf-8"
    response.headers.update(_headers(request, activity))
    return response


def _hsm(world: World, request: Request) -> HsmResource:
    name = host(request).removesuffix(SUFFIX)
    found = find_hsm(world, name)
    if found is None:
        raise AzureError(
            404,
            "ManagedHsmNotFound",
            f"No Managed HSM is called {name}. In Azure its name would not resolve: a DNS error, and no HTTP answer",
        )
    return found


def _answer(
    world: World, lock: threading.RLock, table: list[Any], hsm: HsmResource, request: Request, raw: bytes
) -> Response:
    path = "/" + "/".join(segments(request))
    method = request.headers.get("x-http-method", request.method) if request.method == "POST" else request.method
    caller = access.authenticated(world, request.headers.get("authorization"))
    check_network(world, hsm, caller, request.client.host if request.client else "127.0.0.1")
    action, handler, names = _route(table, method.upper(), path)
    api_version = _api_version(request, path)
    if not hsm.activated and not path.lower().startswith("/securitydomain/"):
        raise not_activated()
    access.check_role(world, hsm, caller, action, _scope(path, names))
    key.check_version(world, names)
    if raw and media_type(request) != "application/json":
        raise unsupported_media_type()
    call = Call(
        world=world,
        vault=hsm,
        caller=caller,
        api_version=api_version,
        path=names,
        query=dict(request.query_params),
        body=body_object(raw),
        lock=lock,
    )
    return handler(call)


def _api_version(request: Request, path: str) -> str:
    """Return the api-version of a request. The address of a job has none, as Azure writes it, and needs none."""
    if "api-version" not in request.query_params and _JOB.fullmatch(path):
        return API_VERSIONS[-1]
    return vaults.api_version_of(request)


def _route(table: list[Any], method: str, path: str) -> tuple[str, Handler, dict[str, str]]:
    for known, pattern, action, handler in table:
        found = pattern.fullmatch(path) if known == method else None
        if found:
            return action, handler, found.groupdict()
    raise AzureError(501, "NotInSandbox", f"The sandbox does not have {method} {path}. See skrkit/sandbox/FIDELITY.md")


def _scope(path: str, names: Mapping[str, str]) -> str:
    """Return what a request acts on: a key, all keys, or the HSM."""
    if "scope" in names:
        return names["scope"] or "/"
    if names.get("name"):
        return f"/keys/{names['name']}"
    return "/keys" if path.lower().startswith(("/keys", "/deletedkeys")) else "/"


def not_activated() -> AzureError:
    """Return the refusal of an HSM without a security domain: no keys, no roles. Status, code and words: inferred."""
    return AzureError(
        403, "Forbidden", "The Managed HSM is not activated: its security domain has not been downloaded yet"
    )


def _sorted(response: Response) -> Response:
    """Return a JSON response with its members in order of name."""
    if response.headers.get("content-type") != "application/json":
        return response
    kept = {name: value for name, value in response.headers.items() if name not in ("content-type", "content-length")}
    return JSONResponse(in_order(json.loads(bytes(response.body))), response.status_code, headers=kept)


def _headers(request: Request, activity: str) -> dict[str, str]:
    address = request.client.host if request.client else "127.0.0.1"
    headers = {
        "Cache-Control": "no-cache",
        "Content-Security-Policy": "default-src 'self'",
        "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "SAMEORIGIN",
        "x-ms-server-latency": "1",
        "x-ms-build-version": BUILD_VERSION,
        "x-ms-keyvault-network-info": f"conn_type=Ipv4;addr={address};act_addr_fam=InterNetwork;",
        "x-ms-request-id": activity,
    }
    client_id = request.headers.get("x-ms-client-request-id")
    return headers | ({"x-ms-client-request-id": client_id} if client_id else {})
