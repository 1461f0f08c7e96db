"""Faults of the VM's identity and of IMDS, which gives its tokens out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import HTMLResponse, JSONResponse, Response

from skrkit.sandbox.faults import resources
from skrkit.sandbox.faults.fault import Fault, Undone

if TYPE_CHECKING:
    from skrkit.sandbox.store import Document
    from skrkit.sandbox.world import World

NO_CLIENT = "00000000-0000-0000-0000-000000000000"  # no identity has this client id
RETRY_AFTER = {"Retry-After": "1"}  # may be there, and spares clients half a minute
_USER_ASSIGNED = ("app-identity", "backup-identity")
_PROXY_PAGE = (
    "<!DOCTYPE html><html><head><title>Access Denied</title></head><body><h1>Access Denied</h1>"
    "<p>The proxy does not forward requests for 169.254.169.254.</p></body></html>"
)


def imds_answer(world: World, path: str) -> Response | None:
    """Return the answer that a fault gives in place of IMDS to any request, or None. `path` is the URL's.

    The bodies of 429 and of 500 outside of tokens are inferred: the service guarantees none.
    """
    if world.faulty("identity.imds-proxied"):
        return HTMLResponse(_PROXY_PAGE, 403, headers={"Via": "1.1 proxy"})
    if world.faulty("identity.imds-throttled"):
        return JSONResponse({"error": "Too many requests"}, 429, headers=RETRY_AFTER)
    if world.faulty("identity.imds-down"):
        body = {"error": "Internal server error"}
        if path.startswith("/metadata/identity"):
            body = {"error": "unknown", "error_description": "Failed to retrieve token from the Active directory."}
        return JSONResponse(body, 500, headers=RETRY_AFTER)
    return None


def _without_identity(world: World) -> dict[str, Any]:
    with_one = [vm for vm in resources.vms(world) if vm.get("identity")]
    resources.require(with_one, "a VM with an identity")
    return {"vms": [_taken(world, vm) for vm in with_one]}


def _taken(world: World, vm: Document) -> Document:
    """Take a VM's identity, and what Entra knows of it, and return both."""
    from skrkit.sandbox.arm.identity import PRINCIPAL_KIND

    identity = vm.pop("identity", None)
    resources.write(world, vm)
    oid = str((identity or {}).get("principalId") or "")
    principal = world.store.get(PRINCIPAL_KIND, oid) if oid else None
    if principal is not None:
        world.store.delete(PRINCIPAL_KIND, oid)
    return {"id": vm["id"], "name": vm["name"], "identity": identity, "principal": principal}


def give_back(world: World, taken: Document) -> None:
    """Give a VM the identity that was taken from it."""
    from skrkit.sandbox.arm.identity import PRINCIPAL_KIND

    vm = resources.read(world, taken["id"])
    assert vm is not None  # callers have looked
    vm.pop("identity", None)
    if taken["identity"]:
        vm["identity"] = taken["identity"]
    if taken["principal"]:
        world.store.put(PRINCIPAL_KIND, taken["principal"]["oid"], taken["principal"])
    resources.write(world, vm)


def _identity_back(world: World, before: dict[str, Any]) -> Undone:
    put_back, left = [], []
    for taken in before["vms"]:
        vm = resources.read(world, taken["id"])
        if vm is None:
            left.append(f"{taken['name']} (gone)")
        elif vm.get("identity"):
            left.append(f"{taken['name']} (has an identity again)")
        else:
            give_back(world, taken)
            put_back.append(f"the identity of {taken['name']}")
    return Undone(put_back=tuple(put_back), left=tuple(left))


def _several(world: World) -> dict[str, Any]:
    machines = resources.vms(world)
    resources.require(machines, "a VM")
    taken = [_taken(world, vm) for vm in machines]
    return {"vms": taken, "made": {vm["id"]: _assign_two(world, vm) for vm in machines}}


def _assign_two(world: World, vm: Document) -> Document:
    """Give a VM two user-assigned identities in place of what it had, and return them, and which of them are new."""
    from skrkit.sandbox.arm.identity import IDENTITY_TYPE
    from skrkit.sandbox.arm.user_assigned import make

    group = str(vm["id"]).partition("/providers/")[0]
    assigned: Document = {}
    new: list[str] = []
    for name in _USER_ASSIGNED:
        identity_id = f"{group}/providers/{IDENTITY_TYPE}/{vm['name']}-{name}"
        identity = resources.read(world, identity_id)
        if identity is None:
            identity = make(world, identity_id, str(vm["location"]), {})
            new.append(identity_id)
        assigned[identity["id"]] = {each: identity["properties"][each] for each in ("principalId", "clientId")}
    vm["identity"] = {"type": "UserAssigned", "userAssignedIdentities": assigned}
    resources.write(world, vm)
    return {"assigned": assigned, "new": new}


def _one_again(world: World, before: dict[str, Any]) -> Undone:
    from skrkit.sandbox.arm.user_assigned import remove

    put_back, left = [], []
    for taken in before["vms"]:
        vm, made = resources.read(world, taken["id"]), before["made"][taken["id"]]
        if vm is None:
            left.append(f"{taken['name']} (gone)")
        elif vm.get("identity") != {"type": "UserAssigned", "userAssignedIdentities": made["assigned"]}:
            left.append(f"{taken['name']} (its identities were changed since)")
        else:
            for identity in filter(None, (resources.read(world, name) for name in made["new"])):
                remove(world, identity)
            give_back(world, taken)
            put_back.append(f"what {taken['name']} had")
    return Undone(put_back=tuple(put_back), left=tuple(left))


FAULTS: tuple[Fault, ...] = (
    Fault(
        name="identity.none",
        group="identity",
        title="The VM has no identity",
        does="Takes the managed identity off every VM; Entra ID forgets its service principal.",
        step=1,
        apply=_without_identity,
        undo=_identity_back,
    ),
    Fault(
        name="identity.several",
        group="identity",
        title="The VM has several identities, and the client names none",
        does="Makes two user-assigned identities for every VM, in place of its own, so that IMDS cannot choose.",
        step=1,
        apply=_several,
        undo=_one_again,
    ),
    Fault(
        name="identity.wrong-selector",
        group="identity",
        title="The client asks for an identity that the VM has not",
        does="IMDS answers every token request as if its client_id were one that is not assigned to the VM.",
        step=1,
    ),
    Fault(
        name="identity.imds-throttled",
        group="identity",
        title="IMDS throttles",
        does="IMDS answers every request with 429, as beyond five requests a second.",
        step=1,
    ),
    Fault(
        name="identity.imds-down",
        group="identity",
        title="IMDS fails",
        does="IMDS answers every request with 500.",
        step=1,
    ),
    Fault(
        name="identity.imds-proxied",
        group="identity",
        title="A proxy stands between the client and IMDS",
        does="A proxy's page, 403 and HTML, comes in place of every answer of IMDS.",
        step=1,
    ),
)
