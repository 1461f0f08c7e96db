"""Microsoft Graph, as far as other people's clients need it: who is the principal of this name, and what is this id.

Source: Graph's reference of service principals and of directoryObject: getByIds. Nothing of the directory is written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from skrkit.sandbox import applications, entra
from skrkit.sandbox.arm.identity import PRINCIPAL_KIND
from skrkit.sandbox.store import Document
from skrkit.sandbox.web import AzureError, body_bytes, body_object, new_request_id

if TYPE_CHECKING:
    from skrkit.sandbox.world import World

AUDIENCES = ("https://graph.microsoft.com", "https://graph.microsoft.com/")
MAX_IDS = 1000  # of one getByIds
_CONTEXT = "https://graph.microsoft.com/v1.0/$metadata"
_KIND = "#microsoft.graph.servicePrincipal"
_FILTERS = (
    (re.compile(r"servicePrincipalNames/any\(\s*(\w+)\s*:\s*\1\s+eq\s+'([^']*)'\s*\)", re.I), "servicePrincipalNames"),
    (re.compile(r"(appId|id|displayName|servicePrincipalType)\s+eq\s+'([^']*)'", re.I), ""),
    (re.compile(r"(startswith)\(\s*displayName\s*,\s*'([^']*)'\s*\)", re.I), "startswith"),
)
"""Each with two groups, the second of them the value that is asked for."""


def _principals(world: World) -> list[Document]:
    """Return the service principals of the tenant: those of applications, and of managed identities."""
    found = [
        _shown(each["oid"], each["appid"], str(each["name"]), "Application")
        for each in applications.all_applications(world)
    ]
    for _, each in world.store.list(PRINCIPAL_KIND):
        mirid = str(each["mirid"])
        explicit = "/userassignedidentities/" in mirid.lower()
        shown = _shown(each["oid"], each["appid"], mirid.rpartition("/")[2], "ManagedIdentity")
        found.append(shown | {"alternativeNames": [f"isExplicit={explicit}", mirid]})
    return found


def _shown(oid: str, appid: str, name: str, kind: str) -> Document:
    return {
        "id": oid,
        "accountEnabled": True,
        "alternativeNames": [],
        "appDisplayName": name,
        "appId": appid,
        "displayName": name,
        "servicePrincipalNames": [appid],
        "servicePrincipalType": kind,
        "signInAudience": "AzureADMyOrg",
        "tags": [],
    }


def list_principals(world: World, _names: Mapping[str, str], query: Mapping[str, str], _body: Document) -> Response:
    """Return the service principals that `$filter` names: by a name, `appId`, `id`, `displayName` or its beginning."""
    found = _principals(world)
    for part in re.split(r"\s+and\s+", query["$filter"].strip(), flags=re.I) if query.get("$filter") else []:
        found = [each for each in found if _matches(each, part)]
    return JSONResponse({"@odata.context": f"{_CONTEXT}#servicePrincipals", "value": found})


def _matches(principal: Document, part: str) -> bool:
    for pattern, member in _FILTERS:
        match = pattern.fullmatch(part.strip())
        if match is None:
            continue
        value = match[2].lower()
        if member == "servicePrincipalNames":
            return value in [str(name).lower() for name in principal[member]]
        if member == "startswith":
            return str(principal["displayName"]).lower().startswith(value)
        return value == next(str(each).lower() for name, each in principal.items() if name.lower() == match[1].lower())
    raise AzureError(400, "Request_UnsupportedQuery", f"Unsupported or invalid query filter clause specified: {part}.")


def get_principal(world: World, names: Mapping[str, str], _query: Mapping[str, str], _body: Document) -> Response:
    """Return one service principal by its object id, or by `appId='…'`."""
    wanted = names["id"].lower()
    for each in _principals(world):
        if wanted in (each["id"], f"appid='{each['appId']}'"):
            return JSONResponse({"@odata.context": f"{_CONTEXT}#servicePrincipals/$entity", **each})
    raise _not_found(names["id"])


def get_by_ids(world: World, _names: Mapping[str, str], _query: Mapping[str, str], body: Document) -> Response:
    """Return the objects of these ids; an id that nobody has is left out."""
    ids, types = body.get("ids"), body.get("types") or ["directoryObject"]
    if not isinstance(ids, list) or not isinstance(types, list) or not 0 < len(ids) <= MAX_IDS:
        raise AzureError(400, "Request_BadRequest", f"A list of 1 to {MAX_IDS} ids is required.")  # (inferred)
    wanted = {str(each).lower() for each in ids}
    kinds = {str(each).lower() for each in types}
    found = _principals(world) if kinds & {"serviceprincipal", "directoryobject"} else []
    value = [{"@odata.type": _KIND, **each} for each in found if each["id"] in wanted]
    return JSONResponse({"@odata.context": f"{_CONTEXT}#directoryObjects", "value": value})


def get_me(_world: World, _names: Mapping[str, str], _query: Mapping[str, str], _body: Document) -> Response:
    """Refuse: nobody of this tenant is a user."""
    raise AzureError(400, "BadRequest", "/me request is only valid with delegated authentication flow.")


def list_users(_world: World, _names: Mapping[str, str], _query: Mapping[str, str], _body: Document) -> Response:
    """Return an empty list: the tenant has no users."""
    return JSONResponse({"@odata.context": f"{_CONTEXT}#users", "value": []})


def list_groups(_world: World, _names: Mapping[str, str], _query: Mapping[str, str], _body: Document) -> Response:
    """Return an empty list: the tenant has no groups."""
    return JSONResponse({"@odata.context": f"{_CONTEXT}#groups", "value": []})


def _not_found(name: str) -> AzureError:
    message = f"Resource '{name}' does not exist or one of its queried reference-property objects are not present."
    return AzureError(404, "Request_ResourceNotFound", message)


Handler = Callable[["World", Mapping[str, str], Mapping[str, str], Document], Response]

ROUTES: tuple[tuple[str, str, Handler], ...] = (
    ("GET", "/servicePrincipals", list_principals),
    ("GET", "/servicePrincipals/{id}", get_principal),
    ("GET", "/servicePrincipals({id})", get_principal),
    ("POST", "/directoryObjects/getByIds", get_by_ids),
    ("GET", "/me", get_me),
    ("GET", "/users", list_users),
    ("GET", "/groups", list_groups),
)


def app(world: World) -> Starlette:
    """Return the ASGI app of `graph.microsoft.com`, versions `v1.0` and `beta`."""

    async def endpoint(request: Request) -> Response:
        try:
            raw = await body_bytes(request)
            return await run_in_threadpool(_answer, world, request, raw)
        except AzureError as refusal:
            return refused(refusal, world)

    return Starlette(routes=[Route("/{path:path}", endpoint, methods=["GET", "POST", "PATCH", "PUT", "DELETE"])])


def _answer(world: World, request: Request, raw: bytes) -> Response:
    caller = _authenticated(world, request.headers.get("authorization"))
    if caller.oid != world.setting("operator_oid"):  # no other application was given a permission of the directory
        raise AzureError(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
    version, _, rest = request.url.path.lstrip("/").partition("/")
    if version not in ("v1.0", "beta"):
        raise AzureError(400, "BadRequest", f"Invalid version: {version}.")
    path = "/" + unquote(rest).rstrip("/")
    for method, pattern, handler in _table():
        found = pattern.fullmatch(path)
        if found and method == request.method:
            body = body_object(raw, code="BadRequest")
            return handler(world, found.groupdict(), dict(request.query_params), body)
    raise AzureError(501, "NotInSandbox", f"The sandbox does not have {request.method} {path} of Microsoft Graph.")


@cache
def _table() -> list[tuple[str, re.Pattern[str], Handler]]:
    return [(method, _pattern(path), handler) for method, path, handler in ROUTES]


def _pattern(path: str) -> re.Pattern[str]:
    escaped = path.replace("(", r"\(").replace(")", r"\)")
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/()]+)", escaped), re.IGNORECASE)


def _authenticated(world: World, authorization: str | None) -> entra.Principal:
    try:
        return entra.authenticate(world, authorization, audiences=AUDIENCES)
    except entra.TokenRefused as refusal:
        words = {
            "missing": "Access token is empty.",
            "audience": "Access token validation failure. Invalid audience.",
            "expired": "Lifetime validation failed, the token is expired.",
        }
        said = words.get(refusal.reason, "Access token validation failure.")
        raise AzureError(401, "InvalidAuthenticationToken", said) from None


def refused(refusal: AzureError, world: World) -> Response:
    """Return a refusal in Graph's shape: its `innerError` says when, and under which request id."""
    at, request_id = world.now().strftime("%Y-%m-%dT%H:%M:%S"), new_request_id()
    inner: dict[str, Any] = {"date": at, "request-id": request_id, "client-request-id": request_id}
    body = {"error": {"code": refusal.code, "message": refusal.message, "innerError": inner}}
    return JSONResponse(body, refusal.status, headers={"request-id": request_id})
