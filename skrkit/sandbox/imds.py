"""The Instance Metadata Service of the VM whose door is used: instance, attested document, tokens, certificates."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from skrkit.sandbox import entra
from skrkit.sandbox.faults import access_token, network
from skrkit.sandbox.faults.identity import NO_CLIENT, imds_answer
from skrkit.sandbox.imds_instance import instance_document
from skrkit.sandbox.web import JSONResponse, door

if TYPE_CHECKING:
    from skrkit.sandbox.machine import Machine
    from skrkit.sandbox.world import World

HOST = "169.254.169.254"
MANAGED_IDENTITY_LIFETIME_S = 86400
VERSIONS = (
    "2017-03-01", "2017-04-02", "2017-08-01", "2017-10-01", "2017-12-01", "2018-02-01", "2018-04-02", "2018-10-01",
    "2019-02-01", "2019-03-11", "2019-04-30", "2019-06-01", "2019-06-04", "2019-08-01", "2019-08-15", "2019-11-01",
    "2020-06-01", "2020-07-15", "2020-09-01", "2020-10-01", "2020-12-01", "2021-01-01", "2021-02-01", "2021-03-01",
    "2021-05-01", "2021-10-01", "2021-11-01", "2021-11-15", "2021-12-13", "2023-07-01", "2023-11-15", "2024-03-15",
    "2024-07-17", "2025-04-07",
)  # fmt: skip
SELECTORS = {
    "client_id": "appid", "object_id": "oid", "principal_id": "oid", "msi_res_id": "mirid", "mi_res_id": "mirid",
}  # fmt: skip
"""Parameter of a token request, and the member of a principal that it names."""
_SEVERAL = (
    "Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in the token "
    "request"
)
ATTESTED_SINCE = "2018-10-01"
_NONCE = re.compile(r"[A-Za-z0-9]{0,32}")
_NO_HEADER = "Required metadata header not specified"
_BAD_VERSION = (
    "Bad request. api-version is invalid or was not specified in the request. "
    "For more information refer to aka.ms/azureimds"
)


def app(world: World) -> Starlette:
    """Return the ASGI app of `169.254.169.254`. Through the outer door there is no IMDS, as on a laptop."""

    def served(handler: Any) -> Any:
        async def endpoint(request: Request) -> Response:
            machine = await run_in_threadpool(_machine, world, request)
            broken = imds_answer(world, request.url.path)
            if broken is not None:
                return broken
            _check_request(request)
            response: Response = await run_in_threadpool(handler, world, machine, request)
            return response

        return endpoint

    routes = [
        Route("/metadata/versions", served(_versions)),
        Route("/metadata/instance", served(_instance)),
        Route("/metadata/instance/{path:path}", served(_instance)),
        Route("/metadata/attested/document", served(_attested)),
        Route("/metadata/identity/oauth2/token", served(_token)),
        Route("/metadata/identity/info", served(_identity_info)),
        Route("/metadata/identity/{path:path}", served(_unknown_source)),
        Route("/metadata/THIM/amd/certification", served(_thim)),
    ]
    return Starlette(routes=routes, exception_handlers={ImdsError: _imds_error})


class ImdsError(Exception):
    """A refusal in IMDS's own flat shape: the members of `body`, and no more."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(f"{status} {body['error']}")
        self.status = status
        self.body = body


async def _imds_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ImdsError)
    return JSONResponse(error.body, error.status)


def _machine(world: World, request: Request) -> Machine:
    resource_id = door(request)
    machine = world.machines.get(resource_id) if resource_id else None
    if machine is None:
        # What a proxy on a laptop says (Docker Desktop's words): azure-identity takes "unreachable" for no IMDS at
        # once, where it tries a 502 again for 24 s.
        message = (
            "169.254.169.254 is unreachable: there is no IMDS outside a VM. Use the door of a VM: "
            "skrkit sandbox exec --vm NAME -- COMMAND"
        )
        raise ImdsError(403, {"error": "no_imds_here", "error_description": message})
    return machine


def _check_request(request: Request) -> None:
    """Refuse what IMDS refuses of every request: a forwarded one, one without the header, a parameter twice."""
    if "x-forwarded-for" in request.headers:
        raise _bad_request("X-Forwarded-For is not allowed")  # the text is inferred
    if request.headers.get("metadata", "").lower() != "true":
        if request.url.path.startswith("/metadata/identity"):
            raise _refused("invalid_request", _NO_HEADER)
        raise _bad_request(_NO_HEADER)
    counted = Counter(name for name, _ in request.query_params.multi_items())
    twice = [name for name, count in counted.items() if count > 1]
    if twice:
        raise _bad_request(f"Duplicate query parameter: {twice[0]}")  # the text is inferred


def _bad_request(message: str) -> ImdsError:
    return ImdsError(400, {"error": f"Bad request: . {message}"})


def _refused(error: str, description: str, status: int = 400) -> ImdsError:
    return ImdsError(status, {"error": error, "error_description": description})


