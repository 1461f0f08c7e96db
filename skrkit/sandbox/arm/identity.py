"""The `identity` member of a VM: switching the system-assigned managed identity on and off."""

from __future__ import annotations

from typing import Any

from skrkit.sandbox import chance
from skrkit.sandbox.arm import errors
from skrkit.sandbox.arm.call import Call
from skrkit.sandbox.arm.errors import bad_request
from skrkit.sandbox.store import Document

PRINCIPAL_KIND = "principal"  # oid -> {"oid", "appid", "tid", "mirid"}: what Entra knows of an identity


def wanted_identity(given: Any) -> bool | None:
    """Return True for on, False for off, None for as it is. Raises `AzureError` for what is not in the sandbox."""
    if given is None:
        return None
    wanted = given.get("type") if isinstance(given, dict) else None
    words = {word.strip().lower() for word in str(wanted or "").split(",")}
    if "userassigned" in words:
        raise errors.not_here("user-assigned identities; use the system-assigned one")
    if words not in ({"none"}, {"systemassigned"}):
        raise bad_request(
            f"The identity type '{wanted}' is invalid. Expected 'None', 'SystemAssigned', 'UserAssigned' or "
            "'SystemAssigned, UserAssigned'."
        )
    return words == {"systemassigned"}


def apply_identity(call: Call, vm: Document, given: Any) -> None:
    """Change `vm["identity"]` to what the body asks for, and make or remove its service principal.

    An identity that is there already is kept: it keeps its object id. Callers run this in the store's transaction
    that writes the VM.
    """
    wanted = wanted_identity(given)
    if wanted is False:
        remove_identity(call, vm)
    elif wanted and "identity" not in vm:
        vm["identity"] = _new_identity(call, vm)


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
    identity = vm.pop("identity", None)
    if identity:
        call.world.store.delete(PRINCIPAL_KIND, str(identity["principalId"]))
