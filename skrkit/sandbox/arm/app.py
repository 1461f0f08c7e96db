"""The ASGI app of management.azure.com: which request goes to which handler, after who, what version, and may they."""

from __future__ import annotations

import json
import re
from datetime import date
from functools import cache
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from skrkit.sandbox import chance
from skrkit.sandbox.arm import (
    access_policies,
    attestation_providers,
    authorisation,
    disks,
    errors,
    groups,
    images,
    keys,
    locations,
    machines,
    managed_hsms,
    managed_run_commands,
    networks,
    operations,
    power,
    resource_providers,
    role_assignments,
    run_command,
    sizes,
    user_assigned,
    vaults,
)
from skrkit.sandbox.arm.call import VAULT_TYPE, VM_TYPE, Call, Handler, arm_lock
from skrkit.sandbox.arm.jsonc import decode_jsonc
from skrkit.sandbox.arm.templates import deployments
from skrkit.sandbox.roles.assignment import ensure_owner
from skrkit.sandbox.web import AzureError, azure_error, body_bytes, body_object, media_type, new_request_id, segments

if TYPE_CHECKING:
    from skrkit.sandbox.entra import Principal
    from skrkit.sandbox.store import Document
    from skrkit.sandbox.world import World

_SUB = "/subscriptions/{subscription}"
_GROUP = _SUB + "/resourceGroups/{group}"
_VAULTS = _GROUP + "/providers/Microsoft.KeyVault/vaults"
_VAULT = _VAULTS + "/{vault}"
_KV_LOCATION = _SUB + "/providers/Microsoft.KeyVault/locations/{location}"
_VMS = _GROUP + "/providers/Microsoft.Compute/virtualMachines"
_VM = _VMS + "/{vm}"