def _check_version(request: Request) -> str:
    version = request.query_params.get("api-version", "")
    if version not in VERSIONS:
        raise ImdsError(400, {"error": _BAD_VERSION, "newest-versions": list(reversed(VERSIONS[-3:]))})
    return version


def _versions(_world: World, _machine: Machine, _request: Request) -> Response:
    return JSONResponse({"apiVersions": list(VERSIONS)})


def _instance(world: World, machine: Machine, request: Request) -> Response:
    version = _check_version(request)
    value: Any = instance_document(world.store.get("arm", machine.resource_id) or {}, machine, version)
    for step in [step for step in request.path_params.get("path", "").split("/") if step]:
        value = _member(value, step)
        if value is None:
            raise ImdsError(404, {"error": "Not found"})
    as_text = request.query_params.get("format", "json").lower() == "text"
    if isinstance(value, str) != as_text:
        raise _bad_request("format=text goes with a leaf, and a leaf with format=text")  # the text is inferred
    return PlainTextResponse(value) if as_text else JSONResponse(value)


def _attested(world: World, machine: Machine, request: Request) -> Response:
    from skrkit.sandbox.imds_attested import attested_document

    if _check_version(request) < ATTESTED_SINCE:
        raise ImdsError(404, {"error": "Not found"})
    nonce = request.query_params.get("nonce", "")
    if not _NONCE.fullmatch(nonce):
        raise _bad_request("Nonce must be at most 32 alphanumeric characters")  # the text is inferred
    vm = world.store.get("arm", machine.resource_id) or {}
    return JSONResponse(attested_document(world, vm, machine, nonce))


def _member(value: Any, step: str) -> Any:
    if isinstance(value, list):
        return value[int(step)] if step.isdecimal() and int(step) < len(value) else None
    if isinstance(value, dict):
        return next((found for name, found in value.items() if name.lower() == step.lower()), None)
    return None


def _token(world: World, machine: Machine, request: Request) -> Response:
    _check_version(request)
    resource = request.query_params.get("resource", "")
    if not resource:
        raise _refused("invalid_request", "Required query variable 'resource' is missing")  # the text is inferred
    principal = _identity(world, machine, request)
    if not entra.known_resource(resource):
        text = f"AADSTS50001: The application named {resource} was not found in the tenant named {world.tenant}."
        raise _refused("invalid_resource", text)
    expires = int(world.now().timestamp()) + MANAGED_IDENTITY_LIFETIME_S
    token = entra.issue_token(world, principal=principal, resource=resource, lifetime_s=MANAGED_IDENTITY_LIFETIME_S)
    token = access_token.issued(world, token)
    return JSONResponse(
        {
            "access_token": token,
            "client_id": principal.appid,
            "expires_in": str(MANAGED_IDENTITY_LIFETIME_S - 1),
            "expires_on": str(expires),
            "ext_expires_in": str(MANAGED_IDENTITY_LIFETIME_S - 1),
            "not_before": str(expires - MANAGED_IDENTITY_LIFETIME_S),
            "refresh_token": "",
            "resource": resource,
            "token_type": "Bearer",
        }
    )


def _identity(world: World, machine: Machine, request: Request) -> entra.Principal:
    """Return the identity that the request names, or without a name the VM's own, or the only one it has.

    An identity that was deleted still counts as one that the VM has, and is not found (inferred).
    """
    vm = world.store.get("arm", machine.resource_id) or {}
    identity = vm.get("identity") or {}
    assigned = (identity.get("userAssignedIdentities") or {}).values()
    own, others = _principals(world, [identity]), _principals(world, assigned)
    asked = {name: request.query_params[name].lower() for name in SELECTORS if name in request.query_params}
    if world.faulty("identity.wrong-selector"):
        asked = {"client_id": NO_CLIENT}
    if asked:
        found = [each for each in own + others if all(each[SELECTORS[name]].lower() == asked[name] for name in asked)]
    elif not own and len(assigned) > 1:
        raise _refused("invalid_request", _SEVERAL)
    else:
        found = own or others
    if not found:
        raise _refused("invalid_request", "Identity not found")
    return entra.Principal(**{name: found[0][name] for name in ("oid", "appid", "tid", "mirid")})


def _principals(world: World, identities: Iterable[dict[str, Any]]) -> list[dict[str, str]]:
    """Return what Entra knows of the identities in a VM's resource; nothing of one whose service principal is gone."""
    oids = [str(each.get("principalId") or "") for each in identities]
    return [document for oid in oids if oid and (document := world.store.get("principal", oid)) is not None]


def _identity_info(world: World, _machine: Machine, request: Request) -> Response:
    _check_version(request)
    return JSONResponse({"tenantId": world.tenant})


def _unknown_source(_world: World, _machine: Machine, request: Request) -> Response:
    raise _refused("unknown_source", f"Unknown Source {request.url.path}", status=401)


def _thim(world: World, machine: Machine, _request: Request) -> Response:
    if world.faulty("network.thim-unavailable"):
        return network.thim_unavailable()
    return JSONResponse(machine.thim())
