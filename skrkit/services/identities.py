"""The managed identities that a VM has: all of them as Resource Manager lists them, and the one that IMDS gives out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from skrkit.cloud import IdentityChoice

if TYPE_CHECKING:
    from skrkit.cloud import Cloud
    from skrkit.wire import Json

_USER_ASSIGNED = "/providers/microsoft.managedidentity/userassignedidentities/"


@dataclass(frozen=True, slots=True, kw_only=True)
class VmIdentity:
    """One identity of a VM.

    `resource_id` is the VM's own for a system-assigned one. `client_id` is empty where nobody has said it: a VM's
    resource does not name that of its system-assigned identity.
    """

    kind: Literal["system-assigned", "user-assigned"]
    resource_id: str
    object_id: str
    client_id: str = ""

    def named_by(self, choice: IdentityChoice) -> bool:
        """Return whether this is the identity that the choice names. Ids are compared without regard to case."""
        return any(
            wanted and wanted.lower() == own.lower()
            for wanted, own in (
                (choice.client_id, self.client_id),
                (choice.object_id, self.object_id),
                (choice.resource_id, self.resource_id),
            )
        )

    def to_json(self) -> dict[str, Json]:
        """Return the identity as JSON members; an id that is not known is null."""
        return {
            "kind": self.kind,
            "object_id": self.object_id,
            "client_id": self.client_id or None,
            "resource_id": self.resource_id,
        }


def identities_of(vm: Mapping[str, Any]) -> tuple[VmIdentity, ...]:
    """Return the identities in a VM resource, the system-assigned one first. Anything else in its place is none."""
    identity = _members(vm.get("identity"))
    found = []
    if identity.get("principalId"):
        own = str(identity["principalId"])
        found.append(VmIdentity(kind="system-assigned", resource_id=str(vm.get("id") or ""), object_id=own))
    for resource_id, given in _members(identity.get("userAssignedIdentities")).items():
        ids = {name: str(_members(given).get(name) or "") for name in ("principalId", "clientId")}
        user = VmIdentity(
            kind="user-assigned", resource_id=resource_id, object_id=ids["principalId"], client_id=ids["clientId"]
        )
        found.append(user)
    return tuple(found)


def _members(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def default_of(identities: Sequence[VmIdentity]) -> VmIdentity | None:
    """Return the identity that IMDS gives to a request that names none, or None where it refuses.

    The system-assigned one where there is one, else the only user-assigned one; among several it does not choose.
    Source: Azure's documents, managed identities, "Use the VM's identity to get an access token".
    """
    own = [each for each in identities if each.kind == "system-assigned"]
    return own[0] if own else identities[0] if len(identities) == 1 else None


def chosen_of(identities: Sequence[VmIdentity], choice: IdentityChoice | None) -> VmIdentity | None:
    """Return the identity that IMDS gives to a request with this choice, or None where it refuses."""
    if choice is None:
        return default_of(identities)
    return next((each for each in identities if each.named_by(choice)), None)


def list_identities(cloud: Cloud, vm_id: str) -> tuple[VmIdentity, ...]:
    """Return the identities that Resource Manager lists for a VM. Raises `ServiceError`; needs Reader on the VM."""
    from skrkit.services.reader import Reader

    with Reader(cloud) as reader:
        return identities_of(reader.vm(vm_id))


def ask_imds(inside: Cloud) -> VmIdentity:
    """Return the identity that IMDS gives to the programs of this VM: the chosen one, or the default.

    IMDS lists none: of a VM's several identities each must be asked for by an id that is known already.
    Raises `ServiceError` when IMDS refuses, with its own words.
    """
    from skrkit.services.imds import fetch_token
    from skrkit.token.decode import decode_jwt

    token = fetch_token(inside, f"{inside.endpoints.management_resource}/")
    return identity_in(decode_jwt(token).claims)


def identity_in(claims: Mapping[str, Json]) -> VmIdentity:
    """Return the identity that an access token speaks for. `xms_mirid` tells the kinds apart, and is not documented."""
    resource_id = str(claims.get("xms_mirid") or "")
    return VmIdentity(
        kind="user-assigned" if _USER_ASSIGNED in resource_id.lower() else "system-assigned",
        resource_id=resource_id,
        object_id=str(claims.get("oid") or ""),
        client_id=str(claims.get("appid") or ""),
    )
