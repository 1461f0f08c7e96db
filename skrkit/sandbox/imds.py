"""The Instance Metadata Service of the VM whose door is used: instance, identity tokens, THIM's certificates."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from skrkit.sandbox import entra
from skrkit.sandbox.imds_instance import instance_document
from skrkit.sandbox.web import AzureError, azure_error, door

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
            _check_request(request)
            response: Response = await run_in_threadpool(handler, world, machine, request)
            return response

        return endpoint

    routes = [
        Route("/metadata/versions", served(_versions)),
        Route("/metadata/instance", served(_instance)),
        Route("/metadata/instance/{path:path}", served(_instance)),
        Route("/metadata/identity/oauth2/token", served(_token)),
        Route("/metadata/identity/info", served(_identity_info)),
        Route("/metadata/THIM/amd/certification", served(_thim)),
    ]
    return Starlette(routes=routes, exception_handlers={AzureError: azure_error})


def _machine(world: World, request: Request) -> Machine:
    resource_id = door(request)
    machine = world.machines.get(resource_id) if resource_id else None
    if machine is None:
        raise AzureError(
            502,
            "NoImdsHere",
            "There is no Instance Metadata Service outside a virtual machine. Use the door of a VM: "
            "skrkit sandbox exec --vm NAME -- COMMAND",
        )
    return machine


def _check_request(request: Request) -> None:
    """Refuse what IMDS refuses of every request: a forwarded one, one without the header, a parameter twice."""
    if "x-forwarded-for" in request.headers:
        raise AzureError(400, "Bad request", "X-Forwarded-For is not allowed", flat=True)  # the text is inferred
    if request.headers.get("metadata", "").lower() != "true":
        if request.url.path.startswith("/metadata/identity"):
            raise AzureError(400, "invalid_request", _NO_HEADER, flat=True)
        raise AzureError(400, f"Bad request: . {_NO_HEADER}", "", flat=True)
    twice = [
        name for name, count in Counter(name for name, _ in request.query_params.multi_items()).items() if count > 1
    ]
    if twice:
        raise AzureError(400, "Bad request", f"Duplicate query parameter: {twice[0]}", flat=True)  # inferred


def _check_version(request: Request) -> None:
    if request.query_params.get("api-version") not in VERSIONS:
        newest = list(reversed(VERSIONS[-3:]))
        raise AzureError(400, _BAD_VERSION, "", flat=True, extra={"newest-versions": newest})


def _versions(_world: World, _machine: Machine, _request: Request) -> Response:
    return JSONResponse({"apiVersions": list(VERSIONS)})


def _instance(world: World, machine: Machine, request: Request) -> Response:
    _check_version(request)
    value: Any = instance_document(world.store.get("arm", machine.resource_id) or {}, machine)
    for step in [step for step in request.path_params.get("path", "").split("/") if step]:
        value = _member(value, step)
        if value is None:
            raise AzureError(404, "Not found", "", flat=True)
    as_text = request.query_params.get("format", "json").lower() == "text"
    if isinstance(value, str) != as_text:
        raise AzureError(
            404 if as_text else 400, "Bad request", "format=text goes with a leaf, and only there", flat=True
        )
    return PlainTextResponse(value) if as_text else JSONResponse(value)


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
        raise AzureError(400, "invalid_request", "Required query variable 'resource' is missing", flat=True)  # inferred
    principal = _identity(world, machine, request)
    if not entra.known_resource(resource):
        raise AzureError(
            400,
            "invalid_resource",
            f"AADSTS50001: The application named {resource} was not found in the tenant named {world.tenant}.",
            flat=True,
        )
    expires = int(world.now().timestamp()) + MANAGED_IDENTITY_LIFETIME_S
    token = entra.issue_token(world, principal=principal, resource=resource, lifetime_s=MANAGED_IDENTITY_LIFETIME_S)
    return JSONResponse(
        {
            "access_token": token,
            "client_id": principal.appid,
            "expires_in": str(MANAGED_IDENTITY_LIFETIME_S - 1),
            "expires_on": str(expires),
            "ext_expires_in": str(MANAGED_IDENTITY_LIFETIME_S - 1),
            "not_before": str(expires - MANAGED_IDENTITY_LIFETIME_S),
            "resource": resource,
            "token_type": "Bearer",
        }
    )


def _identity(world: World, machine: Machine, request: Request) -> entra.Principal:
    """Return the VM's system-assigned identity, if it has one and the request does not name another."""
    vm = world.store.get("arm", machine.resource_id) or {}
    oid = str((vm.get("identity") or {}).get("principalId") or "")
    document = world.store.get("principal", oid) if oid else None
    if document is not None:
        named = {
            "client_id": document["appid"],
            "object_id": document["oid"],
            "principal_id": document["oid"],
            "msi_res_id": document["mirid"],
            "mi_res_id": document["mirid"],
        }
        asked = {name: request.query_params[name] for name in named if name in request.query_params}
        if all(str(named[name]).lower() == value.lower() for name, value in asked.items()):
            return entra.Principal(
                oid=document["oid"], appid=document["appid"], tid=document["tid"], mirid=document["mirid"]
            )
    raise AzureError(400, "invalid_request", "Identity not found", flat=True)


def _identity_info(world: World, _machine: Machine, request: Request) -> Response:
    _check_version(request)
    return JSONResponse({"tenantId": world.tenant})


def _thim(_world: World, machine: Machine, _request: Request) -> Response:
    return JSONResponse(machine.thim())
