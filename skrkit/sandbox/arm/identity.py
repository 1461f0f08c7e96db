"""The `identity` member of a VM: the system-assigned managed identity, and the user-assigned ones it may act as."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from skrkit.sandbox import chance
from skrkit.sandbox.arm.call import Call
from skrkit.sandbox.arm.errors import bad_request
from skrkit.sandbox.store import Document
from skrkit.sandbox.web import AzureError

IDENTITY_TYPE = "Microsoft.ManagedIdentity/userAssignedIdentities"
PRINCIPAL_KIND = "principal"  # oid -> {"oid", "appid", "tid", "mirid"}: what Entra knows of an identity
_KINDS = ({"none"}, {"systemassigned"}, {"userassigned"}, {"systemassigned", "userassigned"})
_IDENTITY_ID = re.compile(rf"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/{IDENTITY_TYPE}/[^/]+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class WantedIdentity:
    """What a VM is to have: an identity of its own or none, and its user-assigned ones by id, as Azure shows them."""

    own: bool
    assigned: Mapping[str, dict[str, str]]


def wanted_identity(call: Call, before: Document, given: Any) -> WantedIdentity | None:
    """Return what the body's `identity` asks for beside what the VM `before` has, or None for as it is.

    PATCH merges: a user-assigned identity that is not named stays, one that is null goes. PUT sets what it names.
    Raises `AzureError` for a type or an id that is none, and for an identity that is not there.
    """
    if given is None:
        return None
    kinds = _kinds(given)
    named = given.get("userAssignedIdentities")
    had = assigned_to(before)
    if "userassigned" not in kinds:
        if named is not None:
            raise _failed(
                before, "The request format was unexpected, a non-UserAssigned identity type should not contain: "
                "userAssignedIdentities",
            )  # fmt: skip
        return WantedIdentity("systemassigned" in kinds, {})
    wanted = _assigned(call, before, {} if named is None else named)
    if call.method == "PATCH":
        kept = {name.lower() for name in _ids(named or {})}
        wanted = {name: value for name, value in had.items() if name.lower() not in kept} | wanted
    if not wanted:
        raise bad_request(
            f"The identity ids must not be null or empty for '{given['type']}' identity type.",
            code="MissingIdentityIds",
        )
    return WantedIdentity("systemassigned" in kinds, wanted)


def _kinds(given: Any) -> frozenset[str]:
    wanted = given.get("type") if isinstance(given, dict) else None
    kinds = frozenset(word.strip().lower() for word in str(wanted or "").split(","))
    if kinds not in _KINDS:
        raise bad_request(
            f"The identity type '{wanted}' is invalid. Expected 'None', 'SystemAssigned', 'UserAssigned' or "
            "'SystemAssigned, UserAssigned'."
        )
    return kinds


def _ids(named: Any) -> dict[str, Any]:
    """Return the ids that a body names, with their values: an object for one to have, null for one to lose."""
    if not isinstance(named, dict) or not all(value is None or isinstance(value, dict) for value in named.values()):
        raise bad_request(
            "The property 'identity.userAssignedIdentities' must be an object of objects.",
            code="InvalidRequestContent",
        )
    for name in named:
        if not _IDENTITY_ID.fullmatch(name):
            raise bad_request(
                f"Property id '{name}' at path 'identity.userAssignedIdentities' is invalid. Expect fully qualified "
                "resource Id that start with '/subscriptions/{subscriptionId}' or "
                "'/providers/{resourceProviderNamespace}/'.",
                code="LinkedInvalidPropertyId",
            )
    return named


def _assigned(call: Call, before: Document, named: Any) -> dict[str, dict[str, str]]:
    """Return the named identities under the ids by which the VM, or else Resource Manager, knows them."""
    had = {name.lower(): (name, value) for name, value in assigned_to(before).items()}
    assigned = {}
    for name, value in _ids(named).items():
        if value is None:
            continue
        identity = call.read(name)
        known, old = had.get(name.lower(), ("", None))
        if identity is not None:
            properties = identity["properties"]
            ids = {"principalId": properties["principalId"], "clientId": properties["clientId"]}
            assigned[known or str(identity["id"])] = ids
        elif old is not None:  # a dead reference that is named again stays one (inferred)
            assigned[known] = old
        else:
            raise _failed(before, f"Resource '{name}' was not found.")
    return assigned


def _failed(vm: Document, message: str) -> AzureError:
    """Return the 400 by which Resource Manager passes on what the service of managed identities said."""
    said = f'{{"error":{{"code":"BadRequest","message":"{message}"}}}}'
    return bad_request(
        f"Identity operation for resource '{vm['id']}' failed with error 'Failed to perform resource identity "
        f"operation. Status: 'BadRequest'. Response: '{said}'.'.",
        code="FailedIdentityOperation",
    )


def assigned_to(vm: Document) -> dict[str, dict[str, str]]:
    """Return a VM's user-assigned identities: `principalId` and `clientId` by resource id."""
    found = (vm.get("identity") or {}).get("userAssignedIdentities")
    return found if isinstance(found, dict) else {}


def apply_identity(call: Call, vm: Document, wanted: WantedIdentity | None) -> None:
    """Change `vm["identity"]` to what is wanted, and make or remove the service principal of the VM's own.

    An own identity that is there already is kept: it keeps its object id. Callers run this in the store's transaction
    that writes the VM.
    """
    if wanted is None:
        return
    if not wanted.own:
        remove_identity(call, vm)
    identity = vm.pop("identity", None) or {}
    own = {name: identity[name] for name in ("principalId", "tenantId") if identity.get(name)}
    if wanted.own and not own:
        own = _new_identity(call, vm)
    kinds = [*(["SystemAssigned"] if wanted.own else []), *(["UserAssigned"] if wanted.assigned else [])]
    if not kinds:
        return
    vm["identity"] = {"type": ", ".join(kinds), **own}
    if wanted.assigned:
        vm["identity"]["userAssignedIdentities"] = dict(wanted.assigned)


def _new_identity(call: Call, vm: Document) -> dict[str, str]:
    principal = {
        "oid": chance.uuid4("identity/oid"),
        "appid": chance.uuid4("identity/appid"),
        "tid": call.world.tenant,
        "mirid": str(vm["id"]),
    }
    call.world.store.put(PRINCIPAL_KIND, principal["oid"], principal)
    return {"principalId": principal["oid"], "tenantId": call.world.tenant}


def remove_identity(call: Call, vm: Document) -> None:
    """Take the VM's own identity off it: its service principal is gone, access policies that name it stay and are dead.

    User-assigned identities live on: they are resources of their own.
    """
    identity = vm.pop("identity", None) or {}
    if identity.get("principalId"):
        call.world.store.delete(PRINCIPAL_KIND, str(identity["principalId"]))