_GROUP_ACTION = "Microsoft.Resources/subscriptions/resourceGroups"
# method, path (case does not matter, `{scope}` is any number of segments), the action that a role must allow there
# (with members of the path; none where the handler itself shows to each caller what is theirs), handler
ROUTES: tuple[tuple[str, str, str, Handler], ...] = (
    ("GET", "/subscriptions", "", groups.list_subscriptions),
    ("GET", _SUB, "", groups.get_subscription),
    ("GET", _SUB + "/resources", "", groups.list_resources),
    ("GET", _SUB + "/resourceGroups", "", groups.list_groups),
    ("PUT", _GROUP, f"{_GROUP_ACTION}/write", groups.put_group),
    ("GET", _GROUP, f"{_GROUP_ACTION}/read", groups.get_group),
    ("HEAD", _GROUP, f"{_GROUP_ACTION}/read", groups.head_group),
    ("DELETE", _GROUP, f"{_GROUP_ACTION}/delete", groups.delete_group),
    ("GET", _GROUP + "/resources", "", groups.list_resources),
    ("GET", _SUB + "/providers/{provider}/locations/{location}/operations/{operation}",
     "", operations.get_operation),  # its name is known to who began it
    ("PUT", _VAULT, f"{VAULT_TYPE}/write", vaults.put_vault),
    ("PATCH", _VAULT, f"{VAULT_TYPE}/write", vaults.patch_vault),
    ("GET", _VAULT, f"{VAULT_TYPE}/read", vaults.get_vault),
    ("DELETE", _VAULT, f"{VAULT_TYPE}/delete", vaults.delete_vault),
    ("GET", _VAULTS, f"{VAULT_TYPE}/read", vaults.list_vaults),
    ("GET", _SUB + "/providers/Microsoft.KeyVault/vaults", f"{VAULT_TYPE}/read", vaults.list_vaults),
    ("PUT", _VAULT + "/accessPolicies/{kind}", f"{VAULT_TYPE}/accessPolicies/write",
     access_policies.put_access_policies),
    ("GET", _SUB + "/providers/Microsoft.KeyVault/deletedVaults", "Microsoft.KeyVault/deletedVaults/read",
     vaults.list_deleted),
    ("GET", _KV_LOCATION + "/deletedVaults/{vault}", f"{vaults.DELETED_VAULT_TYPE}/read", vaults.get_deleted),
    ("POST", _KV_LOCATION + "/deletedVaults/{vault}/purge", f"{vaults.DELETED_VAULT_TYPE}/purge/action",
     vaults.purge_deleted),
    ("POST", _SUB + "/providers/Microsoft.KeyVault/checkNameAvailability",
     "Microsoft.KeyVault/checkNameAvailability/read", vaults.check_name),
    ("PUT", _VAULT + "/keys/{name}", f"{VAULT_TYPE}/keys/write", keys.put_key),
    ("GET", _VAULT + "/keys/{name}", f"{VAULT_TYPE}/keys/read", keys.get_key),
    ("GET", _VAULT + "/keys", f"{VAULT_TYPE}/keys/read", keys.list_keys),
    ("GET", _VAULT + "/keys/{name}/versions", f"{VAULT_TYPE}/keys/versions/read", keys.list_versions),
    ("GET", _VAULT + "/keys/{name}/versions/{version}", f"{VAULT_TYPE}/keys/versions/read", keys.get_key),
    ("PUT", _VM, f"{VM_TYPE}/write", machines.put_vm),
    ("PATCH", _VM, f"{VM_TYPE}/write", machines.patch_vm),
    ("GET", _VM, f"{VM_TYPE}/read", machines.get_vm),
    ("DELETE", _VM, f"{VM_TYPE}/delete", machines.delete_vm),
    ("GET", _VM + "/instanceView", f"{VM_TYPE}/instanceView/read", machines.get_instance_view),
    ("GET", _VMS, f"{VM_TYPE}/read", machines.list_vms),
    ("GET", _SUB + "/providers/Microsoft.Compute/virtualMachines", f"{VM_TYPE}/read", machines.list_vms),
    *images.ROUTES,
    *sizes.ROUTES,
    *locations.ROUTES,
    *resource_providers.ROUTES,
    *user_assigned.ROUTES,
    *managed_hsms.ROUTES,
    *role_assignments.ROUTES,
    *disks.ROUTES,
    *networks.ROUTES,
    *deployments.ROUTES,
    *attestation_providers.ROUTES,
    *power.ROUTES,
    *run_command.ROUTES,
    *managed_run_commands.ROUTES,
)  # fmt: skip
_API_VERSION = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(-[a-z]+)?\Z")
FIRST_API_VERSION = "2014-01-01"  # Resource Manager is of 2014: no version of any resource is older
_DEPLOYMENT = "/providers/microsoft.resources/deployments/"
# Of every resource; Resource Manager reads them in any case, and what it does not know it does not look at.
_MEMBERS = {
    name.lower(): name
    for name in ("location", "tags", "properties", "identity", "sku", "kind", "zones", "plan", "extendedLocation")
}
METHODS = ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"]


def app(world: World) -> Starlette:
    """Return the ASGI app of Resource Manager."""
    ensure_owner(world)

    async def endpoint(request: Request) -> Response:
        try:
            raw = await body_bytes(request)
        except AzureError as refusal:
            return refusal.response()
        return await run_in_threadpool(_finished, world, request, raw)

    routes = [Route("/{path:path}", endpoint, methods=METHODS)]
    return Starlette(routes=routes, exception_handlers={AzureError: azure_error})


def _finished(world: World, request: Request, raw: bytes) -> Response:
    try:
        response = _answer(world, request, raw)
    except AzureError as refusal:
        response = refusal.response()
    response.headers.update(_headers(request))
    return response


def _pattern(path: str) -> re.Pattern[str]:
    path = path.replace("{scope}", "(?P<scope>.*)")
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path), re.IGNORECASE)


def _answer(world: World, request: Request, raw: bytes) -> Response:
    path = "/" + "/".join(segments(request))
    caller = _authenticated(world, request.headers.get("authorization"))
    api_version = request.query_params.get("api-version", "")
    if not api_version:
        raise errors.missing_api_version()
    if raw and media_type(request) != "application/json":
        raise errors.unsupported_media_type(request.headers.get("content-type"))
    return answered(world, caller, request.method, path, dict(request.query_params), raw)


