"""User-assigned managed identities: resources of their own, each with a service principal that outlives any VM."""

from __future__ import annotations

import re

from starlette.responses import JSONResponse, Response

from skrkit.sandbox import chance
from skrkit.sandbox.arm import errors
from skrkit.sandbox.arm.call import ARM_KIND, Call, Handler
from skrkit.sandbox.arm.errors import bad_request
from skrkit.sandbox.arm.identity import IDENTITY_TYPE, PRINCIPAL_KIND
from skrkit.sandbox.roles import assignment
from skrkit.sandbox.store import Document
from skrkit.sandbox.world import World

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{2,127}\Z")


def put_identity(call: Call) -> Response:
    """Return 201 with a new identity and its ids, 200 for one that is there: it keeps its ids, its tags change."""
    call.require_group()
    name = call.path["identity"]
    if not _NAME.match(name):  # the words are not known to the letter (inferred)
        raise bad_request(
            f"The user-assigned identity name '{name}' is invalid: 3 to 128 letters, digits, hyphens and underscores, "
            "a letter or digit first.",
            code="InvalidResourceName",
        )
    location = call.body.get("location")
    if not isinstance(location, str) or not location:
        raise errors.no_location()
    location = location.lower().replace(" ", "")
    with call.lock:
        before = call.read(call.resource_id(IDENTITY_TYPE, name))
        if before is not None:
            return JSONResponse(_changed(call, before, location))
        made = make(call.world, call.resource_id(IDENTITY_TYPE, name), location, call.tags())
    return JSONResponse(made, 201)


def make(world: World, identity_id: str, location: str, tags: dict[str, str]) -> Document:
    """Return a new user-assigned identity, written with its service principal."""
    oid, appid = chance.uuid4("identity/user-oid"), chance.uuid4("identity/user-appid")
    identity = {
        "id": identity_id,
        "name": identity_id.rpartition("/")[2],
        "type": IDENTITY_TYPE,
        "location": location,
        "tags": tags,
        "properties": {"tenantId": world.tenant, "principalId": oid, "clientId": appid},
    }
    principal = {"oid": oid, "appid": appid, "tid": world.tenant, "mirid": identity_id}
    with world.store.transaction():
        world.store.put(PRINCIPAL_KIND, oid, principal)
        world.store.put(ARM_KIND, identity_id.lower(), identity)
    return identity


def _changed(call: Call, before: Document, location: str) -> Document:
    """Return the identity with the body's tags: there is nothing else in it that can change."""
    if location != before["location"]:
        raise errors.other_location(before, call.path["group"], location)
    changed = before | {"tags": call.tags()}
    call.write(changed)
    return changed


def patch_identity(call: Call) -> Response:
    """Return the identity with other tags, which are replaced whole; it has nothing else that can change."""
    with call.lock:
        identity = call.require(IDENTITY_TYPE, call.path["identity"])
        if call.body.get("tags") is not None:
            location = str(call.body.get("location") or identity["location"])
            identity = _changed(call, identity, location.lower().replace(" ", ""))
    return JSONResponse(identity)


def get_identity(call: Call) -> Response:
    """Return the identity."""
    return JSONResponse(call.require(IDENTITY_TYPE, call.path["identity"]))


def list_identities(call: Call) -> Response:
    """Return the user-assigned identities of the group, or of the subscription."""
    if "group" in call.path:
        call.require_group()
    return JSONResponse({"value": call.resources(IDENTITY_TYPE, group="group" in call.path)})


def delete_identity(call: Call) -> Response:
    """Return 200 after the identity was deleted, 204 if it was not there. A VM that has it keeps a dead reference."""
    with call.lock:
        call.require_group()
        identity = call.read(call.resource_id(IDENTITY_TYPE, call.path["identity"]))
        if identity is None:
            return Response(status_code=204)
        remove(call.world, identity)
    return Response(status_code=200)


def remove(world: World, identity: Document) -> None:
    """Delete a user-assigned identity and its service principal; VMs and what was granted to it still name it."""
    with world.store.transaction():
        world.store.delete(PRINCIPAL_KIND, str(identity["properties"]["principalId"]))
        world.store.delete(ARM_KIND, str(identity["id"]).lower())
        assignment.remove_within(world, str(identity["id"]))


_SUB = "/subscriptions/{subscription}"
_IDENTITIES = f"/providers/{IDENTITY_TYPE}"
_IDENTITY = f"{_SUB}/resourceGroups/{{group}}{_IDENTITIES}/{{identity}}"
ROUTES: tuple[tuple[str, str, str, Handler], ...] = (
    ("PUT", _IDENTITY, f"{IDENTITY_TYPE}/write", put_identity),
    ("PATCH", _IDENTITY, f"{IDENTITY_TYPE}/write", patch_identity),
    ("GET", _IDENTITY, f"{IDENTITY_TYPE}/read", get_identity),
    ("DELETE", _IDENTITY, f"{IDENTITY_TYPE}/delete", delete_identity),
    ("GET", f"{_SUB}/resourceGroups/{{group}}{_IDENTITIES}", f"{IDENTITY_TYPE}/read", list_identities),
    ("GET", f"{_SUB}{_IDENTITIES}", f"{IDENTITY_TYPE}/read", list_identities),
)
