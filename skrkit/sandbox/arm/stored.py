"""Resources that are kept as they are given and shown as they are kept: the handlers that they have in common."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TypeAlias

from starlette.responses import JSONResponse, Response

from skrkit.sandbox import chance
from skrkit.sandbox.arm import errors
from skrkit.sandbox.arm.call import ARM_KIND, Call, Handler
from skrkit.sandbox.arm.errors import bad_request
from skrkit.sandbox.store import Document

Check: TypeAlias = Callable[[Call, Document, Document], None]
"""What a type asks of a body, and adds to it: the call, the resource in the making, and the one before or `{}`."""

_IN_USE = {  # by the type in lower case
    "microsoft.network/networksecuritygroups": "InUseNetworkSecurityGroupCannotBeDeleted",
    "microsoft.network/virtualnetworks": "InUseSubnetCannotBeDeleted",
    "microsoft.network/publicipaddresses": "PublicIPAddressCannotBeDeleted",
    "microsoft.network/networkinterfaces": "NicInUse",
}


def rows(resource_type: str, check: Check, *, created: int = 201) -> tuple[tuple[str, str, str, Handler], ...]:
    """Return the routes of a type: PUT, PATCH of tags, GET, DELETE, and its lists in the group and in all of them.

    `created` is the status of a PUT that makes one.
    """
    every = f"/subscriptions/{{subscription}}/resourceGroups/{{group}}/providers/{resource_type}"
    everywhere = f"/subscriptions/{{subscription}}/providers/{resource_type}"
    one = every + "/{name}"
    return (
        ("PUT", one, f"{resource_type}/write", _put(resource_type, check, created)),
        ("PATCH", one, f"{resource_type}/write", _patch(resource_type)),
        ("GET", one, f"{resource_type}/read", _get(resource_type)),
        ("DELETE", one, f"{resource_type}/delete", _delete(resource_type)),
        ("GET", every, f"{resource_type}/read", _list(resource_type)),
        ("GET", everywhere, f"{resource_type}/read", _list(resource_type)),
    )


def new_etag() -> str:
    """Return a fresh etag as the network provider writes it."""
    return f'W/"{chance.uuid4("arm/etag")}"'


def _put(resource_type: str, check: Check, created: int) -> Handler:
    def put(call: Call) -> Response:
        """Return the new resource, with 200 one that was there: it is replaced whole."""
        call.require_group()
        location = call.body.get("location")
        if not isinstance(location, str) or not location:
            raise errors.no_location()
        with call.lock:
            before = call.read(call.resource_id(resource_type, call.path["name"]))
            made = _new(call, resource_type, location.lower().replace(" ", ""), before)
            check(call, made, before or {})
            call.write(made)
        return JSONResponse(made, 200 if before else created)

    return put


def _new(call: Call, resource_type: str, location: str, before: Document | None) -> Document:
    made: Document = {
        "name": call.path["name"],
        "id": call.resource_id(resource_type, call.path["name"]),
        "etag": new_etag(),
        "type": resource_type,
        "location": location,
        "tags": call.tags(),
        "properties": dict(call.object_of("properties")),
    }
    for name in ("sku", "zones", "extendedLocation"):
        if call.body.get(name) is not None:
            made[name] = call.body[name]
    guid = (before or {"properties": {}})["properties"].get("resourceGuid") or chance.uuid4("arm/resource")
    made["properties"] |= {"provisioningState": "Succeeded", "resourceGuid": guid}
    return made


def _get(resource_type: str) -> Handler:
    def get(call: Call) -> Response:
        """Return the resource."""
        return JSONResponse(call.require(resource_type, call.path["name"]))

    return get


def _patch(resource_type: str) -> Handler:
    def patch(call: Call) -> Response:
        """Return the resource with other tags: nothing else is changed by PATCH."""
        with call.lock:
            changed = call.require(resource_type, call.path["name"])
            changed["tags"] = call.tags()
            if "etag" in changed:
                changed["etag"] = new_etag()
            call.write(changed)
        return JSONResponse(changed)

    return patch


def _list(resource_type: str) -> Handler:
    def show(call: Call) -> Response:
        """Return the resources of the group, or of the subscription."""
        if "group" in call.path:
            call.require_group()
        return JSONResponse({"value": call.resources(resource_type, group="group" in call.path)})

    return show


def _delete(resource_type: str) -> Handler:
    def delete(call: Call) -> Response:
        """Return 200 after the resource was deleted, 204 if it was not there."""
        with call.lock:
            call.require_group()
            resource_id = call.resource_id(resource_type, call.path["name"])
            if call.read(resource_id) is None:
                return Response(status_code=204)
            _require_unused(call, resource_type, resource_id)
            call.world.store.delete(ARM_KIND, resource_id.lower())
        return Response(status_code=200)

    return delete


def _require_unused(call: Call, resource_type: str, resource_id: str) -> None:
    """Raise 400 if another resource refers to this one, or to a part of it. The words are inferred, but the codes."""
    wanted = f'"{resource_id.lower()}'
    for other in call.resources(group=False):
        text = json.dumps(other["properties"]).lower()
        if other["id"].lower() != resource_id.lower() and (f'{wanted}"' in text or f"{wanted}/" in text):
            raise bad_request(
                f"Resource {resource_id} is in use by {other['id']} and cannot be deleted. In order to delete it, "
                f"dissociate it from {other['id']}.",
                code=_IN_USE.get(resource_type.lower(), "InUse"),
            )