def _is_api_version(text: str) -> bool:
    """Return whether a text is a day that a version could be of. Which version a resource has, is not known here."""
    found = _API_VERSION.match(text)
    try:
        return found is not None and found[1] >= FIRST_API_VERSION and date.fromisoformat(found[1]) is not None
    except ValueError:
        return False


def answered(
    world: World, caller: Principal, method: str, path: str, query: dict[str, str], raw: bytes = b""
) -> Response:
    """Return the answer to a request of a caller who is known, or whom a template deployment acts for.

    `query` has an `api-version`. Raises `AzureError` for a path that is not here, for a caller who may not, and what
    the handler raises.
    """
    handler, call = call_of(world, caller, method, path, query, raw)
    return handler(call)


def call_of(
    world: World, caller: Principal, method: str, path: str, query: dict[str, str], raw: bytes = b""
) -> tuple[Handler, Call]:
    """Return a request as its handler takes it, and the handler. Raises `AzureError` as `answered` does before it."""
    if not _is_api_version(query["api-version"]):
        raise errors.invalid_api_version(query["api-version"])
    action, handler, names = permitted(world, caller, method, path)
    call = Call(
        world=world,
        caller=caller,
        method=method,
        url_path=path,
        api_version=query["api-version"],
        path=names,
        query=query,
        body=_body(path, raw),
        lock=arm_lock(world),
    )
    locations.require_region(call)
    authorisation.require_linked(call, action)
    return handler, call


def _body(path: str, raw: bytes) -> Document:
    decode = decode_jsonc if _DEPLOYMENT in path.lower() else json.loads
    body = body_object(raw, code="InvalidRequestContent", words=errors.NO_CONTENT, decode=decode)
    return {_MEMBERS.get(name.lower(), name): value for name, value in body.items()}


def permitted(world: World, caller: Principal, method: str, path: str) -> tuple[str, Handler, dict[str, str]]:
    """Return the action, the handler and the path's members of a request that the caller may make. Raises as above."""
    action, handler, names = _route(_table(), method, path)
    subscription = names.get("subscription")
    if subscription is not None and subscription.lower() != world.subscription:
        raise errors.no_subscription(subscription)
    action = action.format_map(names)
    if action:
        authorisation.require(world, caller, action, authorisation.scope_of(method, path))
    return action, handler, names


@cache
def _table() -> list[tuple[str, re.Pattern[str], str, Handler]]:
    return [(method, _pattern(path), action, handler) for method, path, action, handler in ROUTES]


def _authenticated(world: World, authorization: str | None) -> Principal:
    from skrkit.sandbox.entra import TokenRefused, authenticate

    try:
        return authenticate(world, authorization, audiences=errors.AUDIENCES)
    except TokenRefused as refused:
        raise errors.unauthenticated(refused.reason, authorization, tenant=world.tenant, now=world.now()) from None


def _route(table: list[Any], method: str, path: str) -> tuple[str, Handler, dict[str, str]]:
    matches = [(m, action, handler, found) for m, p, action, handler in table if (found := p.fullmatch(path))]
    for known, action, handler, found in matches:
        if known == method:
            return action, handler, found.groupdict()
    if matches:
        raise AzureError(
            405, "MethodNotAllowed", f"The HTTP method '{method}' is not supported at scope '{path}'."
        )  # the words are not known to the letter (inferred)
    raise errors.not_here(f"{method} {path}")


def _headers(request: Request) -> dict[str, str]:
    given = new_request_id()
    headers = {
        "Cache-Control": "no-cache",
        "Pragma": "no-cache",
        "Expires": "-1",
        "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
        "X-Content-Type-Options": "nosniff",
        "x-ms-request-id": given,
        "x-ms-correlation-request-id": request.headers.get("x-ms-correlation-request-id")
        or chance.uuid4("arm/correlation"),
    }
    client_id = request.headers.get("x-ms-client-request-id")
    if client_id and request.headers.get("x-ms-return-client-request-id", "").lower() == "true":
        headers["x-ms-client-request-id"] = client_id
    return headers
