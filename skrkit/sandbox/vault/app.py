"""The ASGI app of *.vault.azure.net: which vault, who calls, what version, may they, and then the handler."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from skrkit.sandbox.faults import key, network
from skrkit.sandbox.vault import access, backup, creation, crypto, deletion, errors, reading, release, rotation
from skrkit.sandbox.vault.call import API_VERSIONS, Call, Handler, VaultResource, find_vault, vault_lock
from skrkit.sandbox.vault.documents import NAME_KIND
from skrkit.sandbox.web import (
    AzureError,
    azure_error,
    body_bytes,
    body_object,
    host,
    media_type,
    new_request_id,
    off_loop,
    segments,
)

if TYPE_CHECKING:
    from skrkit.sandbox.world import World

SUFFIX = ".vault.azure.net"
SERVICE_VERSION = "1.9.2100.1"
_KEY = "/keys/{name}"
_VERSION = _KEY + "/{version}"
_DELETED = "/deletedkeys/{name}"

# method, path without doubled and trailing slashes, key permission, handler
ROUTES: tuple[tuple[str, str, str, Handler], ...] = (
    ("GET", "/keys", "list", reading.list_keys),
    ("GET", _KEY + "/versions", "list", reading.list_versions),
    ("POST", "/keys/restore", "restore", backup.restore_key),
    ("POST", _KEY + "/create", "create", creation.create_key),
    ("POST", _KEY + "/rotate", "rotate", rotation.rotate_key),
    ("POST", _KEY + "/backup", "backup", backup.backup_key),
    ("POST", _KEY + "/release", "release", release.release_key),
    ("GET", _KEY + "/rotationpolicy", "getrotationpolicy", rotation.get_rotation_policy),
    ("PUT", _KEY + "/rotationpolicy", "setrotationpolicy", rotation.set_rotation_policy),
    ("PUT", _KEY, "import", creation.import_key),
    ("GET", _KEY, "get", reading.get_key),
    ("PATCH", _KEY, "update", creation.update_key),
    ("DELETE", _KEY, "delete", deletion.delete_key),
    ("GET", _VERSION, "get", reading.get_key),
    ("PATCH", _VERSION, "update", creation.update_key),
    ("POST", _VERSION + "/release", "release", release.release_key),
    ("POST", _VERSION + "/encrypt", "encrypt", crypto.encrypt),
    ("POST", _VERSION + "/decrypt", "decrypt", crypto.decrypt),
    ("POST", _VERSION + "/wrapkey", "wrapKey", crypto.wrap_key),
    ("POST", _VERSION + "/unwrapkey", "unwrapKey", crypto.unwrap_key),
    ("POST", _VERSION + "/sign", "sign", crypto.sign),
    ("POST", _VERSION + "/verify", "verify", crypto.verify),
    ("POST", _KEY + "/encrypt", "encrypt", crypto.encrypt),
    ("POST", _KEY + "/decrypt", "decrypt", crypto.decrypt),
    ("POST", _KEY + "/wrapkey", "wrapKey", crypto.wrap_key),
    ("POST", _KEY + "/unwrapkey", "unwrapKey", crypto.unwrap_key),
    ("POST", _KEY + "/sign", "sign", crypto.sign),
    ("POST", _KEY + "/verify", "verify", crypto.verify),
    ("GET", "/deletedkeys", "list", reading.list_deleted),
    ("GET", _DELETED, "get", deletion.get_deleted_key),
    ("DELETE", _DELETED, "purge", deletion.purge_key),
    ("POST", _DELETED + "/recover", "recover", deletion.recover_key),
)
_NAME = r"/+keys/+(?P<name>[0-9A-Za-z-]+)"
_QUICK = {
    "GET": re.compile(_NAME + r"(?:/+(?!versions|rotationpolicy)[0-9A-Za-z]+)?/*", re.IGNORECASE),
    "POST": re.compile(_NAME + r"(?:/+[0-9A-Za-z]+)?/+release/*", re.IGNORECASE),
}
_HEADERS = (
    (b"cache-control", b"no-cache"),
    (b"pragma", b"no-cache"),
    (b"expires", b"-1"),
    (b"strict-transport-security", b"max-age=31536000;includeSubDomains"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-ms-keyvault-service-version", SERVICE_VERSION.encode()),
)
METHODS = ["GET", "PUT", "POST", "PATCH", "DELETE"]
MAX_VAULT_BODY_BYTES = 1 << 18  # an attestation token has 5 to 10 kB


def app(world: World) -> Starlette:
    """Return the ASGI app of every vault of the sandbox; the host name says which one a request is for."""
    lock = vault_lock(world)
    table = [(method, _pattern(path), permission, handler) for method, path, permission, handler in ROUTES]

    async def endpoint(request: Request) -> Response:
        try:
            raw = await body_bytes(request, limit=MAX_VAULT_BODY_BYTES)
        except AzureError as refusal:
            return refusal.response()
        if _is_quick(world, request):
            return _finished(world, lock, table, request, raw)
        return await off_loop(_finished, world, lock, table, request, raw)

    routes = [Route("/{path:path}", endpoint, methods=METHODS)]
    return Starlette(routes=routes, exception_handlers={AzureError: azure_error})


def _is_quick(world: World, request: Request) -> bool:
    """Return whether this is a `get` or `release` of a key in memory, which is best done at once.

    A `get` is less work than the way into another thread and back. A release is mostly RSA, for which `cryptography`
    does not let go of the interpreter: in another thread it would keep everybody waiting just as long, and itself
    longer. A key with a rotation policy is none: a new version may be due, and RSA-4096 takes seconds.
    """
    quick = _QUICK.get(request.method)
    found = quick.fullmatch(request.scope["path"]) if quick else None
    if found is None:
        return False
    named = world.store.kept(NAME_KIND, f"{host(request).removesuffix(SUFFIX)}/{found['name']}".lower())
    return named is not None and named.get(rotation.MEMBER) is None


def _finished(world: World, lock: threading.RLock, table: list[Any], request: Request, raw: bytes) -> Response:
    vault: VaultResource | None = None
    try:
        network.check_vault(world)
        vault = _vault(world, request)
        response = _answer(world, lock, table, vault, request, raw)
    except AzureError as refusal:
        response = refusal.response()
    if response.headers.get("content-type") == "application/json":
        response.headers["content-type"] = "application/json; charset=utf-8"
    response.raw_headers += _headers(request, vault)
    return response


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path), re.IGNORECASE)


def _vault(world: World, request: Request) -> VaultResource:
    name = host(request).removesuffix(SUFFIX)
    found = find_vault(world, name)
    if found is None:
        raise AzureError(
            404,
            "VaultNotFound",
            f"No vault is called {name}. In Azure its name would not resolve: a DNS error, and no HTTP answer.",
        )
    return found


def _answer(
    world: World, lock: threading.RLock, table: list[Any], vault: VaultResource, request: Request, raw: bytes
) -> Response:
    path = "/" + "/".join(segments(request))
    method = request.headers.get("x-http-method", request.method) if request.method == "POST" else request.method
    caller = access.authenticated(world, request.headers.get("authorization"))
    access.check_network(world, vault, caller, request.client.host if request.client else "127.0.0.1")
    permission, handler, names = _route(table, method.upper(), path)
    api_version = api_version_of(request)
    access.check_permission(world, vault, caller, permission, names.get("name", ""))
    key.check_version(world, names)
    if raw and media_type(request) != "application/json":
        raise errors.unsupported_media_type()
    call = Call(
        world=world,
        vault=vault,
        caller=caller,
        api_version=api_version,
        path=names,
        query=dict(request.query_params),
        body=body_object(raw),
        lock=lock,
    )
    return handler(call)


def api_version_of(request: Request) -> str:
    """Return the api-version of a request. Raises `AzureError` 400 where there is none, or one that is not known."""
    api_version = request.query_params.get("api-version", "")
    if not api_version:
        raise errors.bad_parameter("api-version must be specified")  # the words are not known to the letter (inferred)
    if api_version not in API_VERSIONS:
        raise errors.bad_parameter(
            f"The specified version ({api_version}) is not recognized. Consider using the latest supported version "
            f"({API_VERSIONS[-1]})."
        )
    return api_version


def _route(table: list[Any], method: str, path: str) -> tuple[str, Handler, dict[str, str]]:
    for known, pattern, permission, handler in table:
        found = pattern.fullmatch(path) if known == method else None
        if found:
            return permission, handler, found.groupdict()
    raise AzureError(501, "NotInSandbox", f"The sandbox does not have {method} {path}. See skrkit/sandbox/FIDELITY.md.")


def _headers(request: Request, vault: VaultResource | None) -> list[tuple[bytes, bytes]]:
    address = request.client.host if request.client else "127.0.0.1"
    headers = {
        "x-ms-keyvault-region": vault.region if vault else "",
        "x-ms-client-request-id": request.headers.get("x-ms-client-request-id", ""),
        "x-ms-keyvault-network-info": f"conn_type=Ipv4;addr={address};act_addr_fam=InterNetwork;",
        "x-ms-request-id": new_request_id(),
    }
    return [*_HEADERS, *((name.encode(), value.encode("latin-1")) for name, value in headers.items() if value)]
