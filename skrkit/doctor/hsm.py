"""A Managed HSM in place of a vault: that it is active, its local roles as who prepares the keys sees them, its name.

Local roles are asked of the HSM itself. What Azure's own roles say at the HSM's resource id has no effect on its keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING

from skrkit.doctor.check import NETWORK_LIMIT_S, Check, Outcome, failed, not_checked, ok, skipped, warning
from skrkit.doctor.outside import networks, principals_of
from skrkit.doctor.vault import reachable
from skrkit.errors import ServiceError

if TYPE_CHECKING:
    from skrkit.doctor.visit import Visit
    from skrkit.services.roles import HeldRole
    from skrkit.wire import Json


def _resource(visit: Visit) -> Outcome:
    names = visit.names
    if not names.resource_group:
        return skipped("No resource group was named: --resource-group NAME")
    from skrkit.provision.hsm import activation_of

    found = visit.reader.hsm(visit.resource_id("Microsoft.KeyVault/managedHSMs", names.hsm))
    properties, sku = _members(found.get("properties")), _members(found.get("sku"))
    status = activation_of(found)
    facts: dict[str, Json] = {
        "sku": sku.get("name"),
        "authorization": "local roles",
        "state": properties.get("provisioningState"),
        "activation": status,
        "tenant": properties.get("tenantId"),
    }
    said = f"{names.hsm}: {sku.get('name') or 'no SKU'}, {status}"
    if status != "Active":
        words = f"{said}: without a download of its security domain it has no keys and gives no roles."
        return failed(words, facts, cause="access.hsm-not-activated")
    return networks(said, facts, properties)


def _members(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, dict) else {}


def _grant(visit: Visit) -> Outcome:
    """Return what the local roles of the VM's identities cover at the key, or at all keys where none was named."""
    principals = principals_of(visit.vm)
    if not principals:
        return skipped("The VM was not named, or not read.")
    held = _held(visit, principals)
    if held is None:
        said = "You may not read the local roles of this HSM: release.preflight, inside the VM, tells."
        return not_checked(said, fix="Ask for Managed HSM Policy Administrator or Crypto Auditor at the scope /.")
    from skrkit.provision.hsm import beyond_release
    from skrkit.services.hsm import RELEASE_ACTION

    facts: dict[str, Json] = {"roles": {oid: [role.to_json() for role in mine] for oid, mine in held.items()}}
    for oid, mine in held.items():
        giving = [role for role in mine if role.allows(RELEASE_ACTION, data=True)]
        if giving:
            said = f"{giving[0].role} at {giving[0].scope} lets object id {oid} release"
            beyond = beyond_release(mine)
            if beyond:
                return warning(f"{said}; its roles also cover {', '.join(beyond)}, which no release needs.", facts)
            return ok(f"{said}, and nothing more.", facts)
    scope = f"/keys/{visit.names.key}" if visit.names.key else "/keys"
    names = ", ".join(sorted({role.role for mine in held.values() for role in mine}))
    said = f"The VM's identity {', '.join(held)} has {names or 'no local role'} at {scope} and above"
    words = f"{said}, which does not cover a release." if names else f"{said}."
    return failed(words, facts, cause="access.hsm-local-role", fix=_role_command(visit, principals[0], scope))


def _role_command(visit: Visit, object_id: str, scope: str) -> str:
    from skrkit.provision.hsm import role_command
    from skrkit.services.hsm import RELEASE_ROLE

    return role_command(visit.names.hsm, RELEASE_ROLE, scope, object_id)


def _held(visit: Visit, principals: tuple[str, ...]) -> dict[str, tuple[HeldRole, ...]] | None:
    """Return the local roles of each identity; None where the HSM does not let the caller read them."""
    from skrkit.services.hsm import held_roles, local_roles

    try:
        with local_roles(visit.reader.cloud, visit.vault_url()) as client:
            return {oid: held_roles(client, visit.names.key, oid) for oid in principals}
    except ServiceError as refused:
        if refused.status != HTTPStatus.FORBIDDEN:
            raise
        return None


CHECKS = (
    Check(
        id="hsm.resource",
        title="The Managed HSM as a resource",
        proves="The Managed HSM has its security domain, so it has keys and roles, and its firewall lets clients in.",
        side="outside",
        needs=("outside.sign-in",),
        limit_s=NETWORK_LIMIT_S,
        run=_resource,
    ),
    Check(
        id="hsm.grant",
        title="The grant",
        proves="The VM's identity, as it is today, has a local role to release the key, and does no more with it.",
        side="outside",
        needs=("vm.resource", "hsm.resource"),
        limit_s=NETWORK_LIMIT_S,
        run=_grant,
    ),
)
REACHABLE = (
    Check(
        id="hsm.reachable",
        title="The Managed HSM answers",
        proves="The HSM's name resolves, its certificate is good, and it asks for a token of this tenant.",
        side="both",
        limit_s=NETWORK_LIMIT_S,
        run=reachable,
    ),
)
