"""Step 2: the identity may release keys of this vault, and may do nothing else there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from skrkit.artefact import Artefact, Collector, Show
from skrkit.errors import UsageError
from skrkit.services.azure_errors import azure_call

if TYPE_CHECKING:
    from skrkit.cloud import Cloud
    from skrkit.provision.stage import Stage
    from skrkit.wire import Json

RELEASE_ROLE = "Key Vault Crypto Service Release User"


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What the identity may do with the vault's keys after the grant, and whether that is enough and no more.

    `may_release` is None for a vault with Azure roles, which were neither read nor given.
    """

    permissions: tuple[str, ...]
    may_release: bool | None
    artefacts: tuple[Artefact, ...]


def grant(cloud: Cloud, stage: Stage, object_id: str, *, show: Show | None = None) -> Access:
    """Return the access of `object_id` after key permission `release` was added. The caller is the operator.

    `accessPolicies/add` merges: existing grants stay. A vault that uses Azure roles ignores access policies: nothing
    is granted there, and the artefact "role-needed" has the command that does it.
    Raises `UsageError` for a vault without HSM keys, `ServiceError` when Resource Manager refuses.
    """
    from skrkit.services import arm

    made = Collector(2, show)
    with azure_call(f"access to vault {stage.vault}"), arm.key_vaults(cloud) as client:
        before = client.vaults.get(stage.resource_group, stage.vault).as_dict()
        check_premium(before)
        roles = _uses_roles(before)
        known = _permissions(before, object_id)
        grants = "has a grant already." if known else "appears in no access policy."
        made.add(
            "vault-before",
            "The vault before the grant",
            before,
            proves="Premium, so its keys live in an HSM; "
            + ("it goes by Azure roles, not access policies." if roles else f"the VM's identity {grants}"),
            next="Whether it uses access policies or roles decides how to grant.",
        )
        after = before if roles else _granted(client, stage, before, object_id, made)
    if roles:
        _show_role(made, cloud, stage, object_id)
    access = preflight(after, object_id)
    made.add(
        "preflight",
        "May this identity release a key of this vault?",
        access,
        proves="Not known here: roles are Resource Manager's, and were not read."
        if roles
        else "The grant covers `release`; whatever else it covers is listed, and should be nothing.",
        next="Step 4 still needs a policy that says yes to the VM's attestation.",
    )
    permissions = () if roles else _permissions(after, object_id)
    may = None if roles else "release" in permissions
    return Access(permissions=permissions, may_release=may, artefacts=tuple(made.made))


def _granted(client: Any, stage: Stage, before: dict[str, Any], object_id: str, made: Collector) -> dict[str, Any]:
    """Return the vault after `release` was added to the identity's key permissions."""
    from azure.mgmt.keyvault.models import AccessPolicyUpdateKind, VaultAccessPolicyParameters

    tenant = before.get("properties", {}).get("tenantId")  # the vault's: no other is taken
    policy: Json = {"tenantId": tenant, "objectId": object_id, "permissions": {"keys": ["release"]}}
    body: dict[str, Json] = {"properties": {"accessPolicies": [policy]}}
    client.vaults.update_access_policy(
        stage.resource_group, stage.vault, AccessPolicyUpdateKind.ADD, VaultAccessPolicyParameters(body)
    )
    after: dict[str, Any] = client.vaults.get(stage.resource_group, stage.vault).as_dict()
    made.add(
        "grant",
        "The grant",
        body,
        proves="One permission, `release`: not get, not list, not decrypt.",
        next="It can take a minute until Key Vault has seen it.",
    )
    made.add(
        "vault-after",
        "The vault after the grant",
        after,
        proves="The vault's own record now names the VM's identity.",
        next="Key Vault reads this record at every request.",
    )
    return after


def _show_role(made: Collector, cloud: Cloud, stage: Stage, object_id: str) -> None:
    scope = stage.vault_id(cloud)
    made.add(
        "role-needed",
        "The role that the identity needs",
        {
            "role": RELEASE_ROLE,
            "assignee": object_id,
            "scope": scope,
            "granted": False,
            "command": f"az role assignment create --role '{RELEASE_ROLE}' --assignee-object-id {object_id} "
            f"--assignee-principal-type ServicePrincipal --scope {scope}",
        },
        proves="This vault ignores access policies, and skrkit assigns no roles: nothing was granted here.",
        next="Run the command, unless the identity has the role; it can take ten minutes to work.",
    )


def check_premium(vault: dict[str, Any]) -> None:
    """Return nothing if a vault resource can hold HSM keys, which alone can be released. Raises `UsageError`."""
    found = str((vault.get("properties", {}).get("sku") or {}).get("name") or "")
    if found.lower() != "premium":
        raise UsageError(
            what=f"vault {vault.get('name', '')}",
            where="/properties/sku/name",
            expected="premium",
            found=found or "nothing",
            fix=f"az keyvault update --name {vault.get('name', 'VAULT')} --sku premium   or name another vault",
        )


def preflight(vault: dict[str, Any], object_id: str) -> dict[str, Json]:
    """Return what a vault resource says of one identity's key permissions: enough for a release, or more.

    `vault` is the ARM resource. Says "roles" when the vault ignores access policies, which this does not read.
    """
    if _uses_roles(vault):
        return {
            "mode": "roles",
            "object_id": object_id,
            "may_release": None,
            "not_checked": f"This vault uses Azure roles: access policies are ignored. Needed: {RELEASE_ROLE}.",
        }
    permissions = _permissions(vault, object_id)
    beyond: list[Json] = [name for name in permissions if name != "release"]
    return {
        "mode": "access policies",
        "object_id": object_id,
        "may_release": "release" in permissions,
        "beyond_release": beyond,
    }


def _uses_roles(vault: dict[str, Any]) -> bool:
    return bool(vault.get("properties", {}).get("enableRbacAuthorization"))


def _permissions(vault: dict[str, Any], object_id: str) -> tuple[str, ...]:
    policies = vault.get("properties", {}).get("accessPolicies") or []
    granted = {
        str(permission).lower()
        for policy in policies
        if str(policy.get("objectId", "")).lower() == object_id.lower()
        for permission in policy.get("permissions", {}).get("keys") or []
    }
    return tuple(sorted(granted))
