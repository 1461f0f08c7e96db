"""The `identity` member of a VM: switching the system-assigned managed identity on and off.

User-assigned identities cannot be made here; a VM that was given some, by a fault, may keep them beside its own.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from skrkit.sandbox import chance
from skrkit.sandbox.arm import errors
from skrkit.sandbox.arm.call import Call
from skrkit.sandbox.arm.errors import bad_request
from skrkit.sandbox.store import Document

PRINCIPAL_KIND = "principal"  # oid -> {"oid", "appid", "tid", "mirid"}: what Entra knows of an identity


def wanted_identity(given: Any, known: Collection[str] = ()) -> frozenset[str] | None:
    """Return the kinds of identity that a body asks for, or None for as it is; empty is none at all.

    `known` are the ids, lower case, of the user-assigned identities that the VM has: it may keep those, and gets no
    others. Raises `AzureError` for what is not in the sandbox.
    """
    if given is None:
        return None
    wanted = given.get("type") if isinstance(given, dict) else None
    words = frozenset(word.strip().lower() for word in str(wanted or "").split(","))
    if words not in ({"none"}, {"systemassigned"}, {"userassigned"}, {"systemassigned", "userassigned"}):
        raise bad_request(
            f"The identity type '{wanted}' is invalid. Expected 'None', 'SystemAssigned', 'UserAssigned' or "
            "'SystemAssigned, UserAssigned'."
        )
    named = _assigned(given) if "userassigned" in words else {}
    if "userassigned" in words and (not named or not {name.lower() for name in named} <= set(known)):
        raise errors.not_here("user-assigned identities; use the system-assigned one")
    return words - {"none"}


def _assigned(identity: dict[str, Any]) -> dict[str, Any]:
    """Return the user-assigned identities of an `identity` member, by id."""
    assigned = identity.get("userAssignedIdentities")
    return assigned if isinstance(assigned, dict) else {}


def apply_identity(call: Call, vm: Document, given: Any) -> None:
    """Change `vm["identity"]` to what the body asks for, and make or remove its service principal.

    An identity that is there already is kept: it keeps its object id. Callers run this in the store's transaction
    that writes the VM.
    """
    before = vm.get("identity") or {}
    had = _assigned(before)
    wanted = wanted_identity(given, {name.lower() for name in had})
    if wanted is None:
        return
    if "systemassigned" not in wanted:
        remove_identity(call, vm)
    identity = vm.pop("identity", {})
    if "systemassigned" in wanted and not identity.get("principalId"):
        identity = _new_identity(call, vm)
    identity = {name: value for name, value in identity.items() if name != "userAssignedIdentities"}
    kept = {name.lower() for name, value in _assigned(given).items() if value is not None}  # null takes one away
    assigned = {name: value for name, value in had.items() if name.lower() in kept and "userassigned" in wanted}
    if assigned:
        kinds = "SystemAssigned, UserAssigned" if identity else "UserAssigned"
        identity |= {"type": kinds, "userAssignedIdentities": assigned}
    elif identity:
        identity["type"] = "SystemAssigned"
    if identity:
        vm["identity"] = identity


def _new_identity(call: Call, vm: Document) -> dict[str, str]:
    principal = {
        "oid": chance.uuid4("identity/oid"),
        "appid": chance.uuid4("identity/appid"),
        "tid": call.world.tenant,
        "mirid": str(vm["id"]),
    }
    call.world.store.put(PRINCIPAL_KIND, principal["oid"], principal)
    return {"type": "SystemAssigned", "principalId": principal["oid"], "tenantId": call.world.tenant}


def remove_identity(call: Call, vm: Document) -> None:
    """Take the identity off the VM: its service principal is gone, access policies that name it stay and are dead."""
    identity = vm.pop("identity", None) or {}
    if identity.get("principalId"):
        call.world.store.delete(PRINCIPAL_KIND, str(identity["principalId"]))
